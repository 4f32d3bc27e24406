//! What a node knows of all others, and what follows from it.

use std::{collections::BTreeSet, sync::Arc};

use super::{Alarm, Effect, Known, Mesh, Moment, Slots};
use crate::{
    addr::{Identifier, SirPrefix},
    gossip::{
        Certified, Change, Delta, Key, NodeId, Owner, Position, Refused, Signature, Surroundings,
        Taken, Value,
        claim::{self, Claim, Court, Subject},
        identity::SEEN_DOWN,
    },
};

impl<S: Surroundings> Mesh<S> {
    /// Takes what is said of another node; by which link, it does not matter.
    /// Says whether it was news.
    pub(super) fn take(&mut self, delta: Delta, now: Moment) -> Result<Taken, Refused> {
        let id = delta.owner;
        let known = self.surroundings.known(id, delta.to, &delta.signature);
        let Some(Known { owner, heard, .. }) = self.known.get_mut(&id) else {
            let owner = match known {
                Some(owner) if delta.from.is_none() => owner,
                _ => Arc::new(Owner::learn(delta, &mut self.surroundings)?),
            };
            self.surroundings.learned(&owner);
            self.know_shared(&owner, now);
            return Ok(Taken::Step);
        };
        let former = owner.head().to_owned();
        let is_whole = delta.from.is_none();
        let mut touched: BTreeSet<Key> = delta.changes.iter().map(|change| change.key).collect();
        if is_whole {
            touched.extend(owner.state().entries().map(|(key, _)| key));
        }
        let taken = match known {
            Some(known) if known.head().position > former.position => {
                if !is_whole && delta.from != Some(former.position) {
                    return Err(Refused::Gap);
                }
                *owner = known;
                Taken::Step
            }
            _ => Arc::make_mut(owner).follow(delta, &mut self.surroundings)?,
        };
        *heard = Some(now);
        let owner = Arc::clone(owner);
        self.surroundings.learned(&owner);
        self.heads.step(id, Some(&former), Some(owner.head()));
        if taken == Taken::Contradiction {
            self.do_this(Effect::Alarm(Alarm::Equivocation(id)));
        }
        self.follow_up(&owner, touched, now);
        Ok(taken)
    }

    /// Knows a node that was not known.
    pub(super) fn know(&mut self, owner: Owner, now: Moment) {
        self.know_shared(&Arc::new(owner), now);
    }

    fn know_shared(&mut self, owner: &Arc<Owner>, now: Moment) {
        let id = owner.id();
        self.heads.step(id, None, Some(owner.head()));
        let known = Known {
            owner: Arc::clone(owner),
            heard: Some(now),
            parent: None,
            pruned: Slots::default(),
            lazy: Slots::default(),
        };
        self.known.insert(id, known);
        self.do_this(Effect::Node(id));
        let keys = owner.state().entries().map(|(key, _)| key).collect();
        self.follow_up(owner, keys, now);
        self.judge_waiting(id, now);
        self.survey_soon(now);
    }

    /// Draws the consequences of what an owner says under these keys.
    pub(super) fn follow_up(&mut self, owner: &Owner, keys: BTreeSet<Key>, now: Moment) {
        let mut reports_changed = false;
        for key in keys {
            let value = owner.state().get(&key);
            match key.kind() {
                claim::KIND => self.judge(owner, &key, value, now),
                SEEN_DOWN => {
                    if let Ok(node) = key.bytes().try_into() {
                        self.reports.set(owner.id(), NodeId(node), value.is_some());
                        reports_changed = true;
                    }
                }
                _ if key == Key::RECORD => self.do_this(Effect::Node(owner.id())),
                _ => {}
            }
        }
        if reports_changed {
            self.survey_soon(now);
        }
    }

    fn judge(&mut self, owner: &Owner, key: &Key, value: Option<&[u8]>, now: Moment) {
        let Some(subject) = subject(owner.certified(), key) else { return };
        let mut court = Bench { mesh: self, unknown: None };
        let standing = value
            .and_then(|value| Claim::read(value).ok())
            .map(|claim| claim.standing(owner.id(), subject, &mut court));
        match court.unknown {
            Some(unknown) => self.unjudged.insert((subject, owner.id()), unknown),
            None => self.unjudged.remove(&(subject, owner.id())),
        };
        let before = self.entitled(subject);
        let is_disputed = self.holders.set(subject, owner.id(), standing, now);
        self.moved(subject, before, now);
        self.do_this(Effect::Held(subject));
        if is_disputed && self.held(subject).is_some_and(|held| held.disputed_by.contains(&self.me))
        {
            self.do_this(Effect::Alarm(Alarm::Lost(subject)));
        }
    }

