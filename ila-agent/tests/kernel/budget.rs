//! How much work the verifier has with each program.

use std::collections::BTreeMap;

use ila_agent::datapath::Loaded;
use ila_proto::{
    abi::{HostConfig, LocatorSpace, Uplink},
    translate::ChecksumMode,
};

use crate::harness::{Host, domain, slow, sources_at_locator};

/// A host with one uplink.
fn plain(config: &mut HostConfig) {
    config.uplinks[1] = Uplink::default();
}

/// The same on the slow path.
fn plain_slow(config: &mut HostConfig) {
    plain(config);
    slow(config);
}

/// A host that uses everything there is.
fn everything(config: &mut HostConfig) {
    for (index, place) in (1..).zip(&mut config.uplinks) {
        *place = Uplink { interface: index, mac: [2, 0, 0, 0, 0, 1], padding: 0 };
    }
    for (index, place) in (1..).zip(&mut config.domains) {
        let prefix = |kind| format!("{kind}:{index}::/64");
        let [sir, locator] = ["fd00", "2001"].map(prefix);
        *place = domain(
            ChecksumMode::NeutralMap,
            sir.parse().expect("a SIR prefix"),
            locator.parse().expect("a locator"),
        );
    }
    config.locator_spaces = [LocatorSpace { bits: 0x2002 << 48, mask: 0xffff << 48 }; 4];
    sources_at_locator(config);
}

/// What no program may take on any kernel, whatever its budget says.
const MOST: u32 = 10_000;

/// Configuration, program, series of the kernel, instructions.
type Budget = BTreeMap<String, BTreeMap<String, BTreeMap<String, u32>>>;

/// The series of the running kernel: its first two numbers.
pub fn series() -> String {
    let release = nix::sys::utsname::uname().expect("it has no way to fail");
    let release = release.release().to_string_lossy().into_owned();
    release.split(['.', '-']).take(2).collect::<Vec<_>>().join(".")
}

#[test]
fn no_program_takes_the_verifier_more_than_its_budget() {
    let budget: Budget = toml::from_str(include_str!("budget.toml")).expect("it is as it must be");
    let series = series();
    let mut too_much = String::new();
    for mode in ChecksumMode::ALL {
        let plain: fn(&mut HostConfig) = plain;
        for (name, path, change) in [
            ("plain", "fast", plain),
            ("plain", "slow", plain_slow),
            ("everything", "fast", everything),
        ] {
            let host = Host::with(mode, change);
            for program in Loaded::programs() {
                let given = host.programs.verified_instructions(program);
                let given = given.expect("the kernel counts");
                let row = &budget[name][program];
                let most = row.get(&series).or_else(|| row.values().max());
                let most = MOST.min(*most.expect("a row has a number"));
                let line = format!(
                    "{program} {name}, {path} path, {}: {given} of {most} on Linux {series}\n",
                    mode.name(),
                );
                print!("{line}");
                if given > most {
                    too_much += &line;
                }
            }
        }
    }
    assert!(too_much.is_empty(), "over the budget in budget.toml:\n{too_much}");
}
