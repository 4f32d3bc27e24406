//! The agent's place in the file system: a folder with its lock, its socket
//! and its containers' records. The lock admits one agent at a time, so what
//! another has left there can be cleared away.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use ila_proto::api::SOCKET_NAME;
use nix::{
    fcntl::{Flock, FlockArg},
    unistd::{Gid, Group, chown},
};
use tokio::net::UnixListener;

/// Who may use the socket, besides root.
const GROUP: &str = "ila";
const SOCKET_MODE: u32 = 0o660;

/// Why the runtime directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// Another agent runs there.
    #[error("another agent runs on the runtime directory {0}; end it first")]
    Taken(PathBuf),
    /// The file system refused.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A runtime directory that is ours until this value is dropped.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl RuntimeDir {
    /// Makes the directory if need be and locks it.
    pub fn lock(path: &Path) -> Result<Self, RuntimeDirError> {
        let failed = |what| {
            let path = path.to_owned();
            move |source| RuntimeDirError::Io { what, path, source }
        };
        fs::create_dir_all(path).map_err(failed("create"))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            // Whoever can open it can lock it, and keep every agent out.
            .mode(0o600)
            .open(path.join("agent.lock"))
            .map_err(failed("open the lock in"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err((_, nix::Error::EWOULDBLOCK)) => Err(RuntimeDirError::Taken(path.to_owned())),
            Err((_, errno)) => Err(failed("lock")(errno.into())),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Listens on the socket. One that an earlier agent has left is removed:
    /// the lock says that nobody listens there any more.
    pub fn listen(&self) -> Result<UnixListener, RuntimeDirError> {
        let socket = self.socket();
        let failed = |what| {
            let path = socket.clone();
            move |source| RuntimeDirError::Io { what, path, source }
        };
        self.remove_socket()?;
        let listener = UnixListener::bind(&socket).map_err(failed("listen on"))?;
        if let Ok(Some(Group { gid, .. })) = Group::from_name(GROUP) {
            chown(&socket, None, Some(Gid::from_raw(gid.as_raw())))
                .map_err(|errno| failed("give to the group ila")(errno.into()))?;
        }
        fs::set_permissions(&socket, Permissions::from_mode(SOCKET_MODE))
            .map_err(failed("set the mode of"))?;
        Ok(listener)
    }

    /// Removes the socket; one that is not there is fine.
    pub fn remove_socket(&self) -> Result<(), RuntimeDirError> {
        let path = self.socket();
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RuntimeDirError::Io { what: "remove the stale socket", path, source })
            }
            _ => Ok(()),
        }
    }

    fn socket(&self) -> PathBuf {
        self.path.join(SOCKET_NAME)
    }
}
