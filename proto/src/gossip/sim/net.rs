//! The network between simulated nodes: delays, cuts, and what was sent. The
//! same seed gives the same run, to the last byte.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{
    Authority, Dice, Node,
    check::{Checker, Checks, Mirror},
};
use crate::{
    addr::{Identifier, Locator, SirPrefix},
    gossip::{
        Delta, NodeId, Position,
        frame::{Frame, Read, Version},
        mesh::{Alarm, Effect, Event, Fault, LinkId, Mesh, Moment, Settings},
    },
};

mod cable;
mod cold;
mod faults;
mod life;
mod titles;

use cable::Cable;
pub use faults::Faults;
pub use life::Disk;
use titles::Titles;

/// How long storing takes.
const STORE: Duration = Duration::from_micros(500);
/// What a packet adds to what is sent in it: IPv6, UDP, QUIC.
pub const OVERHEAD: usize = 40 + 8 + 33;
/// What a packet holds.
const PACKET: usize = 1200;
/// How often the checkers look at everything.
const LOOK: Duration = Duration::from_secs(2);

/// How far nodes are from each other.
#[derive(Clone, Copy, Debug)]
pub struct Distances {
    /// Of a round trip, the shortest and the longest.
    pub round_trip: (Duration, Duration),
    /// How many of a million packets are lost.
    pub loss: u64,
}

impl Distances {
    /// In one building.
    pub const LAN: Self =
        Self { round_trip: (Duration::from_micros(200), Duration::from_millis(2)), loss: 0 };
    /// All over the world.
    pub const WAN: Self =
        Self { round_trip: (Duration::from_millis(10), Duration::from_millis(150)), loss: 10_000 };
}

/// What happens at a moment; what is for a node of a life that has ended does
/// not happen.
#[derive(Debug)]
enum What {
    Passed(usize),
    Arrive(LinkId, usize),
    Resume(LinkId, usize),
    Connected { from: usize, to: usize },
    Broken(LinkId, usize),
    Stored(usize, u64, Position),
    Sweep,
    Look,
}

/// One node in the network.
#[derive(Debug)]
pub struct Peer {
    /// What it is.
    pub mesh: Mesh<Node>,
    /// Whether it runs.
    pub is_up: bool,
    /// Bytes that it has sent, packets included.
    pub sent: u64,
    /// What it wanted people to know.
    pub alarms: Vec<Alarm>,
    /// Why it has ended connections.
    pub faults: BTreeMap<Fault, u64>,
    /// What it was told to hold, of this life and what was stored of those before.
    pub wanted: BTreeSet<u64>,
    /// What it has been told of holders, as a data path would have it.
    pub mirror: Mirror,
    /// When something new of each other node has come, by its own clock and by
    /// the network's.
    pub news: BTreeMap<NodeId, (Moment, Moment)>,
    /// How far its clock is ahead of the network's.
    pub clock: Duration,
    /// At which address it is; whoever has taken its place is there instead.
    address: usize,
    /// Counts its starts and ends.
    life: u64,
    boot: u64,
    /// When the last byte that it has sent leaves.
    leaves: Moment,
    due: Option<Moment>,
}

/// All nodes and what is on its way between them.
#[derive(Debug)]
pub struct Net {
    /// The time since the start.
    pub now: Moment,
    /// All nodes.
    pub peers: Vec<Peer>,
    /// What is wrong.
    pub faults: Faults,
    /// What must not happen, and whether it has.
    pub checks: Checks,
    /// How many frames of each kind were sent, and how many bytes.
    pub frames: BTreeMap<&'static str, (u64, u64)>,
    dice: Dice,
    distances: Distances,
    settings: Settings,
    authority: Authority,
    queue: BTreeMap<(Moment, u64), What>,
    count: u64,
    cables: BTreeMap<LinkId, Cable>,
    titles: Titles,
    trace: blake3::Hasher,
    is_sweeping: bool,
    /// Who is at each address.
    addresses: Vec<usize>,
    /// The addresses that all know from the start.
    seeds: Vec<usize>,
    /// When identifiers were claimed that are watched, and when others heard.
    watched: HashMap<u64, Moment>,
    heard: Vec<Duration>,
    by_node: HashMap<NodeId, usize>,
}

/// The SIR prefix of all nodes.
pub const SIR: SirPrefix = SirPrefix::from_bits(0xfd00_0db8_0000_0001);

/// The locator of a node.
#[must_use]
pub const fn locator(index: usize) -> Locator {
    Locator::from_bits(0x2001_0db8_0000_0000 | index as u64)
}

