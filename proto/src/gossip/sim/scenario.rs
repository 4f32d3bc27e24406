//! Scenarios: each does something to a mesh, and has to have done it; in the end
//! all nodes that run know the same, which is what is so.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Dice,
    check::Checker,
    net::{Distances, Net},
};
use crate::{
    addr::Identifier,
    gossip::{
        NodeId,
        claim::Standing,
        mesh::{Alarm, Settings},
    },
};

mod byzantine;
mod crash;
mod disk;
mod gray;
mod lossy;
mod migration;
mod order;
mod overload;
mod partition;
mod random;

/// Something that can happen to a mesh.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// How many nodes, if nobody says otherwise.
    pub nodes: usize,
    /// How long all may take to agree when it is over.
    pub within: Duration,
    /// What has to have happened in it, and how often at least.
    pub musts: &'static [(&'static str, u64)],
    play: fn(&mut Net) -> Played,
}

/// Whether what has to be so in the course of it was so.
type Played = Result<(), String>;

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which.
    pub name: &'static str,
    /// From which seed.
    pub seed: u64,
    /// With how many nodes at the start.
    pub nodes: usize,
    /// How many frames of each kind were sent, and how many bytes.
    pub frames: BTreeMap<&'static str, (u64, u64)>,
    /// What has happened, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each checker has looked.
    pub looked: BTreeMap<Checker, u64>,
    /// How long it took from its end until all agreed.
    pub agreed: Option<Duration>,
    /// What is wrong; nothing if all is well.
    pub broken: Vec<String>,
    /// Bytes that all nodes have sent, packets included.
    pub bytes: u64,
    /// How long it took in all, in virtual time.
    pub time: Duration,
    /// What all that has happened comes to.
    pub trace: u64,
}

/// How long all may take to come to know each other at the start.
const JOIN: Duration = Duration::from_secs(60);
/// How often it is looked whether all agree.
const STEP: Duration = Duration::from_millis(50);
/// How long they have to go on to agree.
const LASTING: Duration = Duration::from_secs(5);

/// All of them.
pub const ALL: [Scenario; 12] = [
    random::RANDOM,
    crash::CRASH,
    crash::FLAP,
    lossy::LOSSY,
    partition::PARTITION,
    order::ORDER,
    partition::ISLANDS,
    overload::OVERLOAD,
    migration::MIGRATION,
    disk::DISK,
    byzantine::BYZANTINE,
    gray::GRAY,
];

impl Scenario {
    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|it| it.name == name)
    }

    /// Runs it. Seeds that are even have nodes in one building, odd ones all over
    /// the world.
    #[must_use]
    pub fn run(&self, seed: u64, nodes: usize) -> Report {
        let distances = if seed.is_multiple_of(2) { Distances::LAN } else { Distances::WAN };
        let (mut net, joined) = joined(nodes, seed, distances);
        let played = if joined.is_some() {
            (self.play)(&mut net)
        } else {
            Err("they do not come to know each other".to_owned())
        };
        let agreed = net.agreement(self.within);
        let mut broken: Vec<_> = played.err().into_iter().collect();
        net.run_for(LASTING);
        // Somebody may just be saying something.
        net.agreement(LASTING);
        if let Some(why) = net.disagreement() {
            let since = if agreed.is_some() { "no longer" } else { "never" };
            broken.push(format!("Convergence: {since} agreed after {:?}: {why}", self.within));
        } else if agreed.is_none() {
            broken.push(format!("Convergence: not within {:?}", self.within));
        }
        broken.extend(net.checks.broken().iter().cloned());
        for (what, least) in self.musts {
            let count = net.faults.happened().get(what).copied().unwrap_or_default();
            if count < *least {
                broken.push(format!("vacuous: {count} {what}, at least {least} were to happen"));
            }
        }
        Report {
            name: self.name,
            seed,
            nodes,
            frames: net.frames.clone(),
            faults: net.faults.happened().clone(),
            looked: net.checks.counts().clone(),
            agreed,
            broken,
            bytes: net.peers.iter().map(|peer| peer.sent).sum(),
            time: net.now,
            trace: net.trace(),
        }
    }
}

