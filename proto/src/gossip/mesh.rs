//! One node of the mesh, as a machine: what happens goes in, what is to be done
//! comes out, and the time only ever comes from outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Certified, Change, Delta, Key, NodeId, Owner, Position, Refused, Surroundings, Value,
    claim::Subject,
    frame::Frame,
    heads::Heads,
    holders::{Held, Holders},
    liveness::Reports,
};

#[cfg(any(test, feature = "sim"))]
mod cold;
mod knowledge;
mod moves;
mod neighbours;
mod own;
mod sizes;
mod spread;

pub use knowledge::change;
use moves::AllMoves;
pub use moves::{CALM, MOVES};
use neighbours::{Link, Lost, Slot, Slots};
pub use sizes::Sizes;
use spread::Missing;

/// A moment, counted from any other one that stays the same.
pub type Moment = Duration;

/// A connection to another node, by a number that is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Event {
    /// A connection stands to a node that has proven who it is.
    Up {
        /// Which.
        link: LinkId,
        /// To whom.
        node: NodeId,
        /// How long an answer takes.
        round_trip: Duration,
        /// Whether this node has made it.
        is_ours: bool,
    },
    /// A connection is gone.
    Down(LinkId),
    /// A frame has come by a connection.
    Received(LinkId, Frame),
    /// This node has something to say.
    Say(Vec<Change>),
    /// What this node says up to there has been stored durably.
    Stored(Position),
    /// It could not be stored; it is tried again.
    NotStored,
    /// The moment of [`Mesh::next_deadline`] has come.
    Passed,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// [`Mesh::transmit`] has something for a connection.
    Wake(LinkId),
    /// Make a connection to a node.
    Dial(NodeId),
    /// Make a connection to whoever can be found: nobody is known yet, some that
    /// were are down and others may be in their place, or there may be others who
    /// know nothing of this node.
    Seek,
    /// End a connection.
    Close(LinkId, Fault),
    /// Store [`Mesh::saying`] durably, then say [`Event::Stored`]. Until then
    /// nobody is told.
    Store,
    /// Who holds an identifier may be somebody else: ask [`Mesh::held`].
    Held(Subject),
    /// A node is new, has another record, went down or came back.
    Node(NodeId),
    /// A neighbour knows just what this node does, for the first time.
    Agreed,
    /// Something that people should know of.
    Alarm(Alarm),
}

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It is not needed any more.
    Done,
    /// There is another one to the same node.
    Twice,
    /// There are as many as there can be.
    Full,
    /// It stands, and nothing comes any more.
    Stalled,
    /// The other node hands on what is not true.
    Untrue(Refused),
    /// The other node does not keep to the protocol.
    Protocol,
}

/// What people should know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// This node has said more than it remembers: its disk was set back.
    SetBack,
    /// Another machine has the identity of this one and is in use. This one
    /// says nothing any more.
    Cloned,
    /// What this node says cannot be stored, and so nobody is told.
    NotStored,
    /// This node has more to say than others would take: some of the identifiers
    /// that it holds are unknown to them.
    Full,
    /// An owner has signed two states for one position.
    Equivocation(NodeId),
    /// An identifier that this node holds is held by another one with a better
    /// right.
    Lost(Subject),
    /// An identifier changes hands so often that it is not followed any more,
    /// until it has calmed.
    Restless(Subject),
}

/// How many alarms are remembered.
pub const ALARMS: usize = 32;

/// How often there was an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// How often.
    pub count: u64,
    /// When the last time.
    pub last: Moment,
}

/// How a mesh behaves. The default is for hosts of one company, wherever they
/// are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long own changes are collected before they are said.
    pub gather: Duration,
    /// How often one neighbour is compared with.
    pub compare: Duration,
    /// How long an answer to that may take until a link counts as stalled.
    pub stalled: Duration,
    /// How long a neighbour may be without a link until it is seen down.
    pub suspect: Duration,
    /// How often a node without a link is visited, while all are well …
    pub explore: Duration,
    /// … and while somebody is down, who may only be cut off.
    pub explore_down: Duration,
    /// How long is collected what links are only named.
    pub tell: Duration,
    /// How long to wait for what has been heard of to come by itself.
    pub graft: Duration,
    /// How often this node says that it is there, for each node in the mesh,
    /// so that the mesh as a whole always says as much.
    pub beat: Duration,
    /// To how many links that need not hear of a change it is named.
    pub have_links: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(2),
            compare: Duration::from_secs(1),
            stalled: Duration::from_secs(10),
            suspect: Duration::from_secs(3),
            explore: Duration::from_secs(10),
            explore_down: Duration::from_secs(2),
            tell: Duration::from_millis(200),
            graft: Duration::from_millis(100),
            beat: Duration::from_millis(500),
            have_links: 1,
        }
    }
}

/// What is done at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Gather,
    Compare,
    Explore,
    Beat,
    Survey,
    Tell,
    Graft(NodeId),
    Neighbour(NodeId),
    Stalled(LinkId),
    Leave(LinkId),
    Calm(Subject),
}

