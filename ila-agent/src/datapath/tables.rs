//! The kernel's tables, as values.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd},
    time::Duration,
};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, IterableMap as _, Map, MapData, MapError, PerCpuArray, PerCpuHashMap,
        PerCpuValues,
    },
    util::nr_cpus,
};
use ila_proto::abi::{
    FATE_SLOTS, FateCount, GONE_INTERFACES, InterfaceCounts, Layout, LocatorKey, LocatorValue,
    MAP_COUNTS, MAP_EVENTS, MAP_LOCATORS, MAP_MAPPINGS, MAP_MISSED, MAP_PLAIN, MAP_WANTED,
    MAX_LOCATORS, MAX_MAPPINGS, MappingKey, MappingValue, Place,
};
use nix::time::ClockId;

use super::{DatapathError, bpf};

/// The counters of all fates, by their numbers.
pub type Counts = [FateCount; FATE_SLOTS];

/// All tables.
pub struct Tables {
    mappings: HashMap<MapData, Plain<MappingKey>, Plain<MappingValue>>,
    locators: HashMap<MapData, Plain<LocatorKey>, Plain<LocatorValue>>,
    counts: PerCpuHashMap<MapData, u32, Plain<InterfaceCounts>>,
    wanted: Array<MapData, u64>,
    plain: Array<MapData, u64>,
    missed: PerCpuArray<MapData, u64>,
    events: Option<MapData>,
}

impl Tables {
    /// The names of all tables.
    pub const NAMES: [&str; 7] =
        [MAP_MAPPINGS, MAP_LOCATORS, MAP_COUNTS, MAP_WANTED, MAP_PLAIN, MAP_MISSED, MAP_EVENTS];

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
            wanted: open(MAP_WANTED)?.try_into().map_err(error(MAP_WANTED))?,
            plain: open(MAP_PLAIN)?.try_into().map_err(error(MAP_PLAIN))?,
            missed: open(MAP_MISSED)?.try_into().map_err(error(MAP_MISSED))?,
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

    /// Sets what locators belong to, and the mappings to other hosts. Only those
    /// are there afterwards, and the mappings to this host that were, whatever is
    /// wanted instead: their containers may be here. Returns how many other
    /// mappings went. Fails before it changes anything if there is no room.
    pub fn set_elsewhere(
        &mut self,
        locators: &BTreeMap<LocatorKey, LocatorValue>,
        mappings: &BTreeMap<MappingKey, MappingValue>,
    ) -> Result<usize, DatapathError> {
        let is_here = |_: &_, value: &MappingValue| matches!(value.place(), Place::Here { .. });
        let locators = Changes::between(self.locators()?, locators, |_, _| false);
        let mappings = Changes::between(self.mappings()?, mappings, is_here);
        locators.check(MAP_LOCATORS, MAX_LOCATORS)?;
        mappings.check(MAP_MAPPINGS, MAX_MAPPINGS)?;
        // Locators first: what a mapping leads to has to find back.
        locators.make(map_fd(self.locators.map())).map_err(refused(MAP_LOCATORS))?;
        mappings.make(map_fd(self.mappings.map())).map_err(refused(MAP_MAPPINGS))
    }

    /// Has no mapping lead to this host but those of `kept`: others become what
    /// they are to be `instead`, if anything. Returns how many those were.
    pub fn settle_here(
        &mut self,
        kept: &BTreeSet<MappingKey>,
        instead: impl Fn(MappingKey) -> Option<MappingValue>,
    ) -> Result<usize, DatapathError> {
        let is_here = |value: MappingValue| matches!(value.place(), Place::Here { .. });
        let left = self.mappings()?.into_iter();
        let left = left.filter(|(key, value)| is_here(*value) && !kept.contains(key));
        let mut changes =
            Changes { stale: Vec::new(), keys: Vec::new(), values: Vec::new(), entries: 0 };
        for (key, _) in left {
            match instead(key) {
                Some(value) => {
                    changes.keys.push(key);
                    changes.values.push(value);
                }
                None => changes.stale.push(key),
            }
        }
        changes.make(map_fd(self.mappings.map())).map_err(refused(MAP_MAPPINGS))
    }

    /// Forgets a mapping; one that was not known is fine.
    pub fn remove_mapping(&mut self, key: MappingKey) -> Result<(), DatapathError> {
        gone_is_fine(self.mappings.remove(&Plain(key))).map_err(error(MAP_MAPPINGS))
    }

