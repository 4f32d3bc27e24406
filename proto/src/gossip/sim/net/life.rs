//! How nodes start, end, and come back with what their disks hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Identifier, Mesh, Net, Node, NodeId, Peer, SIR, home, locator};
use crate::gossip::{
    Delta, IdentifierRange, Incarnation, Key, Owner, Position, State, Surroundings as _, Value,
    wire,
};

/// What a node finds on its disk at a start.
#[derive(Clone, Debug)]
pub enum Disk {
    /// What it has stored.
    Kept,
    /// Nothing but its key.
    Wiped,
    /// What was there some time ago.
    Old(Copied),
}

/// What was on a disk.
#[derive(Clone, Debug)]
pub struct Copied {
    state: State,
    boot: u64,
    wanted: BTreeSet<u64>,
}

impl Net {
    /// Adds a node that knows nobody.
    pub fn add(&mut self) -> usize {
        self.start_new(self.peers.len(), None)
    }

    /// Adds a node that knows nobody, at the address of another that is no more.
    pub fn replace(&mut self, former: usize) -> usize {
        self.kill(former);
        let (address, index) = (self.peers[former].address, self.add());
        self.addresses[address] = index;
        self.peers[index].address = address;
        self.faults.count("nodes replaced by others");
        index
    }

    /// Adds a machine that has the disk of another one, which goes on.
    pub fn clone_of(&mut self, index: usize) -> usize {
        let copied = self.copy(index);
        self.faults.count("machines that were cloned");
        self.disturb();
        let twin = self.start_new(index, Some(copied));
        let known: Vec<_> =
            self.peers[index].mesh.owners().map(|known| known.since(None)).collect();
        self.recall(twin, known);
        twin
    }

    /// Has nodes call the addresses of these nodes if they know nobody.
    pub fn seed(&mut self, nodes: &[usize]) {
        self.seeds = nodes.to_vec();
    }

    /// Has all nodes know each other, as after a while.
    pub fn introduce_all(&mut self) {
        let own: Vec<_> = self.peers.iter().map(|peer| peer.mesh.own().since(None)).collect();
        for index in 0..self.peers.len() {
            self.recall(index, own.clone());
        }
    }

    /// What is on a node's disk.
    #[must_use]
    pub fn copy(&self, index: usize) -> Copied {
        let peer = &self.peers[index];
        let own = peer.mesh.own();
        let wanted = self.checks.claimed(own).unwrap_or_else(|| peer.wanted.clone());
        Copied { state: own.state().clone(), boot: peer.boot, wanted }
    }

    /// Ends a node without a word.
    pub fn kill(&mut self, index: usize) {
        self.disturb();
        let peer = &mut self.peers[index];
        if std::mem::replace(&mut peer.is_up, false) {
            peer.life += 1;
            self.faults.count("nodes that ended");
        }
    }

    /// Starts it again; it may remember what others have said.
    pub fn restart(&mut self, index: usize, disk: Disk, remembers: bool) {
        self.kill(index);
        let known: Vec<_> = self.peers[index].mesh.owners().map(|it| it.since(None)).collect();
        let copied = match disk {
            Disk::Kept => Some(self.copy(index)),
            Disk::Wiped => None,
            Disk::Old(copied) => Some(copied),
        };
        let peer = self.make(index, copied);
        let former = std::mem::replace(&mut self.peers[index], peer);
        let peer = &mut self.peers[index];
        (peer.life, peer.address) = (former.life + 1, former.address);
        (peer.sent, peer.faults, peer.alarms) = (former.sent, former.faults, former.alarms);
        self.recall(index, if remembers { known } else { Vec::new() });
        self.faults.count("nodes that started again");
        self.set_due(index);
    }

    /// Who a node is and what it signs with, as nobody but itself should have it.
    #[must_use]
    pub fn surroundings(&self, index: usize) -> Node {
        self.authority.node(key_seed(index), "n", &[], &[]).0
    }

    /// Which node is the home of an identifier.
    pub(super) fn home_of(&self, identifier: Identifier) -> Option<NodeId> {
        let index = usize::try_from(identifier.bits() >> 36 & 0xff_ffff).ok()?.checked_sub(1)?;
        self.peers.get(index).map(|peer| peer.mesh.me())
    }

    fn recall(&mut self, index: usize, known: Vec<Delta>) {
        let peer = &mut self.peers[index];
        let moment = self.now + peer.clock;
        let me = peer.mesh.me();
        for delta in known.into_iter().filter(|delta| delta.owner != me) {
            // It has kept only what is true.
            peer.mesh.remember(delta, moment).expect("it is true");
        }
        self.tell_all(index);
        self.set_due(index);
    }

    /// Has a node that has started asked for all that it knows.
    pub fn tell_all(&mut self, index: usize) {
        let subjects: Vec<_> = self.peers[index].mesh.subjects().collect();
        for subject in subjects {
            self.checks.held(self.now, index, &mut self.peers[index], subject);
        }
    }

    fn start_new(&mut self, identity: usize, copied: Option<Copied>) -> usize {
        let index = self.peers.len();
        let mut peer = self.make(identity, copied);
        peer.address = index;
        self.addresses.push(index);
        self.by_node.entry(peer.mesh.me()).or_insert(index);
        self.peers.push(peer);
        self.set_due(index);
        index
    }

    /// A node that starts, with a clock that shows any time.
    fn make(&mut self, identity: usize, copied: Option<Copied>) -> Peer {
        let range = IdentifierRange { bits: home(identity, 0).bits() >> 36 << 36, length: 28 };
        let seed = key_seed(identity);
        let locators = [(SIR, locator(identity))];
        let name = format!("n{identity}");
        let (mut node, record) = self.authority.node(seed, &name, &locators, &[range]);
        node.reseed(self.dice.any());
        let record = wire::encode(&record).expect("a record is short");
        let record = Value::new(&record).expect("a record is short");
        let (state, boot, wanted) = match copied {
            Some(Copied { state, boot, wanted }) => (state, boot + 1, wanted),
            None => (State::of([(Key::RECORD, record)]), 1, BTreeSet::new()),
        };
        let incarnation = Incarnation { boot, nonce: node.random() };
        let position = Position { incarnation, sequence: 0 };
        let own = Owner::new(state, position, &mut node).expect("it is certified");
        self.checks.said(self.now, &own, &wanted);
        let clock = Duration::from_secs(self.dice.below(1 << 32));
        let mesh = Mesh::new(own, node, self.settings.clone(), self.now + clock);
        Peer {
            mesh,
            is_up: true,
            sent: 0,
            alarms: Vec::new(),
            faults: BTreeMap::new(),
            wanted,
            mirror: super::Mirror::default(),
            news: BTreeMap::new(),
            clock,
            address: identity,
            life: 0,
            boot,
            leaves: Duration::ZERO,
            due: None,
        }
    }
}

/// What the key of a node comes from.
const fn key_seed(identity: usize) -> u64 {
    identity as u64 + 1
}
