//! The data plane: the kernel programs, their tables, and the interfaces that
//! run them. Nothing else in the agent knows aya.
//!
//! All of it is pinned and outlives the agent: packets flow on while none
//! runs, and the next one takes over what it finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
};

use aya::{
    maps::{Map, MapData, MapError},
    programs::SchedClassifier,
};
use ila_proto::{
    abi::{
        GONE_INTERFACES, HostConfig, MAP_COUNTS, MAP_EVENTS, MAP_MISSED, MAP_WANTED,
        PROGRAM_EGRESS, PROGRAM_INGRESS,
    },
    api::{Hook, InterfaceName},
};

mod attach;
pub mod bpf;
mod events;
mod filter;
mod loaded;
mod pins;
mod tables;

pub use attach::best_hook;
pub use events::Events;
pub use loaded::Loaded;
use loaded::OBJECT;
#[cfg(feature = "bench")]
pub use loaded::{BENCH_OBJECT, LAYOUTS_OBJECT};
use pins::Pins;
pub use tables::{Counts, Plain, Tables};

/// What the kernel would not do.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The object that this agent carries does not fit this agent: our bug.
    #[error("BUG: the kernel object has no {0}")]
    Missing(&'static str),
    /// The kernel did not take the programs or their maps.
    #[error("the kernel refused to load the programs")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel did not take a program on an interface.
    #[error("the kernel refused to attach a program to interface `{interface}`")]
    Attach {
        /// The interface.
        interface: InterfaceName,
        /// Its reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel did not take or give a map's entry.
    #[error("the kernel refused access to the map {map}")]
    Map {
        /// The map.
        map: &'static str,
        /// Its reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another agent has pinned its programs there.
    #[error("another agent uses `bpf_dir` {0}; end it first, or give this one another folder")]
    Taken(PathBuf),
    /// A program of another agent is there.
    #[error(
        "interface `{0}` runs the program of another agent, which is pinned elsewhere; \
         take it off with: ila-agent --detach --config THAT-AGENT'S-CONFIGURATION"
    )]
    Foreign(InterfaceName),
    /// Nothing can be pinned there.
    #[error(
        "`bpf_dir` {0} is not in a BPF file system; \
         mount one with: mount -t bpf bpf /sys/fs/bpf"
    )]
    NotBpfFs(PathBuf),
    /// The BPF file system refused.
    #[error("cannot {what} {path}")]
    Pin {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Which program an interface gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A container's host-side interface: what arrives there leaves a container.
    Container,
    /// An underlay interface: what arrives there may be for a container.
    Uplink,
}

impl Role {
    const ALL: [Self; 2] = [Self::Container, Self::Uplink];

    /// The name of the program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Container => PROGRAM_EGRESS,
            Self::Uplink => PROGRAM_INGRESS,
        }
    }
}

/// The data plane of this host. Dropping it changes nothing about it.
pub struct Datapath {
    hook: Hook,
    /// The tables.
    pub tables: Tables,
    egress: SchedClassifier,
    ingress: SchedClassifier,
    attached: BTreeMap<InterfaceName, u32>,
    maps: PathBuf,
    programs: PathBuf,
    pins: Pins,
}

impl fmt::Debug for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datapath").field("hook", &self.hook).finish_non_exhaustive()
    }
}

impl Datapath {
    /// Takes over the tables and programs that are pinned below `bpf_dir` and
    /// fit, and loads those that do not. What is attached stays as it is. Fails
    /// before it makes anything if one of `uplinks` runs the program of an agent
    /// with other pins.
    pub fn open(
        config: &HostConfig,
        hook: Hook,
        bpf_dir: &Path,
        uplinks: &[InterfaceName],
    ) -> Result<Self, DatapathError> {
        let pins = Pins::lock(bpf_dir)?;
        uplinks.iter().try_for_each(|it| attach::refuse_foreign(&pins, Role::Uplink, it))?;
        let (maps, programs) = (pins.maps(config), pins.programs(OBJECT, config));
        if !is_whole(&programs, Loaded::pinned()) || !is_whole(&maps, Tables::NAMES) {
            // Whatever is there of them, an agent was killed while making it.
            pins::remove(&programs)?;
            pins::make(&maps)?;
            pins::make(&programs)?;
            Loaded::on_pins(config, &maps)?.pin(&programs)?;
            tracing::info!("programs loaded");
        }
        let open = |role: Role| {
            SchedClassifier::from_pin(programs.join(role.program()))
                .map_err(|error| DatapathError::Load(error.into()))
        };
        Ok(Self {
            hook,
            tables: Tables::from(|name| open_map(&maps, name))?,
            egress: open(Role::Container)?,
            ingress: open(Role::Uplink)?,
            attached: BTreeMap::new(),
            maps,
            programs,
            pins,
        })
    }

