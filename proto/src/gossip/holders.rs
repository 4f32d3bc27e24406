//! Who holds each identifier, of all that claim it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    NodeId,
    claim::{Right, Standing, Subject},
};

/// All claims.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    claimants: BTreeMap<Subject, Claimants>,
}

/// Who claims an identifier, almost always one.
#[derive(Clone, Debug)]
enum Claimants {
    One(NodeId, Standing),
    Many(BTreeMap<NodeId, Standing>),
}

/// Who has an identifier, and who else says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who has it.
    pub by: NodeId,
    /// How well.
    pub standing: Standing,
    /// Who claims it as well, and lives.
    pub disputed_by: BTreeSet<NodeId>,
}

impl Holders {
    /// Notes a claim, or that there is none any more.
    pub fn set(&mut self, subject: Subject, owner: NodeId, standing: Option<Standing>) {
        let mut all = match self.claimants.remove(&subject) {
            None => BTreeMap::new(),
            Some(Claimants::One(owner, standing)) => BTreeMap::from([(owner, standing)]),
            Some(Claimants::Many(all)) => all,
        };
        match standing {
            Some(standing) => all.insert(owner, standing),
            None => all.remove(&owner),
        };
        let claimants = match all.len() {
            0 => return,
            1 => all.pop_first().map(|(owner, standing)| Claimants::One(owner, standing)),
            _ => Some(Claimants::Many(all)),
        };
        self.claimants.extend(claimants.map(|claimants| (subject, claimants)));
    }

    /// Who holds an identifier: the one of those that are not `hidden` whose
    /// claim stands best. If two stand equal it is the lesser of both, so that
    /// all nodes choose the same.
    #[must_use]
    pub fn held(&self, subject: Subject, hidden: &BTreeSet<NodeId>) -> Option<Held> {
        let (mut best, mut disputed_by) = (None, BTreeSet::new());
        let mut consider = |owner: NodeId, standing: Standing| {
            if hidden.contains(&owner) {
                return;
            }
            disputed_by.insert(owner);
            let this = (standing, std::cmp::Reverse(owner));
            if best.is_none_or(|best| this > best) {
                best = Some(this);
            }
        };
        match self.claimants.get(&subject)? {
            Claimants::One(owner, standing) => consider(*owner, *standing),
            Claimants::Many(all) => all.iter().for_each(|(it, standing)| consider(*it, *standing)),
        }
        let (standing, std::cmp::Reverse(by)) = best?;
        disputed_by.remove(&by);
        Some(Held { by, standing, disputed_by })
    }

    /// That a node holds an identifier, if it claims it and is not `hidden`,
    /// whoever has a better claim.
    #[must_use]
    pub fn held_by(
        &self,
        subject: Subject,
        node: NodeId,
        hidden: &BTreeSet<NodeId>,
    ) -> Option<Held> {
        let Held { by, standing, mut disputed_by } = self.held(subject, hidden)?;
        if by == node {
            return Some(Held { by, standing, disputed_by });
        }
        let Claimants::Many(all) = self.claimants.get(&subject)? else { return None };
        let standing = *all.get(&node)?;
        disputed_by.insert(by);
        disputed_by.remove(&node).then_some(Held { by: node, standing, disputed_by })
    }

    /// The identifiers that somebody claims without a right that is known.
    pub fn without_right(&self) -> impl Iterator<Item = Subject> {
        let is_without = |standing: &Standing| standing.right == Right::None;
        self.claimants.iter().filter_map(move |(subject, claimants)| {
            let found = match claimants {
                Claimants::One(_, standing) => is_without(standing),
                Claimants::Many(all) => all.values().any(is_without),
            };
            found.then_some(*subject)
        })
    }

    /// All that are claimed.
    #[must_use]
    pub fn subjects(&self) -> impl ExactSizeIterator<Item = Subject> {
        self.claimants.keys().copied()
    }
}

#[cfg(test)]
mod tests;
