//! The directory below which the agents of a lab pin what outlives them.
//!
//! It lies in the BPF file system, which systemd mounts and many containers
//! lack. There a lab mounts it, and the last lab unmounts it again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::{Error, LabName, error::Doing as _, lab_dir::STATE_DIR};

const BPF_FS: &str = "/sys/fs/bpf";

/// The directories of all labs.
const LABS: &str = "/sys/fs/bpf/ila-lab";

/// Beside the labs, that one of them has mounted the file system.
const RECORD: &str = "bpf-fs";

/// Where the agents of a lab pin, each in a directory of its host's name.
pub fn of(lab: &LabName) -> PathBuf {
    Path::new(LABS).join(lab.as_str())
}

/// Makes the directory of a lab, and mounts the file system if it is not. For
/// who holds the lock on all labs.
pub fn prepare(lab: &LabName) -> Result<(), Error> {
    if !is_bpf_fs()? {
        let record = Path::new(STATE_DIR).join(RECORD);
        fs::write(&record, "").doing(|| format!("write {}", record.display()))?;
        mount(Some("bpf"), BPF_FS, Some("bpf"), MsFlags::empty(), None::<&str>)
            .map_err(Error::NoBpfFs)?;
    }
    fs::create_dir_all(of(lab)).doing(|| format!("make {}", of(lab).display()))
}

/// Removes the directory of a lab with all pins in it.
pub fn remove(lab: &LabName) -> Result<(), Error> {
    match fs::remove_dir_all(of(lab)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.doing(|| format!("remove {}", of(lab).display())),
    }
}

/// Removes what all labs share, once no other lab is there; the mount as well,
/// unless somebody else has pins in it by now. For who holds the lock on all
/// labs.
pub fn release() -> Result<(), Error> {
    // Fails if there is anything in it, as it should.
    fs::remove_dir(LABS).ok();
    let record = Path::new(STATE_DIR).join(RECORD);
    if !record.exists() {
        return Ok(());
    }
    if is_bpf_fs()? && !has_pins()? {
        match umount2(BPF_FS, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(errno) => Err(errno).doing(|| format!("unmount {BPF_FS}"))?,
        }
    }
    fs::remove_file(&record).doing(|| format!("remove {}", record.display()))
}

fn is_bpf_fs() -> Result<bool, Error> {
    match statfs(BPF_FS) {
        Ok(found) => Ok(found.filesystem_type() == BPF_FS_MAGIC),
        Err(errno) => Err(Error::NoBpfFs(errno)),
    }
}

/// Whether there is anything that the kernel has not put there by itself.
fn has_pins() -> Result<bool, Error> {
    const OF_THE_KERNEL: [&str; 2] = ["maps.debug", "progs.debug"];
    let entries = fs::read_dir(BPF_FS).doing(|| format!("read {BPF_FS}"))?;
    let mut names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    Ok(names.any(|name| !OF_THE_KERNEL.iter().any(|it| name == *it)))
}
