//! Who is next to whom: as many rings as positions fit in a node's identity,
//! each with the nodes in another order. Neighbours on the rings keep links to
//! each other and see whether the other one lives. Links on random rings make
//! a graph in which every node is a few steps from every other.

use std::collections::BTreeSet;

use super::NodeId;

/// How many rings.
pub const RINGS: usize = 4;

/// The place of a node on a ring.
fn place(node: NodeId, ring: usize) -> u32 {
    let at = ring * 4;
    u32::from_be_bytes([node.0[at], node.0[at + 1], node.0[at + 2], node.0[at + 3]])
}

/// How far it is from one node on to another; two at one place are as far apart
/// as their identities say.
fn distance(from: NodeId, to: NodeId, ring: usize) -> (u32, NodeId) {
    (place(to, ring).wrapping_sub(place(from, ring)), to.max(from))
}

/// The neighbours of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Those that come next on a ring; to them the node makes its links.
    pub next: BTreeSet<NodeId>,
    /// Those that come before; they make theirs to the node.
    pub before: BTreeSet<NodeId>,
}

impl Neighbours {
    /// Those of `node` among `nodes`, which may name it as well.
    #[must_use]
    pub fn of<'a>(node: NodeId, nodes: impl IntoIterator<Item = &'a NodeId> + Copy) -> Self {
        let mut neighbours = Self::default();
        for ring in 0..RINGS {
            let others = || nodes.into_iter().copied().filter(|other| *other != node);
            neighbours.next.extend(others().min_by_key(|other| distance(node, *other, ring)));
            neighbours.before.extend(others().min_by_key(|other| distance(*other, node, ring)));
        }
        neighbours
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeSet<NodeId> {
        self.next.union(&self.before).copied().collect()
    }
}

#[cfg(test)]
mod tests;
