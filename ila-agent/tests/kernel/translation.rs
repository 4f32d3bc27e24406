//! What is rewritten on either path, and that nothing else is.

use std::net::Ipv6Addr;

use ila_agent::datapath::Role;
use ila_proto::{
    abi::{Fate, HostConfig},
    addr::{Address, Identifier},
    translate::{ChecksumMode, to_ila},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::harness::{
    ADDRESS, BESIDE, CONTAINER_MAC, HERE, Host, LOCAL, OTHER_MAC, PASS, REDIRECT, REMOTE,
    SECOND_HERE, SECOND_SIR, SECOND_THERE, address, checksum_is_valid, delivered, domain, echo,
    forwarded, identifier, readdressed, redirected, slow, sources_at_locator, tcp, udp,
};

type Build = fn(Ipv6Addr, Ipv6Addr, &[u8]) -> Vec<u8>;
const BUILDERS: [(&str, Build); 3] = [("udp", udp), ("tcp", tcp), ("echo", echo)];
type Change = fn(&mut HostConfig);

#[test]
fn a_packet_to_a_remote_container_leaves_for_its_ila_address() {
    let unchanged: Change = |_| {};
    for mode in ChecksumMode::ALL {
        for (change, at_locator) in [(unchanged, false), (sources_at_locator, true)] {
            let fast = Host::with(mode, change);
            let slow = Host::with(mode, |config| {
                change(config);
                slow(config);
            });
            for (name, build) in BUILDERS {
                let (from, to) = (fast.sir(LOCAL), fast.sir(REMOTE));
                let sent = build(from, to, b"some payload of odd length.");
                let source = if at_locator { fast.ila(LOCAL, fast.here) } else { from };
                let wire = readdressed(&sent, source, fast.ila(REMOTE, fast.there));
                let outcome = fast.run(Role::Container, &sent);
                let what = (outcome.action, outcome.fate);
                assert_eq!(what, (REDIRECT, Fate::EgressTranslated), "{name}");
                assert_eq!(outcome.packet, forwarded(&wire), "{name}");
                let is_neutral = mode != ChecksumMode::NoAction;
                assert_eq!(checksum_is_valid(&outcome.packet), is_neutral, "{name}");
                // The stack takes the hop, and writes the link layer.
                let outcome = slow.run(Role::Container, &sent);
                let what = (outcome.action, outcome.fate);
                assert_eq!(what, (PASS, Fate::EgressTranslated), "{name}");
                assert_eq!(outcome.packet, wire, "{name}");
            }
        }
    }
}

#[test]
fn the_host_that_holds_the_container_restores_what_was_sent() {
    for mode in ChecksumMode::ALL {
        let (fast, slow) = (Host::new(mode), Host::with(mode, slow));
        for (name, build) in BUILDERS {
            for (who, mac) in [(LOCAL, CONTAINER_MAC), (BESIDE, OTHER_MAC)] {
                let (from, to) = (fast.sir(REMOTE), fast.sir(who));
                let sent = build(from, to, b"x");
                let ila = fast.ila(who, fast.here);
                // The sender may state its source in either way.
                for source in [from, fast.ila(REMOTE, fast.there)] {
                    let arriving = readdressed(&sent, source, ila);
                    let outcome = fast.run(Role::Uplink, &arriving);
                    let what = (outcome.action, outcome.fate);
                    assert_eq!(what, (REDIRECT, Fate::IngressRestored), "{name}");
                    assert_eq!(outcome.packet, delivered(&sent, mac), "{name}");
                    let outcome = slow.run(Role::Uplink, &arriving);
                    let what = (outcome.action, outcome.fate);
                    assert_eq!(what, (PASS, Fate::IngressRestored), "{name}");
                    assert_eq!(outcome.packet, sent, "{name}");
                    assert!(checksum_is_valid(&outcome.packet));
                }
            }
        }
    }
}

#[test]
fn what_stays_on_the_host_goes_straight_to_the_other_container() {
    for mode in ChecksumMode::ALL {
        let (fast, slow) = (Host::with(mode, sources_at_locator), Host::with(mode, slow));
        let sent = tcp(fast.sir(LOCAL), fast.sir(BESIDE), b"x");
        let outcome = fast.run(Role::Container, &sent);
        assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::EgressLocal));
        assert_eq!(outcome.packet, delivered(&sent, OTHER_MAC));
        let outcome = slow.run(Role::Container, &sent);
        assert_eq!((outcome.action, outcome.fate), (PASS, Fate::EgressLocal));
        assert_eq!(outcome.packet, sent);
    }
}

#[test]
fn what_comes_for_a_sir_address_is_delivered_as_it_is() {
    let (fast, slow) =
        (Host::new(ChecksumMode::NeutralMap), Host::with(ChecksumMode::NeutralMap, slow));
    let sent = udp(address("2606:4700::1111"), fast.sir(BESIDE), b"x");
    let outcome = fast.run(Role::Uplink, &sent);
    assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::IngressSir));
    assert_eq!(outcome.packet, delivered(&sent, OTHER_MAC));
    let outcome = slow.run(Role::Uplink, &sent);
    assert_eq!((outcome.action, outcome.fate, outcome.packet), (PASS, Fate::IngressSir, sent));
}

