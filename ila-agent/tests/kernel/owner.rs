//! What an owner makes of the tables that an earlier agent has left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv6Addr,
    os::{
        fd::AsFd as _,
        unix::fs::{DirEntryExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData};
use ila_agent::{
    config::Config,
    datapath::{Datapath, best_hook, bpf},
    desired::{Desired, Learned, host_config},
    netlink::Interface,
    owner::Owner,
    store::Store,
    uplinks::Uplinks,
};
use ila_proto::{
    abi::{
        Event, Fate, GONE_INTERFACES, LocatorKey, LocatorValue, MAP_EVENTS, MAP_LOCATORS,
        MAP_MAPPINGS, MAP_PLAIN, MAX_LOCATORS, MAX_MAPPINGS, MappingKey, MappingValue,
        PROGRAM_EGRESS, Place,
    },
    addr::{Address, Identifier, Locator, SirPrefix},
    api::{AddContainer, Party, UplinkState},
    checksum::ChecksumDelta,
    translate::{ChecksumMode, to_ila},
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use tempfile::TempDir;

use crate::harness::{CONTAINER_MAC, TEST_INTERFACE, address, udp};

/// A BPF file system of this thread's own.
const BPF_DIR: &str = "/sys/fs/bpf/ila";

/// An agent's configuration and folders.
pub struct Agent {
    config: Config,
    runtime_dir: TempDir,
}

impl Agent {
    /// One whose configuration has these lines more.
    pub fn new(lines: &str) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("this needs root");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("root may");
        mount(none, "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), none).expect("root may");
        let runtime_dir = TempDir::new().expect("a folder can be made");
        let text = format!(
            "node = \"h1\"\nsir_prefix = \"fd00:db8:0:1::/64\"\nlocator = \"2001:db8:a:1::/64\"\n\
             uplinks = [\"up0\"]\nlocator_spaces = []\nbpf_dir = \"{BPF_DIR}\"\n{lines}"
        );
        let config = Config::parse(Path::new("agent.toml"), &text).expect("it is valid");
        Self { config, runtime_dir }
    }

    /// Its tables and programs, which no interface runs.
    pub fn datapath(&self) -> Datapath {
        let constants = host_config(&self.config, &[], None);
        let opened = Datapath::open(&constants, best_hook(), Path::new(BPF_DIR), &[]);
        opened.expect("the kernel takes them")
    }

    pub fn owner(&self, datapath: Datapath) -> Owner {
        let store = Store::open(self.runtime_dir.path()).expect("it can be made");
        let owner = Owner::new(self.config.clone(), Uplinks::default(), datapath, store, 1500);
        owner.expect("the tables take it")
    }
}

/// What is pinned, by the number that it keeps when it is renamed.
fn pinned() -> BTreeMap<u64, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from(BPF_DIR)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is there").map(Result::unwrap) {
            if entry.file_type().expect("it has one").is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.ino(), entry.path());
            }
        }
    }
    found
}

/// Interfaces may run them; without their array they would not find each other.
#[test]
fn programs_that_are_not_whole_stay_pinned_until_others_have_taken_their_place() {
    let agent = Agent::new("");
    drop(agent.datapath());
    let mut former = pinned();
    let names: BTreeSet<_> = former.values().cloned().collect();
    let (_, table) = former.extract_if(.., |_, pin| pin.ends_with(MAP_EVENTS)).next().unwrap();
    fs::remove_file(table).expect("it is pinned");
    let mut datapath = agent.datapath();
    let both = pinned();
    assert!(former.keys().all(|number| both.contains_key(number)), "{former:?}, {both:?}");
    assert!(names.iter().all(|name| both.values().any(|it| it == name)), "{both:?}");
    datapath.clear_stale().expect("it can be removed");
    assert_eq!(pinned().into_values().collect::<BTreeSet<_>>(), names);
}

/// Of programs that use another one than is pinned, as many as should be.
#[test]
fn programs_are_not_taken_for_those_of_tables_that_they_do_not_use() {
    let agent = Agent::new("");
    drop(agent.datapath());
    let is_program = |pin: &&PathBuf| pin.ends_with(PROGRAM_EGRESS);
    let program = pinned().values().find(is_program).cloned().expect("it is pinned");
    let folder = program.parent().expect("it is in one").to_owned();
    let former = fs::metadata(&program).expect("it is pinned").ino();
    let table = pinned().into_values().find(|pin| pin.ends_with(MAP_EVENTS));
    fs::remove_file(table.expect("it is pinned")).expect("it can be removed");
    drop(agent.datapath());
    let aside = pinned()[&former].parent().expect("it is in one").to_owned();
    fs::remove_dir_all(&folder).expect("it can be removed");
    fs::rename(aside, folder).expect("it can be renamed");
    drop(agent.datapath());
    assert_ne!(fs::metadata(&program).expect("it is pinned").ino(), former, "made anew");
}

