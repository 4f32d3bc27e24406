//! Connections: two streams of bytes, each in order, that wait while they are
//! cut and break when nothing comes by them for long.

use std::{collections::VecDeque, time::Duration};

use super::{Event, LinkId, Moment, Net, NodeId, OVERHEAD, PACKET, Version, What};

/// How long it takes until a connection over which nothing comes is given up.
pub const IDLE: Duration = Duration::from_secs(6);
/// What can be under way in one direction.
const WINDOW: usize = 256 << 10;
/// How far ahead of what has left a node sends.
const AHEAD: Duration = Duration::from_millis(50);
/// How soon what could not pass is sent again.
const RESEND: Duration = Duration::from_millis(250);
/// How long it takes until a connection that does not come about is given up.
const DIAL: Duration = Duration::from_secs(5);
/// A frame of a kind that no version knows.
const UNKNOWN: [u8; 9] = [200, 0, 0, 0, 4, 1, 2, 3, 4];

#[derive(Debug)]
pub(super) struct Cable {
    pub ends: [usize; 2],
    /// In which life each end has made it.
    pub lives: [u64; 2],
    pub delay: Duration,
    /// What both speak.
    pub version: Version,
    /// Whether each end still has it.
    pub is_open: [bool; 2],
    /// When something last came to each end.
    pub heard: [Moment; 2],
    /// What each end sends.
    pub ways: [Way; 2],
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Way {
    last: Moment,
    flying: VecDeque<(Moment, Vec<u8>)>,
    bytes: usize,
    /// The start of a frame of which the rest is to come.
    rest: Vec<u8>,
    is_blocked: bool,
    is_waiting: bool,
    /// Whether nothing passes, though the connection lives.
    pub is_stalled: bool,
}

impl Net {
    pub(super) fn dial(&mut self, from: usize, node: NodeId) {
        let Some(to) = self.by_node.get(&node).copied() else { return };
        if self.addresses[self.peers[to].address] == to {
            self.reach(from, to);
        } else {
            self.faults.count("calls to an address where another node is");
        }
    }

    /// Calls whoever is at an address that all know.
    pub(super) fn seek(&mut self, from: usize) {
        let seeds: Vec<_> = self.seeds.iter().map(|address| self.addresses[*address]).collect();
        for to in seeds.into_iter().filter(|to| *to != from) {
            self.reach(from, to);
        }
    }

    fn reach(&mut self, from: usize, to: usize) {
        let (there, back) = (self.flight(from, to), self.flight(to, from));
        let after = there + back + self.flight(from, to);
        if after <= DIAL {
            self.push(self.now + after, What::Connected { from, to });
        } else {
            self.faults.count("calls that took too long");
        }
    }

    pub(super) fn connect(&mut self, from: usize, to: usize) {
        let passes = self.faults.passes(from, to) && self.faults.passes(to, from);
        if !passes || !self.peers[from].is_up || !self.peers[to].is_up {
            return;
        }
        self.count += 1;
        let link = LinkId(self.count);
        let delay = self.delay(from, to);
        let cable = Cable {
            ends: [from, to],
            lives: [from, to].map(|index| self.peers[index].life),
            delay,
            version: self.faults.version(from).min(self.faults.version(to)),
            is_open: [true; 2],
            heard: [self.now; 2],
            ways: [Way::default(), Way::default()],
        };
        self.cables.insert(link, cable);
        for (at, other) in [(from, to), (to, from)] {
            let node = self.peers[other].mesh.me();
            let is_ours = at == from;
            self.handle(at, Event::Up { link, node, round_trip: delay * 2, is_ours });
        }
    }

    /// Sends what a node has for a connection, as much as it takes.
    pub(super) fn pump(&mut self, index: usize, link: LinkId) {
        let Some(cable) = self.cables.get(&link) else { return };
        let end = usize::from(cable.ends[1] == index);
        let version = cable.version;
        let is_late = self.peers[index].leaves > self.now + AHEAD;
        let mut room = WINDOW.saturating_sub(cable.ways[end].bytes);
        let mut bytes = Vec::new();
        while !is_late && room > 0 {
            let Some(frame) = self.peers[index].mesh.transmit(link) else { break };
            let frame = frame.spoken(version);
            let frame_bytes = frame.write().expect("it is short");
            room = room.saturating_sub(frame_bytes.len());
            let kind = self.frames.entry(frame.name()).or_default();
            *kind = (kind.0 + 1, kind.1 + frame_bytes.len() as u64);
            bytes.extend(frame_bytes);
        }
        if let Some(cable) = self.cables.get_mut(&link) {
            cable.ways[end].is_blocked = room == 0;
        }
        if is_late {
            self.push(self.peers[index].leaves, What::Resume(link, end));
        }
        if !bytes.is_empty() {
            if self.faults.newer.contains(&index) {
                bytes.extend(UNKNOWN);
            }
            self.transport(link, end, bytes);
        }
    }

