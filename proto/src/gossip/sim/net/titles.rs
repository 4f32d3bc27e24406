//! By what right nodes hold identifiers, kept beside the nodes as they should
//! see it.

use std::collections::BTreeMap;

use super::{Event, Identifier, Net, SIR};
use crate::gossip::{
    NodeId, Surroundings as _,
    claim::{Claim, Grant, HandOver, MAX_STEPS, Right, Standing, Subject},
    mesh,
};

/// All rights that somebody was given.
#[derive(Debug, Default)]
pub(super) struct Titles {
    /// Where an identifier was handed to last: by which claim, and how well.
    last: BTreeMap<u64, (Claim, usize, Standing)>,
    /// How well each node stands that claims one otherwise than as its home.
    of: BTreeMap<(u64, NodeId), Standing>,
}

impl Net {
    /// An identifier in the SIR prefix of all.
    #[must_use]
    pub const fn subject(&self, identifier: Identifier) -> Subject {
        Subject::new(SIR, identifier)
    }

    /// Has a node hold an identifier, or no longer.
    pub fn claim(&mut self, index: usize, identifier: Identifier, claim: Option<&Claim>) {
        if !self.peers[index].is_up {
            return;
        }
        let peer = &mut self.peers[index];
        match claim {
            Some(_) => peer.wanted.insert(identifier.bits()),
            None => peer.wanted.remove(&identifier.bits()),
        };
        let certified = peer.mesh.own().certified();
        let change = mesh::change(certified, Subject::new(SIR, identifier), claim);
        let change = change.expect("its certificate names the SIR prefix");
        let me = peer.mesh.me();
        if claim.is_some_and(|claim| *claim == Claim::default()) {
            self.titles.of.remove(&(identifier.bits(), me));
        }
        self.handle(index, Event::Say(vec![change]));
    }

    /// Has a node hold an identifier as its home.
    pub fn hold(&mut self, index: usize, identifier: Identifier) {
        self.claim(index, identifier, Some(&Claim::default()));
    }

    /// Has whoever holds an identifier hand it to another node, which claims it;
    /// who had it still says that it has.
    pub fn move_to(&mut self, identifier: Identifier, to: usize) {
        let (mut claim, from, mut standing) = self.title(identifier);
        if claim.steps.len() == MAX_STEPS {
            // Its home says anew that it has it; somebody else has to be granted it.
            standing.epoch += 1;
            let is_home = self.home_of(identifier) == Some(self.peers[from].mesh.me());
            let grant = if is_home {
                self.word(from, identifier, standing.epoch)
            } else {
                standing.right = Right::Granted;
                self.grant(from, identifier, standing.epoch)
            };
            claim = Claim { grant: Some(grant), steps: Vec::new() };
            self.entitle(identifier, from, standing);
        }
        standing.epoch += 1;
        claim.steps.push(self.hand_over(from, to, identifier, standing.epoch));
        self.entitle(identifier, to, standing);
        self.titles.last.insert(identifier.bits(), (claim.clone(), to, standing));
        self.claim(to, identifier, Some(&claim));
        self.faults.count("moves");
    }

    /// Has the authority give an identifier to a node, which claims it.
    pub fn grant_to(&mut self, identifier: Identifier, to: usize) {
        let (_, _, Standing { epoch, .. }) = self.title(identifier);
        let claim = Claim { grant: Some(self.grant(to, identifier, epoch + 1)), steps: Vec::new() };
        let standing = Standing { right: Right::Granted, epoch: epoch + 1 };
        self.entitle(identifier, to, standing);
        self.titles.last.insert(identifier.bits(), (claim.clone(), to, standing));
        self.claim(to, identifier, Some(&claim));
        self.faults.count("grants");
    }

    /// The word of a node that another one holds an identifier from now on.
    #[must_use]
    pub fn hand_over(
        &self,
        from: usize,
        to: usize,
        identifier: Identifier,
        epoch: u32,
    ) -> HandOver {
        let [giver, taker] = [from, to].map(|index| self.peers[index].mesh.me());
        let statement = HandOver::statement(self.subject(identifier), epoch, giver, taker);
        let signature = self.surroundings(from).sign(&statement);
        HandOver { from: giver, to: taker, signature }
    }

    /// The authority's word that a node holds an identifier.
    #[must_use]
    pub fn grant(&self, to: usize, identifier: Identifier, epoch: u32) -> Grant {
        let to = self.peers[to].mesh.me();
        let statement = Grant::statement(self.subject(identifier), to, epoch);
        Grant { to, epoch, signature: self.authority.grant(&statement) }
    }

    /// A node's own word that it holds an identifier.
    #[must_use]
    pub fn word(&self, of: usize, identifier: Identifier, epoch: u32) -> Grant {
        let to = self.peers[of].mesh.me();
        let statement = Grant::statement(self.subject(identifier), to, epoch);
        Grant { to, epoch, signature: self.surroundings(of).sign(&statement) }
    }

    /// How well a node stands that claims an identifier.
    pub(crate) fn standing(&self, identifier: Identifier, node: NodeId) -> Standing {
        let right = if self.home_of(identifier) == Some(node) { Right::Home } else { Right::None };
        let given = self.titles.of.get(&(identifier.bits(), node));
        given.copied().unwrap_or(Standing { right, epoch: 0 })
    }

    fn entitle(&mut self, identifier: Identifier, to: usize, standing: Standing) {
        let node = self.peers[to].mesh.me();
        self.titles.of.insert((identifier.bits(), node), standing);
        self.checks.entitle(identifier.bits(), standing, node);
    }

    fn title(&self, identifier: Identifier) -> (Claim, usize, Standing) {
        let last = self.titles.last.get(&identifier.bits()).cloned();
        last.unwrap_or_else(|| {
            let home = self.home_of(identifier).expect("it has a home");
            let home = self.by_node[&home];
            (Claim::default(), home, Standing { right: Right::Home, epoch: 0 })
        })
    }
}
