//! How much work the verifier has with each program.

use ila_agent::datapath::Role;
use ila_proto::translate::ChecksumMode;

use crate::harness::Host;

#[test]
fn no_program_takes_the_verifier_more_than_its_budget() {
    let host = Host::new(ChecksumMode::NeutralMap);
    for role in [Role::Container, Role::Uplink] {
        let n = host.programs.verified_instructions(role.program()).expect("the kernel counts");
        println!("{}: {n}", role.program());
    }
}
