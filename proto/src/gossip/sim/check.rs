//! What must not happen, whatever does. The checkers keep their own books of
//! what each node was told to say, and compare what others make of it with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::net::Peer;
use crate::gossip::{
    Digest, Head, NodeId, Owner, Position,
    claim::{Right, Standing, Subject},
    mesh::Moment,
};

/// Who holds what, as a node has been told that it may have changed.
pub type Mirror = BTreeMap<Subject, (NodeId, Standing)>;

/// So many violations are told of; there may be more.
const TOLD: usize = 10;
/// Frames that may wait on a link.
const WAITING: usize = 1024;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checker {
    /// Nobody is named who has said at the position where he is known that he
    /// does not hold it.
    NoResurrection,
    /// Nothing that was known is taken back, and nobody is forgotten.
    IncarnationMonotonic,
    /// Of those who hold an identifier by some right, each has another epoch.
    SingleOwnerPerEpoch,
    /// What is known of a node it has said, and what it holds it was given.
    AuthorisedWriter,
    /// Queues and bytes have limits.
    Boundedness,
    /// All that run come to know the same, which is what is so.
    Convergence,
    /// Nobody is said to have been heard of later than he was.
    StalenessHonest,
    /// Whoever is only told of changes knows what holds.
    NothingUntold,
    /// What somebody is told is of the version that he speaks.
    VersionAgreed,
}

/// The books, and what was found.
#[derive(Debug, Default)]
pub struct Checks {
    /// Whether anything is checked at all.
    pub are_on: bool,
    /// Nodes that do not keep to the protocol: what they say of themselves may
    /// be anything.
    pub rogues: BTreeSet<NodeId>,
    /// Bytes a second that a node may send, in the long run.
    pub most_bytes: Option<u64>,
    said: BTreeMap<NodeId, BTreeMap<Position, Said>>,
    given: BTreeMap<(u64, Standing), NodeId>,
    holders: BTreeMap<(Subject, Standing), NodeId>,
    sent: Vec<u64>,
    looked: Moment,
    broken: Vec<String>,
    counts: BTreeMap<Checker, u64>,
}

#[derive(Debug)]
struct Said {
    digest: Digest,
    at: Moment,
    claims: BTreeSet<u64>,
}

impl Checks {
    /// What has happened that must not.
    #[must_use]
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// How often each checker has looked.
    #[must_use]
    pub const fn counts(&self) -> &BTreeMap<Checker, u64> {
        &self.counts
    }

    /// Notes that something has happened that must not.
    pub fn fail(&mut self, checker: Checker, now: Moment, what: &str) {
        if self.broken.len() < TOLD {
            self.broken.push(format!("{checker:?} at {now:?}: {what}"));
        }
    }

    /// Notes what a node is about to say, and what it was told to hold.
    pub fn said(&mut self, now: Moment, owner: &Owner, claims: &BTreeSet<u64>) {
        if !self.are_on {
            return;
        }
        let Head { position, digest, .. } = *owner.head();
        let said = Said { digest, at: now, claims: claims.clone() };
        self.said.entry(owner.id()).or_default().entry(position).or_insert(said);
    }

    /// What a node was told to hold up to where it is.
    #[must_use]
    pub fn claimed(&self, owner: &Owner) -> Option<BTreeSet<u64>> {
        let said = self.said.get(&owner.id())?.get(&owner.head().position)?;
        Some(said.claims.clone())
    }

    /// Notes that a node was given an identifier.
    pub fn entitle(&mut self, identifier: u64, standing: Standing, node: NodeId) {
        self.given.insert((identifier, standing), node);
    }

    /// A node was told something of an owner, of whom it knew this before.
    pub fn told(
        &mut self,
        now: Moment,
        index: usize,
        peer: &mut Peer,
        owner: NodeId,
        before: Option<Head>,
    ) {
        if !self.are_on || owner == peer.mesh.me() {
            return;
        }
        self.count(Checker::IncarnationMonotonic);
        let after = peer.mesh.owner(owner).map(|owner| *owner.head());
        if before.map(|head| head.position) > after.map(|head| head.position) {
            let what = format!("{index} went back with {owner:?}: {before:?} to {after:?}");
            self.fail(Checker::IncarnationMonotonic, now, &what);
        }
        let Some(after) = after.filter(|after| Some(*after) != before) else { return };
        peer.news.insert(owner, (now + peer.clock, now));
        if self.rogues.contains(&owner) {
            return;
        }
        self.count(Checker::AuthorisedWriter);
        let said = self.said.get(&owner).and_then(|said| said.get(&after.position));
        if said.is_none_or(|said| said.digest != after.digest) {
            let what = format!("{index} believes of {owner:?} what it has not said");
            self.fail(Checker::AuthorisedWriter, now, &what);
        }
    }

