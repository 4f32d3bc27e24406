//! What others have said, on disk: not to be without it after a boot, while
//! nobody can be reached. It is never believed more than what is heard: each
//! part is signed by who has said it, and may be old.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use ila_proto::gossip::{Delta, Owner, wire};

/// Writes what is known of others, in one piece or not at all.
pub fn save(file: &Path, owners: &[Arc<Owner>]) -> io::Result<()> {
    let next = file.with_extension("next");
    let mut writer = BufWriter::new(File::create(&next)?);
    for owner in owners {
        let part = wire::encode(&owner.since(None)).map_err(io::Error::other)?;
        let length = u32::try_from(part.len()).map_err(io::Error::other)?;
        writer.write_all(&length.to_be_bytes())?;
        writer.write_all(&part)?;
    }
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&next, file)
}

/// What was known of others. Each part is read when it is its turn: all of them
/// at once would take several times the memory that knowing them does.
#[derive(Debug, Default)]
pub struct Heard {
    file: PathBuf,
    bytes: Vec<u8>,
}

impl Heard {
    /// Opens the file; what is damaged or missing will be heard again.
    #[must_use]
    pub fn load(file: &Path) -> Self {
        let bytes = fs::read(file).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %file.display(), %error, "what others have said is lost");
            }
            Vec::new()
        });
        Self { file: file.to_owned(), bytes }
    }

    /// What each node has said, up to where the file is damaged.
    pub fn parts(&self) -> impl Iterator<Item = Delta> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let Some((part, behind)) = split(rest) else {
                tracing::warn!(path = %self.file.display(), left = rest.len(), "damaged; the rest will be heard again");
                rest = &[];
                return None;
            };
            rest = behind;
            Some(part)
        })
    }
}

fn split(bytes: &[u8]) -> Option<(Delta, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (part, rest) = rest.split_at_checked(length).filter(|_| length <= wire::MAX_BYTES)?;
    Some((wire::decode(part).ok()?, rest))
}
