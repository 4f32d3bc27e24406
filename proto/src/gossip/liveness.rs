//! Which nodes live, as those next to them see it. Each node says in its own
//! state which of its neighbours it sees down; whom most of its neighbours see
//! down, of those that are not down themselves, is taken to be down by all.
//! One node alone can make nobody disappear, unless nobody else is near.
//!
//! What is down is hidden, never forgotten. Where a network is cut in two, the
//! larger side takes the other for down. The smaller one, which may be cut off
//! itself, keeps those of whom it cannot be sure.

use std::collections::{BTreeMap, BTreeSet};

use super::{NodeId, ring::neighbours};

/// Who sees whom down.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    /// By whom each node is seen down.
    seen_by: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

impl Reports {
    /// Notes what one node sees of another.
    pub fn set(&mut self, observer: NodeId, node: NodeId, is_down: bool) {
        if is_down {
            self.seen_by.entry(node).or_default().insert(observer);
        } else if let Some(seen_by) = self.seen_by.get_mut(&node) {
            seen_by.remove(&observer);
            if seen_by.is_empty() {
                self.seen_by.remove(&node);
            }
        }
    }

    /// Who is down of `nodes`. The same reports give the same answer, in
    /// whichever order they came.
    #[must_use]
    pub fn down(&self, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        // Who is reported, with all its neighbours and those that report it.
        let reported: Vec<_> = self
            .seen_by
            .iter()
            .filter(|(node, _)| nodes.contains(node))
            .map(|(node, by)| (*node, neighbours(*node, nodes), by))
            .collect();
        let mut down = BTreeSet::new();
        // Each that is found to be down no longer counts as a neighbour, which
        // may decide on others; nobody who is down comes to life by that.
        loop {
            let found: Vec<_> = reported
                .iter()
                .filter(|(node, neighbours, by)| {
                    let lives = |it: &&NodeId| !down.contains(*it);
                    let counted = neighbours.iter().filter(lives).count();
                    let against = neighbours.intersection(by).filter(lives).count();
                    !down.contains(node) && against * 2 > counted
                })
                .map(|(node, _, _)| *node)
                .collect();
            if found.is_empty() {
                return down;
            }
            down.extend(found);
        }
    }
}

#[cfg(test)]
mod tests;