    /// Has bytes travel, whatever they are.
    pub(super) fn transport(&mut self, link: LinkId, end: usize, bytes: Vec<u8>) {
        let Some(cable) = self.cables.get(&link) else { return };
        let (from, to, delay) = (cable.ends[end], cable.ends[1 - end], cable.delay);
        let packets = bytes.len().div_ceil(PACKET);
        let size = bytes.len() + packets * OVERHEAD;
        let losses = (0..packets).map(|_| self.losses(to)).max().unwrap_or_default();
        let peer = &mut self.peers[from];
        peer.sent += size as u64;
        peer.leaves = peer.leaves.max(self.now);
        if let Some(rate) = self.faults.uplink {
            peer.leaves += Duration::from_secs(1) * u32::try_from(size).unwrap_or(u32::MAX) / rate;
        }
        let arrives = peer.leaves + delay + late(delay, losses);
        let Some(cable) = self.cables.get_mut(&link) else { return };
        let way = &mut cable.ways[end];
        way.last = way.last.max(arrives);
        way.bytes += bytes.len();
        way.flying.push_back((way.last, bytes));
        let at = way.last;
        self.push(at, What::Arrive(link, end));
    }

    /// Has arrive what is due, or a little later, if it cannot pass.
    pub(super) fn arrive(&mut self, link: LinkId, end: usize) {
        let Some(cable) = self.cables.get_mut(&link) else { return };
        let (from, to) = (cable.ends[end], cable.ends[1 - end]);
        let is_there = cable.is_open[1 - end] && cable.lives[1 - end] == self.peers[to].life;
        let way = &mut cable.ways[end];
        if !is_there || way.is_stalled {
            self.faults.count_if("frames on a connection that stalls", way.is_stalled);
            return;
        }
        if !self.faults.passes(from, to) {
            if !std::mem::replace(&mut way.is_waiting, true) {
                self.faults.count("times that a cut held something up");
                self.push(self.now + RESEND, What::Arrive(link, end));
            }
            return;
        }
        way.is_waiting = false;
        let mut bytes = std::mem::take(&mut way.rest);
        while let Some((at, _)) = way.flying.front()
            && *at <= self.now
            && let Some((_, more)) = way.flying.pop_front()
        {
            way.bytes -= more.len();
            bytes.extend(more);
        }
        if std::mem::take(&mut way.is_blocked) {
            let again = self.now + cable.delay;
            self.push(again, What::Resume(link, end));
        }
        let rest = self.read(link, to, bytes);
        if let Some(cable) = self.cables.get_mut(&link) {
            cable.ways[end].rest = rest;
        }
    }

    /// A node can send on.
    pub(super) fn resume(&mut self, link: LinkId, end: usize) {
        let Some(cable) = self.cables.get(&link) else { return };
        let index = cable.ends[end];
        if cable.is_open[end] && cable.lives[end] == self.peers[index].life {
            self.pump(index, link);
        }
    }

    /// A node ends a connection; the other one hears of it.
    pub(super) fn close(&mut self, index: usize, link: LinkId) {
        let Some(cable) = self.cables.get_mut(&link) else { return };
        let end = usize::from(cable.ends[1] == index);
        cable.is_open[end] = false;
        let (other, delay) = (cable.ends[1 - end], cable.delay);
        if self.faults.passes(index, other) {
            self.push(self.now + delay, What::Broken(link, 1 - end));
        }
    }

    /// A connection is gone, as one end sees it.
    pub(super) fn broken(&mut self, link: LinkId, end: usize) {
        let Some(cable) = self.cables.get_mut(&link) else { return };
        let (index, life) = (cable.ends[end], cable.lives[end]);
        let was_open = std::mem::replace(&mut cable.is_open[end], false);
        if !cable.is_open[1 - end] {
            self.cables.remove(&link);
        }
        if was_open && self.peers[index].life == life {
            self.handle(index, Event::Down(link));
        }
    }

    /// How long something takes from one node to another.
    fn flight(&mut self, from: usize, to: usize) -> Duration {
        let delay = self.delay(from, to);
        let losses = self.losses(to);
        delay + late(delay, losses)
    }

    /// How often in a row a packet is lost.
    fn losses(&mut self, to: usize) -> u32 {
        const MOST: u32 = 16;
        let rate = self.faults.loss(to).unwrap_or(self.distances.loss);
        let mut losses = 0;
        while losses < MOST && self.dice.below(1_000_000) < rate {
            losses += 1;
        }
        self.faults.count_more("packets lost", losses.into());
        losses
    }
}

/// How much later something comes that was lost so often: each wait is twice the
/// one before, up to a second.
fn late(delay: Duration, losses: u32) -> Duration {
    let first = delay * 2 + Duration::from_millis(25);
    (0..losses).map(|loss| (first * (1 << loss.min(10))).min(Duration::from_secs(1))).sum()
}
