//! The mesh: which node says what, and how all come to know it. Pure, without
//! IO, clock or randomness: events in, effects out.
//!
//! Each node is the *owner* of what it says, its [`State`]: its record, the
//! identifiers that it holds, the nodes that it sees down. With each change it
//! signs a [`Head`], the digest of all of it at a position in its history.
//! Nothing else is ever signed: what nodes tell each other are changes from one
//! position to another, or whole states, and either is true if it leads to a
//! signed head. So any node can hand on what any other has said, shortened to
//! what the next one lacks, and nobody can add to it.

pub mod claim;
pub mod frame;
mod head;
pub mod heads;
pub mod holders;
mod identity;
pub mod liveness;
pub mod mesh;
mod owner;
pub mod ring;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod state;
pub mod wire;

pub use head::{Head, Incarnation, Position};
pub use identity::{
    Certified, Digest, IdentifierRange, NodeId, NodeRecord, PublicKey, Signature, Surroundings,
};
pub use owner::{Delta, Owner, RECENT, Refused, Taken};
pub use state::{Change, Key, MAX_KEY, MAX_STATE, MAX_VALUE, State, TooLong, Value};
