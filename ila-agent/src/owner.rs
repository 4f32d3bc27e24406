//! The one owner of all state. Requests reach it as calls through a channel
//! and are done one after the other; none of them waits for anything but the
//! kernel's answer to a system call. What takes longer happens outside, in
//! [`crate::lifecycle`], between two calls.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use ila_proto::{
    abi::{
        Event, FATE_SLOTS, Fate, FateCount, GONE_INTERFACES, LocatorKey, LocatorValue, MappingKey,
        MappingValue, Outcome, Place,
    },
    addr::{Address, Identifier, IlaAddr, Locator, SirAddr, SirPrefix},
    api::{
        AddContainer, Container, ContainerName, Counter, CounterList, DroppedPacket, ErrorCode,
        InterfaceCounters, InterfaceName, Mapping, MappingChange, MappingSource, Party, Status,
    },
    gossip::IdentifierRange,
    translate,
};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    config::Config,
    datapath::{Counts, Datapath, DatapathError, Role},
    desired::{Desired, Learned, known_elsewhere},
    error::Refusal,
    netlink,
    store::{Progress, Record, Store},
    uplinks::Uplinks,
};

mod learned;
mod routes;

pub use routes::Question;
use routes::Routes;

/// Changes of mappings that somebody who watches may be behind.
const CHANGES: usize = 4096;

/// Calls that may wait for the owner; more make their callers wait.
const CALLS: usize = 256;

type Call = Box<dyn FnOnce(&mut Owner) + Send>;

/// How to reach the owner.
#[derive(Clone, Debug)]
pub struct OwnerHandle {
    calls: mpsc::Sender<Call>,
}

impl OwnerHandle {
    /// Has the owner do `work` and returns what came of it.
    pub async fn call<T, F>(&self, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Owner) -> T + Send + 'static,
    {
        let gone = || Refusal::new(ErrorCode::ShuttingDown, "the agent is about to end");
        let (reply, result) = oneshot::channel();
        let call = move |owner: &mut Owner| {
            // A caller that has gone away does not want to know.
            let _ = reply.send(work(owner));
        };
        self.calls.send(Box::new(call)).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())
    }
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Claimed, its link in the making.
    Making,
    /// Connected.
    Ready,
    /// Disconnected, its link about to go.
    Removing,
}

#[derive(Debug)]
struct Entry {
    state: State,
    container: Container,
}

/// All state of the agent.
#[derive(Debug)]
pub struct Owner {
    config: Config,
    /// What is underneath.
    pub uplinks: Uplinks,
    datapath: Datapath,
    store: Store,
    mtu: u32,
    /// What identifiers are picked from for containers that ask for none.
    home: Vec<IdentifierRange>,
    learned: Learned,
    changes: broadcast::Sender<MappingChange>,
    /// When the latest mappings to elsewhere were set, the latest last.
    installed: VecDeque<(MappingKey, Instant)>,
    started: Instant,
    containers: BTreeMap<ContainerName, Entry>,
    holders: BTreeMap<Identifier, ContainerName>,
    /// What the programs know each locator to belong to.
    locators: BTreeMap<LocatorKey, LocatorValue>,
    routes: Routes,
}

impl Owner {
    /// An owner of nothing but the mappings that the configuration names, which
    /// are in the kernel's table then, in place of those that an earlier agent
    /// was told. In a mesh what an earlier agent has learned stays until
    /// [`Owner::settle`]. Mappings to containers here stay for [`Owner::adopt`],
    /// whatever the configuration says of them, until [`Owner::clear_stale`]. No
    /// program is attached yet.
    pub fn new(
        config: Config,
        uplinks: Uplinks,
        mut datapath: Datapath,
        store: Store,
        mtu: u32,
    ) -> Result<Self, DatapathError> {
        let learned = match config.mesh {
            Some(_) => Learned::left_in(&datapath.tables, &config)?,
            None => Learned::default(),
        };
        let desired = Desired::of(&config, &learned);
        let stale = datapath.tables.set_elsewhere(&desired.locators, &desired.mappings)?;
        tell_of_stale(stale);
        // Those of an agent that was killed do not listen any more.
        datapath.tables.want_events(Duration::ZERO)?;
        // What it knew of the routes may be otherwise by now.
        datapath.tables.set_plain(false)?;
        let routes = Routes::new(config.uplinks.len());
        Ok(Self {
            config,
            uplinks,
            datapath,
            store,
            mtu,
            home: vec![ANYWHERE],
            learned,
            changes: broadcast::channel(CHANGES).0,
            installed: VecDeque::new(),
            started: Instant::now(),
            containers: BTreeMap::new(),
            holders: BTreeMap::new(),
            locators: desired.locators,
            routes,
        })
    }