/// What the programs find in the table of that name, which has one number.
pub fn pinned_number(table: &str) -> u64 {
    let pin = pinned().into_values().find(|pin| pin.ends_with(table)).expect("it is pinned");
    let map = MapData::from_pin(pin).expect("it is a map");
    let map: Array<_, u64> = Map::Array(map).try_into().expect("it is an array");
    map.get(&0, 0).expect("it can be read")
}

/// A look that has begun before a doubt says nothing of what came with it.
#[test]
fn only_what_was_found_since_the_last_doubt_counts() {
    let agent =
        Agent::new("[[mapping]]\nidentifier = \"2000:0:0:b1\"\nlocator = \"2001:db8:b:1::/64\"\n");
    let mut datapath = agent.datapath();
    // As one that was killed has left it.
    datapath.tables.set_plain(true).expect("the map takes it");
    let mut owner = agent.owner(datapath);
    let uplink =
        |index| Interface { index, mac: [2; 6], mtu: 1500, ethernet: true, state: UplinkState::Up };
    let named = |name: &str, index| (name.parse().expect("a name"), uplink(index));
    owner.uplinks = Uplinks::new([named("up0", 7)]);
    let is_plain = |owner: &Owner| {
        let plain = owner.status().routes_asked.is_none();
        assert_eq!(pinned_number(MAP_PLAIN), u64::from(plain));
        plain
    };
    assert!(!is_plain(&owner));
    let first = owner.routes_in_question().expect("there is one uplink");
    let locators: Vec<_> = first.ways.iter().map(|(it, from)| (it.to_string(), *from)).collect();
    assert_eq!(locators, [("2001:db8:b:1::/64".to_owned(), address("fd00:db8:0:1::"))]);
    owner.routes_found(first.turn, None).expect("the map takes it");
    assert!(is_plain(&owner));
    owner.routes_may_have_changed().expect("the map takes it");
    assert!(!is_plain(&owner));
    owner.routes_found(first.turn, None).expect("the map takes it");
    assert!(!is_plain(&owner));
    let second = owner.routes_in_question().expect("there is one uplink");
    owner.routes_found(second.turn, Some("odd".to_owned())).expect("the map takes it");
    assert_eq!(owner.status().routes_asked.as_deref(), Some("odd"));
    assert!(!is_plain(&owner));
    owner.routes_found(second.turn, None).expect("the map takes it");
    assert!(is_plain(&owner));
    owner.uplinks = Uplinks::new([named("up0", 7), named("up1", 8)]);
    assert!(owner.routes_in_question().is_none());
}

fn there(bits: u64) -> MappingValue {
    let locator = Locator::from_bits(bits);
    MappingValue::new(Place::There { locator, to_ila: ChecksumDelta::from_value(0) })
}

/// Old and new ones together do not fit: an agent that is told other mappings
/// would not start any more.
#[test]
fn full_tables_have_room_for_other_mappings() {
    let agent = Agent::new(
        "[[mapping]]\nidentifier = \"2000:0:0:b1\"\nlocator = \"2001:db8:b:1::/64\"\n\
         [[mapping]]\nidentifier = \"2000:0:0:b2\"\nlocator = \"2001:db8:b:1::/64\"\n",
    );
    let desired = Desired::of(&agent.config, &Learned::default());
    let mut datapath = agent.datapath();
    let here = Place::Here { interface: 7, mac: CONTAINER_MAC };
    let here = (MappingKey(0xa1), MappingValue::new(here));
    // One of those that are wanted is there, with another value.
    let others =
        (1..u64::from(MAX_MAPPINGS) - 1).map(|number| (MappingKey(number << 16), there(number)));
    let all = [here, (MappingKey(0xb1), there(9))].into_iter().chain(others);
    let (keys, values): (Vec<_>, Vec<_>) = all.unzip();
    let value = LocatorValue { domain: 0, to_sir: 0, padding: 0 };
    let locators = (1..=u64::from(MAX_LOCATORS)).map(|number| (LocatorKey(number), value));
    let set = datapath.tables.set_elsewhere(&locators.collect(), &BTreeMap::new());
    assert_eq!(set.expect("they fit"), 0);
    datapath.tables.set_mappings(&keys, &values).expect("they fit");
    let one_more = datapath.tables.set_mapping(MappingKey(0xb2), there(9));
    one_more.expect_err("the table is full");
    let one_more = datapath.tables.set_locator(LocatorKey(0), value);
    one_more.expect_err("the table is full");

    drop(agent.owner(datapath));

    let tables = agent.datapath().tables;
    let mappings: BTreeMap<_, _> =
        tables.mappings().expect("they can be read").into_iter().collect();
    // The container's is there until it is adopted.
    let expected = desired.mappings.into_iter().chain([here]);
    assert_eq!(mappings, expected.collect());
    let locators: BTreeMap<_, _> =
        tables.locators().expect("they can be read").into_iter().collect();
    assert_eq!(locators, desired.locators);
}

