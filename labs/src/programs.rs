//! The programs that a lab runs, and what must be so before anything is
//! touched.

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{Error, error::Doing as _, wait_until};

/// Where the overlay's programs are, if the environment says so.
const BIN_DIR: &str = "ILA_BIN_DIR";

/// Refuses users who cannot make namespaces.
pub fn require_root() -> Result<(), Error> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

/// `ip`.
pub fn ip() -> Result<PathBuf, Error> {
    tool("ip", "install it: apt-get install iproute2")
}

/// `nft`.
pub fn nft() -> Result<PathBuf, Error> {
    tool("nft", "install it: apt-get install nftables")
}

/// A program of this machine. Debian keeps administrators' programs out of a
/// user's PATH, so that its folders for them are looked at as well.
pub fn tool(program: &'static str, hint: &'static str) -> Result<PathBuf, Error> {
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    find(on_path().chain(sbin), program, hint)
}

/// One of the overlay's programs: in the directory given, in the one that the
/// environment names, beside this program, or on the PATH.
pub fn ours(program: &'static str, bin_dir: Option<&Path>) -> Result<PathBuf, Error> {
    let beside = env::current_exe().ok().and_then(|it| it.parent().map(Path::to_owned));
    let named = env::var_os(BIN_DIR).map(PathBuf::from);
    let dirs = [bin_dir.map(Path::to_owned), named, beside].into_iter().flatten();
    let hint = "build it with `cargo build`, or say in ILA_BIN_DIR in which directory it is";
    find(dirs.chain(on_path()), program, hint)
}

/// Runs a program to its end, unless that takes too long or somebody
/// interrupts.
pub fn run(
    mut command: Command,
    limit: Duration,
    interrupted: &AtomicBool,
) -> Result<Output, Error> {
    let running = || format!("run {}", command.get_program().display());
    let what = running();
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| what.clone())?;
    // What these programs print is less than a pipe holds, so that it can be
    // read when they have ended.
    let ended = wait_until(limit, &format!("the end of {command:?}"), || {
        if interrupted.load(Ordering::Relaxed) {
            return Some(Err(Error::Interrupted));
        }
        child.try_wait().doing(|| what.clone()).transpose()
    });
    if let Err(error) = ended.and_then(|ended| ended) {
        child.kill().and_then(|()| child.wait()).doing(|| what.clone())?;
        return Err(error);
    }
    child.wait_with_output().doing(|| what)
}

fn on_path() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

fn find(
    mut dirs: impl Iterator<Item = PathBuf>,
    program: &'static str,
    hint: &'static str,
) -> Result<PathBuf, Error> {
    dirs.find_map(|dir| Some(dir.join(program)).filter(|file| file.is_file()))
        .ok_or(Error::NoProgram { program, hint })
}
