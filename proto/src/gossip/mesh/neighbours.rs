//! To whom a node has links, and who it looks after.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{Effect, Fault, Known, LinkId, Mesh, Moment, Timer, knowledge::seen_down};
use crate::gossip::{NodeId, Position, Surroundings, frame::Frame, ring};

/// Within what time both sides may make a link without knowing of the other's.
const TWINS: Duration = Duration::from_secs(2);
/// How long a link stays that was made for a visit …
const VISIT: Duration = Duration::from_secs(5);
/// … and for as long as it has brought whole states within that time: much was
/// missed.
const BRINGING: Duration = Duration::from_secs(1);
/// How long news of nodes are collected until links are arranged anew, and how much
/// longer for each node that is known: all of them are looked at.
const SURVEY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_micros(10));
/// Between two tries to reach a neighbour, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// So many nodes look for others where all do at first, while somebody is down,
/// each time that all others visit somebody.
const SEEKERS: usize = 2;
/// A link has at most so many frames of its own waiting; more are as good as
/// one that is stalled.
const MAX_WAITING: usize = 1024;

/// The place of a link among those that there are, for what is kept of each
/// link for each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u8);

/// Some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots(u64);

impl Slot {
    const ALL: std::ops::Range<u8> = 0..64;
}

impl Slots {
    pub const fn has(self, slot: Slot) -> bool {
        self.0 >> slot.0 & 1 == 1
    }

    pub const fn set(&mut self, slot: Slot, has: bool) {
        self.0 = self.0 & !(1 << slot.0) | (has as u64) << slot.0;
    }
}

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub node: NodeId,
    pub slot: Slot,
    pub round_trip: Duration,
    since: Moment,
    is_ours: bool,
    /// When it last brought a whole state that was new.
    pub brought: Option<Moment>,
    /// What has to be answered.
    pub waiting: VecDeque<Frame>,
    /// Of which owners the other node has to be told, and where it knows them.
    pub pending: BTreeMap<NodeId, Option<Position>>,
    /// Of which owners it is told where they are only.
    pub have: BTreeSet<NodeId>,
    /// Whether that is to be told now.
    pub is_telling: bool,
}

/// A neighbour without a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    since: Moment,
    tries: u32,
}

impl<S: Surroundings> Mesh<S> {
    pub(super) fn link_up(
        &mut self,
        id: LinkId,
        node: NodeId,
        round_trip: Duration,
        is_ours: bool,
        now: Moment,
    ) {
        let free = Slot::ALL.map(Slot).find(|slot| self.links.values().all(|it| it.slot != *slot));
        let Some(slot) = free.or_else(|| self.make_room(node, now)) else {
            return self.do_this(Effect::Close(id, Fault::Full));
        };
        for known in self.known.values_mut() {
            known.lazy.set(slot, false);
            known.pruned.set(slot, false);
        }
        let link = Link {
            node,
            slot,
            round_trip,
            since: now,
            is_ours,
            brought: None,
            waiting: VecDeque::new(),
            pending: BTreeMap::new(),
            have: BTreeSet::new(),
            is_telling: false,
        };
        self.links.insert(id, link);
        if self.is_silent {
            return self.close(id, Fault::Done, now);
        }
        if node == self.me {
            return self.close(id, Fault::Twice, now);
        }
        // Both may have made one at the same time: both keep that of the lesser
        // node, and of two by the same node the later. One that stands for long is
        // gone for the other side, which has started anew and makes another.
        let maker = |ours: bool| if ours { self.me } else { node };
        let mut twins = self.links.iter().filter(|(other, it)| it.node == node && **other != id);
        if let Some((&twin, it)) = twins.next() {
            let is_gone = now.saturating_sub(it.since) >= TWINS;
            let worse = if !is_gone && maker(it.is_ours) < maker(is_ours) { id } else { twin };
            self.close(worse, Fault::Twice, now);
            if worse == id {
                return;
            }
        }
        self.lost.remove(&node);
        self.cancel(|timer| *timer == Timer::Neighbour(node));
        if self.sees_down(node) {
            self.say(seen_down(node, false).into_iter().collect(), now);
        }
        if !self.neighbours.contains(&node) {
            self.at(now + VISIT, Timer::Leave(id));
        }
        self.compare(id, now);
    }

