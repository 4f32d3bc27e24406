//! What one node has said, as another one knows it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    Certified, Change, Digest, Head, Key, NodeId, NodeRecord, Position, Signature, State,
    Surroundings, state::MAX_STATE, wire,
};

/// How many steps back an owner can be told of at most by what has changed since;
/// who lacks more is given the whole state.
pub const RECENT: usize = 256;
/// Bytes that steps may take, or as many as the state has: who lacks so many steps
/// is told no more if told everything.
const RECENT_BYTES: usize = 2048;
/// What a step takes beside its changes, about.
const STEP: usize = 40;

/// A step in an owner's history, or several in one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Whose.
    pub owner: NodeId,
    /// From where; none from nothing, which makes the changes the whole state.
    pub from: Option<Position>,
    /// Where to.
    pub to: Position,
    /// The owner's, over the [`Head::statement`] of what this leads to.
    pub signature: Signature,
    /// What has changed, in order; by key if it is several steps.
    pub changes: Vec<Change>,
}

/// Why a delta is not taken. Nothing is changed by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refused {
    /// It leads to where the owner is already, or to before that.
    #[error("known already")]
    Old,
    /// It starts at a position that is not the one known.
    #[error("does not follow what is known")]
    Gap,
    /// The state has no record, or one whose certificate is not of this owner
    /// or not of our authority.
    #[error("its owner is not certified")]
    Certificate,
    /// What the changes lead to is not signed by the owner: they are not what it
    /// has said, or it has said something else where they start.
    #[error("does not lead to what its owner has signed")]
    Signature,
    /// Its owner has signed two states for one position.
    #[error("its owner says one thing here and another there")]
    Equivocation,
    /// The state has more bytes than [`MAX_STATE`]: nobody could be given it whole.
    #[error("its owner says more than a node may")]
    TooLarge,
}

/// What has come of a delta that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A later position.
    Step,
    /// Another state for the same position: its owner says one thing here and
    /// another there. Of these all nodes keep the one with the greater digest.
    Contradiction,
}

/// What an owner has said.
#[derive(Clone, Debug)]
pub struct Owner {
    id: NodeId,
    certified: Arc<Certified>,
    head: Head,
    state: State,
    recent: Recent,
}

/// The latest steps of one life.
#[derive(Clone, Debug, Default)]
struct Recent {
    /// The sequence that each led away from, and what changed, encoded.
    steps: VecDeque<(u64, Box<[u8]>)>,
    bytes: usize,
}

impl Recent {
    fn push(&mut self, from: u64, changes: &[Change], most: usize) {
        // What cannot be encoded could not be sent either.
        let Ok(changes) = wire::encode(&changes) else { return *self = Self::default() };
        self.bytes += STEP + changes.len();
        self.steps.push_back((from, changes.into()));
        while self.steps.len() > RECENT || self.bytes > most {
            let Some((_, changes)) = self.steps.pop_front() else { break };
            self.bytes -= STEP + changes.len();
        }
    }

    /// What has changed since, if that is remembered: of several changes under one
    /// key the last says all.
    fn since(&self, from: u64) -> Option<Vec<Change>> {
        let first = self.steps.iter().position(|(sequence, _)| *sequence == from)?;
        let mut last = BTreeMap::new();
        for (_, changes) in self.steps.range(first..) {
            let changes: Vec<Change> = wire::decode(changes).ok()?;
            last.extend(changes.into_iter().map(|change| (change.key, change)));
        }
        Some(last.into_values().collect())
    }
}

impl Owner {
    /// This node itself, with what it has to say at the start of a life.
    pub fn new(
        state: State,
        position: Position,
        surroundings: &mut impl Surroundings,
    ) -> Result<Self, Refused> {
        check_size(&state)?;
        let certified = certified(&state, surroundings)?;
        let id = certified.key.node();
        let head = sign(id, position, state.digest(), surroundings);
        Ok(Self { id, certified: certified.into(), head, state, recent: Recent::default() })
    }

    /// Another node, from its whole state.
    pub fn learn(delta: Delta, surroundings: &mut impl Surroundings) -> Result<Self, Refused> {
        let Delta { owner: id, from, to, signature, changes } = delta;
        if from.is_some() {
            return Err(Refused::Gap);
        }
        let mut state = State::default();
        state.apply(&changes);
        check_size(&state)?;
        let certified = certified(&state, surroundings)?;
        if certified.key.node() != id {
            return Err(Refused::Certificate);
        }
        let head = Head { position: to, digest: state.digest(), signature };
        check(id, &head, &certified, surroundings)?;
        Ok(Self { id, certified: certified.into(), head, state, recent: Recent::default() })
    }

