//! How much work the verifier has with each program.

use ila_agent::datapath::Role;
use ila_proto::{
    abi::{HostConfig, Uplink},
    forward::{Path, SourceMode},
    translate::ChecksumMode,
};

use crate::harness::{Host, domain};

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
    config.source_mode = SourceMode::Locator.number();
}

fn slow(config: &mut HostConfig) {
    config.path = Path::Slow.number();
}

#[test]
fn no_program_takes_the_verifier_more_than_its_budget() {
    let plain: fn(&mut HostConfig) = |_| {};
    for mode in ChecksumMode::ALL {
        for change in [plain, everything, slow] {
            let host = Host::with(mode, change);
            for role in [Role::Container, Role::Uplink] {
                let name = role.program();
                let n = host.programs.verified_instructions(name).expect("the kernel counts");
                println!("{} {name}: {n}", mode.name());
            }
        }
    }
}