    /// Ends a visit for a neighbour's sake: a node that all visit, because it
    /// seems to be down, would never be seen to be up.
    fn make_room(&mut self, node: NodeId, now: Moment) -> Option<Slot> {
        if !self.neighbours.contains(&node) {
            return None;
        }
        let visit = self.links.iter().find(|(_, link)| !self.neighbours.contains(&link.node));
        let (visit, slot) = visit.map(|(id, link)| (*id, link.slot))?;
        self.close(visit, Fault::Full, now);
        Some(slot)
    }

    pub(super) fn link_down(&mut self, id: LinkId, now: Moment) {
        let Some(link) = self.links.remove(&id) else { return };
        let is_orphan = |known: &&mut Known| known.parent == Some(link.slot);
        let orphans: Vec<_> = self
            .known
            .iter_mut()
            .filter_map(|(owner, known)| is_orphan(&known).then_some((*owner, known)))
            .map(|(owner, known)| {
                known.parent = None;
                owner
            })
            .collect();
        for owner in orphans {
            self.adopt(owner, now);
        }
        self.cancel(|timer| *timer == Timer::Stalled(id) || *timer == Timer::Leave(id));
        if self.neighbours.contains(&link.node) && !self.has_link(link.node) {
            let has_lasted = now.saturating_sub(link.since) >= VISIT;
            self.lose(link.node, has_lasted, now);
        }
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, id: LinkId, fault: Fault, now: Moment) {
        if self.links.contains_key(&id) {
            self.do_this(Effect::Close(id, fault));
            self.link_down(id, now);
        }
    }

    /// A visit is over, unless the other one has become a neighbour.
    pub(super) fn leave(&mut self, id: LinkId, now: Moment) {
        let Some(link) = self.links.get(&id) else { return };
        if !link.is_ours || self.neighbours.contains(&link.node) {
            return;
        }
        match link.brought {
            Some(at) if now.saturating_sub(at) < BRINGING => {
                self.at(now + BRINGING, Timer::Leave(id));
            }
            _ => self.close(id, Fault::Done, now),
        }
    }

    /// Has who is down found out and links arranged anew, in a moment.
    pub(super) fn survey_soon(&mut self, now: Moment) {
        if !self.is_surveying {
            self.is_surveying = true;
            let (least, each) = SURVEY;
            let nodes = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
            self.at(now + least + each.saturating_mul(nodes), Timer::Survey);
        }
    }

    /// Finds out who is down and who is next to this node.
    pub(super) fn survey(&mut self, now: Moment) {
        self.is_surveying = false;
        let nodes: BTreeSet<_> = self.known.keys().copied().collect();
        self.see_who_is_down(&nodes);
        let alive = &nodes - &self.down;
        let mut neighbours = ring::neighbours(self.me, &alive);
        // Those that this node has to see, whether they are down or not.
        neighbours.extend(ring::neighbours(self.me, &nodes));
        let former = std::mem::replace(&mut self.neighbours, neighbours);
        let gone: Vec<_> = former.difference(&self.neighbours).copied().collect();
        for node in gone {
            self.lost.remove(&node);
            let links = self.links.iter().filter(|(_, link)| link.node == node);
            let links: Vec<_> = links.map(|(id, _)| *id).collect();
            for id in links {
                self.at(now + VISIT, Timer::Leave(id));
            }
            if self.sees_down(node) {
                self.say(seen_down(node, false).into_iter().collect(), now);
            }
        }
        let new: Vec<_> = self.neighbours.difference(&former).copied().collect();
        for node in new {
            if !self.has_link(node) {
                self.lose(node, true, now);
            }
        }
    }