    /// By which hook programs are attached.
    #[must_use]
    pub const fn hook(&self) -> Hook {
        self.hook
    }

    /// The interfaces that run a program, with their numbers.
    #[must_use]
    pub const fn attached(&self) -> &BTreeMap<InterfaceName, u32> {
        &self.attached
    }

    /// Has an interface, whose number is `index`, run the program for `role`.
    /// If it runs one of ours already, that is replaced between two packets.
    pub fn attach(
        &mut self,
        interface: &InterfaceName,
        index: u32,
        role: Role,
    ) -> Result<(), DatapathError> {
        self.tables.count(index)?;
        let program = match role {
            Role::Container => &mut self.egress,
            Role::Uplink => &mut self.ingress,
        };
        attach::attach(&self.pins, self.hook, (role, program), interface, index)?;
        self.attached.insert(interface.clone(), index);
        Ok(())
    }

    /// Takes the program off an interface; an interface that is gone, or never
    /// had one, is fine.
    pub fn detach(&mut self, interface: &InterfaceName) -> Result<(), DatapathError> {
        attach::detach(&self.pins, interface)?;
        match self.attached.remove(interface) {
            Some(index) => self.tables.stop_counting(index),
            None => Ok(()),
        }
    }

    /// Clears away what earlier agents have left and nobody here took over:
    /// programs on other interfaces, tables and programs of other versions.
    pub fn clear_stale(&mut self) -> Result<(), DatapathError> {
        let found = [self.pins.linked()?, self.pins.filtered()?].concat();
        for interface in BTreeSet::from_iter(found) {
            if !self.attached.contains_key(&interface) {
                attach::detach(&self.pins, &interface)?;
                tracing::warn!(%interface, "program of an earlier agent removed");
            }
        }
        let attached = |interface: &InterfaceName| self.attached.contains_key(interface);
        self.pins.retain(attached, &self.maps, &self.programs)?;
        let counted: BTreeSet<u32> = self.attached.values().copied().collect();
        for (interface, _) in self.tables.counts()? {
            if interface != GONE_INTERFACES && !counted.contains(&interface) {
                self.tables.stop_counting(interface)?;
            }
        }
        Ok(())
    }

    /// Takes the programs off all interfaces and removes everything that is
    /// pinned below `bpf_dir`: nothing is translated afterwards.
    /// Returns the interfaces.
    pub fn remove(bpf_dir: &Path) -> Result<BTreeSet<InterfaceName>, DatapathError> {
        let pins = Pins::lock(bpf_dir)?;
        let interfaces = BTreeSet::from_iter([pins.linked()?, pins.filtered()?].concat());
        for interface in &interfaces {
            attach::detach(&pins, interface)?;
        }
        pins.clear()?;
        Ok(interfaces)
    }
}

fn is_whole(folder: &Path, names: impl IntoIterator<Item = &'static str>) -> bool {
    names.into_iter().all(|name| folder.join(name).exists())
}

fn open_map(maps: &Path, name: &'static str) -> Result<Map, DatapathError> {
    let failed = |source: MapError| DatapathError::Map { map: name, source: source.into() };
    let data = MapData::from_pin(maps.join(name)).map_err(failed)?;
    match name {
        MAP_EVENTS => Ok(Map::RingBuf(data)),
        MAP_WANTED => Ok(Map::Array(data)),
        MAP_MISSED => Ok(Map::PerCpuArray(data)),
        MAP_COUNTS => Ok(Map::PerCpuHashMap(data)),
        _ => Ok(Map::HashMap(data)),
    }
}
