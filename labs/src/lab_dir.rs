//! The directory of a lab, and the lock on it.

use std::{
    fs::{self, File},
    io,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl},
};

use crate::{Error, LabName, bpf_dir, error::Doing as _, netns_dir, wait_until};

/// Where the directories of all labs are.
pub const STATE_DIR: &str = "/run/ila-lab";

/// How long the lock is asked for before the lab is called busy: helpers of a
/// killed `up` still hold it while they end.
const GRACE: Duration = Duration::from_secs(1);

/// The directory of a lab, locked.
#[derive(Debug)]
pub struct LabDir {
    path: PathBuf,
    lock: Arc<Flock<File>>,
}

impl LabDir {
    /// Where a lab's directory is.
    pub fn path_of(lab: &LabName) -> PathBuf {
        Path::new(STATE_DIR).join(lab.as_str())
    }

    /// Locks the directory of a lab, making it if need be.
    pub fn create(lab: &LabName) -> Result<Self, Error> {
        let path = Self::path_of(lab);
        let attempt = || fs::create_dir_all(&path).and_then(|()| try_lock(&path));
        Self::lock(lab, || match attempt() {
            // Somebody took the lab down, or the last of the others and with
            // it the directory of all labs, in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            locked => locked,
        })
    }

    /// Locks the directory of a lab that exists.
    pub fn open(lab: &LabName) -> Result<Self, Error> {
        let path = Self::path_of(lab);
        Self::lock(lab, || try_lock(&path)).map_err(|error| match error {
            Error::System { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                // Left by an `up` that was killed between two mkdir; not
                // removed if anything is in it.
                fs::remove_dir(STATE_DIR).ok();
                Error::NoSuchLab(lab.clone())
            }
            error => error,
        })
    }

    /// Whether somebody holds the lock at this moment.
    pub fn is_busy(lab: &LabName) -> bool {
        matches!(try_lock(&Self::path_of(lab)), Ok(None))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets `command` hold the lock as well, for as long as it runs.
    pub fn hold_in(&self, command: &mut Command) {
        let lock = Arc::clone(&self.lock);
        let inherit = move || {
            fcntl(&**lock, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        };
        // SAFETY: all that happens in the child is one system call; it takes
        // no lock and allocates nothing.
        unsafe { command.pre_exec(inherit) };
    }

    /// Removes the directory, which has nothing in it any more. With the last
    /// lab goes what all labs share.
    pub fn remove(self) -> Result<(), Error> {
        let _all_labs = lock_all_labs()?;
        let others = names()?.into_iter().any(|name| Self::path_of(&name) != self.path);
        // First what is shared: whoever is killed in between leaves the lab's
        // directory, by which the next `down` finds the rest.
        if !others {
            netns_dir::release()?;
            bpf_dir::release()?;
        }
        fs::remove_dir(&self.path).doing(|| format!("remove {}", self.path.display()))?;
        match fs::remove_dir(STATE_DIR) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed.doing(|| format!("remove {STATE_DIR}")),
        }
    }

    fn lock(
        lab: &LabName,
        mut attempt: impl FnMut() -> io::Result<Option<Flock<File>>>,
    ) -> Result<Self, Error> {
        let path = Self::path_of(lab);
        let lock = wait_until(GRACE, "the lock", || attempt().transpose())
            .map_err(|_| Error::Busy(lab.clone()))?
            .doing(|| format!("lock {}", path.display()))?;
        Ok(Self { path, lock: Arc::new(lock) })
    }
}

/// Makes ready the directories of others in which a lab publishes namespaces
/// and pins programs. For who holds the lab.
pub fn prepare_shared(lab: &LabName) -> Result<(), Error> {
    let _all_labs = lock_all_labs()?;
    netns_dir::prepare()?;
    bpf_dir::prepare(lab)
}

/// The names of all labs that have a directory.
pub fn names() -> Result<Vec<LabName>, Error> {
    let entries = match fs::read_dir(STATE_DIR) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| format!("read {STATE_DIR}"))?,
    };
    let mut names: Vec<LabName> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Locks a directory, unless somebody else has it. A directory that was
/// removed while it was being locked is nobody's: the lock on it says nothing
/// about the one that has its name now.
fn try_lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(File::open(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => {
            let (held, named) = (lock.metadata()?, fs::metadata(path)?);
            let same = (held.dev(), held.ino()) == (named.dev(), named.ino());
            Ok(same.then_some(lock))
        }
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Only ever asked for by who holds a lab, so that its directory stands; and
/// only held for moments.
fn lock_all_labs() -> Result<Flock<File>, Error> {
    File::open(STATE_DIR)
        .and_then(|dir| {
            Flock::lock(dir, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
        })
        .doing(|| format!("lock {STATE_DIR}"))
}
