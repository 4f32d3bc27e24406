//! What is rewritten, and that nothing else is.

use ila_agent::datapath::Role;
use ila_proto::{
    abi::Fate,
    addr::{Address, Identifier},
    translate::{ChecksumMode, to_ila, to_sir},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::harness::{
    Host, LOCAL, PASS, REMOTE, checksum_is_valid, destination, echo, identifier, redirected, tcp,
    udp,
};

type Build = fn(std::net::Ipv6Addr, std::net::Ipv6Addr, &[u8]) -> Vec<u8>;
const BUILDERS: [(&str, Build); 3] = [("udp", udp), ("tcp", tcp), ("echo", echo)];

#[test]
fn a_packet_to_a_remote_container_leaves_for_its_ila_address() {
    for mode in ChecksumMode::ALL {
        let host = Host::new(mode);
        let ila =
            to_ila(mode, identifier(REMOTE), host.there, mode.to_ila_delta(host.sir, host.there));
        for (name, build) in BUILDERS {
            let [from, to] = [LOCAL, REMOTE].map(|id| host.sir_address(identifier(id)));
            let sent = build(from, to, b"some payload of odd length.");
            let outcome = host.run(Role::Container, &sent);
            assert_eq!((outcome.action, outcome.fate), (PASS, Fate::EgressTranslated), "{name}");
            assert_eq!(outcome.packet, redirected(&sent, Address::from(ila).into()), "{name}");
            assert_eq!(
                checksum_is_valid(&outcome.packet),
                mode != ChecksumMode::NoAction,
                "{name} in {}",
                mode.name(),
            );
        }
    }
}

#[test]
fn the_host_that_holds_the_container_restores_what_was_sent() {
    for mode in ChecksumMode::ALL {
        let host = Host::new(mode);
        let ila =
            to_ila(mode, identifier(LOCAL), host.here, mode.to_ila_delta(host.sir, host.here));
        for (name, build) in BUILDERS {
            let [from, to] = [REMOTE, LOCAL].map(|id| host.sir_address(identifier(id)));
            let sent = build(from, to, b"x");
            let arriving = redirected(&sent, Address::from(ila).into());
            let outcome = host.run(Role::Uplink, &arriving);
            assert_eq!((outcome.action, outcome.fate), (PASS, Fate::IngressRestored), "{name}");
            assert_eq!(outcome.packet, sent, "{name} in {}", mode.name());
            assert!(checksum_is_valid(&outcome.packet));
        }
    }
}

/// The kernel's verdict equals the native one on any identifier and payload,
/// and a second host undoes what a first one did.
#[test]
fn kernel_and_native_translation_agree() {
    for mode in ChecksumMode::ALL {
        let mut runner = TestRunner::new(Config { cases: 256, ..Config::default() });
        let host = std::cell::RefCell::new(Host::new(mode));
        let inputs = (any::<u64>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..200));
        runner
            .run(&inputs, |(a, b, payload)| {
                let [a, b] = [a, b].map(Identifier::locally_unique);
                prop_assume!(a != b && a.check_container().is_ok() && b.check_container().is_ok());
                let mut host = host.borrow_mut();
                let (here, there) = (host.here, host.there);
                host.map(a, there, 0);
                host.map(b, here, 5);
                let sent = udp(host.sir_address(b), host.sir_address(a), &payload);
                let outcome = host.run(Role::Container, &sent);
                let ila = to_ila(mode, a, there, mode.to_ila_delta(host.sir, there));
                prop_assert_eq!(outcome.packet, redirected(&sent, Address::from(ila).into()));

                let ila = to_ila(mode, b, here, mode.to_ila_delta(host.sir, here));
                let sir = to_sir(mode, ila, host.sir, mode.to_sir_delta(host.sir, here));
                let arriving = redirected(&sent, Address::from(ila).into());
                let restored = host.run(Role::Uplink, &arriving).packet;
                prop_assert_eq!(Address::from(destination(&restored)), Address::from(sir));
                prop_assert_eq!(destination(&restored), host.sir_address(b));
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{}: {error}", mode.name()));
    }
}

/// A sender that did not adjust says so by the C-bit.
#[test]
fn an_unadjusted_packet_is_understood_in_neutral_map() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let to = host.sir_address(identifier(LOCAL));
    let plain = Address { high: host.here.bits(), low: identifier(LOCAL).bits() };
    let sent = udp(host.sir_address(identifier(REMOTE)), plain.into(), b"x");
    let outcome = host.run(Role::Uplink, &redirected(&sent, plain.into()));
    assert_eq!((outcome.fate, destination(&outcome.packet)), (Fate::IngressRestored, to));
}
