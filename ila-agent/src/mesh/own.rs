//! What this node has said, on disk: one file, written anew and in one piece
//! before anybody is told.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use ila_proto::gossip::{
    Delta, Incarnation, Key, NodeRecord, Owner, Position, State, Surroundings, Value, wire,
};

use super::MeshError;

/// The node as it was when it ended, in its next life; a new one if there is no
/// file. It is stored already.
pub fn resume(
    file: &Path,
    record: &NodeRecord,
    surroundings: &mut impl Surroundings,
) -> Result<Owner, MeshError> {
    let stored = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other.map_err(failed(file))?),
    };
    let (boot, entries) = match stored {
        None => (0, Vec::new()),
        Some(bytes) => {
            let whole: Delta =
                wire::decode(&bytes).map_err(|_| MeshError::Damaged(file.to_owned()))?;
            // A file that was changed, or is another node's, is not ours.
            let former = Owner::learn(whole, surroundings)
                .map_err(|_| MeshError::Damaged(file.to_owned()))?;
            let entries = former.state().entries();
            let entries = entries.map(|(key, value)| (*key, value.clone())).collect();
            (former.head().position.incarnation.boot, entries)
        }
    };
    let bytes = wire::encode(record).ok();
    let record = bytes.and_then(|bytes| Value::new(&bytes).ok());
    let record = record.ok_or(ila_proto::gossip::Refused::Certificate)?;
    let state = State::of(entries.into_iter().chain([(Key::RECORD, record)]));
    let incarnation = Incarnation { boot: boot + 1, nonce: surroundings.random() };
    let own = Owner::new(state, Position { incarnation, sequence: 0 }, surroundings)?;
    save(file, &own.since(None))?;
    Ok(own)
}

/// Stores what this node says, durably: after a crash it is all there, or all
/// that was there before.
pub fn save(file: &Path, whole: &Delta) -> Result<(), MeshError> {
    let bytes = wire::encode(whole).map_err(|error| failed(file)(io::Error::other(error)))?;
    let next = file.with_extension("next");
    let write = || {
        let mut written = File::create(&next)?;
        written.write_all(&bytes)?;
        written.sync_all()?;
        fs::rename(&next, file)?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all()
    };
    write().map_err(failed(file))
}

fn failed(file: &Path) -> impl Fn(io::Error) -> MeshError {
    move |source| MeshError::Store { path: file.to_owned(), source }
}
