//! Another network namespace, and work done inside of it.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use ila_proto::api::InterfaceName;
use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;

use super::{Links, NetlinkError};

/// The namespace of this process, as the file that the kernel shows for it.
const OWN: &str = "/proc/self/ns/net";

/// A network namespace that exists, and does for as long as this value.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// Opens the namespace at `path`: `/run/netns/…` or `/proc/PID/ns/net`.
    pub fn open(path: &Path) -> Result<Self, NetlinkError> {
        let refused = |source| NetlinkError::NoNamespace { path: path.to_owned(), source };
        if !path.is_absolute() {
            return Err(refused(io::Error::other("the path is not absolute")));
        }
        // Looked at before it is opened: opening a device or a pipe could
        // block or have effects of its own.
        let kind = fs::metadata(path).map_err(refused)?;
        let own = fs::metadata(OWN).map_err(refused)?;
        if kind.dev() != own.dev() {
            return Err(refused(io::Error::other("the file is of another kind")));
        }
        if kind.ino() == own.ino() {
            return Err(NetlinkError::OwnNamespace { path: PathBuf::from(path) });
        }
        let file = File::open(path).map_err(refused)?;
        check_kind(&file).map_err(refused)?;
        Ok(Self { file: Arc::new(file) })
    }

    /// The descriptor, for netlink messages; valid as long as this value.
    pub(super) fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Does `work` inside the namespace. It runs on a thread of its own, which
    /// ends afterwards: a thread of the runtime would take its next task along
    /// into the namespace.
    pub(super) async fn run<F>(&self, work: F) -> Result<(), NetlinkError>
    where
        F: AsyncFnOnce(Links) -> Result<(), NetlinkError> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        let (done, result) = oneshot::channel();
        let inside = move || {
            let failed = |what| move |source| NetlinkError::Io { what, source };
            setns(&*file, CloneFlags::CLONE_NEWNET)
                .map_err(|errno| failed("enter the container's namespace")(errno.into()))?;
            tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()
                .map_err(failed("start a runtime"))?
                .block_on(async { work(Links::open()?).await })
        };
        thread::Builder::new()
            .name("container-netns".to_owned())
            .spawn(move || done.send(inside()))
            .map_err(|source| NetlinkError::Io { what: "start a thread", source })?;
        result.await.unwrap_or_else(|_| {
            let source = io::Error::other("its thread ended early");
            Err(NetlinkError::Io { what: "work inside the container's namespace", source })
        })
    }
}

/// Whether the file is a *network* namespace, not one of another kind.
fn check_kind(file: &File) -> io::Result<()> {
    nix::ioctl_none_bad!(ns_get_nstype, 0xb703);
    // SAFETY: NS_GET_NSTYPE takes no argument and the descriptor is open.
    let kind = unsafe { ns_get_nstype(file.as_raw_fd()) }?;
    if kind == CloneFlags::CLONE_NEWNET.bits() {
        return Ok(());
    }
    Err(io::Error::other("it is a namespace of another kind"))
}

/// Lets packets that come in by an interface of the host go on to others. It is
/// a setting of each interface, and what a new one has is the host's choice.
pub(super) fn forward(interface: &InterfaceName) -> Result<(), NetlinkError> {
    fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/forwarding"), "1")
        .map_err(|source| NetlinkError::Io { what: "let a container's link forward", source })
}

/// Readies IPv6 on an interface of the namespace that the calling thread is
/// in: runtimes like to disable it, and duplicate address detection of the
/// link-local address would only delay the first packet.
pub(super) fn enable_ipv6(interface: &InterfaceName) -> Result<(), NetlinkError> {
    let setting = |name| format!("/proc/sys/net/ipv6/conf/{interface}/{name}");
    for (name, value) in [("accept_dad", "0"), ("disable_ipv6", "0")] {
        fs::write(setting(name), value).map_err(|source| NetlinkError::Io {
            what: "enable IPv6 on a container's link",
            source,
        })?;
    }
    Ok(())
}