    /// A node was told that an identifier may be held by somebody else.
    pub fn held(&mut self, now: Moment, index: usize, peer: &mut Peer, subject: Subject) {
        if !self.are_on {
            return;
        }
        let Some(held) = peer.mesh.held(subject) else {
            peer.mirror.remove(&subject);
            return;
        };
        let (by, standing) = (held.by, held.standing);
        peer.mirror.insert(subject, (by, standing));
        let identifier = subject.identifier;
        self.count(Checker::NoResurrection);
        let position = peer.mesh.owner(by).map(|owner| owner.head().position);
        let said = position.and_then(|position| self.said.get(&by)?.get(&position));
        let has_it = said.is_some_and(|said| said.claims.contains(&identifier));
        if !has_it && !self.rogues.contains(&by) {
            let what = format!("{index} has {identifier:x} with {by:?}, which does not claim it");
            self.fail(Checker::NoResurrection, now, &what);
        }
        if standing.right == Right::None {
            return;
        }
        self.count(Checker::SingleOwnerPerEpoch);
        let holder = *self.holders.entry((subject, standing)).or_insert(by);
        if holder != by {
            let what = format!("{identifier:x} is with {by:?} and {holder:?} at {standing:?}");
            self.fail(Checker::SingleOwnerPerEpoch, now, &what);
        }
        let is_home = standing == Standing { right: Right::Home, epoch: 0 }
            && peer.mesh.certified(by).is_some_and(|certified| {
                certified.is_home(crate::addr::Identifier::from_bits(identifier))
            });
        if !is_home && self.given.get(&(identifier, standing)) != Some(&by) {
            let what = format!("{index}: {by:?} has {identifier:x} at {standing:?}, not given it");
            self.fail(Checker::AuthorisedWriter, now, &what);
        }
    }

    /// Looks at all nodes.
    pub fn look(&mut self, now: Moment, peers: &[Peer]) {
        for (index, peer) in peers.iter().enumerate().filter(|(_, peer)| peer.is_up) {
            self.look_at_sizes(now, index, peer);
            self.look_at_ages(now, index, peer);
            self.count(Checker::NothingUntold);
            let now_held = peer.mesh.subjects().filter_map(|subject| {
                let held = peer.mesh.held(subject)?;
                Some((subject, (held.by, held.standing)))
            });
            if !now_held.eq(peer.mirror.iter().map(|(subject, held)| (*subject, *held))) {
                let what = format!("{index} was not told of all that changed");
                self.fail(Checker::NothingUntold, now, &what);
            }
        }
        let elapsed = now.saturating_sub(self.looked);
        self.sent.resize(peers.len(), 0);
        let sent: Vec<_> = peers.iter().map(|peer| peer.sent).collect();
        let most = self.most_bytes.map(|most| most * elapsed.as_secs().max(1));
        let worst = sent.iter().zip(&self.sent).map(|(now, before)| now - before).max();
        if let (Some(most), Some(worst)) = (most, worst.filter(|it| Some(*it) > most)) {
            self.fail(Checker::Boundedness, now, &format!("{worst} bytes sent, {most} at most"));
        }
        (self.sent, self.looked) = (sent, now);
    }

    fn look_at_sizes(&mut self, now: Moment, index: usize, peer: &Peer) {
        self.count(Checker::Boundedness);
        let sizes = peer.mesh.sizes();
        let owners = peer.mesh.owners().len();
        let claims = peer.mesh.subject_count();
        let limits = [
            ("links", sizes.links, 64),
            ("frames waiting", sizes.waiting, WAITING),
            ("owners pending", sizes.pending, owners),
            ("owners missing", sizes.missing, owners),
            ("claims not judged", sizes.unjudged, claims * owners),
            ("moves", sizes.moves, claims.max(self.given.len())),
            ("timers", sizes.timers, 8 + 4 * owners + 3 * 64 + sizes.moves + sizes.missing),
        ];
        for (what, size, limit) in limits.into_iter().filter(|(_, size, limit)| size > limit) {
            let what = format!("{index} has {size} {what}, {limit} at most");
            self.fail(Checker::Boundedness, now, &what);
        }
    }

    fn look_at_ages(&mut self, now: Moment, index: usize, peer: &Peer) {
        for owner in peer.mesh.owners().filter(|owner| owner.id() != peer.mesh.me()) {
            self.count(Checker::StalenessHonest);
            let id = owner.id();
            let Some(heard) = peer.mesh.heard(id) else { continue };
            let said = self.said.get(&id).and_then(|said| said.get(&owner.head().position));
            let news = peer.news.get(&id);
            let is_after = news.is_none_or(|(came, _)| heard > *came);
            let is_before = said.zip(news).is_some_and(|(said, (_, came))| *came < said.at);
            if is_after || is_before {
                let what = format!("{index} says that {id:?} was heard of at {heard:?}");
                self.fail(Checker::StalenessHonest, now, &what);
            }
        }
    }

    /// Notes that a checker has looked.
    pub fn count(&mut self, checker: Checker) {
        *self.counts.entry(checker).or_default() += 1;
    }
}

/// How long ago a node says that it has heard of another; none if it has not.
#[must_use]
pub fn age(now: Moment, peer: &Peer, node: NodeId) -> Option<Duration> {
    Some((now + peer.clock).saturating_sub(peer.mesh.heard(node)?))
}