    /// Has identifiers picked from these ranges only, if there are any.
    #[must_use]
    pub fn at_home_in(mut self, ranges: &[IdentifierRange]) -> Self {
        if !ranges.is_empty() {
            self.home = ranges.to_vec();
        }
        self
    }

    /// Answers calls until the last handle is gone, or the task is aborted.
    /// What is attached then stays.
    #[must_use]
    pub fn run(mut self) -> (OwnerHandle, tokio::task::JoinHandle<()>) {
        let (calls, mut waiting) = mpsc::channel::<Call>(CALLS);
        let task = tokio::spawn(async move {
            while let Some(call) = waiting.recv().await {
                call(&mut self);
            }
        });
        (OwnerHandle { calls }, task)
    }

    /// Reserves name and identifier for a container and records it as
    /// unfinished. Nothing else is touched.
    pub fn claim(&mut self, request: AddContainer) -> Result<Container, Refusal> {
        let AddContainer { name, netns, interface, sir_prefix, identifier, labels } = request;
        if self.containers.contains_key(&name) {
            let message = format!("a container named `{name}` is registered already");
            return Err(Refusal::new(ErrorCode::NameTaken, message)
                .hint(format!("see it with: ila-ctl container show {name}")));
        }
        let domain = self.check_prefix(sir_prefix)?;
        let identifier = match identifier {
            Some(identifier) => self.check_free(domain, identifier)?,
            None => pick_identifier(&self.home, rand::random, |it| self.is_known(domain, it)),
        };
        let prefix = self.config.domains[domain as usize].sir_prefix;
        let container = Container {
            address: Address::from(prefix.address(identifier)).into(),
            host_interface: netlink::host_interface(identifier),
            mtu: self.mtu,
            name,
            identifier,
            netns,
            interface,
            labels,
        };
        self.record(Progress::Unfinished, &container)?;
        self.insert(State::Making, container.clone());
        Ok(container)
    }

    /// Takes over a container that an earlier agent has made, to be connected
    /// like one that was just claimed. Its mapping is there at once, for
    /// programs that are about to be attached.
    pub fn adopt(&mut self, container: Container, index: u32) -> Result<(), Refusal> {
        let Container { name, identifier, .. } = &container;
        if let Some(holder) = self.holders.get(identifier) {
            let message = format!("container `{holder}` has the identifier {identifier} as well");
            return Err(Refusal::new(ErrorCode::IdentifierTaken, message));
        }
        let (domain, key) = self.key(&container)?;
        let own = self.config.domains[domain as usize].locator;
        if let Some(locator) = self.config.mappings.get(&(domain, *identifier))
            && *locator != own
        {
            tracing::warn!(%name, "the configuration maps {identifier} to {locator}, yet the container is here");
        }
        self.datapath.tables.set_mapping(key, here(*identifier, index))?;
        self.insert(State::Making, container);
        Ok(())
    }

    /// Has the uplinks run the program.
    pub fn attach_uplinks(&mut self) -> Result<(), Refusal> {
        for (uplink, index) in self.uplinks.iter() {
            self.datapath.attach(uplink, index, Role::Uplink)?;
        }
        Ok(())
    }

    /// Clears away what earlier agents knew and this one does not. What is mapped
    /// to a container that was not adopted is as the configuration says then.
    pub fn clear_stale(&mut self) -> Result<(), Refusal> {
        let containers = self.containers.values();
        let kept = containers.map(|entry| self.key(&entry.container).map(|(_, key)| key));
        let kept = kept.collect::<Result<_, _>>()?;
        let (config, learned) = (&self.config, &self.learned);
        let instead = |key: MappingKey| known_elsewhere(config, learned, key);
        tell_of_stale(self.datapath.tables.settle_here(&kept, instead)?);
        Ok(self.datapath.clear_stale()?)
    }

