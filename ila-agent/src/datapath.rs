//! The kernel programs, loaded and attached, and their maps. Nothing else in
//! the agent knows aya.

use std::{collections::HashMap as StdHashMap, fmt, io, os::fd::BorrowedFd};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{HashMap, MapData, MapError, PerCpuArray},
    programs::{
        LinkOrder, SchedClassifier, TcAttachType,
        tc::{self, NlOptions, SchedClassifierLinkId, TcAttachOptions, TcError},
    },
    util::KernelVersion,
};
use ila_proto::{
    abi::{
        Fate, FateCount, GLOBAL_CONFIG, HostConfig, Layout, MAP_FATES, MAP_MAPPINGS, MappingKey,
        MappingValue, PROGRAM_EGRESS, PROGRAM_INGRESS,
    },
    addr::Identifier,
    api::Hook,
};

/// The object that `build.rs` compiled.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ila-bpf"));

/// TCX came with Linux 6.6.
const FIRST_WITH_TCX: KernelVersion = KernelVersion::new(6, 6, 0);

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
        interface: String,
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
        source: MapError,
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
    const fn program(self) -> &'static str {
        match self {
            Self::Container => PROGRAM_EGRESS,
            Self::Uplink => PROGRAM_INGRESS,
        }
    }
}

/// The programs of this host with their maps. Dropping it detaches them.
pub struct Datapath {
    hook: Hook,
    links: StdHashMap<String, (Role, SchedClassifierLinkId)>,
    mappings: HashMap<MapData, Plain<MappingKey>, Plain<MappingValue>>,
    fates: PerCpuArray<MapData, Plain<FateCount>>,
    ebpf: Ebpf,
}

impl fmt::Debug for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datapath").field("hook", &self.hook).finish_non_exhaustive()
    }
}

impl Datapath {
    /// Loads the programs with their constants; nothing is attached yet.
    pub fn load(config: &HostConfig, hook: Hook) -> Result<Self, DatapathError> {
        let mut ebpf = EbpfLoader::new()
            .override_global(GLOBAL_CONFIG, &Plain(*config), true)
            .load(OBJECT)
            .map_err(|error| DatapathError::Load(error.into()))?;
        for program in [PROGRAM_EGRESS, PROGRAM_INGRESS] {
            classifier(&mut ebpf, program)?
                .load()
                .map_err(|error| DatapathError::Load(error.into()))?;
        }
        let mappings = ebpf.take_map(MAP_MAPPINGS).ok_or(DatapathError::Missing(MAP_MAPPINGS))?;
        let fates = ebpf.take_map(MAP_FATES).ok_or(DatapathError::Missing(MAP_FATES))?;
        Ok(Self {
            hook,
            links: StdHashMap::new(),
            mappings: mappings.try_into().map_err(map_error(MAP_MAPPINGS))?,
            fates: fates.try_into().map_err(map_error(MAP_FATES))?,
            ebpf,
        })
    }

    /// By which hook programs are attached.
    #[must_use]
    pub const fn hook(&self) -> Hook {
        self.hook
    }

    /// Attaches the program for `role` to an interface of this namespace.
    pub fn attach(&mut self, interface: &str, role: Role) -> Result<(), DatapathError> {
        let failed = |source| DatapathError::Attach { interface: interface.to_owned(), source };
        let options = match self.hook {
            Hook::Tcx => TcAttachOptions::TcxOrder(LinkOrder::default()),
            Hook::Clsact => {
                add_clsact(interface).map_err(|error| failed(error.into()))?;
                TcAttachOptions::Netlink(NlOptions::default())
            }
        };
        let link = classifier(&mut self.ebpf, role.program())?
            .attach_with_options(interface, TcAttachType::Ingress, options)
            .map_err(|error| failed(error.into()))?;
        self.links.insert(interface.to_owned(), (role, link));
        Ok(())
    }

