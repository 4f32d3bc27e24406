//! What goes wrong between nodes and in them, and how often it really has.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{LinkId, Moment, Net, Version, What, cable::IDLE};

/// How often connections are looked after.
const SWEEP: Duration = Duration::from_millis(500);

/// What is wrong, and how often it has made itself felt.
#[derive(Debug, Default)]
pub struct Faults {
    /// Which side of a cut each node is on; between sides nothing passes.
    pub sides: BTreeMap<usize, u8>,
    /// From which node to which other nothing passes.
    pub one_way: BTreeSet<(usize, usize)>,
    /// How many of a million packets are lost, if not as many as usual …
    pub loss: Option<u64>,
    /// … and of those that go to one node.
    pub loss_to: BTreeMap<usize, u64>,
    /// Nodes that run only once in so long.
    pub starved: BTreeMap<usize, Duration>,
    /// Nodes whose disks do not store.
    pub blocked_disks: BTreeSet<usize>,
    /// Nodes of a later version, which say things that others do not know.
    pub newer: BTreeSet<usize>,
    /// Nodes of the first version; counts for connections that are made.
    pub older: BTreeSet<usize>,
    /// Bytes a second that a node can send.
    pub uplink: Option<u32>,
    happened: BTreeMap<&'static str, u64>,
}

impl Faults {
    /// Whether something passes from one node to another.
    #[must_use]
    pub fn passes(&self, from: usize, to: usize) -> bool {
        let side = |index| self.sides.get(&index).copied().unwrap_or_default();
        side(from) == side(to) && !self.one_way.contains(&(from, to))
    }

    /// Ends whatever is between nodes.
    pub fn heal(&mut self) {
        self.sides.clear();
        self.one_way.clear();
        self.loss = None;
        self.loss_to.clear();
    }

    /// Notes that something has happened.
    pub fn count(&mut self, what: &'static str) {
        self.count_more(what, 1);
    }

    /// How often each thing has happened.
    #[must_use]
    pub const fn happened(&self) -> &BTreeMap<&'static str, u64> {
        &self.happened
    }

    /// The latest version that a node speaks.
    pub(super) fn version(&self, index: usize) -> Version {
        if self.older.contains(&index) { Version::One } else { Version::LATEST }
    }

    pub(super) fn count_if(&mut self, what: &'static str, is_so: bool) {
        self.count_more(what, is_so.into());
    }

    /// Notes that something has happened so often.
    pub fn count_more(&mut self, what: &'static str, more: u64) {
        if more > 0 {
            *self.happened.entry(what).or_default() += more;
        }
    }

    pub(super) fn loss(&self, to: usize) -> Option<u64> {
        self.loss_to.get(&to).copied().or(self.loss)
    }
}

impl Net {
    /// Has nothing more come by any connection of a node in one direction, all of
    /// which live on; returns how many they are.
    pub fn stall(&mut self, from: usize) -> usize {
        let of = self.cables.values_mut().filter(|cable| cable.ends.contains(&from));
        of.map(|cable| {
            let end = usize::from(cable.ends[1] == from);
            cable.ways[end].is_stalled = true;
        })
        .count()
    }

    /// Has a node send bytes to all that it has a connection to, whatever they
    /// are; returns to how many.
    pub fn inject(&mut self, from: usize, bytes: &[u8]) -> usize {
        self.inject_to(from, |_| true, bytes)
    }

    /// The same, to some of them.
    pub fn inject_to(&mut self, from: usize, to: impl Fn(usize) -> bool, bytes: &[u8]) -> usize {
        let open = |cable: &super::Cable, end: usize| {
            cable.ends[end] == from && cable.is_open[end] && to(cable.ends[1 - end])
        };
        let ends = |(link, cable): (&LinkId, &super::Cable)| {
            (0..2).filter(|end| open(cable, *end)).map(|end| (*link, end)).collect::<Vec<_>>()
        };
        let links: Vec<_> = self.cables.iter().flat_map(ends).collect();
        for (link, end) in &links {
            self.transport(*link, *end, bytes.to_vec());
        }
        links.len()
    }

    /// Has a node see that much time pass at once, as a machine does that was
    /// suspended.
    pub fn jump(&mut self, index: usize, time: Duration) {
        self.peers[index].clock += time;
        self.faults.count("clocks that jumped");
        self.set_due(index);
    }

    /// Has connections break from now on over which nothing comes.
    pub fn disturb(&mut self) {
        if !std::mem::replace(&mut self.is_sweeping, true) {
            let now = self.now;
            self.cables.values_mut().for_each(|cable| cable.heard = [now; 2]);
            self.push(now + SWEEP, What::Sweep);
        }
    }

    /// Looks after all connections: what comes, in between, shows that they live.
    pub(super) fn sweep(&mut self) {
        let links: Vec<_> = self.cables.keys().copied().collect();
        for (link, end) in links.into_iter().flat_map(|link| [(link, 0), (link, 1)]) {
            let Some(cable) = self.cables.get(&link) else { continue };
            let [near, far] = [cable.ends[end], cable.ends[1 - end]];
            let lives = |end: usize| {
                cable.is_open[end] && self.peers[cable.ends[end]].life == cable.lives[end]
            };
            if !lives(end) {
                if !lives(1 - end) {
                    self.cables.remove(&link);
                }
                continue;
            }
            let (is_answered, idle) = (lives(1 - end), self.now.saturating_sub(cable.heard[end]));
            let rate = self.faults.loss(near).unwrap_or(self.distances.loss);
            let comes = self.faults.passes(far, near)
                && self.peers[far].is_up
                && self.dice.below(1_000_000) >= rate;
            // Whoever does not know a connection says so, if asked.
            let is_refused = comes && !is_answered && self.faults.passes(near, far);
            if is_refused || idle > IDLE {
                self.faults.count_if("connections that broke", !is_refused);
                self.broken(link, end);
            } else if comes
                && is_answered
                && let Some(cable) = self.cables.get_mut(&link)
            {
                cable.heard[end] = self.now;
            }
        }
        self.push(self.now + SWEEP, What::Sweep);
    }

    /// When what happens now reaches a node that is starved.
    pub(super) fn until_it_wakes(&mut self, what: &What) -> Option<Moment> {
        let index = self.addressee(what)?;
        let every = self.faults.starved.get(&index)?.as_micros();
        let since = self.now.as_micros() % every;
        if since == 0 {
            return None;
        }
        self.faults.count("events that a starved node was late for");
        let wait = u64::try_from(every - since).unwrap_or(u64::MAX);
        let now = u64::try_from(self.now.as_micros()).unwrap_or(u64::MAX);
        Some(Duration::from_micros(now + wait))
    }
}
