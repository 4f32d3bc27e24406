//! Network namespaces: made in private, marked, published, found, removed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{MetadataExt as _, OpenOptionsExt as _},
            process::CommandExt as _,
        },
    },
    panic,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags},
    libc,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{NSFS_MAGIC, fstatfs},
    unistd::linkat,
};

use crate::{Error, error::Doing as _, ip::Ip, netns_dir::NETNS_DIR};

/// A published namespace, open.
#[derive(Clone, Debug)]
pub struct Netns {
    file: Arc<File>,
}

/// Which namespace: device and inode of the file that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetnsId(u64, u64);

impl NetnsId {
    /// The namespace at `path`.
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|it| Self(it.dev(), it.ino()))
    }
}

impl Netns {
    /// Opens what is published at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = open(path).doing(|| format!("open the namespace {}", path.display()))?;
        Ok(Self { file: Arc::new(file) })
    }

    /// Which one it is.
    pub fn id(&self) -> io::Result<NetnsId> {
        self.file.metadata().map(|it| NetnsId(it.dev(), it.ino()))
    }

    /// Moves this thread into it.
    pub fn enter_here(&self) -> Result<(), Error> {
        setns(&*self.file, CloneFlags::CLONE_NEWNET).doing(|| "enter a namespace".to_owned())
    }

    /// Lets `command` run in it: from before its first instruction, so that
    /// whoever sees the process sees it there.
    pub fn enter(&self, command: &mut Command) {
        let file = Arc::clone(&self.file);
        let enter = move || Ok(setns(&*file, CloneFlags::CLONE_NEWNET)?);
        // SAFETY: all that happens in the child is one system call; it takes
        // no lock and allocates nothing.
        unsafe { command.pre_exec(enter) };
    }
}

/// Makes a namespace, marks it, has it prepared from inside and publishes it
/// at `path`, if nothing is there. Killed at any moment before the end, it
/// leaves either nothing or a file that says by its content whose it is.
pub fn create(
    path: &Path,
    mark: &str,
    ip: &Ip<'_>,
    prepare: impl FnOnce() -> Result<(), Error> + Send,
) -> Result<(), Error> {
    // A thread of its own: leaving the namespace again could fail.
    let made = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).doing(|| "make a network namespace".to_owned())?;
            ip.set_up_loopback(mark)?;
            prepare()?;
            publish(path, mark).doing(|| format!("publish a namespace at {}", path.display()))
        });
        thread.join()
    });
    made.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Whether there is anything at `path`.
pub fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// What there can be at a path where a lab planned a namespace.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// The lab's namespace.
    Ours(Netns),
    /// The lab's file with nothing mounted on it.
    OurFile,
    /// Something that is not the lab's.
    Foreign,
}

/// Looks what there is at `path`, and whether it carries `mark`.
pub fn find(path: &Path, mark: &str, ip: &Ip<'_>) -> Result<Found, Error> {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        // A link, a socket: nothing that a lab makes.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            return Ok(Found::Foreign);
        }
        Err(error) => return Err(error).doing(|| format!("look at {}", path.display())),
    };
    let looking = || format!("look at {}", path.display());
    if fstatfs(&file).doing(looking)?.filesystem_type() != NSFS_MAGIC {
        let ours = is_ours(file, mark).doing(looking)?;
        return Ok(if ours { Found::OurFile } else { Found::Foreign });
    }
    let netns = Netns { file: Arc::new(file) };
    let ours = ip.loopback_alias(&netns, path)?.is_some_and(|alias| alias == mark);
    Ok(if ours { Found::Ours(netns) } else { Found::Foreign })
}

/// Removes the lab's namespace or file from `path`. The namespace itself goes
/// when the last process has left it.
pub fn remove(path: &Path, mark: &str) -> Result<(), Error> {
    let removing = || format!("remove {}", path.display());
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // Killed before it was mounted.
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(errno) => Err(errno).doing(removing)?,
    }
    if open(path).and_then(|file| is_ours(file, mark)).doing(removing)? {
        fs::remove_file(path).doing(removing)?;
    }
    Ok(())
}

/// Opens without following, creating or waiting for anything.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

/// Mounts this thread's namespace at `path`.
fn publish(path: &Path, mark: &str) -> io::Result<()> {
    // The file gets its name when it has its content, and only if the name is
    // free: an empty file could be anybody's.
    let mut file =
        OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).mode(0o444).open(NETNS_DIR)?;
    file.write_all(mark.as_bytes())?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
    // `self` is the first thread of this process, which has not moved.
    let own = Path::new("/proc/thread-self/ns/net");
    mount(Some(own), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

/// Whether a file is what [`publish`] mounts on.
fn is_ours(file: File, mark: &str) -> io::Result<bool> {
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let mut content = Vec::new();
    file.take(mark.len() as u64 + 1).read_to_end(&mut content)?;
    Ok(content == mark.as_bytes())
}
