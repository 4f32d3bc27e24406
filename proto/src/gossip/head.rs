//! What an owner signs: at which place its state is the one with this digest.

use serde::{Deserialize, Serialize};

use super::{Digest, NodeId, Signature};

/// One life of a node, from the start of its agent to the end. Later lives are
/// greater.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Incarnation {
    /// How often the node has started, counted durably.
    pub boot: u64,
    /// Random, so that two machines with one identity are told apart.
    pub nonce: u64,
}

/// A place in the history of an owner.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// The life in which it is.
    pub incarnation: Incarnation,
    /// Counts the states in that life, from zero.
    pub sequence: u64,
}

impl Position {
    /// The next place in the same life.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { sequence: self.sequence + 1, ..self }
    }
}

/// What an owner's state is at a position, signed by the owner. It is all that
/// is ever signed: changes and whole states are true if they lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Where.
    pub position: Position,
    /// The digest of the state there.
    pub digest: Digest,
    /// The owner's, over [`Head::statement`].
    pub signature: Signature,
}

impl Head {
    /// The bytes that the owner signs.
    ///
    /// ```text
    ///  0          8       24     32      40         48       80
    ///  | "ila-hd1\0" | owner | boot | nonce | sequence | digest |
    /// ```
    #[must_use]
    pub fn statement(owner: NodeId, position: Position, digest: Digest) -> [u8; 80] {
        let Position { incarnation, sequence } = position;
        let mut statement = [0; 80];
        let parts: [&[u8]; 6] = [
            b"ila-hd1\0",
            &owner.0,
            &incarnation.boot.to_be_bytes(),
            &incarnation.nonce.to_be_bytes(),
            &sequence.to_be_bytes(),
            &digest.0,
        ];
        let mut at = 0;
        for part in parts {
            statement[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        statement
    }
}
