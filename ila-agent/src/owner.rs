//! The one owner of all state. Requests reach it as calls through a channel
//! and are done one after the other; none of them waits for anything but the
//! kernel's answer to a system call. What takes longer happens outside, in
//! [`crate::lifecycle`], between two calls.

use std::{collections::BTreeMap, time::Instant};

use ila_proto::{
    abi::{MappingValue, Outcome},
    addr::{Address, Identifier, Locator},
    api::{
        AddContainer, Container, ContainerName, Counter, ErrorCode, Mapping, MappingSource, Status,
    },
    translate,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    config::Config,
    datapath::{Datapath, DatapathError, Role},
    error::Refusal,
    netlink,
    store::{Progress, Record, Store},
};

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
    datapath: Datapath,
    store: Store,
    mtu: u32,
    started: Instant,
    containers: BTreeMap<ContainerName, Entry>,
    holders: BTreeMap<Identifier, ContainerName>,
}

impl Owner {
    /// An owner of nothing but the mappings that the configuration names, with
    /// the programs attached to its uplinks.
    pub fn new(
        config: Config,
        datapath: Datapath,
        store: Store,
        mtu: u32,
    ) -> Result<Self, DatapathError> {
        let mut owner = Self {
            config,
            datapath,
            store,
            mtu,
            started: Instant::now(),
            containers: BTreeMap::new(),
            holders: BTreeMap::new(),
        };
        for (identifier, locator) in owner.remote_mappings() {
            owner.datapath.set_mapping(identifier, owner.mapping_value(locator, 0))?;
        }
        for uplink in &owner.config.uplinks {
            owner.datapath.attach(uplink.as_str(), Role::Uplink)?;
        }
        Ok(owner)
    }

