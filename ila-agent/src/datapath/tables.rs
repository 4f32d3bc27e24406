//! The kernel's tables, as values.

use std::{
    collections::BTreeSet,
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd},
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, IterableMap as _, Map, MapData, MapError, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use ila_proto::abi::{
    FATE_SLOTS, FateCount, GONE_INTERFACES, InterfaceCounts, Layout, LocatorKey, LocatorValue,
    MAP_COUNTS, MAP_EVENTS, MAP_LOCATORS, MAP_MAPPINGS, MAP_MONITOR, MappingKey, MappingValue,
    Monitor,
};

use super::{DatapathError, bpf};

/// The counters of all fates, by their numbers.
pub type Counts = [FateCount; FATE_SLOTS];

/// All tables.
pub struct Tables {
    mappings: HashMap<MapData, Plain<MappingKey>, Plain<MappingValue>>,
    locators: HashMap<MapData, Plain<LocatorKey>, Plain<LocatorValue>>,
    counts: PerCpuHashMap<MapData, u32, Plain<InterfaceCounts>>,
    monitor: Array<MapData, Plain<Monitor>>,
    events: Option<MapData>,
}

impl Tables {
    /// The names of all tables.
    pub const NAMES: [&str; 5] = [MAP_MAPPINGS, MAP_LOCATORS, MAP_COUNTS, MAP_MONITOR, MAP_EVENTS];

    /// Those of programs that were just loaded.
    pub fn of(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Self::from(|name| ebpf.take_map(name).ok_or(DatapathError::Missing(name)))
    }