/// So many nodes that have joined by the first, and how long it took until they
/// knew each other.
pub(crate) fn joined(nodes: usize, seed: u64, distances: Distances) -> (Net, Option<Duration>) {
    let mut net = Net::new(Dice::new(seed).any(), distances, Settings::default());
    net.watch();
    for index in 0..nodes {
        net.add();
        if index > 0 {
            net.join(index, 0);
        }
    }
    let joined = net.agreement(JOIN);
    (net, joined)
}

impl Net {
    /// Waits until all agree; says how long that took.
    pub fn agreement(&mut self, within: Duration) -> Option<Duration> {
        let start = self.now;
        while self.now.saturating_sub(start) <= within {
            if self.is_one() && self.disagreement().is_none() {
                return Some(self.now.saturating_sub(start));
            }
            self.run_for(STEP);
        }
        None
    }

    /// Waits until something is so.
    fn wait(&mut self, what: &str, most: Duration, is_so: impl Fn(&Self) -> bool) -> Played {
        let end = self.now + most;
        while !is_so(self) {
            if self.now >= end {
                return Err(format!("{what}: not in {most:?}"));
            }
            self.run_for(STEP);
        }
        Ok(())
    }

    /// In what nodes that run do not agree with each other, or with what is so.
    #[must_use]
    pub fn disagreement(&self) -> Option<String> {
        let speaks = |index: &usize| {
            self.peers[*index].is_up && !self.peers[*index].alarms.contains(&Alarm::Cloned)
        };
        let speaking: Vec<_> = (0..self.peers.len()).filter(speaks).collect();
        let nodes: BTreeSet<_> = self.peers.iter().map(|peer| peer.mesh.me()).collect();
        let alive: BTreeSet<_> = speaking.iter().map(|at| self.peers[*at].mesh.me()).collect();
        let down: BTreeSet<_> = nodes.difference(&alive).copied().collect();
        let should = self.holders(&speaking);
        let digest = self.peers[*speaking.first()?].mesh.digest();
        for at in speaking {
            let mesh = &self.peers[at].mesh;
            if mesh.saying().is_some() || mesh.digest() != digest {
                return Some(format!("{at} does not know the same"));
            }
            if mesh.owners().len() != nodes.len() {
                return Some(format!("{at} knows {} of {}", mesh.owners().len(), nodes.len()));
            }
            if *mesh.down() != down {
                return Some(format!("{at} sees down {:?}, not {down:?}", mesh.down()));
            }
            let sees = &self.peers[at].mirror;
            let sees: BTreeMap<_, _> =
                sees.iter().map(|(subject, (by, _))| (subject.identifier, *by)).collect();
            if sees != should {
                let differs = |id: &&u64| sees.get(id) != should.get(id);
                let id = sees.keys().chain(should.keys()).find(differs).copied()?;
                let (seen, should) = (sees.get(&id), should.get(&id));
                return Some(format!("{at} has {id:x} with {seen:?}, not {should:?}"));
            }
        }
        None
    }

    /// Who should hold what, of nodes that speak.
    fn holders(&self, speaking: &[usize]) -> BTreeMap<u64, NodeId> {
        let mut best: BTreeMap<u64, (Standing, std::cmp::Reverse<NodeId>)> = BTreeMap::new();
        for peer in speaking.iter().map(|at| &self.peers[*at]) {
            let me = peer.mesh.me();
            for id in &peer.wanted {
                let standing = self.standing(Identifier::from_bits(*id), me);
                let this = (standing, std::cmp::Reverse(me));
                let best = best.entry(*id).or_insert(this);
                *best = this.max(*best);
            }
        }
        best.into_iter().map(|(id, (_, node))| (id, node.0)).collect()
    }
}

/// A scenario goes on only if that is so.
fn ensure(is_so: bool, what: &str) -> Played {
    if is_so { Ok(()) } else { Err(what.to_owned()) }
}

#[cfg(test)]
mod tests;
