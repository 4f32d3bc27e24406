//! Who is next to whom. A node has a place on each of several rings, its
//! identity read from another byte on, so that on each the order is another one.
//! Neighbours on the rings keep links to each other and see whether the other one
//! lives. Links on random rings make a graph in which every node is a few steps
//! from every other. Where there are few nodes, each is next to all others.

use std::collections::BTreeSet;

use super::NodeId;

/// How many rings.
const RINGS: u32 = 4;

/// Up to so many nodes are all next to each other: on rings of so few the same two
/// may face each other on all, and of who lives half would say one thing and half
/// the other.
const FEW: usize = 2 * RINGS as usize + 1;

/// How far it is on a ring from one node on to another.
fn distance(from: NodeId, to: NodeId, ring: u32) -> u128 {
    let place = |node: NodeId| u128::from_be_bytes(node.0).rotate_left(ring * u128::BITS / RINGS);
    place(to).wrapping_sub(place(from))
}

/// Those of `nodes` that are next to `node`, which may be among them. Whoever is
/// next to another has that one next to itself.
#[must_use]
pub fn neighbours<'a>(
    node: NodeId,
    nodes: impl IntoIterator<Item = &'a NodeId> + Copy,
) -> BTreeSet<NodeId> {
    let others = || nodes.into_iter().copied().filter(|other| *other != node);
    if others().nth(FEW - 1).is_none() {
        return others().collect();
    }
    let mut neighbours = BTreeSet::new();
    for ring in 0..RINGS {
        neighbours.extend(others().min_by_key(|other| distance(node, *other, ring)));
        neighbours.extend(others().min_by_key(|other| distance(*other, node, ring)));
    }
    neighbours
}

#[cfg(test)]
mod tests;
