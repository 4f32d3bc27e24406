//! What is mounted where, as this thread sees it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::ffi::OsStringExt as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};

use crate::{Error, error::Doing as _};

/// Whether something is mounted at `path`, an absolute one. The table of mounts
/// does not say: it also has those that others cover.
pub fn is_mount_point(path: &Path) -> Result<bool, Error> {
    let above = path.parent().unwrap_or(path);
    let is = mount_id(path).and_then(|id| Ok(id != mount_id(above)?));
    is.doing(|| format!("find out whether {} is mounted", path.display()))
}

/// Unmounts whatever is mounted below `dir`, which is about to be removed
/// with all that is in it: not with what is seen through it.
pub fn unmount_below(dir: &Path) -> Result<(), Error> {
    // Listed are parents before children, older before newer.
    for point in mount_points()?.iter().rev() {
        if point.starts_with(dir) {
            match umount2(point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                // Covered by another mount, so that nothing is seen through it.
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(errno) => Err(errno).doing(|| format!("unmount {}", point.display()))?,
            }
        }
    }
    Ok(())
}

/// The number of the mount that `path` leads to.
fn mount_id(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let info = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", file.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id.map(str::to_owned).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn mount_points() -> Result<Vec<PathBuf>, Error> {
    // `self` is the first thread of this process, and another thread can have
    // mounts of its own.
    const TABLE: &str = "/proc/thread-self/mountinfo";
    let table = fs::read(TABLE).doing(|| format!("read {TABLE}"))?;
    table
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| line.split(|byte| *byte == b' ').nth(4).map(unescape))
        .collect::<Option<_>>()
        .ok_or(io::Error::from(io::ErrorKind::InvalidData))
        .doing(|| format!("understand {TABLE}"))
}

/// Space, tab, newline and backslash stand as three octal digits behind a
/// backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match tail.get(..3).filter(|_| *byte == b'\\') {
            Some(digits) => {
                path.push(digits.iter().fold(0, |value, digit| value << 3 | (digit & 7)));
                rest = &tail[3..];
            }
            None => path.push(*byte),
        }
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_is_read() {
        let table =
            [("/run/netns", "/run/netns"), (r"/a\040b\134", r"/a b\"), (r"/end\04", r"/end\04")];
        for (field, path) in table {
            assert_eq!(unescape(field.as_bytes()), Path::new(path));
        }
    }

    #[test]
    fn proc_is_mounted() {
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(!is_mount_point(Path::new("/proc/sys")).unwrap());
    }
}