/// As the program tells of it.
fn event(fate: Fate, [source, destination]: [Ipv6Addr; 2]) -> Event {
    let [source, destination] =
        [source, destination].map(Address::from).map(|address| [address.high, address.low]);
    let fate = fate.number();
    let (interface, length, next_header, hop_limit, padding) = (1, 100, 17, 64, 0);
    Event { fate, interface, source, destination, length, next_header, hop_limit, padding }
}

#[test]
fn a_dropped_packet_is_told_of_with_the_mappings_of_its_addresses() {
    const HERE: &str = "2001:db8:a:1::/64";
    const B: &str = "2001:db8:b:1::/64";
    const C: &str = "2001:db8:c:1::/64";
    const SECOND: &str = "2001:db8:b:2::/64";
    let [a1, b1, c1] = [1, 2, 3].map(Identifier::locally_unique);
    let [b2, nobody] = [4, 5].map(Identifier::locally_unique);
    let prefix =
        |number| format!("fd00:db8:0:{number}::/64").parse::<SirPrefix>().expect("it is one");
    let sir =
        |number, identifier| Ipv6Addr::from(Address::from(prefix(number).address(identifier)));
    let locator = |text: &str| text.parse::<Locator>().expect("it is one");
    for mode in ChecksumMode::ALL {
        let agent = Agent::new(&format!(
            "checksum_mode = \"{}\"\n\
             [[domain]]\nsir_prefix = \"{}\"\nlocator = \"2001:db8:a:2::/64\"\n\
             [[mapping]]\nidentifier = \"{b1}\"\nlocator = \"{B}\"\n\
             [[mapping]]\nidentifier = \"{c1}\"\nlocator = \"{C}\"\n\
             [[mapping]]\nsir_prefix = \"{}\"\nidentifier = \"{b2}\"\nlocator = \"{SECOND}\"\n",
            mode.name(),
            prefix(2),
            prefix(2),
        ));
        let mut owner = agent.owner(agent.datapath());
        let container = AddContainer {
            name: "a1".parse().expect("it is one"),
            netns: "/run/netns/a1".into(),
            interface: "eth0".parse().expect("it is one"),
            sir_prefix: None,
            identifier: Some(a1),
            labels: BTreeMap::new(),
        };
        owner.claim(container).expect("nobody has it");
        let ila = |number, identifier, at: &str| {
            let delta = mode.to_ila_delta(prefix(number), locator(at));
            Ipv6Addr::from(Address::from(to_ila(mode, identifier, locator(at), delta)))
        };
        let party = |number, identifier, at: Option<&str>| {
            let address = sir(number, identifier);
            Some(Party { identifier, address, locator: at.map(locator) })
        };
        let (to_nobody, unknown) = (Fate::EgressUnknownIdentifier, Fate::IngressUnknownIdentifier);
        let [a1_here, b1_there] = [party(1, a1, Some(HERE)), party(1, b1, Some(B))];
        let [b2_there, c1_there] = [party(2, b2, Some(SECOND)), party(1, c1, Some(C))];
        let [nobody_1, a1_2, b1_2] =
            [(1, nobody), (2, a1), (2, b1)].map(|(n, it)| party(n, it, None));
        let plain = ["2606:4700::1", "2001:db8:a:1::1"].map(address);
        for (fate, addresses, [sender, receiver]) in [
            (Fate::EgressTooBig, [sir(1, a1), sir(1, b1)], [&a1_here, &b1_there]),
            (to_nobody, [sir(1, a1), sir(1, nobody)], [&a1_here, &nobody_1]),
            (Fate::EgressLocator, [sir(1, a1), ila(2, b2, SECOND)], [&a1_here, &b2_there]),
            // The same identifier of another SIR prefix is somebody else.
            (to_nobody, [sir(2, a1), sir(2, b1)], [&a1_2, &b1_2]),
            (unknown, [ila(1, b1, B), ila(1, nobody, HERE)], [&b1_there, &nobody_1]),
            // From a locator that does not hold it.
            (Fate::IngressSource, [ila(1, b1, C), ila(1, a1, HERE)], [&b1_there, &a1_here]),
            // To one that has moved away.
            (Fate::IngressTooBig, [sir(2, b2), ila(1, c1, HERE)], [&b2_there, &c1_there]),
            // From a router, to the host itself.
            (Fate::IngressHopLimit, plain, [&None, &None]),
        ] {
            let told = owner.dropped(&[event(fate, addresses)]).pop().expect("it is told of");
            assert_eq!([told.source, told.destination], addresses.map(Some), "{mode:?}, {fate}");
            assert_eq!([&told.sender, &told.receiver], [sender, receiver], "{mode:?}, {fate}");
            let elsewhere = receiver.as_ref().and_then(|it| it.locator);
            assert_eq!(
                told.locator,
                elsewhere.filter(|it| *it != locator(HERE)),
                "{mode:?}, {fate}"
            );
        }
    }
}