    /// Answers calls until the last handle is gone, or the task is aborted;
    /// then detaches everything.
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
        let AddContainer { name, netns, interface, identifier, labels } = request;
        if self.containers.contains_key(&name) {
            let message = format!("a container named `{name}` is registered already");
            return Err(Refusal::new(ErrorCode::NameTaken, message)
                .hint(format!("see it with: ila-ctl container show {name}")));
        }
        let identifier = match identifier {
            Some(identifier) => self.check_free(identifier)?,
            None => pick_identifier(rand::random, |identifier| self.is_known(identifier)),
        };
        let container = Container {
            address: Address::from(self.config.sir_prefix.address(identifier)).into(),
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
    /// like one that was just claimed.
    pub fn adopt(&mut self, container: Container) -> Result<(), Refusal> {
        let Container { name, identifier, .. } = &container;
        if let Some(holder) = self.holders.get(identifier) {
            let message = format!("container `{holder}` has the identifier {identifier} as well");
            return Err(Refusal::new(ErrorCode::IdentifierTaken, message));
        }
        if let Some(locator) = self.config.mappings.get(identifier)
            && *locator != self.config.locator
        {
            tracing::warn!(%name, "the configuration maps {identifier} to {locator}, yet the container is here");
        }
        self.insert(State::Making, container);
        Ok(())
    }

    /// Lets the container's packets be translated: first the mapping, so that
    /// no packet meets a program that does not know where it belongs.
    pub fn connect(&mut self, name: &ContainerName, index: u32) -> Result<(), Refusal> {
        let Container { identifier, host_interface, .. } = self.ready_or_making(name)?.clone();
        let value = self.mapping_value(self.config.locator, index);
        self.datapath.set_mapping(identifier, value)?;
        Ok(self.datapath.attach(host_interface.as_str(), Role::Container)?)
    }

    /// Declares the container ready.
    pub fn commit(&mut self, name: &ContainerName) -> Result<Container, Refusal> {
        let container = self.ready_or_making(name)?.clone();
        self.record(Progress::Ready, &container)?;
        self.insert(State::Ready, container.clone());
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
        self.datapath.detach(container.host_interface.as_str());
        match self.config.mappings.get(&container.identifier) {
            // The configuration knows it elsewhere; it was only held here.
            Some(&locator) if locator != self.config.locator => {
                let value = self.mapping_value(locator, 0);
                Ok(self.datapath.set_mapping(container.identifier, value)?)
            }
            _ => Ok(self.datapath.remove_mapping(container.identifier)?),
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

    /// The mappings that the kernel table was given, by identifier.
    #[must_use]
    pub fn mappings(&self) -> Vec<Mapping> {
        let mut mappings: BTreeMap<_, _> = self
            .remote_mappings()
            .map(|(identifier, locator)| (identifier, (locator, MappingSource::Static)))
            .collect();
        for container in self.containers() {
            mappings.insert(container.identifier, (self.config.locator, MappingSource::Local));
        }
        let describe = |(identifier, (locator, source))| self.mapping(identifier, locator, source);
        mappings.into_iter().map(describe).collect()
    }

    /// What the counters of all fates stand at.
    pub fn counters(&self) -> Result<Vec<Counter>, Refusal> {
        let counters = self.datapath.fates()?.into_iter().map(|(fate, count)| Counter {
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
        });
        Ok(counters.collect())
    }

    /// What the agent is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.config.node.clone(),
            sir_prefix: self.config.sir_prefix,
            locator: self.config.locator,
            checksum_mode: self.config.checksum_mode,
            uplinks: self.config.uplinks.clone(),
            hook: self.datapath.hook(),
            mtu: self.mtu,
            containers: self.containers().len(),
            mappings: self.mappings().len(),
            uptime_seconds: self.started.elapsed().as_secs(),
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

    /// What the configuration says of identifiers that live elsewhere.
    fn remote_mappings(&self) -> impl Iterator<Item = (Identifier, Locator)> + use<> {
        let own = self.config.locator;
        self.config.mappings.clone().into_iter().filter(move |&(_, locator)| locator != own)
    }

    fn mapping(&self, identifier: Identifier, locator: Locator, source: MappingSource) -> Mapping {
        let mode = self.config.checksum_mode;
        let delta = mode.to_ila_delta(self.config.sir_prefix, locator);
        let ila = translate::to_ila(mode, identifier, locator, delta);
        Mapping {
            identifier,
            address: Address::from(self.config.sir_prefix.address(identifier)).into(),
            locator,
            ila_address: Address::from(ila).into(),
            source,
        }
    }

    fn mapping_value(&self, locator: Locator, interface: u32) -> MappingValue {
        let delta = self.config.checksum_mode.to_ila_delta(self.config.sir_prefix, locator);
        MappingValue { locator: locator.bits(), to_ila: delta.value(), padding: 0, interface }
    }

    fn check_free(&self, identifier: Identifier) -> Result<Identifier, Refusal> {
        let taken = |by: String| {
            let message = format!("identifier {identifier} is taken: {by}");
            Err(Refusal::new(ErrorCode::IdentifierTaken, message)
                .hint("leave --identifier out and one is chosen"))
        };
        if let Some(name) = self.holders.get(&identifier) {
            return taken(format!("container `{name}` has it"));
        }
        match self.config.mappings.get(&identifier) {
            Some(&locator) if locator != self.config.locator => {
                taken(format!("the configuration maps it to {locator}"))
            }
            _ => Ok(identifier),
        }
    }

    fn is_known(&self, identifier: Identifier) -> bool {
        self.holders.contains_key(&identifier) || self.config.mappings.contains_key(&identifier)
    }
}

/// Sixty random bits that a container may have and nobody is known to.
fn pick_identifier(
    mut random: impl FnMut() -> u64,
    is_known: impl Fn(Identifier) -> bool,
) -> Identifier {
    loop {
        let identifier = Identifier::locally_unique(random());
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
        let drawn = [u64::MAX << 16, u64::MAX, 7, u64::MAX - 1, 9];
        let mut random = drawn.into_iter();
        let picked = pick_identifier(|| random.next().expect("five are enough"), |it| it == known);
        assert_eq!(picked.to_string(), "2fff:ffff:ffff:fffe");
        assert_eq!(random.next(), Some(9), "none is drawn in vain");
    }

    #[test]
    fn identifiers_picked_at_random_are_all_usable_and_differ() {
        let mut picked = std::collections::BTreeSet::new();
        for _ in 0..100_000 {
            let identifier = pick_identifier(rand::random, |_| false);
            assert_eq!(identifier.check_container(), Ok(identifier));
            picked.insert(identifier);
        }
        // Two of 10^5 among 2^60 agree with a probability below 10^-8.
        assert_eq!(picked.len(), 100_000);
    }
}