    /// Lets the container's packets be translated: first the mapping, so that
    /// no packet meets a program that does not know where it belongs.
    pub fn connect(&mut self, name: &ContainerName, index: u32) -> Result<(), Refusal> {
        let container = self.ready_or_making(name)?.clone();
        let (_, key) = self.key(&container)?;
        self.datapath.tables.set_mapping(key, here(container.identifier, index))?;
        Ok(self.datapath.attach(&container.host_interface, index, Role::Container)?)
    }

    /// Declares the container ready.
    pub fn commit(&mut self, name: &ContainerName) -> Result<Container, Refusal> {
        let container = self.ready_or_making(name)?.clone();
        self.record(Progress::Ready, &container)?;
        self.insert(State::Ready, container.clone());
        let (domain, _) = self.key(&container)?;
        self.tell_of_change(domain, container.identifier);
        Ok(container)
    }

    /// Begins the removal of a container: records it as unfinished and
    /// disconnects it. Its name stays claimed until [`Owner::release`].
    pub fn begin_removal(&mut self, name: &ContainerName) -> Result<Container, Refusal> {
        let entry = self.containers.get(name).ok_or_else(|| no_container(name))?;
        if entry.state != State::Ready {
            let message = format!("container `{name}` is being added or removed right now");
            return Err(Refusal::new(ErrorCode::Busy, message).hint("try again"));
        }
        let container = entry.container.clone();
        self.record(Progress::Unfinished, &container)?;
        self.disconnect(&container)?;
        self.insert(State::Removing, container.clone());
        let (domain, _) = self.key(&container)?;
        self.tell_of_change(domain, container.identifier);
        Ok(container)
    }

    /// Leaves a container as it is, to be removed by whoever wants to: its
    /// adoption or its removal came to nothing.
    pub fn leave(&mut self, name: &ContainerName) {
        if let Some(entry) = self.containers.get_mut(name) {
            entry.state = State::Ready;
        }
    }

    /// Takes a container's packets out of translation.
    pub fn disconnect(&mut self, container: &Container) -> Result<(), Refusal> {
        self.datapath.detach(&container.host_interface)?;
        let (_, key) = self.key(container)?;
        match known_elsewhere(&self.config, &self.learned, key) {
            // It is known elsewhere; it was only held here.
            Some(elsewhere) => Ok(self.datapath.tables.set_mapping(key, elsewhere)?),
            None => Ok(self.datapath.tables.remove_mapping(key)?),
        }
    }

    /// Gives name and identifier free again.
    pub fn release(&mut self, name: &ContainerName) -> Result<(), Refusal> {
        if let Some(entry) = self.containers.remove(name) {
            self.holders.remove(&entry.container.identifier);
        }
        Ok(self.store.remove(name)?)
    }

    /// The containers that are ready, by name.
    #[must_use]
    pub fn containers(&self) -> Vec<Container> {
        let ready = self.containers.values().filter(|entry| entry.state == State::Ready);
        ready.map(|entry| entry.container.clone()).collect()
    }

    /// One of them.
    pub fn container(&self, name: &ContainerName) -> Result<Container, Refusal> {
        match self.containers.get(name) {
            Some(Entry { state: State::Ready, container }) => Ok(container.clone()),
            _ => Err(no_container(name)),
        }
    }

    /// The mappings that the kernel table was given, by address.
    #[must_use]
    pub fn mappings(&self) -> Vec<Mapping> {
        let stated = self.config.mappings.keys().copied();
        let learned = self.learned.mappings.keys().map(|key| key.parts());
        let here = self.containers.values().filter(|entry| entry.state == State::Ready);
        let here = here.filter_map(|entry| {
            let (domain, _) = self.key(&entry.container).ok()?;
            Some((domain, entry.container.identifier))
        });
        let all: BTreeSet<_> = stated.chain(learned).chain(here).collect();
        let mapping = |(domain, identifier)| self.mapping_of(domain, identifier);
        all.into_iter().filter_map(mapping).collect()
    }

