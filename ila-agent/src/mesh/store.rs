//! Where a node keeps what it has said.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
};

/// What is stored in one piece: after a crash it is all there, or all that was
/// there before.
pub trait Store: fmt::Debug + Send + Sync {
    /// What was stored last; none if nothing ever was.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;
    /// Stores this instead, durably.
    fn save(&self, bytes: &[u8]) -> io::Result<()>;
    /// Whether that waits for a disk, so that others must not wait for it.
    fn blocks(&self) -> bool {
        true
    }
    /// Where it is, for people.
    fn place(&self) -> PathBuf;
}

/// A file, with another one beside it for as long as it is written.
impl Store for PathBuf {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn save(&self, bytes: &[u8]) -> io::Result<()> {
        let next = self.with_extension("next");
        let mut written = File::create(&next)?;
        written.write_all(bytes)?;
        written.sync_all()?;
        fs::rename(&next, self)?;
        let folder = self.parent().map_or_else(|| "/".into(), PathBuf::from);
        File::open(folder)?.sync_all()
    }

    fn place(&self) -> PathBuf {
        self.clone()
    }
}