/// An identifier whose home a node is.
#[must_use]
pub const fn home(index: usize, number: u64) -> Identifier {
    Identifier::from_bits(1 << 61 | (index as u64 + 1) << 36 | number << 16 | 1)
}

impl Net {
    /// A network without nodes.
    #[must_use]
    pub fn new(seed: u64, distances: Distances, settings: Settings) -> Self {
        Self {
            now: Duration::ZERO,
            peers: Vec::new(),
            faults: Faults::default(),
            checks: Checks::default(),
            frames: BTreeMap::new(),
            dice: Dice::new(seed),
            distances,
            settings,
            authority: Authority::new(seed),
            queue: BTreeMap::new(),
            count: 0,
            cables: BTreeMap::new(),
            titles: Titles::default(),
            trace: blake3::Hasher::new(),
            is_sweeping: false,
            addresses: Vec::new(),
            seeds: vec![0],
            watched: HashMap::new(),
            heard: Vec::new(),
            by_node: HashMap::new(),
        }
    }

    /// Has the checkers look at everything from now on.
    pub fn watch(&mut self) {
        self.checks.are_on = true;
        self.push(self.now + LOOK, What::Look);
    }

    /// Has a node that knows nobody reach another.
    pub fn join(&mut self, from: usize, to: usize) {
        self.connect(from, to);
    }

    /// Who holds an identifier, as a node sees it.
    #[must_use]
    pub fn held(&self, index: usize, identifier: Identifier) -> Option<usize> {
        let held = self.peers[index].mesh.held(self.subject(identifier))?;
        self.by_node.get(&held.by).copied()
    }

    /// Notes when others hear of an identifier that is claimed now.
    pub fn track(&mut self, identifier: Identifier) {
        self.watched.insert(identifier.bits(), self.now);
    }

