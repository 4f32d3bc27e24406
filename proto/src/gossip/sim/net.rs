//! The network between simulated nodes: delays, cuts, and what was sent. The
//! same seed gives the same run, to the last byte.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    time::Duration,
};

use super::{Authority, Dice, Node};
use crate::{
    addr::{Identifier, Locator, SirPrefix},
    gossip::{
        IdentifierRange, Incarnation, Key, NodeId, Owner, Position, State, Surroundings as _,
        Value,
        claim::{Claim, Grant, HandOver, Subject},
        frame::Frame,
        mesh::{self, Alarm, Effect, Event, Fault, LinkId, Mesh, Moment, Settings},
        wire,
    },
};

/// How long storing takes.
const STORE: Duration = Duration::from_micros(500);
/// How long it takes until a link over which nothing comes is given up.
const IDLE: Duration = Duration::from_secs(6);
/// What a packet adds to what is sent in it: IPv6, UDP, QUIC.
pub const OVERHEAD: usize = 40 + 8 + 33;

/// How far nodes are from each other.
#[derive(Clone, Copy, Debug)]
pub struct Distances {
    /// Of a round trip, the shortest and the longest.
    pub round_trip: (Duration, Duration),
    /// How many of a million packets are lost, which costs a round trip more.
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

#[derive(Debug)]
enum What {
    Passed(usize),
    Deliver(LinkId, usize, Frame),
    Connected { from: usize, to: usize },
    Broken(LinkId, usize),
    Stored(usize, Position),
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
    due: Option<Moment>,
}

/// All nodes and what is on its way between them.
#[derive(Debug)]
pub struct Net {
    /// The time since the start.
    pub now: Moment,
    /// All nodes.
    pub peers: Vec<Peer>,
    /// Which side of a cut each is on; between sides nothing passes.
    pub sides: Vec<u8>,
    dice: Dice,
    distances: Distances,
    settings: Settings,
    authority: Authority,
    queue: BinaryHeap<Reverse<(Moment, u64)>>,
    waiting: HashMap<u64, What>,
    count: u64,
    links: HashMap<LinkId, Cable>,
    /// When identifiers were claimed that are watched, and when others heard.
    watched: HashMap<u64, Moment>,
    /// How many frames of each kind were sent, and how many bytes.
    pub frames: BTreeMap<&'static str, (u64, u64)>,
    heard: Vec<Duration>,
    by_node: HashMap<NodeId, usize>,
}

#[derive(Debug)]
struct Cable {
    ends: [usize; 2],
    delay: Duration,
    /// When the last frame that was sent from each end arrives.
    last: [Moment; 2],
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
            sides: Vec::new(),
            dice: Dice::new(seed),
            distances,
            settings,
            authority: Authority::new(seed),
            queue: BinaryHeap::new(),
            waiting: HashMap::new(),
            count: 0,
            links: HashMap::new(),
            watched: HashMap::new(),
            frames: BTreeMap::new(),
            heard: Vec::new(),
            by_node: HashMap::new(),
        }
    }

    /// Adds a node that knows nobody.
    pub fn add(&mut self) -> usize {
        let index = self.peers.len();
        let (own, node) = self.start(index, 1, None);
        self.by_node.insert(own.id(), index);
        let mesh = Mesh::new(own, node, self.settings.clone(), self.now);
        self.peers.push(Peer {
            mesh,
            is_up: true,
            sent: 0,
            alarms: Vec::new(),
            faults: BTreeMap::new(),
            due: None,
        });
        self.sides.push(0);
        self.set_due(index);
        index
    }

    /// Has all nodes know each other, as after a while.
    pub fn introduce_all(&mut self) {
        let own: Vec<_> = self.peers.iter().map(|peer| peer.mesh.own().since(None)).collect();
        for (index, peer) in self.peers.iter_mut().enumerate() {
            for (other, delta) in own.iter().enumerate() {
                if other != index {
                    peer.mesh.remember(delta.clone(), self.now).expect("it is true");
                }
            }
        }
        (0..self.peers.len()).for_each(|index| self.set_due(index));
    }

    /// Has a node that knows nobody reach another.
    pub fn join(&mut self, from: usize, to: usize) {
        self.connect(from, to);
    }

    /// Adds a machine that has the disk of another one, which goes on.
    pub fn clone_of(&mut self, index: usize) -> usize {
        let state = self.peers[index].mesh.own().state().clone();
        let (mut own, mut node) = self.start(index, 2, Some(state));
        node.reseed(self.dice.any());
        let incarnation = Incarnation { boot: 2, nonce: self.dice.any() };
        let position = Position { incarnation, sequence: 0 };
        own = Owner::new(own.state().clone(), position, &mut node).expect("it is certified");
        let mut mesh = Mesh::new(own, node, self.settings.clone(), self.now);
        for known in self.peers[index].mesh.owners() {
            let _ = mesh.remember(known.since(None), self.now);
        }
        let twin = self.peers.len();
        let (is_up, sent, due) = (true, 0, None);
        let (alarms, faults) = (Vec::new(), BTreeMap::new());
        self.peers.push(Peer { mesh, is_up, sent, alarms, faults, due });
        self.sides.push(0);
        self.set_due(twin);
        twin
    }

    /// An identifier in the SIR prefix of all.
    #[must_use]
    pub const fn subject(&self, identifier: Identifier) -> Subject {
        Subject::new(SIR, identifier)
    }

    /// Ends a node without a word.
    pub fn kill(&mut self, index: usize) {
        self.peers[index].is_up = false;
        let mut links: Vec<_> = self
            .links
            .iter()
            .filter(|(_, cable)| cable.ends.contains(&index))
            .map(|(id, cable)| (*id, cable.ends))
            .collect();
        links.sort_unstable_by_key(|(id, _)| *id);
        for (id, ends) in links {
            let other = if ends[0] == index { ends[1] } else { ends[0] };
            self.push(self.now + IDLE, What::Broken(id, other));
        }
    }

    /// Starts it again, with what it has stored, or with nothing.
    pub fn restart(&mut self, index: usize, boot: u64, remembers: bool) {
        let state = remembers.then(|| self.peers[index].mesh.own().state().clone());
        let (own, node) = self.start(index, boot, state);
        let mut mesh = Mesh::new(own, node, self.settings.clone(), self.now);
        std::mem::swap(&mut mesh, &mut self.peers[index].mesh);
        self.links.retain(|_, cable| !cable.ends.contains(&index));
        (self.peers[index].is_up, self.peers[index].due) = (true, None);
        self.set_due(index);
    }

    /// Has a node hold an identifier, or no longer.
    pub fn claim(&mut self, index: usize, identifier: Identifier, claim: Option<&Claim>) {
        let mesh = &self.peers[index].mesh;
        let certified = mesh.own().certified();
        let change = mesh::change(certified, Subject::new(SIR, identifier), claim);
        let change = change.expect("its certificate names the SIR prefix");
        self.handle(index, Event::Say(vec![change]));
    }

    /// The word of a node that another one holds an identifier from now on.
    pub fn hand_over(
        &mut self,
        from: usize,
        to: usize,
        identifier: Identifier,
        epoch: u32,
    ) -> HandOver {
        let [giver, taker] = [from, to].map(|index| self.peers[index].mesh.me());
        let subject = Subject::new(SIR, identifier);
        let statement = HandOver::statement(subject, epoch, giver, taker);
        let signature = self.node(from).sign(&statement);
        HandOver { from: giver, to: taker, signature }
    }

    /// The authority's word that a node holds an identifier.
    #[must_use]
    pub fn grant(&self, to: usize, identifier: Identifier, epoch: u32) -> Grant {
        let to = self.peers[to].mesh.me();
        let statement = Grant::statement(Subject::new(SIR, identifier), to, epoch);
        Grant { to, epoch, signature: self.authority.grant(&statement) }
    }

    /// Who holds an identifier, as a node sees it.
    #[must_use]
    pub fn held(&self, index: usize, identifier: Identifier) -> Option<usize> {
        let held = self.peers[index].mesh.held(Subject::new(SIR, identifier))?;
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

    /// Lets time pass until a moment.
    pub fn run_until(&mut self, moment: Moment) {
        while let Some(Reverse((at, _))) = self.queue.peek()
            && *at <= moment
        {
            self.step();
        }
        self.now = moment;
    }

    /// Lets time pass until something is so, at most for `most`; returns how
    /// long it took.
    pub fn run_while(&mut self, most: Duration, go_on: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        while go_on(self) {
            let next = self.queue.peek()?.0.0;
            if next > start + most {
                return None;
            }
            self.step();
        }
        Some(self.now.saturating_sub(start))
    }

    /// Whether all nodes that run know the same.
    #[must_use]
    pub fn is_one(&self) -> bool {
        let mut digests = self.peers.iter().filter(|it| it.is_up).map(|it| it.mesh.digest());
        let first = digests.next();
        digests.all(|digest| Some(digest) == first)
    }

    fn node(&self, index: usize) -> Node {
        self.authority.node(index as u64 + 1, "n", &[], &[]).0
    }

    fn start(&self, index: usize, boot: u64, state: Option<State>) -> (Owner, Node) {
        let range = IdentifierRange { bits: home(index, 0).bits() >> 36 << 36, length: 28 };
        let name = format!("n{index}");
        let seed = index as u64 + 1;
        let locators = [(SIR, locator(index))];
        let (mut node, record) = self.authority.node(seed, &name, &locators, &[range]);
        node.reseed(seed << 32 ^ boot);
        let record = wire::encode(&record).expect("a record is short");
        let record = Value::new(&record).expect("a record is short");
        let state = state.unwrap_or_else(|| State::of([(Key::RECORD, record)]));
        let incarnation = Incarnation { boot, nonce: boot ^ seed << 8 };
        let position = Position { incarnation, sequence: 0 };
        (Owner::new(state, position, &mut node).expect("it is certified"), node)
    }

    fn step(&mut self) {
        let Some(Reverse((at, number))) = self.queue.pop() else { return };
        self.now = at;
        let Some(what) = self.waiting.remove(&number) else { return };
        match what {
            What::Passed(index) => {
                if self.peers[index].due == Some(at) && self.peers[index].is_up {
                    self.peers[index].due = None;
                    self.handle(index, Event::Passed);
                }
            }
            What::Deliver(link, to, frame) => {
                let is_there = self
                    .links
                    .get(&link)
                    .is_some_and(|cable| self.sides[cable.ends[0]] == self.sides[cable.ends[1]]);
                if is_there && self.peers[to].is_up {
                    self.handle(to, Event::Received(link, frame));
                }
            }
            What::Connected { from, to } => self.connect(from, to),
            What::Broken(link, at) => {
                self.links.remove(&link);
                self.handle(at, Event::Down(link));
            }
            What::Stored(index, position) => self.handle(index, Event::Stored(position)),
        }
    }

    fn handle(&mut self, index: usize, event: Event) {
        if !self.peers[index].is_up {
            return;
        }
        let effects = self.peers[index].mesh.handle(event, self.now);
        for effect in effects {
            match effect {
                Effect::Wake(link) => self.pump(index, link),
                Effect::Dial(node) => self.dial(index, node),
                Effect::Seek if index > 0 => self.connect(index, 0),
                Effect::Close(link, fault) => {
                    *self.peers[index].faults.entry(fault).or_default() += 1;
                    if let Some(cable) = self.links.get(&link) {
                        let [a, b] = cable.ends;
                        let (other, delay) = (if a == index { b } else { a }, cable.delay);
                        self.push(self.now + delay, What::Broken(link, other));
                    }
                }
                Effect::Store => {
                    if let Some(saying) = self.peers[index].mesh.saying() {
                        let position = saying.head().position;
                        self.push(self.now + STORE, What::Stored(index, position));
                    }
                }
                Effect::Alarm(alarm) => self.peers[index].alarms.push(alarm),
                Effect::Held(subject) => {
                    if let Some(since) = self.watched.get(&subject.identifier)
                        && self
                            .held(index, Identifier::from_bits(subject.identifier))
                            .is_some_and(|by| by != index)
                    {
                        self.heard.push(self.now.saturating_sub(*since));
                    }
                }
                Effect::Seek | Effect::Node(_) | Effect::Agreed => {}
            }
        }
        self.set_due(index);
    }

    fn dial(&mut self, from: usize, node: NodeId) {
        let to = self.by_node.get(&node).copied();
        if let Some(to) = to {
            let delay = self.delay(from, to) * 3;
            self.push(self.now + delay, What::Connected { from, to });
        }
    }

    fn connect(&mut self, from: usize, to: usize) {
        let reaches = self.sides[from] == self.sides[to];
        if !reaches || !self.peers[from].is_up || !self.peers[to].is_up {
            return;
        }
        self.count += 1;
        let link = LinkId(self.count);
        let delay = self.delay(from, to);
        self.links.insert(link, Cable { ends: [from, to], delay, last: [self.now; 2] });
        for (at, other) in [(from, to), (to, from)] {
            let node = self.peers[other].mesh.me();
            let is_ours = at == from;
            self.handle(at, Event::Up { link, node, round_trip: delay * 2, is_ours });
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

    fn pump(&mut self, index: usize, link: LinkId) {
        let mut sent = 0;
        while let Some(frame) = self.peers[index].mesh.transmit(link) {
            let length = frame.write().expect("it is short").len();
            sent += length;
            let kind = self.frames.entry(frame.name()).or_default();
            kind.0 += 1;
            kind.1 += length as u64;
            let Some(cable) = self.links.get_mut(&link) else { continue };
            let end = usize::from(cable.ends[1] == index);
            let to = cable.ends[1 - end];
            let mut delay = cable.delay;
            if self.dice.below(1_000_000) < self.distances.loss {
                delay += cable.delay * 2 + Duration::from_millis(25);
            }
            let arrives = (self.now + delay).max(cable.last[end]);
            cable.last[end] = arrives;
            self.push(arrives, What::Deliver(link, to, frame));
        }
        if sent > 0 {
            let packets = sent.div_ceil(1200);
            self.peers[index].sent += (sent + packets * OVERHEAD) as u64;
        }
    }

    fn push(&mut self, at: Moment, what: What) {
        self.count += 1;
        self.queue.push(Reverse((at, self.count)));
        self.waiting.insert(self.count, what);
    }

    fn set_due(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let Some(due) = peer.mesh.next_deadline() else { return };
        let due = due.max(self.now);
        if peer.due.is_none_or(|earlier| due < earlier) {
            peer.due = Some(due);
            self.push(due, What::Passed(index));
        }
    }
}
