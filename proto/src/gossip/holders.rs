//! Who holds each identifier, of all that claim it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    NodeId,
    claim::{Right, Standing, Subject},
    mesh::Moment,
};

/// All claims.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    claimants: BTreeMap<Subject, Claimants>,
}

/// Who claims an identifier, almost always one.
#[derive(Clone, Debug)]
enum Claimants {
    One(NodeId, Claimed),
    Many(BTreeMap<NodeId, Claimed>),
}

/// A claim, and since when it stands so, in seconds.
#[derive(Clone, Copy, Debug)]
struct Claimed {
    standing: Standing,
    since: u32,
}

/// Who has an identifier, and who else says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who has it.
    pub by: NodeId,
    /// How well.
    pub standing: Standing,
    /// Since when this node knows it so, in whole seconds.
    pub since: Moment,
    /// Who claims it as well, and lives.
    pub disputed_by: BTreeSet<NodeId>,
}

impl Holders {
    /// Notes a claim, or that there is none any more.
    pub fn set(
        &mut self,
        subject: Subject,
        owner: NodeId,
        standing: Option<Standing>,
        now: Moment,
    ) {
        let mut all = match self.claimants.remove(&subject) {
            None => BTreeMap::new(),
            Some(Claimants::One(owner, claimed)) => BTreeMap::from([(owner, claimed)]),
            Some(Claimants::Many(all)) => all,
        };
        let former = all.remove(&owner);
        if let Some(standing) = standing {
            let now = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
            let same = former.filter(|former| former.standing == standing);
            all.insert(owner, Claimed { standing, since: same.map_or(now, |it| it.since) });
        }
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
        let mut consider = |owner: NodeId, Claimed { standing, since }: Claimed| {
            if hidden.contains(&owner) {
                return;
            }
            disputed_by.insert(owner);
            let this = (standing, std::cmp::Reverse(owner));
            if best.is_none_or(|(best, _)| this > best) {
                best = Some((this, since));
            }
        };
        match self.claimants.get(&subject)? {
            Claimants::One(owner, claimed) => consider(*owner, *claimed),
            Claimants::Many(all) => all.iter().for_each(|(it, claimed)| consider(*it, *claimed)),
        }
        let ((standing, std::cmp::Reverse(by)), since) = best?;
        disputed_by.remove(&by);
        Some(Held { by, standing, since: Duration::from_secs(since.into()), disputed_by })
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
        let held = self.held(subject, hidden)?;
        if held.by == node {
            return Some(held);
        }
        let Claimants::Many(all) = self.claimants.get(&subject)? else { return None };
        let Claimed { standing, since } = *all.get(&node)?;
        let mut disputed_by = held.disputed_by;
        disputed_by.insert(held.by);
        let since = Duration::from_secs(since.into());
        disputed_by.remove(&node).then_some(Held { by: node, standing, since, disputed_by })
    }

    /// The identifiers that somebody claims without a right that is known.
    pub fn without_right(&self) -> impl Iterator<Item = Subject> {
        let is_without = |it: &Claimed| it.standing.right == Right::None;
        self.claimants.iter().filter_map(move |(subject, claimants)| {
            let found = match claimants {
                Claimants::One(_, claimed) => is_without(claimed),
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
