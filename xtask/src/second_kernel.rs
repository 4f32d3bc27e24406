//! Linux 6.1 and qemu, for the tests that need a kernel other than this
//! machine's. Debian's packages are unpacked, not installed: nothing of the
//! machine changes, and root is needed only where its package lists are old.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::step::{self, which};

const QEMU: &str = "qemu-system-x86_64";

/// Unpacks what is missing, or says why it cannot be had.
pub fn set_up() -> Result<()> {
    let folder = env::var_os("ILA_SECOND_KERNEL").map(PathBuf::from);
    let folder = folder.context("cargo sets ILA_SECOND_KERNEL, by .cargo/config.toml")?;
    if folder.is_dir() {
        return Ok(());
    }
    if env::consts::ARCH != "x86_64" {
        bail!("it is set up for x86_64 only, and this is {}", env::consts::ARCH);
    }
    for program in ["apt-get", "dpkg-deb", "ldd"] {
        if which(program).is_none() {
            bail!("there is no {program}; packages can be unpacked on Debian only");
        }
    }
    let Err(reason) = unpack(&folder) else { return Ok(()) };
    // Lists that are there and do not have the kernel are not going to; others
    // may be too old, and name what cannot be downloaded any more.
    let lists = step::output("apt-cache", &["pkgnames", "linux-image-"]).unwrap_or_default();
    if !lists.is_empty() && kernel().is_err() {
        return Err(reason);
    }
    step::long(
        "apt-update",
        "Reading Debian's package lists",
        step::privileged("apt-get").args(["--quiet", "update"]),
    )
    .map_err(|_| reason)?;
    unpack(&folder)
}

/// Downloads and unpacks everything; the folder gets its name when all is in it.
fn unpack(folder: &Path) -> Result<()> {
    const UNPACK: &str = r#"cd "$0"
        apt-get download "$@"
        for package in *.deb; do dpkg-deb --extract "$package" .; rm "$package"; done"#;
    let unfinished = folder.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let mut packages = vec![kernel()?, "busybox-static".to_owned()];
    if which(QEMU).is_none() {
        packages.extend(qemu()?);
    }
    fs::create_dir_all(&unfinished)?;
    step::long(
        "second-kernel",
        "Unpacking Linux 6.1, busybox and qemu",
        Command::new("sh").args(["-ec", UNPACK]).arg(&unfinished).args(&packages),
    )?;
    fs::rename(&unfinished, folder)?;
    Ok(())
}

/// The package of the newest Linux 6.1. Debian 12 has two of each: what is
/// signed for Secure Boot, and what that was made of.
fn kernel() -> Result<String> {
    let names = step::output("apt-cache", &["pkgnames", "linux-image-6.1.0-"]);
    let names = names.context("apt-cache does not run")?;
    let kernels = names.lines().filter_map(|name| Some((abi(name)?, name)));
    let newest = kernels.max().context("Debian's package lists have no Linux 6.1 for amd64")?;
    Ok(newest.1.to_owned())
}

/// Which of Debian's builds of Linux 6.1 a package has.
fn abi(package: &str) -> Option<u32> {
    let build = package.strip_prefix("linux-image-6.1.0-")?;
    let build = build.strip_suffix("-unsigned").unwrap_or(build);
    build.strip_suffix("-amd64")?.parse().ok()
}

/// The packages of qemu, and those it depends on that are not installed.
fn qemu() -> Result<Vec<String>> {
    let arguments =
        ["install", "--print-uris", "--yes", "-qq", "--no-install-recommends", "qemu-system-x86"];
    let lines = step::output("apt-get", &arguments).context("apt knows no qemu-system-x86")?;
    // 'ADDRESS' NAME_VERSION_ARCHITECTURE.deb SIZE SUM
    let names = lines.lines().filter_map(|line| line.split_whitespace().nth(1)?.split_once('_'));
    Ok(names.map(|(name, _)| name.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_builds_for_amd64_are_taken_whether_signed_or_not() {
        assert_eq!(abi("linux-image-6.1.0-56-amd64"), Some(56));
        assert_eq!(abi("linux-image-6.1.0-9-amd64-unsigned"), Some(9));
        for other in [
            "linux-image-6.1.0-56-cloud-amd64-unsigned",
            "linux-image-6.1.0-56-amd64-dbg",
            "linux-image-6.1.0-56-arm64",
            "linux-image-6.12.107+deb12-amd64-unsigned",
        ] {
            assert_eq!(abi(other), None, "{other}");
        }
    }
}