/// Another node, and the way that its news take through this one.
#[derive(Clone, Debug)]
struct Known {
    owner: Arc<Owner>,
    /// When something of it came that was new, since this node has started.
    heard: Option<Moment>,
    /// The link that its news come by, if one has brought any …
    parent: Option<Slot>,
    /// … those that this node has told that they need not bring them …
    pruned: Slots,
    /// … and those that need not hear them from here.
    lazy: Slots,
}

/// What a node has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Changes of owners that were news.
    pub taken: u64,
    /// Those that were known already.
    pub duplicates: u64,
    /// Those that were asked for, after they did not come by themselves.
    pub grafts: u64,
    /// Moves of identifiers that had moved too often.
    pub not_followed: u64,
    /// Those that were not taken, by reason.
    pub refused: BTreeMap<Refused, u64>,
}

/// One node.
#[derive(Debug)]
pub struct Mesh<S> {
    me: NodeId,
    surroundings: S,
    settings: Settings,
    known: BTreeMap<NodeId, Known>,
    heads: Heads,
    holders: Holders,
    reports: Reports,
    down: BTreeSet<NodeId>,
    moves: AllMoves,
    /// Claims, by who has made them, that cannot be judged before a node is known.
    unjudged: BTreeMap<(Subject, NodeId), NodeId>,
    links: BTreeMap<LinkId, Link>,
    /// Who is next to this node, whether there is a link or not …
    neighbours: BTreeSet<NodeId>,
    /// … and those without one.
    lost: BTreeMap<NodeId, Lost>,
    is_surveying: bool,
    is_telling: bool,
    missing: BTreeMap<NodeId, Missing>,
    /// What is to be said; of several changes under one key the last counts.
    unsaid: BTreeMap<Key, Option<Value>>,
    /// What is being stored, to be told then.
    saying: Option<Arc<Owner>>,
    set_back: u32,
    is_silent: bool,
    agreed: Option<Moment>,
    timers: BTreeSet<(Moment, Timer)>,
    alarms: BTreeMap<Alarm, Raised>,
    effects: BTreeSet<Effect>,
    counts: Counts,
}

impl<S: Surroundings> Mesh<S> {
    /// A node that has `own` to say, which is stored.
    pub fn new(own: Owner, surroundings: S, settings: Settings, now: Moment) -> Self {
        let mut mesh = Self {
            me: own.id(),
            surroundings,
            known: BTreeMap::new(),
            heads: Heads::default(),
            holders: Holders::default(),
            reports: Reports::default(),
            down: BTreeSet::new(),
            moves: BTreeMap::new(),
            unjudged: BTreeMap::new(),
            links: BTreeMap::new(),
            missing: BTreeMap::new(),
            neighbours: BTreeSet::new(),
            lost: BTreeMap::new(),
            is_surveying: false,
            is_telling: false,
            unsaid: BTreeMap::new(),
            saying: None,
            set_back: 0,
            is_silent: false,
            agreed: None,
            timers: BTreeSet::new(),
            alarms: BTreeMap::new(),
            effects: BTreeSet::new(),
            counts: Counts::default(),
            settings,
        };
        mesh.know(own, now);
        mesh.start_timers(now);
        mesh.effects.clear();
        mesh
    }

    /// Learns of a node from what this one has stored of it.
    pub fn remember(&mut self, delta: Delta, now: Moment) -> Result<(), Refused> {
        let owner = delta.owner;
        let remembered = self.take(delta, now).map(|_| ());
        if let Some(known) = self.known.get_mut(&owner) {
            known.heard = None;
        }
        self.effects.clear();
        remembered
    }

    /// Takes notice of what happens at a moment, which is never before one that
    /// was given earlier; returns what is to be done about it.
    pub fn handle(&mut self, event: Event, now: Moment) -> BTreeSet<Effect> {
        match event {
            Event::Up { link, node, round_trip, is_ours } => {
                self.link_up(link, node, round_trip, is_ours, now);
            }
            Event::Down(link) => self.link_down(link, now),
            Event::Received(link, frame) => self.received(link, frame, now),
            Event::Say(changes) => self.say(changes, now),
            Event::Stored(position) => self.stored(position, now),
            Event::NotStored => self.do_this(Effect::Alarm(Alarm::NotStored)),
            Event::Passed => {
                while let Some((moment, timer)) = self.timers.first().copied()
                    && moment <= now
                {
                    self.timers.pop_first();
                    self.passed(timer, now);
                }
            }
        }
        self.remember_alarms(now);
        std::mem::take(&mut self.effects)
    }

    fn remember_alarms(&mut self, now: Moment) {
        for effect in &self.effects {
            let Effect::Alarm(alarm) = effect else { continue };
            let raised = self.alarms.entry(*alarm).or_insert(Raised { count: 0, last: now });
            *raised = Raised { count: raised.count + 1, last: now };
        }
        while self.alarms.len() > ALARMS {
            let oldest = self.alarms.iter().min_by_key(|(_, raised)| raised.last);
            let Some(alarm) = oldest.map(|(alarm, _)| *alarm) else { return };
            self.alarms.remove(&alarm);
        }
    }