    /// What the counters of all fates stand at.
    pub fn counters(&self) -> Result<CounterList, Refusal> {
        let all = self.datapath.tables.counts()?;
        let mut total = [FateCount::default(); FATE_SLOTS];
        for (_, counts) in &all {
            for (total, count) in total.iter_mut().zip(counts) {
                total.packets += count.packets;
                total.bytes += count.bytes;
            }
        }
        let mut interfaces = Vec::new();
        for (index, counts) in all.iter().filter(|(index, _)| *index != GONE_INTERFACES) {
            if let Some((interface, container)) = self.interface(*index) {
                let mut counters = describe(counts);
                counters.retain(|counter| counter.packets > 0);
                interfaces.push(InterfaceCounters { interface, container, counters });
            }
        }
        interfaces.sort_by(|a, b| a.interface.as_str().cmp(b.interface.as_str()));
        Ok(CounterList { counters: describe(&total), interfaces })
    }

    /// What events of the programs mean. Those missed are for each listener to
    /// count.
    #[must_use]
    pub fn dropped(&self, events: &[Event]) -> Vec<DroppedPacket> {
        let dropped = events.iter().filter_map(|event| {
            let fate = Fate::ALL.iter().find(|fate| fate.number() == event.fate)?;
            let (interface, container) = self.interface(event.interface).unzip();
            let [from, to] =
                [event.source, event.destination].map(|[high, low]| Address { high, low });
            let is_ipv6 = !(from.is_unspecified() && to.is_unspecified());
            let receiver = self.party(to);
            Some(DroppedPacket {
                fate: fate.name().to_owned(),
                about: fate.about().to_owned(),
                interface: interface.map(|it| it.to_string()).unwrap_or_default(),
                container: container.flatten(),
                source: is_ipv6.then(|| from.into()),
                destination: is_ipv6.then(|| to.into()),
                sender: self.party(from),
                locator: receiver.as_ref().and_then(|it| it.locator).filter(|it| !self.is_own(*it)),
                receiver,
                next_header: event.next_header,
                hop_limit: event.hop_limit,
                length: event.length,
                missed: 0,
            })
        });
        dropped.collect()
    }

    /// How many events the programs could not tell of, ever.
    pub fn missed_events(&self) -> Result<u64, Refusal> {
        Ok(self.datapath.tables.missed_events()?)
    }

    /// Has the programs tell of dropped packets for so long from now on; not
    /// any more if that is zero.
    pub fn want_events(&mut self, lasting: Duration) -> Result<(), Refusal> {
        Ok(self.datapath.tables.want_events(lasting)?)
    }

