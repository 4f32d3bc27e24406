//! What this node has said, as it is stored: before anybody is told.

use std::{io, path::PathBuf};

use ila_proto::gossip::{
    Change, Delta, Incarnation, Key, NodeRecord, Owner, Position, State, Surroundings, Value, wire,
};

use super::{MeshError, Store};

/// The node as it was when it ended, in its next life; a new one if nothing is
/// stored. It is stored already.
pub fn resume(
    store: &dyn Store,
    record: &NodeRecord,
    surroundings: &mut impl Surroundings,
) -> Result<Owner, MeshError> {
    let (boot, mut state) = match store.load().map_err(failed(store.place()))? {
        None => (0, State::default()),
        Some(bytes) => {
            let damaged = || MeshError::Damaged(store.place());
            let whole: Delta = wire::decode(&bytes).map_err(|_| damaged())?;
            // What was changed, or is another node's, is not ours.
            let former = Owner::learn(whole, surroundings).map_err(|_| damaged())?;
            (former.head().position.incarnation.boot, former.state().clone())
        }
    };
    state.apply(&[Change { key: Key::RECORD, value: Some(value(record)?) }]);
    let incarnation = Incarnation { boot: boot + 1, nonce: surroundings.random() };
    let own = Owner::new(state, Position { incarnation, sequence: 0 }, surroundings)?;
    save(store, &own.since(None))?;
    Ok(own)
}

/// A record as it stands in a state.
pub fn value(record: &NodeRecord) -> Result<Value, MeshError> {
    let bytes = wire::encode(record).ok();
    let value = bytes.and_then(|bytes| Value::new(&bytes).ok());
    value.ok_or(MeshError::Own(ila_proto::gossip::Refused::Certificate))
}

/// Stores what this node says.
pub fn save(store: &dyn Store, whole: &Delta) -> Result<(), MeshError> {
    let bytes = wire::encode(whole).map_err(io::Error::other);
    bytes.and_then(|bytes| store.save(&bytes)).map_err(failed(store.place()))
}

fn failed(path: PathBuf) -> impl Fn(io::Error) -> MeshError {
    move |source| MeshError::Store { path: path.clone(), source }
}
