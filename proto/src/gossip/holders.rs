//! Who holds each identifier, of all that claim it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    NodeId,
    claim::{Right, Standing, Subject},
    mesh::Moment,
};

/// All claims. A node knows a million, so each takes 24 bytes: identifiers are
/// kept by their SIR prefix, and nodes by their place in a list.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    claimants: BTreeMap<u64, BTreeMap<u64, Claimants>>,
    nodes: Vec<NodeId>,
    places: BTreeMap<NodeId, u32>,
    count: usize,
}

/// Who claims an identifier, almost always one.
#[derive(Clone, Debug)]
#[expect(clippy::box_collection, reason = "the map itself would take twice the room, for all")]
enum Claimants {
    One(Claimed),
    Many(Box<BTreeMap<NodeId, Claimed>>),
}

/// A claim, and since when it stands so, in seconds.
#[derive(Clone, Copy, Debug)]
struct Claimed {
    /// The place of who claims.
    by: u32,
    epoch: u32,
    since: u32,
    right: Right,
}

impl Claimed {
    const fn standing(&self) -> Standing {
        Standing { right: self.right, epoch: self.epoch }
    }
}

const _: () = assert!(size_of::<Claimants>() == 16);

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
    /// Notes a claim, or that there is none any more. Says whether several nodes
    /// claim that identifier.
    pub fn set(
        &mut self,
        subject: Subject,
        owner: NodeId,
        standing: Option<Standing>,
        now: Moment,
    ) -> bool {
        let by = self.place(owner);
        let of_prefix = self.claimants.entry(subject.sir_prefix).or_default();
        let mut all = match of_prefix.remove(&subject.identifier) {
            None => BTreeMap::new(),
            Some(Claimants::One(claimed)) => {
                BTreeMap::from([(self.nodes[claimed.by as usize], claimed)])
            }
            Some(Claimants::Many(all)) => *all,
        };
        self.count -= usize::from(!all.is_empty());
        let former = all.remove(&owner);
        if let Some(Standing { right, epoch }) = standing {
            let now = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
            let same = former.filter(|it| (it.right, it.epoch) == (right, epoch));
            let since = same.map_or(now, |it| it.since);
            all.insert(owner, Claimed { by, epoch, since, right });
        }
        let claimants = match all.len() {
            0 => return false,
            1 => all.pop_first().map(|(_, claimed)| Claimants::One(claimed)),
            _ => Some(Claimants::Many(all.into())),
        };
        self.count += 1;
        let is_disputed = matches!(claimants, Some(Claimants::Many(_)));
        of_prefix.extend(claimants.map(|claimants| (subject.identifier, claimants)));
        is_disputed
    }

    /// Who holds an identifier: the one of those that are not `hidden` whose
    /// claim stands best. If two stand equal it is the lesser of both, so that
    /// all nodes choose the same.
    #[must_use]
    pub fn held(&self, subject: Subject, hidden: &BTreeSet<NodeId>) -> Option<Held> {
        if let Some(Claimants::One(claimed)) = self.claimants(subject) {
            let (by, standing) = (self.nodes[claimed.by as usize], claimed.standing());
            let (since, disputed_by) = (Duration::from_secs(claimed.since.into()), BTreeSet::new());
            return (!hidden.contains(&by)).then_some(Held { by, standing, since, disputed_by });
        }
        let living = || {
            let claims = self.claims(subject).map(|it| (it, self.nodes[it.by as usize]));
            claims.filter(|(_, owner)| !hidden.contains(owner))
        };
        let (best, by) = living().max_by_key(|(it, owner)| (it.standing(), Reverse(*owner)))?;
        let disputed_by = living().map(|(_, owner)| owner).filter(|owner| *owner != by).collect();
        let (standing, since) = (best.standing(), Duration::from_secs(best.since.into()));
        Some(Held { by, standing, since, disputed_by })
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
        let place = *self.places.get(&node)?;
        let claimed = self.claims(subject).find(|it| it.by == place)?;
        let (standing, since) = (claimed.standing(), Duration::from_secs(claimed.since.into()));
        let mut disputed_by = held.disputed_by;
        disputed_by.insert(held.by);
        disputed_by.remove(&node).then_some(Held { by: node, standing, since, disputed_by })
    }

    /// The identifiers that somebody claims without a right that is known.
    pub fn without_right(&self) -> impl Iterator<Item = Subject> {
        let subjects = self.subjects();
        subjects.filter(|it| self.claims(*it).any(|claimed| claimed.right == Right::None))
    }

    /// All that are claimed.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.claimants.iter().flat_map(|(sir_prefix, all)| {
            let sir_prefix = *sir_prefix;
            all.keys().map(move |identifier| Subject { sir_prefix, identifier: *identifier })
        })
    }

    /// How many that are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    fn claimants(&self, subject: Subject) -> Option<&Claimants> {
        self.claimants.get(&subject.sir_prefix)?.get(&subject.identifier)
    }

    /// All claims to an identifier, by who claims it.
    fn claims(&self, subject: Subject) -> impl Iterator<Item = &Claimed> {
        let (one, many) = match self.claimants(subject) {
            None => (None, None),
            Some(Claimants::One(claimed)) => (Some(claimed), None),
            Some(Claimants::Many(all)) => (None, Some(all.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn place(&mut self, node: NodeId) -> u32 {
        *self.places.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).expect("each node takes kilobytes elsewhere")
        })
    }
}

#[cfg(test)]
mod tests;