    /// What the agent is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let first = self.config.domains[0];
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.config.node.clone(),
            sir_prefix: first.sir_prefix,
            locator: first.locator,
            domains: self.config.domains.clone(),
            checksum_mode: self.config.checksum_mode,
            source: self.config.source,
            path: self.config.path,
            uplinks: self.config.uplinks.clone(),
            uplink_states: self.uplinks.states(),
            routes_asked: self.routes.asked.clone(),
            hook: self.datapath.hook(),
            mtu: self.mtu,
            containers: self.containers().len(),
            mappings: self.config.mappings.len()
                + self.learned.mappings.len()
                + self.containers().len(),
            uptime_seconds: self.started.elapsed().as_secs(),
            mesh: None,
        }
    }

    fn insert(&mut self, state: State, container: Container) {
        self.holders.insert(container.identifier, container.name.clone());
        self.containers.insert(container.name.clone(), Entry { state, container });
    }

    fn record(&self, progress: Progress, container: &Container) -> Result<(), Refusal> {
        Ok(self.store.write(&Record { progress, container: container.clone() })?)
    }

    fn ready_or_making(&self, name: &ContainerName) -> Result<&Container, Refusal> {
        match self.containers.get(name) {
            Some(entry) if entry.state != State::Removing => Ok(&entry.container),
            _ => Err(no_container(name)),
        }
    }

    /// Whom an address means: a SIR address, or an ILA address under a locator
    /// that the programs know.
    fn party(&self, address: Address) -> Option<Party> {
        let wire = Identifier::from_bits(address.low);
        let prefix = SirPrefix::from_bits(address.high);
        let (domain, sir) = if let Some(domain) = self.config.domain_of(prefix) {
            (domain, prefix.address(wire))
        } else {
            let locator = Locator::from_bits(address.high);
            let known = self.locators.get(&locator.into())?;
            let prefix = self.config.domains[known.domain as usize].sir_prefix;
            let ila = IlaAddr { locator, identifier: wire };
            let sir = translate::to_sir(self.config.checksum_mode, ila, prefix, known.to_sir());
            (known.domain, sir)
        };
        let identifier = sir.identifier;
        identifier.is_locally_unique().then(|| Party {
            identifier,
            address: Address::from(sir).into(),
            locator: self.locator_of(domain, sir),
        })
    }

    /// The locator that a SIR address is mapped to in the kernel's table.
    fn locator_of(&self, domain: u32, address: SirAddr) -> Option<Locator> {
        self.mapping_of(domain, address.identifier).map(|mapping| mapping.locator)
    }

    /// Whether a container here has an identifier, and is not about to go.
    fn is_here(&self, domain: u32, identifier: Identifier) -> bool {
        let holder = self.holders.get(&identifier).map(|name| &self.containers[name]);
        let address = self.config.domains[domain as usize].sir_prefix.address(identifier);
        holder.is_some_and(|holder| {
            holder.state != State::Removing
                && Address::from(holder.container.address) == address.into()
        })
    }

    fn is_own(&self, locator: Locator) -> bool {
        self.config.domains.iter().any(|domain| domain.locator == locator)
    }

    /// An interface that runs a program, and whose it is.
    fn interface(&self, index: u32) -> Option<(InterfaceName, Option<ContainerName>)> {
        let (interface, _) = self.datapath.attached().iter().find(|(_, it)| **it == index)?;
        let mut containers = self.containers.values().map(|entry| &entry.container);
        let container = containers.find(|container| container.host_interface == *interface);
        Some((interface.clone(), container.map(|container| container.name.clone())))
    }

    /// The domain of a container, and the key of its mapping.
    fn key(&self, container: &Container) -> Result<(u32, MappingKey), Refusal> {
        let prefix = SirPrefix::from_bits(Address::from(container.address).high);
        let domain = self.check_prefix(Some(prefix))?;
        let key = MappingKey::new(domain, container.identifier).ok_or_else(|| {
            let message = format!("identifier {} cannot be mapped", container.identifier);
            Refusal::new(ErrorCode::BadRequest, message)
        })?;
        Ok((domain, key))
    }

    fn mapping(
        &self,
        (domain, identifier): (u32, Identifier),
        locator: Locator,
        source: MappingSource,
    ) -> Mapping {
        let prefix = self.config.domains[domain as usize].sir_prefix;
        let mode = self.config.checksum_mode;
        let delta = mode.to_ila_delta(prefix, locator);
        let ila = translate::to_ila(mode, identifier, locator, delta);
        Mapping {
            identifier,
            address: Address::from(prefix.address(identifier)).into(),
            locator,
            ila_address: Address::from(ila).into(),
            source,
            node: None,
            epoch: None,
            age_seconds: None,
        }
    }

    /// The domain of a SIR prefix; the first one for none.
    fn check_prefix(&self, prefix: Option<SirPrefix>) -> Result<u32, Refusal> {
        let Some(prefix) = prefix else { return Ok(0) };
        self.config.domain_of(prefix).ok_or_else(|| {
            let message = format!("this host does not serve the SIR prefix {prefix}");
            Refusal::new(ErrorCode::BadRequest, message)
                .hint("see which it serves with: ila-ctl status")
        })
    }

    fn check_free(&self, domain: u32, identifier: Identifier) -> Result<Identifier, Refusal> {
        let taken = |by: String| {
            let message = format!("identifier {identifier} is taken: {by}");
            Err(Refusal::new(ErrorCode::IdentifierTaken, message)
                .hint("leave --identifier out and one is chosen"))
        };
        if let Some(name) = self.holders.get(&identifier) {
            return taken(format!("container `{name}` has it"));
        }
        match self.mapping_of(domain, identifier) {
            Some(Mapping { locator, source: MappingSource::Static, .. }) => {
                taken(format!("the configuration maps it to {locator}"))
            }
            Some(Mapping { locator, .. }) => taken(format!("it is in use at {locator}")),
            None => Ok(identifier),
        }
    }

    fn is_known(&self, domain: u32, identifier: Identifier) -> bool {
        self.holders.contains_key(&identifier)
            || self.config.mappings.contains_key(&(domain, identifier))
            || self.mapping_of(domain, identifier).is_some()
    }
}

