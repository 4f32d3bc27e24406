//! Processes, known by the namespace they are in.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
    process,
    time::Duration,
};

use nix::{
    libc,
    sys::signal::Signal::{self, SIGKILL, SIGTERM},
};

use crate::{Error, error::Doing as _, netns::NetnsId, wait_until};

/// How long processes may take to end by themselves.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the kernel may take to end them.
const KILLING: Duration = Duration::from_secs(5);

/// Ends every process that is in one of these namespaces, this one excepted,
/// and those that they start meanwhile.
pub fn end_all(namespaces: &BTreeSet<NetnsId>) -> Result<(), Error> {
    for (signal, deadline) in [(SIGTERM, PATIENCE), (SIGKILL, KILLING)] {
        for pid in all_in(namespaces)? {
            send(signal, pid, namespaces).doing(|| format!("send {signal} to process {pid}"))?;
        }
        let gone =
            wait_until(deadline, "the processes of the lab to end", || match all_in(namespaces) {
                Ok(pids) => pids.is_empty().then_some(Ok(())),
                Err(error) => Some(Err(error)),
            });
        if let Ok(gone) = gone {
            return gone;
        }
    }
    let pids: Vec<_> = all_in(namespaces)?.iter().map(ToString::to_string).collect();
    Err(Error::Stubborn { pids: pids.join(", ") })
}

/// The processes that are in one of these namespaces, this one excepted.
pub fn all_in(namespaces: &BTreeSet<NetnsId>) -> Result<Vec<u32>, Error> {
    if namespaces.is_empty() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir("/proc").doing(|| "read /proc".to_owned())?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != process::id() && is_in(*pid, namespaces))
        .collect())
}

/// Sends a signal to a process if it is still in one of the namespaces.
fn send(signal: Signal, pid: u32, namespaces: &BTreeSet<NetnsId>) -> io::Result<()> {
    let ended = |error: &io::Error| error.raw_os_error() == Some(libc::ESRCH);
    let pidfd = match open_pidfd(pid) {
        Err(error) if ended(&error) => return Ok(()),
        pidfd => pidfd?,
    };
    // The process is held by now, so that this is said about the one which
    // gets the signal, and not about another that has its number since.
    if !is_in(pid, namespaces) {
        return Ok(());
    }
    match send_by_pidfd(&pidfd, signal) {
        Err(error) if ended(&error) => Ok(()),
        sent => sent,
    }
}

/// Nothing is known of a process that has just ended: it is nowhere.
fn is_in(pid: u32, namespaces: &BTreeSet<NetnsId>) -> bool {
    NetnsId::of(Path::new(&format!("/proc/{pid}/ns/net"))).is_ok_and(|id| namespaces.contains(&id))
}

fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: both arguments are plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).expect("a file descriptor is an int");
    // SAFETY: the call has just returned it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn send_by_pidfd(pidfd: &OwnedFd, signal: Signal) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, and without information the kernel
    // reads nothing of ours.
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal as i32, no_info, 0)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
