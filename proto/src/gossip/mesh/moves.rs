//! Identifiers that change hands too often: two nodes that each take one from
//! the other would have all others follow for ever. Who is asked names the one
//! that it followed last, until there is calm.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{Alarm, Effect, Mesh, Moment, Timer};
use crate::gossip::{NodeId, Surroundings, claim::Subject, holders::Held};

/// So often an identifier may have another holder …
pub const MOVES: usize = 5;
/// … in that time. What comes on top of it is not followed, until there were
/// no more than that again.
pub const CALM: Duration = Duration::from_secs(180);

/// The moves of one identifier that are not long ago.
#[derive(Clone, Debug)]
pub(super) struct Moves {
    /// The latest, one more than are followed.
    at: VecDeque<Moment>,
    /// Who held it last, followed or not.
    last: NodeId,
    /// Who is still named, if the last is not.
    named: Option<NodeId>,
}

impl<S: Surroundings> Mesh<S> {
    /// Who holds an identifier, of those that are not down. Of one that changes
    /// hands too often it is whoever held it before that, as long as that node
    /// lives and says so itself.
    #[must_use]
    pub fn held(&self, subject: Subject) -> Option<Held> {
        let named = self.moves.get(&subject).and_then(|moves| moves.named);
        let held = named.and_then(|named| self.holders.held_by(subject, named, &self.down));
        held.or_else(|| self.holders.held(subject, &self.down))
    }

    /// Who has the best claim to an identifier, however often that changes.
    pub(super) fn entitled(&self, subject: Subject) -> Option<NodeId> {
        self.holders.held(subject, &self.down).map(|held| held.by)
    }

    /// Notes who has the best claim to an identifier and who had it before.
    pub(super) fn moved(&mut self, subject: Subject, before: Option<NodeId>, now: Moment) {
        let last = self.moves.get(&subject).map(|moves| moves.last).or(before);
        let Some(last) = last else { return };
        let Some(after) = self.entitled(subject).filter(|after| *after != last) else { return };
        let moves = self.moves.entry(subject).or_insert_with(|| {
            self.timers.insert((now + CALM, Timer::Calm(subject)));
            Moves { at: VecDeque::with_capacity(MOVES + 1), last, named: None }
        });
        moves.last = after;
        moves.at.push_back(now);
        if moves.at.len() <= MOVES {
            return;
        }
        self.counts.not_followed += 1;
        if moves.at.len() > MOVES + 1 {
            moves.at.pop_front();
        }
        if moves.named.is_none() {
            moves.named = Some(last);
            self.do_this(Effect::Alarm(Alarm::Restless(subject)));
        }
    }

    /// Forgets moves that are long ago, and follows again where it has calmed.
    pub(super) fn calm(&mut self, subject: Subject, now: Moment) {
        let Some(moves) = self.moves.get_mut(&subject) else { return };
        while moves.at.front().is_some_and(|at| *at + CALM <= now) {
            moves.at.pop_front();
        }
        if moves.at.len() <= MOVES && moves.named.take().is_some() {
            self.do_this(Effect::Held(subject));
        }
        match self.moves.get(&subject).and_then(|moves| moves.at.front()) {
            Some(first) => self.at(*first + CALM, Timer::Calm(subject)),
            None => drop(self.moves.remove(&subject)),
        }
    }
}

/// Of all identifiers that have moved of late.
pub(super) type AllMoves = BTreeMap<Subject, Moves>;