    /// Tries to reach a neighbour, and says so if that has been in vain for too
    /// long.
    pub(super) fn look_after(&mut self, node: NodeId, now: Moment) {
        let Some(lost) = self.lost.get_mut(&node).filter(|_| !self.is_silent) else { return };
        let Lost { since, tries } = *lost;
        lost.tries += 1;
        if now.saturating_sub(since) >= self.settings.suspect && !self.sees_down(node) {
            self.say(seen_down(node, true).into_iter().collect(), now);
        }
        self.do_this(Effect::Dial(node));
        let (first, most) = RETRY;
        let after = first.saturating_mul(1 << tries.min(10)).min(most);
        let until_suspect = (since + self.settings.suspect).saturating_sub(now);
        let after = if until_suspect.is_zero() { after } else { after.min(until_suspect) };
        self.at(now + after, Timer::Neighbour(node));
    }

    /// Visits somebody without a link, the more often somebody is down: that
    /// may only be cut off. Whoever was found first counts as one more that is
    /// not known: they may have found others, of whom nobody here has heard.
    pub(super) fn explore(&mut self, now: Moment) {
        if self.is_silent {
            return;
        }
        let linked: BTreeSet<_> = self.links.values().map(|link| link.node).collect();
        let is_stranger = |node: &&NodeId| **node != self.me && !linked.contains(node);
        let strangers = self.known.keys().filter(is_stranger).count();
        let down = self.down.iter().filter(is_stranger).count();
        let (half, any, down_at) = (self.below(2), self.below(strangers + 1), self.below(down));
        let is_stranger = |node: &&NodeId| **node != self.me && !linked.contains(node);
        let chosen = if down > 0 && half == 0 {
            self.down.iter().filter(is_stranger).nth(down_at)
        } else {
            self.known.keys().filter(is_stranger).nth(any)
        };
        let chosen = chosen.copied();
        // Whoever is down may have been replaced where it was by a node that nobody
        // knows and that knows nobody: about once a second somebody looks there.
        let seeks = down > 0 && self.below(self.known.len()) < SEEKERS;
        // Whoever was known may all be gone, of one who was away for long.
        if seeks || chosen.is_none() || self.links.is_empty() {
            self.do_this(Effect::Seek);
        }
        if let Some(node) = chosen {
            self.do_this(Effect::Dial(node));
        }
        let period = if down > 0 || self.links.is_empty() {
            self.settings.explore_down
        } else {
            self.settings.explore
        };
        let after = self.about(period);
        self.at(now + after, Timer::Explore);
    }

    fn lose(&mut self, node: NodeId, has_lasted: bool, now: Moment) {
        self.lost.insert(node, Lost { since: now, tries: 0 });
        // Whoever comes before on a ring makes the link, the other one waits for
        // it for a while.
        let is_mine = node > self.me;
        let after = match (has_lasted, is_mine) {
            (true, true) => Duration::from_millis(2),
            (true, false) => RETRY.0,
            // Two machines with one identity would take each other's links for ever.
            (false, _) => RETRY.0 * 4,
        };
        let after = self.about(after);
        self.at(now + after, Timer::Neighbour(node));
    }

    fn has_link(&self, node: NodeId) -> bool {
        self.links.values().any(|link| link.node == node)
    }

    fn sees_down(&self, node: NodeId) -> bool {
        seen_down(node, true).is_some_and(|change| self.says(&change.key).is_some())
    }

    /// Has a link send a frame.
    pub(super) fn send(&mut self, id: LinkId, frame: Frame, now: Moment) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.waiting.len() == MAX_WAITING {
            return self.close(id, Fault::Stalled, now);
        }
        link.waiting.push_back(frame);
        self.do_this(Effect::Wake(id));
    }
}