    /// Those that `open` gives by their names.
    pub fn from(
        mut open: impl FnMut(&'static str) -> Result<Map, DatapathError>,
    ) -> Result<Self, DatapathError> {
        Ok(Self {
            mappings: open(MAP_MAPPINGS)?.try_into().map_err(error(MAP_MAPPINGS))?,
            locators: open(MAP_LOCATORS)?.try_into().map_err(error(MAP_LOCATORS))?,
            counts: open(MAP_COUNTS)?.try_into().map_err(error(MAP_COUNTS))?,
            monitor: open(MAP_MONITOR)?.try_into().map_err(error(MAP_MONITOR))?,
            events: match open(MAP_EVENTS)? {
                Map::RingBuf(data) => Some(data),
                _ => return Err(DatapathError::Missing(MAP_EVENTS)),
            },
        })
    }

    /// The ring buffer of events, once.
    pub fn take_events(&mut self) -> Option<MapData> {
        self.events.take()
    }

    /// Sets a mapping.
    pub fn set_mapping(
        &mut self,
        key: MappingKey,
        value: MappingValue,
    ) -> Result<(), DatapathError> {
        self.mappings.insert(Plain(key), Plain(value), 0).map_err(error(MAP_MAPPINGS))
    }

    /// Sets many mappings at once.
    pub fn set_mappings(
        &mut self,
        keys: &[MappingKey],
        values: &[MappingValue],
    ) -> Result<(), DatapathError> {
        bpf::update_batch(map_fd(self.mappings.map()), keys, values).map_err(refused(MAP_MAPPINGS))
    }

    /// Forgets a mapping; one that was not known is fine.
    pub fn remove_mapping(&mut self, key: MappingKey) -> Result<(), DatapathError> {
        gone_is_fine(self.mappings.remove(&Plain(key))).map_err(error(MAP_MAPPINGS))
    }

    /// All mappings.
    pub fn mappings(&self) -> Result<Vec<(MappingKey, MappingValue)>, DatapathError> {
        let none = (MappingKey(0), MappingValue::NONE);
        bpf::entries(map_fd(self.mappings.map()), none).map_err(refused(MAP_MAPPINGS))
    }

    /// Bytes of kernel memory that the mappings take.
    pub fn mappings_memory(&self) -> Result<u64, DatapathError> {
        bpf::memory(map_fd(self.mappings.map())).map_err(refused(MAP_MAPPINGS))
    }

    /// Forgets all mappings but those of `keys`; returns how many those were.
    pub fn retain_mappings(&mut self, keys: &BTreeSet<MappingKey>) -> Result<usize, DatapathError> {
        let known = self.mappings()?.into_iter().map(|(key, _)| key);
        let stale: Vec<_> = known.filter(|key| !keys.contains(key)).collect();
        bpf::delete_batch(map_fd(self.mappings.map()), &stale).map_err(refused(MAP_MAPPINGS))?;
        Ok(stale.len())
    }

    /// Sets what a locator belongs to.
    pub fn set_locator(
        &mut self,
        key: LocatorKey,
        value: LocatorValue,
    ) -> Result<(), DatapathError> {
        self.locators.insert(Plain(key), Plain(value), 0).map_err(error(MAP_LOCATORS))
    }

    /// Forgets all locators but those of `keys`.
    pub fn retain_locators(&mut self, keys: &BTreeSet<LocatorKey>) -> Result<(), DatapathError> {
        let known: Result<Vec<_>, _> = self.locators.keys().collect();
        for Plain(key) in known.map_err(error(MAP_LOCATORS))? {
            if !keys.contains(&key) {
                gone_is_fine(self.locators.remove(&Plain(key))).map_err(error(MAP_LOCATORS))?;
            }
        }
        Ok(())
    }

    /// Makes room for the counters of an interface, if there is none yet. A
    /// program must not meet a packet before.
    pub fn count(&mut self, interface: u32) -> Result<(), DatapathError> {
        match self.counts.get(&interface, 0) {
            Ok(_) => Ok(()),
            Err(MapError::KeyNotFound) => self.write_counts(interface, &InterfaceCounts::default()),
            Err(other) => Err(error(MAP_COUNTS)(other)),
        }
    }

    /// Stops counting for an interface: what it had goes to those that are gone.
    pub fn stop_counting(&mut self, interface: u32) -> Result<(), DatapathError> {
        let counts = match self.counts.get(&interface, 0) {
            Ok(counts) => sum(&counts),
            Err(MapError::KeyNotFound) => return Ok(()),
            Err(other) => return Err(error(MAP_COUNTS)(other)),
        };
        let mut gone = match self.counts.get(&GONE_INTERFACES, 0) {
            Ok(gone) => sum(&gone),
            Err(MapError::KeyNotFound) => [FateCount::default(); FATE_SLOTS],
            Err(other) => return Err(error(MAP_COUNTS)(other)),
        };
        add(&mut gone, &counts);
        let gone = InterfaceCounts { fates: gone, ..InterfaceCounts::default() };
        self.write_counts(GONE_INTERFACES, &gone)?;
        gone_is_fine(self.counts.remove(&interface)).map_err(error(MAP_COUNTS))
    }

    /// The counters of all interfaces, those that are gone under
    /// [`GONE_INTERFACES`].
    pub fn counts(&self) -> Result<Vec<(u32, Counts)>, DatapathError> {
        let all = self.counts.iter().map(|entry| entry.map(|(key, value)| (key, sum(&value))));
        all.collect::<Result<_, _>>().map_err(error(MAP_COUNTS))
    }

    /// What was counted on one interface that is counted.
    pub fn counts_of(&self, interface: u32) -> Result<Counts, DatapathError> {
        self.counts.get(&interface, 0).map(|value| sum(&value)).map_err(error(MAP_COUNTS))
    }

    /// Tells the programs whether anybody listens to events.
    pub fn set_listeners(&mut self, listeners: u64) -> Result<(), DatapathError> {
        let monitor = Monitor { listeners, ..self.monitor()? };
        self.monitor.set(0, Plain(monitor), 0).map_err(error(MAP_MONITOR))
    }

    /// Who listens to events, and how many they missed.
    pub fn monitor(&self) -> Result<Monitor, DatapathError> {
        self.monitor.get(&0, 0).map(|Plain(monitor)| monitor).map_err(error(MAP_MONITOR))
    }

    /// What the first CPU has stays, the others start from nothing.
    fn write_counts(
        &mut self,
        interface: u32,
        counts: &InterfaceCounts,
    ) -> Result<(), DatapathError> {
        let cpus = nr_cpus().map_err(|(_, source)| refused(MAP_COUNTS)(source))?;
        let mut values = vec![Plain(InterfaceCounts::default()); cpus];
        if let Some(first) = values.first_mut() {
            *first = Plain(*counts);
        }
        let values = PerCpuValues::try_from(values).map_err(refused(MAP_COUNTS))?;
        self.counts.insert(interface, values, 0).map_err(error(MAP_COUNTS))
    }
}

fn sum(cpus: &PerCpuValues<Plain<InterfaceCounts>>) -> Counts {
    let mut total = [FateCount::default(); FATE_SLOTS];
    for Plain(counts) in cpus.iter() {
        add(&mut total, &counts.fates);
    }
    total
}

fn add(total: &mut Counts, counts: &Counts) {
    for (total, count) in total.iter_mut().zip(counts) {
        total.packets += count.packets;
        total.bytes += count.bytes;
    }
}

fn map_fd(map: &MapData) -> BorrowedFd<'_> {
    map.fd().as_fd()
}

fn gone_is_fine(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}

fn error(map: &'static str) -> impl Fn(MapError) -> DatapathError {
    move |source| DatapathError::Map { map, source: source.into() }
}

fn refused(map: &'static str) -> impl Fn(io::Error) -> DatapathError {
    move |source| DatapathError::Map { map, source: source.into() }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

/// A shared layout as aya wants it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Plain<T>(pub T);

// SAFETY: `Layout` is for `repr(C)` types of integers without padding, of
// which every byte pattern is a value; `Plain` adds nothing to them.
unsafe impl<T: Layout> Pod for Plain<T> {}

impl<T: Layout> Plain<T> {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: as above, no byte of it is uninitialised.
        unsafe { std::slice::from_raw_parts((&raw const self.0).cast(), size_of::<T>()) }
    }
}
