//! What one node has said, as another one knows it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    Certified, Change, Digest, Head, Key, NodeId, NodeRecord, Position, Signature, State,
    Surroundings, Value, wire,
};

/// How many steps back an owner can be told of by what has changed since; who
/// lacks more is given the whole state.
pub const RECENT: usize = 256;

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
    /// The latest steps: the position that each led away from, and what changed.
    recent: VecDeque<(Position, Arc<[Change]>)>,
}

impl Owner {
    /// This node itself, with what it has to say at the start of a life.
    pub fn new(
        state: State,
        position: Position,
        surroundings: &mut impl Surroundings,
    ) -> Result<Self, Refused> {
        let certified = certified(&state, surroundings)?;
        let id = certified.key.node();
        let head = sign(id, position, state.digest(), surroundings);
        Ok(Self { id, certified: certified.into(), head, state, recent: VecDeque::new() })
    }

    /// Another node, from its whole state.
    pub fn learn(delta: Delta, surroundings: &mut impl Surroundings) -> Result<Self, Refused> {
        let Delta { owner: id, from, to, signature, changes } = delta;
        if from.is_some() {
            return Err(Refused::Gap);
        }
        let mut state = State::default();
        for change in &changes {
            state.change(change);
        }
        let certified = certified(&state, surroundings)?;
        if certified.key.node() != id {
            return Err(Refused::Certificate);
        }
        let head = Head { position: to, digest: state.digest(), signature };
        check(id, &head, &certified, surroundings)?;
        Ok(Self { id, certified: certified.into(), head, state, recent: VecDeque::new() })
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
        let former = self.swap(&delta.changes);
        match self.checked(&delta, surroundings) {
            Err(refused) => {
                self.swap(&former);
                Err(refused)
            }
            Ok((certified, head)) => {
                self.certified = certified;
                self.step(head, delta.changes.into());
                Ok(Taken::Step)
            }
        }
    }

    /// Says something new: the owner is this node.
    pub fn say(&mut self, changes: Vec<Change>, surroundings: &mut impl Surroundings) {
        self.swap(&changes);
        let position = self.head.position.next();
        let head = sign(self.id, position, self.state.digest(), surroundings);
        self.step(head, changes.into());
    }

    /// What leads somebody who knows this owner at `from` to where it is.
    #[must_use]
    pub fn since(&self, from: Option<Position>) -> Delta {
        let steps = self.recent.iter().position(|(position, _)| Some(*position) == from);
        let (from, changes) = if let Some(first) = steps {
            let steps = self.recent.range(first..).flat_map(|(_, changes)| changes.iter());
            // Of several changes under one key the last says all.
            let last: BTreeMap<_, _> = steps.map(|change| (change.key, change)).collect();
            (from, last.into_values().cloned().collect())
        } else {
            let entries = self.state.entries();
            let entry =
                |(key, value): (&Key, &Value)| Change { key: *key, value: Some(value.clone()) };
            (None, entries.map(entry).collect())
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

    /// Applies changes, and returns those that undo them.
    fn swap(&mut self, changes: &[Change]) -> Vec<Change> {
        let mut former: Vec<_> = changes
            .iter()
            .map(|change| {
                let value = self.state.get(&change.key).cloned();
                self.state.change(change);
                Change { key: change.key, value }
            })
            .collect();
        former.reverse();
        former
    }

    fn checked(
        &self,
        delta: &Delta,
        surroundings: &mut impl Surroundings,
    ) -> Result<(Arc<Certified>, Head), Refused> {
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

    fn step(&mut self, head: Head, changes: Arc<[Change]>) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((self.head.position, changes));
        self.head = head;
    }
}

fn certified(state: &State, surroundings: &mut impl Surroundings) -> Result<Certified, Refused> {
    let record = state.get(&Key::RECORD).ok_or(Refused::Certificate)?;
    let record: NodeRecord = wire::decode(record.bytes()).map_err(|_| Refused::Certificate)?;
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