    /// How long it took until others heard.
    pub fn tracked(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.heard)
    }

    /// Any number below `end`, from the seed.
    pub fn any(&mut self, end: usize) -> usize {
        usize::try_from(self.dice.below(end as u64)).unwrap_or_default()
    }

    /// What all that has happened comes to: two runs with the same are the same.
    #[must_use]
    pub fn trace(&self) -> u64 {
        let hash = self.trace.finalize();
        hash.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Lets time pass until a moment.
    pub fn run_until(&mut self, moment: Moment) {
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= moment) {
            self.step();
        }
        self.now = moment;
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Lets time pass until something is so, at most for `most`; returns how
    /// long it took.
    pub fn run_while(&mut self, most: Duration, go_on: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        while go_on(self) {
            let ((next, _), _) = self.queue.first_key_value()?;
            if *next > start + most {
                return None;
            }
            self.step();
        }
        Some(self.now.saturating_sub(start))
    }

    /// Whether all nodes that run, and are no clones, know the same.
    #[must_use]
    pub fn is_one(&self) -> bool {
        let speaks = |peer: &&Peer| peer.is_up && !peer.alarms.contains(&Alarm::Cloned);
        let mut digests = self.peers.iter().filter(speaks).map(|it| it.mesh.digest());
        let first = digests.next();
        digests.all(|digest| Some(digest) == first)
    }

    fn step(&mut self) {
        let Some(((at, _), what)) = self.queue.pop_first() else { return };
        self.now = at;
        if let Some(later) = self.until_it_wakes(&what) {
            return self.push(later, what);
        }
        match what {
            What::Passed(index) => {
                let is_due = self.peers[index].due.is_some_and(|due| due <= at);
                if is_due && self.peers[index].is_up {
                    self.peers[index].due = None;
                    self.handle(index, Event::Passed);
                }
            }
            What::Arrive(link, end) => self.arrive(link, end),
            What::Resume(link, end) => self.resume(link, end),
            What::Connected { from, to } => self.connect(from, to),
            What::Broken(link, end) => self.broken(link, end),
            What::Stored(index, life, position) => {
                if self.peers[index].life == life {
                    self.handle(index, Event::Stored(position));
                }
            }
            What::Sweep => self.sweep(),
            What::Look => {
                self.checks.look(self.now, &self.peers);
                self.push(self.now + LOOK, What::Look);
            }
        }
    }

    /// Who has to do something about it, if it is one node.
    fn addressee(&self, what: &What) -> Option<usize> {
        match what {
            What::Passed(index) | What::Stored(index, ..) => Some(*index),
            What::Connected { to, .. } => Some(*to),
            What::Arrive(link, end) => self.cables.get(link).map(|cable| cable.ends[1 - end]),
            What::Resume(link, end) | What::Broken(link, end) => {
                self.cables.get(link).map(|cable| cable.ends[*end])
            }
            What::Sweep | What::Look => None,
        }
    }

    pub(super) fn handle(&mut self, index: usize, event: Event) {
        if !self.peers[index].is_up {
            return;
        }
        let moment = self.now + self.peers[index].clock;
        let mesh = &self.peers[index].mesh;
        let owner = match &event {
            Event::Received(_, Frame::Delta(delta)) => Some(delta.owner),
            Event::Received(_, Frame::Step(step)) => {
                mesh.starting_with(step.owner).next().map(|(owner, _)| owner)
            }
            _ => None,
        };
        let told = owner.map(|owner| (owner, mesh.owner(owner).map(|it| *it.head())));
        let effects = self.peers[index].mesh.handle(event, moment);
        if let Some((owner, before)) = told {
            self.checks.told(self.now, index, &mut self.peers[index], owner, before);
        }
        for effect in effects {
            self.carry_out(index, effect);
        }
        self.set_due(index);
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Wake(link) => self.pump(index, link),
            Effect::Dial(node) => self.dial(index, node),
            Effect::Seek => self.seek(index),
            Effect::Close(link, fault) => {
                *self.peers[index].faults.entry(fault).or_default() += 1;
                self.close(index, link);
            }
            Effect::Store => {
                let peer = &self.peers[index];
                if let Some(saying) = peer.mesh.saying() {
                    self.checks.said(self.now, saying, &peer.wanted);
                    let stored = What::Stored(index, peer.life, saying.head().position);
                    if self.faults.blocked_disks.contains(&index) {
                        self.faults.count("stores that a disk did not do");
                    } else {
                        self.push(self.now + STORE, stored);
                    }
                }
            }
            Effect::Alarm(alarm) => self.peers[index].alarms.push(alarm),
            Effect::Held(subject) => {
                self.checks.held(self.now, index, &mut self.peers[index], subject);
                if let Some(since) = self.watched.get(&subject.identifier)
                    && self
                        .held(index, Identifier::from_bits(subject.identifier))
                        .is_some_and(|by| by != index)
                {
                    self.heard.push(self.now.saturating_sub(*since));
                }
            }
            Effect::Node(_) | Effect::Agreed => {}
        }
    }

    /// Hands on to a node what has come for it on a connection.
    fn read(&mut self, link: LinkId, to: usize, mut bytes: Vec<u8>) -> Vec<u8> {
        self.trace.update(&self.now.as_nanos().to_be_bytes());
        self.trace.update(&to.to_be_bytes()).update(&bytes);
        let version = self.cables.get(&link).map_or(Version::LATEST, |cable| cable.version);
        let mut at = 0;
        loop {
            match Frame::read(&bytes[at..], version) {
                Ok(Read::Frame(frame, length)) => {
                    at += length;
                    self.count_news(&frame, version);
                    self.handle(to, Event::Received(link, frame));
                }
                Ok(Read::Unknown(kind, length)) => {
                    let unknown = Ok(Read::Unknown(kind, length));
                    if Frame::read(&bytes[at..], Version::LATEST) != unknown {
                        let what = format!("{to} does not speak what it is told");
                        self.checks.fail(Checker::VersionAgreed, self.now, &what);
                    }
                    at += length;
                    self.faults.count("frames of a kind that is not known");
                }
                Ok(Read::Part) => break,
                Err(_) => {
                    self.faults.count("bytes that are no frame");
                    self.close(to, link);
                    self.handle(to, Event::Down(link));
                    return Vec::new();
                }
            }
        }
        bytes.drain(..at);
        bytes
    }

    /// By what news of a life that is known have come.
    fn count_news(&mut self, frame: &Frame, version: Version) {
        self.checks.count(Checker::VersionAgreed);
        match frame {
            Frame::Step(_) => self.faults.count("news by steps"),
            Frame::Delta(Delta { from: Some(_), .. }) if version == Version::One => {
                self.faults.count("news as the first version has them");
            }
            _ => {}
        }
    }

    /// The same for a pair at all times.
    fn delay(&self, a: usize, b: usize) -> Duration {
        let pair = (a.min(b) as u64) << 32 | a.max(b) as u64;
        let (least, most) = self.distances.round_trip;
        let spread =
            u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX).max(1);
        let micros = Dice::new(pair).below(spread);
        (least + Duration::from_micros(micros)) / 2
    }

    fn push(&mut self, at: Moment, what: What) {
        self.count += 1;
        self.queue.insert((at, self.count), what);
    }

    fn set_due(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let Some(due) = peer.mesh.next_deadline() else { return };
        let due = due.saturating_sub(peer.clock).max(self.now);
        if peer.due.is_none_or(|earlier| due < earlier) {
            peer.due = Some(due);
            self.push(due, What::Passed(index));
        }
    }
}