    /// Takes what another node says has happened since.
    pub fn follow(
        &mut self,
        delta: Delta,
        surroundings: &mut impl Surroundings,
    ) -> Result<Taken, Refused> {
        if delta.to < self.head.position {
            return Err(Refused::Old);
        }
        // What is known already comes from all sides when a node is new; none of
        // it is looked at twice.
        if (delta.to, delta.signature) == (self.head.position, self.head.signature) {
            return Err(Refused::Old);
        }
        if delta.from.is_none() {
            let other = Self::learn(delta, surroundings)?;
            let contradicts = other.head.position == self.head.position;
            if contradicts && other.head.digest == self.head.digest {
                return Err(Refused::Old);
            }
            if contradicts && other.head.digest < self.head.digest {
                return Err(Refused::Equivocation);
            }
            *self = other;
            return Ok(if contradicts { Taken::Contradiction } else { Taken::Step });
        }
        if delta.to == self.head.position {
            return Err(Refused::Old);
        }
        if delta.from != Some(self.head.position) {
            return Err(Refused::Gap);
        }
        let undo = self.state.apply(&delta.changes);
        match self.checked(&delta, surroundings) {
            Err(refused) => {
                self.state.apply(&undo);
                Err(refused)
            }
            Ok((certified, head)) => {
                self.certified = certified;
                self.step(head, &delta.changes);
                Ok(Taken::Step)
            }
        }
    }

    /// Says something new: the owner is this node.
    pub fn say(
        &mut self,
        changes: &[Change],
        surroundings: &mut impl Surroundings,
    ) -> Result<(), Refused> {
        let undo = self.state.apply(changes);
        if let Err(refused) = check_size(&self.state) {
            self.state.apply(&undo);
            return Err(refused);
        }
        let position = self.head.position.next();
        let head = sign(self.id, position, self.state.digest(), surroundings);
        self.step(head, changes);
        Ok(())
    }

    /// What leads somebody who knows this owner at `from` to where it is.
    #[must_use]
    pub fn since(&self, from: Option<Position>) -> Delta {
        let is_same_life = |it: &Position| it.incarnation == self.head.position.incarnation;
        let recent = from.filter(is_same_life).and_then(|it| self.recent.since(it.sequence));
        let (from, changes) = match recent {
            Some(changes) => (from, changes),
            None => (None, self.state.whole()),
        };
        let Head { position: to, signature, .. } = self.head;
        Delta { owner: self.id, from, to, signature, changes }
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// What its certificate says.
    #[must_use]
    pub fn certified(&self) -> &Certified {
        &self.certified
    }

    /// Where it is.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// What it says.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    fn checked(
        &self,
        delta: &Delta,
        surroundings: &mut impl Surroundings,
    ) -> Result<(Arc<Certified>, Head), Refused> {
        check_size(&self.state)?;
        let is_renewed = delta.changes.iter().any(|change| change.key == Key::RECORD);
        let certified = if is_renewed {
            let renewed = certified(&self.state, surroundings)?;
            if renewed.key.node() != self.id {
                return Err(Refused::Certificate);
            }
            renewed.into()
        } else {
            Arc::clone(&self.certified)
        };
        let (position, signature) = (delta.to, delta.signature);
        let head = Head { position, digest: self.state.digest(), signature };
        check(self.id, &head, &certified, surroundings)?;
        Ok((certified, head))
    }

    fn step(&mut self, head: Head, changes: &[Change]) {
        let former = self.head.position;
        if former.incarnation == head.position.incarnation {
            self.recent.push(former.sequence, changes, self.state.size().max(RECENT_BYTES));
        } else {
            self.recent = Recent::default();
        }
        self.head = head;
    }
}

const fn check_size(state: &State) -> Result<(), Refused> {
    if state.size() > MAX_STATE { Err(Refused::TooLarge) } else { Ok(()) }
}

fn certified(state: &State, surroundings: &mut impl Surroundings) -> Result<Certified, Refused> {
    let record = state.get(&Key::RECORD).ok_or(Refused::Certificate)?;
    let record: NodeRecord = wire::decode(record).map_err(|_| Refused::Certificate)?;
    surroundings.certified(&record.certificate).ok_or(Refused::Certificate)
}

fn sign(
    owner: NodeId,
    position: Position,
    digest: Digest,
    surroundings: &mut impl Surroundings,
) -> Head {
    let signature = surroundings.sign(&Head::statement(owner, position, digest));
    Head { position, digest, signature }
}

fn check(
    owner: NodeId,
    head: &Head,
    certified: &Certified,
    surroundings: &mut impl Surroundings,
) -> Result<(), Refused> {
    let statement = Head::statement(owner, head.position, head.digest);
    if surroundings.is_signed(&certified.key, &statement, &head.signature) {
        Ok(())
    } else {
        Err(Refused::Signature)
    }
}

#[cfg(test)]
mod tests;
