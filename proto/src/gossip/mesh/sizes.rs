//! How much a node keeps, which nobody else can make grow without limit.

use super::{LinkId, Mesh};
use crate::gossip::Surroundings;

/// Counts of what a node keeps besides what owners say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Links that there are.
    pub links: usize,
    /// Frames that wait, on the link where most do.
    pub waiting: usize,
    /// Owners of whom the other side is to be told, or told where they are, on
    /// the link where that is most.
    pub pending: usize,
    /// Owners of whom something is missing.
    pub missing: usize,
    /// Claims that cannot be judged yet.
    pub unjudged: usize,
    /// Changes of its own that are not said yet.
    pub unsaid: usize,
    /// Identifiers that have moved of late.
    pub moves: usize,
    /// Moments at which something is to be done.
    pub timers: usize,
}

impl<S: Surroundings> Mesh<S> {
    /// How much this node keeps.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let most = |size: fn(&super::Link) -> usize| self.links.values().map(size).max();
        Sizes {
            links: self.links.len(),
            waiting: most(|link| link.waiting.len()).unwrap_or_default(),
            pending: most(|link| link.pending.len().max(link.have.len())).unwrap_or_default(),
            missing: self.missing.len(),
            unjudged: self.unjudged.len(),
            unsaid: self.unsaid.len(),
            moves: self.moves.len(),
            timers: self.timers.len(),
        }
    }

    /// Whether a connection is one of those that this node has.
    #[must_use]
    pub fn has(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }
}
