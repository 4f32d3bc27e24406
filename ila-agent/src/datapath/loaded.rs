//! The programs in the kernel, attached to nothing.

use std::{
    fmt,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

#[cfg(feature = "bench")]
use aya::maps::Map;
use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, MapError, ProgramArray},
    programs::SchedClassifier,
};
use ila_proto::abi::{GLOBAL_CONFIG, HostConfig, MAP_TAILS, Tail};

use super::{DatapathError, Plain, Role, Tables};

/// The object that `build.rs` compiled.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ila-bpf"));

/// The object that `ila-bench` measures the programs with.
#[cfg(feature = "bench")]
pub static BENCH_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ila-bench"));

/// The object that it compares layouts of the mapping table with.
#[cfg(feature = "bench")]
pub static LAYOUTS_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ila-layouts"));

/// Loaded programs with their tables.
pub struct Loaded {
    ebpf: Ebpf,
    /// The kernel empties it as soon as neither this nor a pin holds it.
    tails: ProgramArray<MapData>,
    /// Their tables.
    pub tables: Tables,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").finish_non_exhaustive()
    }
}

impl Loaded {
    /// Loads the programs with their constants and tables of their own.
    pub fn new(config: &HostConfig) -> Result<Self, DatapathError> {
        Self::load(EbpfLoader::new(), &Plain(*config), OBJECT)
    }

    /// The same with the tables that are pinned in `maps`, or will be.
    pub fn on_pins(config: &HostConfig, maps: &Path) -> Result<Self, DatapathError> {
        let mut loader = EbpfLoader::new();
        for name in Tables::NAMES {
            loader.map_pin_path(name, maps.join(name));
        }
        Self::load(loader, &Plain(*config), OBJECT)
    }

    /// The same from another object with the same programs and tables.
    pub fn of_object(config: &HostConfig, object: &[u8]) -> Result<Self, DatapathError> {
        Self::load(EbpfLoader::new(), &Plain(*config), object)
    }

    fn load<'a>(
        mut loader: EbpfLoader<'a>,
        config: &'a Plain<HostConfig>,
        object: &[u8],
    ) -> Result<Self, DatapathError> {
        let mut ebpf = loader
            .override_global(GLOBAL_CONFIG, config, true)
            .load(object)
            .map_err(|error| DatapathError::Load(error.into()))?;
        for (_, program) in ebpf.programs_mut() {
            let program: &mut SchedClassifier =
                program.try_into().map_err(|_| DatapathError::Missing("only classifiers"))?;
            program.load().map_err(|error| DatapathError::Load(error.into()))?;
        }
        let tables = Tables::of(&mut ebpf)?;
        let tails = ebpf.take_map(MAP_TAILS).ok_or(DatapathError::Missing(MAP_TAILS))?;
        let tails =
            tails.try_into().map_err(|error: MapError| DatapathError::Load(error.into()))?;
        let mut loaded = Self { ebpf, tails, tables };
        loaded.join_tails().map_err(DatapathError::Load)?;
        Ok(loaded)
    }

    /// All programs: those that are attached and those in which they go on.
    pub fn programs() -> impl Iterator<Item = &'static str> {
        let attached = Role::ALL.iter().map(|role| role.program());
        attached.chain(Tail::ALL.iter().map(|tail| tail.program()))
    }

    /// What [`Loaded::pin`] pins.
    pub fn pinned() -> impl Iterator<Item = &'static str> {
        Self::programs().chain([MAP_TAILS])
    }

    /// Pins the programs in `folder`.
    pub fn pin(mut self, folder: &Path) -> Result<(), DatapathError> {
        for name in Self::programs() {
            let program = self.ebpf.program_mut(name);
            let program: &mut SchedClassifier = program
                .and_then(|program| program.try_into().ok())
                .ok_or(DatapathError::Missing(name))?;
            program.pin(folder.join(name)).map_err(|error| DatapathError::Load(error.into()))?;
        }
        let tails = folder.join(MAP_TAILS);
        self.tails.pin(tails).map_err(|error| DatapathError::Load(error.into()))
    }

    /// Lets the programs find those in which they go on, as far as the object
    /// has them.
    fn join_tails(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        for tail in Tail::ALL {
            if let Some(program) = self.ebpf.program(tail.program()) {
                let program: &SchedClassifier = program.try_into()?;
                self.tails.set(tail as u32, program.fd()?, 0)?;
            }
        }
        Ok(())
    }

    /// A program, for running it on made-up packets.
    pub fn program(&self, name: &'static str) -> Result<BorrowedFd<'_>, DatapathError> {
        Ok(self.classifier(name)?.fd().map_err(|error| DatapathError::Load(error.into()))?.as_fd())
    }

    /// A map that is not one of the tables.
    #[cfg(feature = "bench")]
    pub fn map(&self, name: &'static str) -> Result<BorrowedFd<'_>, DatapathError> {
        match self.ebpf.map(name) {
            Some(Map::Array(data) | Map::HashMap(data) | Map::LruHashMap(data)) => {
                Ok(data.fd().as_fd())
            }
            _ => Err(DatapathError::Missing(name)),
        }
    }

    /// How many instructions the verifier went through until it was content
    /// with a program.
    pub fn verified_instructions(&self, name: &'static str) -> Result<u32, DatapathError> {
        let info = self.classifier(name)?.info();
        let info = info.map_err(|error| DatapathError::Load(error.into()))?;
        info.verified_instruction_count().ok_or(DatapathError::Missing("a count of instructions"))
    }

    fn classifier(&self, name: &'static str) -> Result<&SchedClassifier, DatapathError> {
        let program = self.ebpf.program(name).and_then(|program| program.try_into().ok());
        program.ok_or(DatapathError::Missing(name))
    }
}