/// Its source stays as the sender stated it, for the receiver to check.
#[test]
fn what_lives_elsewhere_is_sent_on_to_where_it_lives() {
    for mode in ChecksumMode::ALL {
        for change in [sources_at_locator as Change, |_| {}] {
            let host = Host::with(mode, change);
            for source in [host.sir(REMOTE), address(ADDRESS), host.ila(REMOTE, host.there)] {
                let sent = udp(source, host.sir(REMOTE), b"x");
                let moved = redirected(&sent, host.ila(REMOTE, host.there));
                for destination in [host.sir(REMOTE), host.ila(REMOTE, host.here)] {
                    let arriving = redirected(&sent, destination);
                    let outcome = host.run(Role::Uplink, &arriving);
                    let what = (outcome.action, outcome.fate);
                    assert_eq!(what, (REDIRECT, Fate::IngressForwarded), "{destination}");
                    assert_eq!(outcome.packet, forwarded(&moved), "{destination}");
                }
            }
        }
    }
}

#[test]
fn each_sir_prefix_has_its_own_locators_and_identifiers() {
    let [sir, here] = [SECOND_SIR, SECOND_HERE].map(|text| text.trim_end_matches("/64"));
    let under = |prefix: &str, low: u64| {
        let high = Address::from(address(prefix)).high;
        Ipv6Addr::from(Address { high, low })
    };
    for mode in ChecksumMode::ALL {
        let second = SECOND_SIR.parse().expect("a SIR prefix");
        let own = SECOND_HERE.parse().expect("a locator");
        let there = SECOND_THERE.parse().expect("a locator");
        let mut host = Host::with(mode, |config| config.domains[1] = domain(mode, second, own));
        let to_ila_delta = mode.to_ila_delta(second, there);
        let beside = host.world.place_of(0, identifier(BESIDE));
        host.map_in(1, identifier(REMOTE), beside);
        host.map_in(
            1,
            identifier(BESIDE),
            ila_proto::abi::Place::There { locator: there, to_ila: to_ila_delta },
        );
        // Who is elsewhere in the first is here in the second, and the other way
        // round.
        let low = |text| identifier(text).bits();
        let from = host.sir(LOCAL);
        let sent = udp(from, under(sir, low(REMOTE)), b"x");
        let outcome = host.run(Role::Container, &sent);
        assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::EgressLocal));
        assert_eq!(outcome.packet, delivered(&sent, OTHER_MAC));
        let sent = udp(from, under(sir, low(BESIDE)), b"x");
        let ila = to_ila(mode, identifier(BESIDE), there, to_ila_delta);
        let outcome = host.run(Role::Container, &sent);
        assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::EgressTranslated));
        assert_eq!(outcome.packet, forwarded(&redirected(&sent, Address::from(ila).into())));
        // What arrives at the second locator is restored to the second prefix.
        let sent = udp(address("2606:4700::1111"), under(sir, low(REMOTE)), b"x");
        let ila = to_ila(mode, identifier(REMOTE), own, mode.to_ila_delta(second, own));
        assert_eq!(Address::from(ila).high, Address::from(address(here)).high);
        let outcome = host.run(Role::Uplink, &redirected(&sent, Address::from(ila).into()));
        assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::IngressRestored));
        assert_eq!(outcome.packet, delivered(&sent, OTHER_MAC));
    }
}

/// The kernel's verdict equals the native one on any identifier and payload,
/// and a second host undoes what a first one did.
#[test]
fn kernel_and_native_translation_agree() {
    for mode in ChecksumMode::ALL {
        let mut runner = TestRunner::new(Config { cases: 256, ..Config::default() });
        let host = std::cell::RefCell::new(Host::with(mode, slow));
        let inputs = (any::<u64>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..200));
        runner
            .run(&inputs, |(a, b, payload)| {
                let [a, b] = [a, b].map(Identifier::locally_unique);
                prop_assume!(a != b && a.check_container().is_ok() && b.check_container().is_ok());
                let mut host = host.borrow_mut();
                let (there, own) = (host.at(host.there), host.world.place_of(0, identifier(LOCAL)));
                host.map(a, there);
                host.map(b, own);
                let sent = udp(host.sir_address(b), host.sir_address(a), &payload);
                let outcome = host.run(Role::Container, &sent);
                let ila = to_ila(mode, a, host.there, mode.to_ila_delta(host.sir, host.there));
                prop_assert_eq!(outcome.packet, redirected(&sent, Address::from(ila).into()));

                let answer = udp(host.sir_address(a), host.sir_address(b), &payload);
                let ila = to_ila(mode, b, host.here, mode.to_ila_delta(host.sir, host.here));
                let arriving = redirected(&answer, Address::from(ila).into());
                prop_assert_eq!(host.run(Role::Uplink, &arriving).packet, answer);
                host.forget(a);
                host.forget(b);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{}: {error}", mode.name()));
    }
}

/// A sender that did not adjust says so by the C-bit.
#[test]
fn an_unadjusted_packet_is_understood_in_neutral_map() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let here = Address::from(address(HERE.trim_end_matches("/64"))).high;
    let plain = Address { high: here, low: identifier(LOCAL).bits() };
    let sent = udp(host.sir(REMOTE), plain.into(), b"x");
    let outcome = host.run(Role::Uplink, &sent);
    let expected = delivered(&redirected(&sent, host.sir(LOCAL)), CONTAINER_MAC);
    assert_eq!((outcome.fate, outcome.packet), (Fate::IngressRestored, expected));
}