/// Deleted first, what worked would be lost with what cannot.
#[test]
fn tables_that_cannot_hold_what_is_wanted_are_left_as_they_are() {
    let agent = Agent::new("");
    let mut tables = agent.datapath().tables;
    let here = Place::Here { interface: 7, mac: CONTAINER_MAC };
    let known = [(MappingKey(0xa1), MappingValue::new(here)), (MappingKey(0xb1), there(9))];
    let (keys, values): (Vec<_>, Vec<_>) = known.into_iter().unzip();
    tables.set_mappings(&keys, &values).expect("they fit");
    let value = LocatorValue { domain: 0, to_sir: 0, padding: 0 };
    tables.set_locator(LocatorKey(0), value).expect("it fits");
    let locators = |count: u32| (1..=u64::from(count)).map(|it| (LocatorKey(it), value)).collect();
    let mappings =
        |count: u32| (1..=u64::from(count)).map(|it| (MappingKey(it << 16), there(it))).collect();
    for (locators, mappings, map) in [
        (locators(MAX_LOCATORS + 1), mappings(1), MAP_LOCATORS),
        // That to the container is one more.
        (locators(1), mappings(MAX_MAPPINGS), MAP_MAPPINGS),
    ] {
        let error = tables.set_elsewhere(&locators, &mappings).expect_err("it is too much");
        assert!(error.to_string().contains(map), "{error}");
        let there: BTreeMap<_, _> =
            tables.mappings().expect("they can be read").into_iter().collect();
        assert_eq!(there, BTreeMap::from(known), "{map}");
        assert_eq!(tables.locators().expect("they can be read"), [(LocatorKey(0), value)], "{map}");
    }
}

/// The container may still be here: packets would go round in circles until it
/// is adopted.
#[test]
fn a_container_here_has_its_mapping_until_it_was_not_adopted() {
    let agent =
        Agent::new("[[mapping]]\nidentifier = \"2000:0:0:b1\"\nlocator = \"2001:db8:b:1::/64\"\n");
    let wanted = Desired::of(&agent.config, &Learned::default()).mappings;
    let (&key, &elsewhere) = wanted.first_key_value().expect("it is one");
    let here = MappingValue::new(Place::Here { interface: 7, mac: CONTAINER_MAC });
    let mut datapath = agent.datapath();
    datapath.tables.set_mapping(key, here).expect("it fits");
    drop(agent.owner(datapath));
    let mappings = |datapath: &Datapath| datapath.tables.mappings().expect("they can be read");
    let datapath = agent.datapath();
    assert_eq!(mappings(&datapath), [(key, here)]);
    agent.owner(datapath).clear_stale().expect("it can be removed");
    assert_eq!(mappings(&agent.datapath()), [(key, elsewhere)]);
}

/// Those of a container that went while no agent ran.
#[test]
fn counters_of_interfaces_that_nobody_takes_over_go_to_those_that_are_gone() {
    let agent = Agent::new("");
    let mut datapath = agent.datapath();
    datapath.tables.count(TEST_INTERFACE).expect("there is room");
    let program = pinned().into_values().find(|pin| pin.ends_with(PROGRAM_EGRESS));
    let program = bpf::open_pin(&program.expect("it is pinned")).expect("it is a program");
    let packet = udp(address("fd00::1"), address("fd00::2"), b"x");
    bpf::test_run(program.as_fd(), &packet, 3, 0).expect("the kernel runs it");
    drop(datapath);

    let mut datapath = agent.datapath();
    let counts = datapath.tables.counts_of(TEST_INTERFACE).expect("they are there");
    assert_eq!(counts.iter().map(|count| count.packets).sum::<u64>(), 3);
    datapath.clear_stale().expect("they can be removed");
    let all = datapath.tables.counts().expect("they can be read");
    assert_eq!(all, [(GONE_INTERFACES, counts)]);
}