/// The mapping of an identifier to the container behind the interface at
/// `index`.
const fn here(identifier: Identifier, index: u32) -> MappingValue {
    MappingValue::new(Place::Here { interface: index, mac: netlink::container_mac(identifier) })
}

fn tell_of_stale(mappings: usize) {
    if mappings > 0 {
        tracing::info!(mappings, "mappings of an earlier agent removed");
    }
}

fn describe(counts: &Counts) -> Vec<Counter> {
    let counter = |fate: &Fate| {
        let count = counts[fate.number() as usize];
        Counter {
            number: fate.number(),
            name: fate.name().to_owned(),
            outcome: match fate.outcome() {
                Outcome::Passed => "passed",
                Outcome::Answered => "answered",
                Outcome::Dropped => "dropped",
            }
            .to_owned(),
            packets: count.packets,
            bytes: count.bytes,
            about: fate.about().to_owned(),
        }
    };
    Fate::ALL.iter().map(counter).collect()
}

/// All identifiers that a container may have.
const ANYWHERE: IdentifierRange = IdentifierRange { bits: 1 << 61, length: 4 };

/// Random bits behind the start of one of these ranges, that a container may
/// have and nobody is known to.
fn pick_identifier(
    ranges: &[IdentifierRange],
    mut random: impl FnMut() -> u64,
    is_known: impl Fn(Identifier) -> bool,
) -> Identifier {
    let mut ranges = ranges.iter().cycle();
    loop {
        let IdentifierRange { bits, length } = *ranges.next().unwrap_or(&ANYWHERE);
        let rest = random().checked_shr(length.into()).unwrap_or_default();
        let identifier = Identifier::locally_unique(bits | rest);
        if identifier.check_container().is_ok() && !is_known(identifier) {
            return identifier;
        }
    }
}

fn no_container(name: &ContainerName) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("there is no container named `{name}`"))
        .hint("see which there are with: ila-ctl container ls")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_picked_that_is_usable_and_free() {
        let known = Identifier::locally_unique(7);
        let drawn = [u64::MAX << 20, u64::MAX, 7 << 4, u64::MAX - (1 << 4), 9];
        let mut random = drawn.into_iter();
        let draw = || random.next().expect("five are enough");
        let picked = pick_identifier(&[ANYWHERE], draw, |it| it == known);
        assert_eq!(picked.to_string(), "2fff:ffff:ffff:fffe");
        assert_eq!(random.next(), Some(9), "none is drawn in vain");
    }

    #[test]
    fn an_identifier_is_picked_at_home() {
        let home = IdentifierRange { bits: 1 << 61 | 5 << 36, length: 28 };
        let picked = pick_identifier(&[home], || u64::MAX - (1 << 28), |_| false);
        assert_eq!(picked.to_string(), "2000:5f:ffff:fffe");
    }

    #[test]
    fn identifiers_picked_at_random_are_all_usable_and_differ() {
        let mut picked = std::collections::BTreeSet::new();
        for _ in 0..100_000 {
            let identifier = pick_identifier(&[ANYWHERE], rand::random, |_| false);
            assert_eq!(identifier.check_container(), Ok(identifier));
            picked.insert(identifier);
        }
        // Two of 10^5 among 2^60 agree with a probability below 10^-8.
        assert_eq!(picked.len(), 100_000);
    }
}
