//! How what is said comes to all: along a tree for each owner, which grows out
//! of all links by cutting those that bring nothing new. What a tree has lost is
//! heard of on other links, and found when neighbours compare what they know.

use std::collections::{VecDeque, btree_map::Entry};

use super::{Alarm, Effect, Fault, Known, Link, LinkId, Mesh, Moment, Timer};
use crate::gossip::{
    Delta, NodeId, Owner, Position, Refused, Surroundings, Taken,
    frame::{Frame, Step},
    heads::{PARTS, part},
};

/// What others have and this node has not.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    position: Position,
    from: VecDeque<LinkId>,
}

impl<S: Surroundings> Mesh<S> {
    /// The next frame for a link; none if there is nothing to say. As long as a
    /// link takes none, what it has to be told grows no further than to one
    /// entry for each owner.
    pub fn transmit(&mut self, id: LinkId) -> Option<Frame> {
        let link = self.links.get_mut(&id)?;
        if let Some(frame) = link.waiting.pop_front() {
            return Some(frame);
        }
        // What this node says itself goes before what it hands on.
        while let Some((owner, from)) =
            link.pending.remove_entry(&self.me).or_else(|| link.pending.pop_first())
        {
            let Some(Known { owner, .. }) = self.known.get(&owner) else { continue };
            if Some(owner.head().position) != from {
                return Some(Frame::Delta(owner.since(from)));
            }
        }
        if !std::mem::take(&mut link.is_telling) || link.have.is_empty() {
            return None;
        }
        let have = std::mem::take(&mut link.have).into_iter();
        let heads = have.filter_map(|owner| Some((owner.start(), self.position(owner)?.sequence)));
        Some(Frame::Have(heads.collect()))
    }

    pub(super) fn received(&mut self, id: LinkId, frame: Frame, now: Moment) {
        if !self.links.contains_key(&id) {
            return;
        }
        match frame {
            Frame::Delta(delta) => self.told(id, delta, now),
            Frame::Have(heads) => {
                for (start, sequence) in heads {
                    self.heard_of(id, start, sequence, now);
                }
            }
            Frame::Want(owner, from) => {
                self.set_lazy(owner, id, false);
                self.give(id, owner, from);
            }
            Frame::Prune(owner) => self.set_lazy(owner, id, true),
            Frame::Compare(digest) if digest == self.heads.all() => {
                self.agree(now);
                self.send(id, Frame::Same, now);
            }
            Frame::Compare(_) => {
                let parts = self.heads.parts().to_vec();
                self.send(id, Frame::Summary(parts), now);
            }
            Frame::Same => {
                self.agree(now);
                self.cancel(|timer| *timer == Timer::Stalled(id));
            }
            Frame::Summary(parts) => self.compare_parts(id, &parts, now),
            Frame::Heads(first, heads) => self.compare_heads(id, first, &heads, now),
            Frame::Step(step) => self.told_step(id, step, now),
        }
    }

    /// A step says what it is about as far as who knows the owner's life needs it.
    /// Of nobody that is known it says nothing; the next comparison does.
    fn told_step(&mut self, id: LinkId, step: Step, now: Moment) {
        let owners: Vec<_> = self.starting_with(step.owner).collect();
        let [(owner, ours)] = owners[..] else {
            // Whichever of them is meant would be told of by a step again, unless
            // it is asked for as a whole.
            return owners.into_iter().for_each(|(owner, _)| {
                self.send(id, Frame::Want(owner, None), now);
            });
        };
        let signature = self.owner(owner).map(|owner| owner.head().signature);
        if step.to == ours.sequence && signature != Some(step.signature) {
            // It is not the one that is known, but of another life.
            return self.send(id, Frame::Want(owner, Some(ours)), now);
        }
        self.told(id, step.of(owner, ours.incarnation), now);
    }

    fn agree(&mut self, now: Moment) {
        if self.agreed.replace(now).is_none() {
            self.do_this(Effect::Agreed);
        }
    }

