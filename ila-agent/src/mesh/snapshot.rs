//! What others have said, on disk: not to be without it after a boot, while
//! nobody can be reached. It is never believed more than what is heard: each
//! part is signed by who has said it, and may be old.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
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

/// What was known of others; less of it where the file is damaged, for each
/// will say it again.
pub fn load(file: &Path) -> Vec<Delta> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %file.display(), %error, "what others have said is lost");
            }
            return Vec::new();
        }
    };
    let (mut rest, mut parts) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let Some((part, behind)) = split(rest) else {
            tracing::warn!(path = %file.display(), known = parts.len(), "damaged; the rest will be heard again");
            break;
        };
        parts.push(part);
        rest = behind;
    }
    parts
}

fn split(bytes: &[u8]) -> Option<(Delta, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (part, rest) = rest.split_at_checked(length).filter(|_| length <= wire::MAX_BYTES)?;
    Some((wire::decode(part).ok()?, rest))
}