    /// Judges the claims that had to wait for this node to be known.
    fn judge_waiting(&mut self, node: NodeId, now: Moment) {
        let waiting = self.unjudged.iter().filter(|(_, unknown)| **unknown == node);
        let waiting: Vec<_> = waiting.map(|(claim, _)| *claim).collect();
        for (subject, owner) in waiting {
            let Some(owner) = self.owner(owner).cloned() else { continue };
            let domains = owner.certified().locators.len().try_into().unwrap_or(u8::MAX);
            for key in (0..domains).filter_map(|domain| subject.key(domain).ok()) {
                let value = owner.state().get(&key);
                if value.is_some() {
                    self.judge(&owner, &key, value, now);
                }
            }
        }
    }

    pub(super) fn see_who_is_down(&mut self, nodes: &BTreeSet<NodeId>) {
        let mut down = self.reports.down(nodes);
        // Whoever can say so is not.
        down.remove(&self.me);
        let changed: Vec<_> = self.down.symmetric_difference(&down).copied().collect();
        self.down = down;
        for node in changed {
            self.do_this(Effect::Node(node));
            let Some(owner) = self.owner(node).cloned() else { continue };
            for subject in claims(&owner) {
                self.do_this(Effect::Held(subject));
            }
        }
    }

    /// Where an owner is known to be.
    pub(super) fn position(&self, owner: NodeId) -> Option<Position> {
        self.owner(owner).map(|owner| owner.head().position)
    }
}

/// The identifiers that an owner claims.
pub(super) fn claims(owner: &Owner) -> impl Iterator<Item = Subject> {
    let claims = owner.state().of_kind(claim::KIND);
    claims.filter_map(|(key, _)| subject(owner.certified(), &key))
}

/// The identifier that a claim is about, which is none if the owner has no such
/// SIR prefix.
fn subject(certified: &Certified, key: &Key) -> Option<Subject> {
    let (domain, identifier) = key.bytes().split_first()?;
    let identifier = Identifier::from_bits(u64::from_be_bytes(identifier.try_into().ok()?));
    let (sir_prefix, _): &(SirPrefix, _) = certified.locators.get(usize::from(*domain))?;
    identifier.check_container().ok()?;
    Some(Subject::new(*sir_prefix, identifier))
}

/// What judges claims by what the mesh knows.
struct Bench<'a, S> {
    mesh: &'a mut Mesh<S>,
    /// A node whose word is needed, and which is not known.
    unknown: Option<NodeId>,
}

impl<S: Surroundings> Court for Bench<'_, S> {
    fn is_home(&mut self, node: NodeId, subject: Subject) -> bool {
        let certified = self.mesh.certified(node);
        if certified.is_none() {
            self.unknown = Some(node);
        }
        certified.is_some_and(|it| it.is_home(Identifier::from_bits(subject.identifier)))
    }

    fn has_signed(&mut self, node: NodeId, statement: &[u8], signature: &Signature) -> bool {
        let Some(certified) = self.mesh.certified(node) else {
            self.unknown = Some(node);
            return false;
        };
        let key = certified.key;
        self.mesh.surroundings.is_signed(&key, statement, signature)
    }

    fn has_granted(&mut self, statement: &[u8], signature: &Signature) -> bool {
        self.mesh.surroundings.is_granted(statement, signature)
    }
}

/// What changes a claim of `owner`; for [`super::Event::Say`].
#[must_use]
pub fn change(certified: &Certified, subject: Subject, claim: Option<&Claim>) -> Option<Change> {
    let domain = certified.locators.iter().position(|(sir, _)| sir.bits() == subject.sir_prefix)?;
    let key = subject.key(u8::try_from(domain).ok()?).ok()?;
    let value = claim.map(Claim::value).transpose().ok()?;
    Some(Change { key, value })
}

/// What changes whether a node is seen down.
pub(super) fn seen_down(node: NodeId, is_down: bool) -> Option<Change> {
    let key = Key::new(SEEN_DOWN, &node.0).ok()?;
    let value = if is_down { Some(Value::new(&[]).ok()?) } else { None };
    Some(Change { key, value })
}
