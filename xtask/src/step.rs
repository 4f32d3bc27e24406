//! Running other programs: found on the PATH, with a progress line for what
//! takes long, and with the end of their output when they fail.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How many lines of a failed command's output are shown.
const TAIL_LINES: usize = 25;

/// The workspace root, where every command runs.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// The PATH, and behind it where Debian keeps administrators' tools: a user's
/// own PATH does not have them.
pub fn path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let tools = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::join_paths(env::split_paths(&path).chain(tools)).unwrap_or(path)
}

/// Where `program` is on that path.
pub fn which(program: &str) -> Option<PathBuf> {
    env::split_paths(&path()).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Runs a command that takes long under one line that says what it is for;
/// its output goes to `target/xtask/NAME.log`, whose end is shown on failure.
/// The line goes to standard error, for others may be read by programs.
pub fn long(name: &str, what: &str, command: &mut Command) -> Result<()> {
    let log = root().join("target/xtask").join(name).with_extension("log");
    fs::create_dir_all(log.parent().expect("the log lies in a folder"))?;
    let file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let progress = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is valid"),
    );
    progress.set_message(what.to_owned());
    progress.enable_steady_tick(Duration::from_millis(100));
    if progress.is_hidden() {
        eprintln!("… {what}");
    }
    let started = Instant::now();
    let status = command
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot run {command:?}"));
    progress.finish_and_clear();
    if !status?.success() {
        let output = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<_> = output.lines().collect();
        eprintln!("{}", lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"));
        bail!("{what}: failed; the whole output is in {}", log.display());
    }
    eprintln!("✓ {what} ({:.0} s)", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command whose output the user should see, and fails if it does.
pub fn shown(command: &mut Command) -> Result<()> {
    let status =
        command.current_dir(root()).status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// What a command printed, or `None` if it cannot run or fails.
pub fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).current_dir(root()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `cargo`, as the one that runs this program.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether this process is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Fails unless root, or a way to become root, is at hand.
pub fn require_root(why: &str) -> Result<()> {
    if is_root() || which("sudo").is_some() {
        return Ok(());
    }
    bail!(
        "{why}, which needs root, and sudo is not installed. \
         Run the same command as root, or install sudo as root with: apt-get install sudo"
    );
}

/// A command to be run as root: as it is for root, else by sudo with the
/// caller's PATH and homes, for the toolchain lives in the caller's home.
pub fn privileged(program: impl AsRef<OsStr>) -> Command {
    let mut words = as_root().into_iter();
    let Some(sudo) = words.next() else {
        let mut command = Command::new(program);
        command.env("PATH", path());
        return command;
    };
    let mut command = Command::new(sudo);
    command.args(words).arg(program);
    command
}

/// What stands before a command that root is to run; nothing for root.
pub fn as_root() -> Vec<String> {
    if is_root() {
        return Vec::new();
    }
    let kept = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "ILA_SECOND_KERNEL"];
    let kept = kept.iter().filter_map(|&name| Some((name, env::var_os(name)?)));
    let variables = kept.chain([("PATH", path())]);
    ["sudo".to_owned(), "env".to_owned()]
        .into_iter()
        .chain(variables.map(|(name, value)| format!("{name}={}", value.to_string_lossy())))
        .collect()
}
