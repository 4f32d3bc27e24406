//! A mesh that has run for long, at once: for simulations of so many nodes that
//! none of them could be had to learn of all others.

use std::collections::BTreeSet;

use super::{LinkId, Mesh, Moment, Slots};
use crate::gossip::{NodeId, Surroundings};

impl<S: Surroundings> Mesh<S> {
    /// Knows what another node knows, which is this one as well.
    pub fn know_as(&mut self, other: &Self, now: Moment) {
        self.known = other.known.clone();
        self.heads = other.heads.clone();
        for known in self.known.values_mut() {
            known.heard = None;
            (known.parent, known.pruned, known.lazy) = Default::default();
        }
        self.survey_soon(now);
    }

    /// The connections that this node keeps, and to whom they are.
    pub fn lasting(&self) -> impl Iterator<Item = (LinkId, NodeId)> {
        let lasts = |node: &NodeId| self.neighbours.contains(node);
        self.links.iter().filter(move |(_, it)| lasts(&it.node)).map(|(id, it)| (*id, it.node))
    }

    /// Has news of an owner come by one connection and go on by others.
    pub fn grow(&mut self, owner: NodeId, parent: Option<LinkId>, told: &BTreeSet<LinkId>) {
        let Some(known) = self.known.get_mut(&owner) else { return };
        (known.pruned, known.lazy) = (Slots::default(), Slots::default());
        known.parent = None;
        for (id, link) in &self.links {
            let is_parent = Some(*id) == parent;
            if is_parent {
                known.parent = Some(link.slot);
            }
            known.pruned.set(link.slot, !is_parent);
            known.lazy.set(link.slot, !told.contains(id));
        }
    }
}