    /// Tells a link that another node is somewhere else.
    pub(super) fn spread(
        &mut self,
        owner: NodeId,
        from: Option<Position>,
        except: Option<LinkId>,
        now: Moment,
    ) {
        let lazy = self.known.get(&owner).map(|known| known.lazy).unwrap_or_default();
        // Who brings its news has them.
        let parent = self.known.get(&owner).and_then(|known| known.parent);
        let lasts = |link: &Link| self.neighbours.contains(&link.node);
        let others = self.links.iter().filter(|(_, link)| Some(link.slot) != parent && lasts(link));
        let others = others.filter(|(id, _)| Some(**id) != except);
        let others: Vec<_> = others.map(|(id, link)| (*id, link.slot)).collect();
        let (lazy, eager): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|(_, slot)| lazy.has(*slot));
        for (id, _) in eager {
            if let Some(link) = self.links.get_mut(&id) {
                link.pending.entry(owner).or_insert(from);
                self.do_this(Effect::Wake(id));
            }
        }
        let first = self.below(lazy.len());
        let named = lazy.iter().cycle().skip(first).take(self.settings.have_links.min(lazy.len()));
        let named: Vec<_> = named.map(|(id, _)| *id).collect();
        for id in named {
            if let Some(link) = self.links.get_mut(&id) {
                link.have.insert(owner);
            }
            if !self.is_telling {
                self.is_telling = true;
                self.at(now + self.settings.tell, Timer::Tell);
            }
        }
    }

    /// Has links tell what they have collected.
    pub(super) fn tell(&mut self) {
        self.is_telling = false;
        let telling = self.links.iter_mut().filter(|(_, link)| !link.have.is_empty());
        let telling: Vec<_> = telling
            .map(|(id, link)| {
                link.is_telling = true;
                *id
            })
            .collect();
        for id in telling {
            self.do_this(Effect::Wake(id));
        }
    }

    fn told(&mut self, id: LinkId, delta: Delta, now: Moment) {
        let (owner, from, to) = (delta.owner, delta.from, delta.to);
        if owner == self.me {
            return self.told_of_myself(id, &delta, now);
        }
        match self.take(delta, now) {
            Ok(taken) => {
                self.counts.taken += 1;
                self.missing.remove(&owner);
                if let Some(link) = self.links.get_mut(&id) {
                    link.pending.remove(&owner);
                    link.have.remove(&owner);
                    if from.is_none() {
                        link.brought = Some(now);
                    }
                }
                self.come_by(id, owner, now);
                let from = if taken == Taken::Contradiction { None } else { from };
                self.spread(owner, from, Some(id), now);
            }
            Err(refused) => self.refuse(id, owner, (from, to), refused, now),
        }
    }

    fn refuse(
        &mut self,
        id: LinkId,
        owner: NodeId,
        (from, to): (Option<Position>, Position),
        refused: Refused,
        now: Moment,
    ) {
        *self.counts.refused.entry(refused).or_default() += 1;
        match refused {
            Refused::Old if self.position(owner) == Some(to) => {
                self.counts.duplicates += 1;
                self.prune(id, owner, now);
            }
            Refused::Old => self.give(id, owner, Some(to)),
            Refused::Gap => self.send(id, Frame::Want(owner, self.position(owner)), now),
            // Where it says one thing here and another there, only all of it helps.
            Refused::Signature if from.is_some() => self.send(id, Frame::Want(owner, None), now),
            Refused::Equivocation => self.do_this(Effect::Alarm(Alarm::Equivocation(owner))),
            Refused::Certificate | Refused::Signature | Refused::TooLarge => {
                self.close(id, Fault::Untrue(refused), now);
            }
        }
    }

    /// Notes that a link has what this node has not; it may be on its way.
    fn heard_of(&mut self, id: LinkId, start: u64, sequence: u64, now: Moment) {
        let Some((owner, ours)) = self.starting_with(start).next() else { return };
        if owner == self.me || ours.sequence >= sequence {
            return;
        }
        let position = Position { sequence, ..ours };
        let round_trip = self.links.get(&id).map(|link| link.round_trip).unwrap_or_default();
        let missing = self.missing.entry(owner);
        let is_new = matches!(missing, Entry::Vacant(_));
        let missing = missing.or_insert_with(|| Missing { position, from: VecDeque::new() });
        missing.position = missing.position.max(position);
        if !missing.from.contains(&id) {
            missing.from.push_back(id);
        }
        if is_new {
            self.at(now + self.settings.graft + round_trip, Timer::Graft(owner));
        }
    }

    /// The owners whose identity starts so, and where they are: one, unless
    /// somebody has gone to great lengths.
    pub(in crate::gossip) fn starting_with(
        &self,
        start: u64,
    ) -> impl Iterator<Item = (NodeId, Position)> {
        let mut first = [0; 16];
        first[..8].copy_from_slice(&start.to_be_bytes());
        let owners = self.known.range(NodeId(first)..);
        let owners = owners.take_while(move |(owner, _)| owner.start() == start);
        owners.map(|(owner, known)| (*owner, known.owner.head().position))
    }

    /// Asks for what did not come.
    pub(super) fn graft(&mut self, owner: NodeId, now: Moment) {
        let ours = self.position(owner);
        let Some(missing) = self.missing.get_mut(&owner) else { return };
        let asked = missing.from.pop_front();
        let Some(id) = asked.filter(|_| ours < Some(missing.position)) else {
            self.missing.remove(&owner);
            return;
        };
        self.counts.grafts += 1;
        // Whichever was to bring it has not.
        if let (Some(known), Some(link)) = (self.known.get_mut(&owner), self.links.get(&id)) {
            known.parent = Some(link.slot);
            known.pruned.set(link.slot, false);
        }
        self.send(id, Frame::Want(owner, ours), now);
        self.at(now + self.settings.graft * 2, Timer::Graft(owner));
    }

    fn give(&mut self, id: LinkId, owner: NodeId, from: Option<Position>) {
        if self.position(owner) <= from {
            return;
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.pending.insert(owner, from);
            self.do_this(Effect::Wake(id));
        }
    }

    fn set_lazy(&mut self, owner: NodeId, id: LinkId, is_lazy: bool) {
        if let (Some(known), Some(link)) = (self.known.get_mut(&owner), self.links.get(&id)) {
            known.lazy.set(link.slot, is_lazy);
        }
    }

    /// Tells a link that it need not bring news of an owner, unless it is the one
    /// that is to: it may come to nothing that another one was faster.
    fn prune(&mut self, id: LinkId, owner: NodeId, now: Moment) {
        let (Some(known), Some(link)) = (self.known.get_mut(&owner), self.links.get(&id)) else {
            return;
        };
        if known.parent != Some(link.slot) {
            known.pruned.set(link.slot, true);
            self.send(id, Frame::Prune(owner), now);
        }
    }

    /// News of an owner have come by a link: if no other one is to bring them,
    /// this one is from now on, and for as long as it lasts. Were it each time
    /// the one that was fastest, two could each be cut for the other's sake.
    fn come_by(&mut self, id: LinkId, owner: NodeId, now: Moment) {
        let (Some(known), Some(link)) = (self.known.get_mut(&owner), self.links.get(&id)) else {
            return;
        };
        if known.parent.is_some() || !self.neighbours.contains(&link.node) {
            return;
        }
        known.parent = Some(link.slot);
        if known.pruned.has(link.slot) {
            known.pruned.set(link.slot, false);
            let ours = known.owner.head().position;
            self.send(id, Frame::Want(owner, Some(ours)), now);
        }
    }

    /// Has another link bring news of an owner, whose link is gone.
    pub(super) fn adopt(&mut self, owner: NodeId, now: Moment) {
        let lasts = |link: &&Link| self.neighbours.contains(&link.node);
        let count = self.links.values().filter(lasts).count();
        let at = self.below(count);
        let lasts = |(_, link): &(&LinkId, &Link)| self.neighbours.contains(&link.node);
        let chosen = self.links.iter().filter(lasts).nth(at).map(|(id, link)| (*id, link.slot));
        if let (Some((id, slot)), Some(known)) = (chosen, self.known.get_mut(&owner)) {
            known.parent = Some(slot);
            known.pruned.set(slot, false);
            let ours = known.owner.head().position;
            self.send(id, Frame::Want(owner, Some(ours)), now);
        }
    }

    /// Compares what is known with one neighbour, whichever.
    pub(super) fn compare_with_one(&mut self, now: Moment) {
        let at = self.below(self.links.len());
        if let Some(id) = self.links.keys().nth(at).copied() {
            self.compare(id, now);
        }
        let after = self.about(self.settings.compare);
        self.at(now + after, Timer::Compare);
    }

    pub(super) fn compare(&mut self, id: LinkId, now: Moment) {
        self.send(id, Frame::Compare(self.heads.all()), now);
        if !self.timers.iter().any(|(_, timer)| *timer == Timer::Stalled(id)) {
            self.at(now + self.settings.stalled, Timer::Stalled(id));
        }
    }

    fn compare_parts(&mut self, id: LinkId, parts: &[u64], now: Moment) {
        self.cancel(|timer| *timer == Timer::Stalled(id));
        if parts.len() != PARTS {
            return self.close(id, Fault::Protocol, now);
        }
        let ours = *self.heads.parts();
        for (first, _) in (0..=u8::MAX).zip(ours.iter().zip(parts)).filter(|(_, (a, b))| a != b) {
            let heads = self.part(first);
            self.send(id, Frame::Heads(first, heads), now);
        }
    }

    fn compare_heads(
        &mut self,
        id: LinkId,
        first: u8,
        heads: &[(NodeId, Position, u64)],
        now: Moment,
    ) {
        if heads.iter().any(|(owner, ..)| part(*owner) != first) {
            return self.close(id, Fault::Protocol, now);
        }
        for (owner, theirs, digest) in heads {
            let ours = self.position(*owner);
            let digests = self.owner(*owner).map(|owner| owner.head().digest.start());
            if ours < Some(*theirs) {
                self.send(id, Frame::Want(*owner, ours), now);
            } else if ours == Some(*theirs) && digests < Some(*digest) {
                // Its owner says one thing here and another there.
                self.send(id, Frame::Want(*owner, None), now);
            } else {
                self.give(id, *owner, Some(*theirs));
            }
        }
        for (owner, ..) in self.part(first) {
            if !heads.iter().any(|(other, ..)| *other == owner) {
                self.give(id, owner, None);
            }
        }
    }

    fn part(&self, first: u8) -> Vec<(NodeId, Position, u64)> {
        let mut last = [u8::MAX; 16];
        last[0] = first;
        let mut start = [0; 16];
        start[0] = first;
        let owners = self.known.range(NodeId(start)..=NodeId(last));
        let entry =
            |owner: &Owner| (owner.id(), owner.head().position, owner.head().digest.start());
        owners.map(|(_, known)| entry(&known.owner)).collect()
    }
}
