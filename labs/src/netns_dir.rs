//! The directory in which `ip netns` and everybody else look for namespaces.
//!
//! `ip netns add` mounts this directory on itself before its first use. Were
//! that to happen while a lab stands, it would cover the lab's mounts where
//! nothing is shared between mounts (in most containers), and nobody could
//! unmount them again. Hence a lab does it first, and the last lab undoes it.

use std::{fs, io, path::Path};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

use crate::{Error, error::Doing as _, lab_dir::STATE_DIR, mounts};

/// Where namespaces are published.
pub const NETNS_DIR: &str = "/run/netns";

/// Beside the labs, what one of them did to the directory.
const RECORD: &str = "netns-dir";
const MADE: &str = "made and mounted";
const MOUNTED: &str = "mounted";

/// Makes the directory and mounts it on itself, if it is not.
pub fn prepare() -> Result<(), Error> {
    let dir = Path::new(NETNS_DIR);
    let exists = dir.exists();
    if exists && mounts::is_mount_point(dir)? {
        return Ok(());
    }
    let record = Path::new(STATE_DIR).join(RECORD);
    let new = record.with_extension("new");
    fs::write(&new, if exists { MOUNTED } else { MADE })
        .and_then(|()| fs::rename(&new, &record))
        .and_then(|()| fs::create_dir_all(dir))
        .doing(|| format!("make {NETNS_DIR}"))?;
    mount(Some(dir), dir, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .doing(|| format!("mount {NETNS_DIR} on itself"))
}

/// Undoes that, unless somebody else has namespaces there by now.
pub fn release() -> Result<(), Error> {
    let record = Path::new(STATE_DIR).join(RECORD);
    let done = match fs::read_to_string(&record) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        done => Some(done.doing(|| format!("read {}", record.display()))?),
    };
    if done.is_some() {
        match umount2(NETNS_DIR, MntFlags::UMOUNT_NOFOLLOW) {
            // In use by others, or not mounted yet.
            Ok(()) | Err(Errno::EBUSY | Errno::EINVAL | Errno::ENOENT) => {}
            Err(errno) => Err(errno).doing(|| format!("unmount {NETNS_DIR}"))?,
        }
    }
    if done.as_deref() == Some(MADE) {
        // Fails if there is anything in it, as it should.
        fs::remove_dir(NETNS_DIR).ok();
    }
    for path in [record.with_extension("new"), record] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.doing(|| format!("remove {}", path.display()))?,
        }
    }
    Ok(())
}
