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
    programs::{ProgramInfo, SchedClassifier},
};
use ila_proto::{
    abi::{
        GONE_INTERFACES, HostConfig, MAP_COUNTS, MAP_EVENTS, MAP_MISSED, MAP_PLAIN, MAP_WANTED,
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
use filter::PRIORITY;
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
    /// More is wanted in a map than it has room for.
    #[error(
        "{entries} entries are wanted in the map {map}, which has room for {room}; nothing is \
         changed in it. State fewer mappings in the configuration"
    )]
    Full {
        /// The map.
        map: &'static str,
        /// How many it can have.
        room: u32,
        /// How many it would have.
        entries: usize,
    },
    /// Another agent has pinned its programs there.
    #[error("another agent uses `bpf_dir` {0}; end it first, or give this one another folder")]
    Taken(PathBuf),
    /// A program of another agent is there.
    #[error(
        "interface `{0}` runs the program of another agent, which is pinned elsewhere; \
         take it off with: ila-agent --detach --config THAT-AGENT'S-CONFIGURATION, \
         or, if its pins are gone, with: tc filter del dev {0} ingress pref {PRIORITY}"
    )]
    Foreign(InterfaceName),
    /// Filters stay, as they cannot be told to be ours.
    #[error(
        "left alone are the clsact filters of {0}: nothing that they use is pinned below \
         `bpf_dir`, so they are another agent's or their pins are gone; all else is taken off. \
         End this with that agent's configuration, or, if there is none, with: \
         tc filter del dev INTERFACE ingress pref {PRIORITY}"
    )]
    Kept(String),
    /// The kernel did not list the host's interfaces.
    #[error("cannot list the interfaces")]
    Interfaces(#[source] io::Error),
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
        if !is_whole(&programs, &maps)? {
            // An agent was killed while making them, or somebody has removed a
            // pin. In the latter case interfaces run what is there of them, which
            // stays until they run what takes its place.
            pins::set_aside(&programs)?;
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
        for interface in attach::interfaces(&self.pins)? {
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
    /// pinned below `bpf_dir`: nothing is translated afterwards. Returns the
    /// interfaces. Fails in the end if one of them keeps a filter, and notes it,
    /// to fail again for as long as it does.
    pub fn remove(bpf_dir: &Path) -> Result<BTreeSet<InterfaceName>, DatapathError> {
        let pins = Pins::lock(bpf_dir)?;
        let interfaces = attach::interfaces(&pins)?;
        for interface in &interfaces {
            attach::detach(&pins, interface)?;
        }
        pins.clear()?;
        let is_filtered = |interface: &&InterfaceName| attach::is_filtered(interface);
        let kept: Vec<_> = interfaces.iter().filter(is_filtered).collect();
        kept.iter().try_for_each(|interface| pins.mark_filter(interface))?;
        if !kept.is_empty() {
            let names: Vec<_> = kept.iter().map(|interface| interface.as_str()).collect();
            return Err(DatapathError::Kept(names.join(", ")));
        }
        Ok(interfaces)
    }
}

/// Whether all that is to be pinned is, and the programs use those tables: one
/// that was made anew for others would stay empty for these.
fn is_whole(programs: &Path, maps: &Path) -> Result<bool, DatapathError> {
    let tables = Tables::NAMES.map(|name| maps.join(name));
    let mut loaded = Loaded::pinned().map(|name| programs.join(name));
    if !loaded.all(|path| path.exists()) || !tables.iter().all(|path| path.exists()) {
        return Ok(false);
    }
    let mut used = BTreeSet::new();
    for name in Loaded::programs() {
        let maps = ProgramInfo::from_pin(programs.join(name)).and_then(|it| it.map_ids());
        used.extend(maps.map_err(|error| DatapathError::Load(error.into()))?.unwrap_or_default());
    }
    Ok(pins::numbers(&tables)?.iter().all(|table| used.contains(table)))
}

fn open_map(maps: &Path, name: &'static str) -> Result<Map, DatapathError> {
    let failed = |source: MapError| DatapathError::Map { map: name, source: source.into() };
    let data = MapData::from_pin(maps.join(name)).map_err(failed)?;
    match name {
        MAP_EVENTS => Ok(Map::RingBuf(data)),
        MAP_WANTED | MAP_PLAIN => Ok(Map::Array(data)),
        MAP_MISSED => Ok(Map::PerCpuArray(data)),
        MAP_COUNTS => Ok(Map::PerCpuHashMap(data)),
        _ => Ok(Map::HashMap(data)),
    }
}