    /// Detaches the program from an interface; an interface that is gone, or
    /// never had one, is as good as detached.
    pub fn detach(&mut self, interface: &str) {
        let Some((role, link)) = self.links.remove(interface) else { return };
        let detached =
            classifier(&mut self.ebpf, role.program()).map(|program| program.detach(link));
        if let Ok(Err(error)) = detached {
            tracing::debug!(interface, %error, "detaching failed; the interface may be gone");
        }
    }

    /// Makes packets for `identifier` go where `value` says.
    pub fn set_mapping(
        &mut self,
        identifier: Identifier,
        value: MappingValue,
    ) -> Result<(), DatapathError> {
        self.mappings
            .insert(Plain(identifier.into()), Plain(value), 0)
            .map_err(map_error(MAP_MAPPINGS))
    }

    /// Forgets where `identifier` lives; one that was not known is fine.
    pub fn remove_mapping(&mut self, identifier: Identifier) -> Result<(), DatapathError> {
        match self.mappings.remove(&Plain(identifier.into())) {
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(error) => Err(map_error(MAP_MAPPINGS)(error)),
        }
    }

    /// How many packets met each fate since the programs were loaded.
    pub fn fates(&self) -> Result<Vec<(Fate, FateCount)>, DatapathError> {
        Fate::ALL
            .iter()
            .map(|&fate| {
                let slots = self.fates.get(&fate.number(), 0).map_err(map_error(MAP_FATES))?;
                let total =
                    slots.iter().fold(FateCount::default(), |total, Plain(slot)| FateCount {
                        packets: total.packets + slot.packets,
                        bytes: total.bytes + slot.bytes,
                    });
                Ok((fate, total))
            })
            .collect()
    }

    /// The loaded program for `role`, for running it on made-up packets.
    pub fn program(&self, role: Role) -> Result<BorrowedFd<'_>, DatapathError> {
        use std::os::fd::AsFd as _;
        let program: &SchedClassifier = self
            .ebpf
            .program(role.program())
            .and_then(|program| program.try_into().ok())
            .ok_or(DatapathError::Missing(role.program()))?;
        Ok(program.fd().map_err(|error| DatapathError::Load(error.into()))?.as_fd())
    }
}

/// The best hook that this kernel has.
#[must_use]
pub fn best_hook() -> Hook {
    match KernelVersion::current() {
        Ok(version) if version >= FIRST_WITH_TCX => Hook::Tcx,
        _ => Hook::Clsact,
    }
}

fn classifier<'a>(
    ebpf: &'a mut Ebpf,
    program: &'static str,
) -> Result<&'a mut SchedClassifier, DatapathError> {
    ebpf.program_mut(program)
        .and_then(|program| program.try_into().ok())
        .ok_or(DatapathError::Missing(program))
}

/// Removes our filters from an interface's clsact, if there are any. Unlike
/// links, filters outlive the agent that attached them, and then act by maps
/// that nobody keeps any more.
pub fn remove_stale_filters(interface: &str) {
    for program in [PROGRAM_EGRESS, PROGRAM_INGRESS] {
        // Fails where there is no clsact or no such filter, which is as well.
        if tc::qdisc_detach_program(interface, TcAttachType::Ingress, program).is_ok() {
            tracing::warn!(interface, program, "program of an earlier agent removed");
        }
    }
}

fn add_clsact(interface: &str) -> Result<(), TcError> {
    match tc::qdisc_add_clsact(interface) {
        Err(TcError::NetlinkError(error))
            if error.raw_os_error() == Some(nix::errno::Errno::EEXIST as i32) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn map_error(map: &'static str) -> impl Fn(MapError) -> DatapathError {
    move |source| DatapathError::Map { map, source }
}

/// A shared layout as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Plain<T>(T);

// SAFETY: `Layout` is for `repr(C)` types of integers without padding, of
// which every byte pattern is a value; `Plain` adds nothing to them.
unsafe impl<T: Layout> Pod for Plain<T> {}
