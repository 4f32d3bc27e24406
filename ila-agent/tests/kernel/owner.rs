//! What an owner makes of the tables that an earlier agent has left.

use std::{collections::BTreeMap, path::Path};

use ila_agent::{
    config::Config,
    datapath::{Datapath, best_hook},
    desired::{Desired, host_config},
    owner::Owner,
    store::Store,
};
use ila_proto::{
    abi::{LocatorKey, LocatorValue, MAX_LOCATORS, MAX_MAPPINGS, MappingKey, MappingValue, Place},
    addr::Locator,
    checksum::ChecksumDelta,
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use tempfile::TempDir;

use crate::harness::CONTAINER_MAC;

/// A BPF file system of this thread's own.
pub const BPF_DIR: &str = "/sys/fs/bpf/ila";

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
             uplinks = [\"up0\"]\nbpf_dir = \"{BPF_DIR}\"\n{lines}"
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
        let owner = Owner::new(self.config.clone(), Vec::new(), datapath, store, 1500);
        owner.expect("the tables take it")
    }
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
    let desired = Desired::of(&agent.config);
    let mut datapath = agent.datapath();
    let here = Place::Here { interface: 7, mac: CONTAINER_MAC };
    let here = (MappingKey(0xa1), MappingValue::new(here));
    // One of those that are wanted is there, with another value.
    let others =
        (1..u64::from(MAX_MAPPINGS) - 1).map(|number| (MappingKey(number << 16), there(number)));
    let all = [here, (MappingKey(0xb1), there(9))].into_iter().chain(others);
    let (keys, values): (Vec<_>, Vec<_>) = all.unzip();
    datapath.tables.set_mappings(&keys, &values).expect("they fit");
    let one_more = datapath.tables.set_mapping(MappingKey(0xb2), there(9));
    one_more.expect_err("the table is full");
    let value = LocatorValue { domain: 0, to_sir: 0, padding: 0 };
    let locators = (1..=u64::from(MAX_LOCATORS)).map(|number| (LocatorKey(number), value));
    datapath.tables.set_locators(&locators.collect()).expect("they fit");
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