    /// Forgets many mappings at once; those that were not known are fine.
    pub fn remove_mappings(&mut self, keys: &[MappingKey]) -> Result<(), DatapathError> {
        keys.iter().try_for_each(|key| self.remove_mapping(*key))
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

    /// Sets what a locator belongs to.
    pub fn set_locator(
        &mut self,
        key: LocatorKey,
        value: LocatorValue,
    ) -> Result<(), DatapathError> {
        self.locators.insert(Plain(key), Plain(value), 0).map_err(error(MAP_LOCATORS))
    }

    /// What all locators belong to.
    pub fn locators(&self) -> Result<Vec<(LocatorKey, LocatorValue)>, DatapathError> {
        let none = (LocatorKey(0), LocatorValue { domain: 0, to_sir: 0, padding: 0 });
        bpf::entries(map_fd(self.locators.map()), none).map_err(refused(MAP_LOCATORS))
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

    /// Has the programs make events for so long from now on; none any more if
    /// that is zero.
    pub fn want_events(&mut self, lasting: Duration) -> Result<(), DatapathError> {
        let now = ClockId::CLOCK_MONOTONIC.now().map_err(|it| refused(MAP_WANTED)(it.into()))?;
        let until = Duration::from(now) + lasting;
        let until = if lasting.is_zero() { 0 } else { until.as_nanos() };
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.wanted.set(0, until, 0).map_err(error(MAP_WANTED))
    }

    /// Says whether the routes to all locators are plain; if not, the programs
    /// ask the kernel for the route of each packet.
    pub fn set_plain(&mut self, is_plain: bool) -> Result<(), DatapathError> {
        self.plain.set(0, u64::from(is_plain), 0).map_err(error(MAP_PLAIN))
    }

    /// How many events there was no room for, ever.
    pub fn missed_events(&self) -> Result<u64, DatapathError> {
        let cpus = self.missed.get(&0, 0).map_err(error(MAP_MISSED))?;
        Ok(cpus.iter().sum())
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

/// What it takes for a map to hold what is wanted.
#[derive(Debug, PartialEq, Eq)]
struct Changes<K, V> {
    stale: Vec<K>,
    keys: Vec<K>,
    values: Vec<V>,
    /// How many entries there are afterwards.
    entries: usize,
}

impl<K: Layout + Ord, V: Layout + PartialEq> Changes<K, V> {
    /// From `known` to `wanted`, where what `stays` says is left alone, wanted or
    /// not. What is there with another value is not stale: programs that read the
    /// map would miss it for a moment.
    fn between(
        mut known: Vec<(K, V)>,
        wanted: &BTreeMap<K, V>,
        stays: impl Fn(&K, &V) -> bool,
    ) -> Self {
        // A million of them are a list that is given back in one piece.
        known.sort_unstable_by_key(|(key, _)| *key);
        let others = known.iter().map(|(key, value)| (key, value));
        let others = others.filter(|(key, _)| !wanted.contains_key(key));
        let (left, stale): (Vec<_>, Vec<_>) = others.partition(|(key, value)| stays(key, value));
        let there = |key: &K| known.binary_search_by_key(key, |(key, _)| *key).ok();
        let is_new = |(key, value): &(&K, &V)| {
            there(key).map(|at| &known[at].1).is_none_or(|it| it != *value && !stays(key, it))
        };
        let (keys, values) = wanted.iter().filter(is_new).unzip();
        let stale = stale.into_iter().map(|(key, _)| *key).collect();
        Self { stale, keys, values, entries: wanted.len() + left.len() }
    }

    /// Fails if `map`, which has `room` for so many, has none for all entries.
    fn check(&self, map: &'static str, room: u32) -> Result<(), DatapathError> {
        if self.entries > room as usize {
            return Err(DatapathError::Full { map, room, entries: self.entries });
        }
        Ok(())
    }

    /// Makes them, and returns how many entries were stale. Those go first:
    /// old and new ones together may be more than the map has room for.
    fn make(&self, map: BorrowedFd<'_>) -> io::Result<usize> {
        bpf::delete_batch(map, &self.stale)?;
        bpf::update_batch(map, &self.keys, &self.values)?;
        Ok(self.stale.len())
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

#[cfg(test)]
mod tests {
    use ila_proto::{addr::Locator, checksum::ChecksumDelta};

    use super::*;

    fn there(bits: u64) -> MappingValue {
        let locator = Locator::from_bits(bits);
        MappingValue::new(Place::There { locator, to_ila: ChecksumDelta::from_value(0) })
    }

    #[test]
    fn only_what_differs_is_changed_and_nothing_is_missing_in_between() {
        let (key, a, b) = (MappingKey, there(1), there(2));
        let here = MappingValue::new(Place::Here { interface: 7, mac: [6, 0, 0, 0, 0, 1] });
        let known = vec![(key(4), a), (key(9), here), (key(1), a), (key(3), here), (key(2), a)];
        let wanted = BTreeMap::from([(key(1), a), (key(2), b), (key(3), b), (key(5), a)]);
        let changes = Changes::between(known, &wanted, |_, value| *value == here);
        // 1 is there already; 3 and 9 stay, of which one is wanted otherwise.
        let (keys, values) = (vec![key(2), key(5)], vec![b, a]);
        assert_eq!(changes, Changes { stale: vec![key(4)], keys, values, entries: 5 });
    }
}
