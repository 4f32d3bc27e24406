//! Where all owners are, in digests small enough to be told to a neighbour
//! every second: one of all, and one for each first byte of an identity.

use super::{Head, NodeId};

/// How many parts there are.
pub const PARTS: usize = 256;

/// The digests, which follow each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads(Box<[u64; PARTS]>);

impl Default for Heads {
    fn default() -> Self {
        Self(Box::new([0; PARTS]))
    }
}

/// The part that an owner is in.
#[must_use]
pub const fn part(owner: NodeId) -> u8 {
    owner.0[0]
}

impl Heads {
    /// Notes that an owner is somewhere else.
    pub fn step(&mut self, owner: NodeId, from: Option<&Head>, to: Option<&Head>) {
        let digests = [from, to].into_iter().flatten().map(|head| digest(owner, head));
        self.0[usize::from(part(owner))] ^= digests.fold(0, |sum, digest| sum ^ digest);
    }

    /// The digest of all.
    #[must_use]
    pub fn all(&self) -> u64 {
        let mut hasher = blake3::Hasher::new_derive_key("ila 2026 heads");
        for part in self.0.iter() {
            hasher.update(&part.to_be_bytes());
        }
        first_half(&hasher.finalize())
    }

    /// The digest of each part.
    #[must_use]
    pub fn parts(&self) -> &[u64; PARTS] {
        &self.0
    }
}

fn digest(owner: NodeId, head: &Head) -> u64 {
    let statement = Head::statement(owner, head.position, head.digest);
    first_half(&blake3::hash(&statement))
}

fn first_half(hash: &blake3::Hash) -> u64 {
    hash.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