    /// What people should know of, the latest [`ALARMS`].
    #[must_use]
    pub const fn alarms(&self) -> &BTreeMap<Alarm, Raised> {
        &self.alarms
    }

    /// When [`Event::Passed`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.first().map(|(moment, _)| *moment)
    }

    /// This node.
    #[must_use]
    pub const fn me(&self) -> NodeId {
        self.me
    }

    /// What this node says itself.
    #[must_use]
    pub fn own(&self) -> &Owner {
        &self.known[&self.me].owner
    }

    /// What is to be stored before anybody is told.
    #[must_use]
    pub fn saying(&self) -> Option<&Owner> {
        self.saying.as_deref()
    }

    /// All nodes that are known, this one among them.
    pub fn owners(&self) -> impl ExactSizeIterator<Item = &Arc<Owner>> {
        self.known.values().map(|known| &known.owner)
    }

    /// One of them.
    #[must_use]
    pub fn owner(&self, node: NodeId) -> Option<&Arc<Owner>> {
        self.known.get(&node).map(|known| &known.owner)
    }

    /// When something of a node was last heard that was new; not at all if it
    /// is only remembered. As no clock is part of what is said, news that were
    /// held up are as young as their arrival.
    #[must_use]
    pub fn heard(&self, node: NodeId) -> Option<Moment> {
        self.known.get(&node).and_then(|known| known.heard)
    }

    /// Those that are down.
    #[must_use]
    pub const fn down(&self) -> &BTreeSet<NodeId> {
        &self.down
    }

    /// Who holds an identifier, of all but those that are `hidden`, down or not.
    #[must_use]
    pub fn held_despite(&self, subject: Subject, hidden: &BTreeSet<NodeId>) -> Option<Held> {
        self.holders.held(subject, hidden)
    }

    /// The identifiers that a node claims.
    pub fn claims_of(&self, node: NodeId) -> impl Iterator<Item = Subject> {
        let owner = self.known.get(&node).map(|known| &known.owner);
        owner.into_iter().flat_map(|owner| knowledge::claims(owner))
    }

    /// All identifiers that somebody claims.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.holders.subjects()
    }

    /// How many that are.
    #[must_use]
    pub const fn subject_count(&self) -> usize {
        self.holders.count()
    }

    /// What the certificate of a node says.
    #[must_use]
    pub fn certified(&self, node: NodeId) -> Option<&Certified> {
        self.owner(node).map(|owner| owner.certified())
    }

    /// The nodes that there is a connection to, and how long an answer took when
    /// it was made.
    pub fn linked(&self) -> impl Iterator<Item = (NodeId, Duration)> {
        self.links.values().map(|link| (link.node, link.round_trip))
    }

    /// The node by which news of another come, if there is one for it.
    #[must_use]
    pub fn comes_by(&self, node: NodeId) -> Option<NodeId> {
        let parent = self.known.get(&node)?.parent?;
        self.links.values().find(|link| link.slot == parent).map(|link| link.node)
    }

    /// When a neighbour last knew just what this node does.
    #[must_use]
    pub const fn agreed(&self) -> Option<Moment> {
        self.agreed
    }

    /// The digest of all that this node knows: two that have the same know the
    /// same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.heads.all()
    }

    /// What this node has counted.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    fn passed(&mut self, timer: Timer, now: Moment) {
        match timer {
            Timer::Gather => self.say_now(),
            Timer::Survey => self.survey(now),
            Timer::Tell => self.tell(),
            Timer::Compare => self.compare_with_one(now),
            Timer::Explore => self.explore(now),
            Timer::Beat => self.beat(now),
            Timer::Graft(owner) => self.graft(owner, now),
            Timer::Neighbour(node) => self.look_after(node, now),
            Timer::Stalled(link) => self.close(link, Fault::Stalled, now),
            Timer::Leave(link) => self.leave(link, now),
            Timer::Calm(subject) => self.calm(subject, now),
        }
    }

    fn start_timers(&mut self, now: Moment) {
        self.at(now, Timer::Explore);
        for (timer, period) in
            [(Timer::Compare, self.settings.compare), (Timer::Beat, self.settings.beat)]
        {
            let after = self.about(period);
            self.at(now + after, timer);
        }
    }

    /// A time between half and one and a half of `period`, so that nodes do not
    /// all do the same at once.
    fn about(&mut self, period: Duration) -> Duration {
        let thousandths = u32::try_from(500 + self.surroundings.random() % 1001).unwrap_or(1000);
        period * thousandths / 1000
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.surroundings.random() % end).unwrap_or(0)
    }

    fn at(&mut self, moment: Moment, timer: Timer) {
        self.timers.insert((moment, timer));
    }

    fn cancel(&mut self, which: impl Fn(&Timer) -> bool) {
        self.timers.retain(|(_, timer)| !which(timer));
    }

    fn do_this(&mut self, effect: Effect) {
        self.effects.insert(effect);
    }
}

#[cfg(test)]
mod tests;
