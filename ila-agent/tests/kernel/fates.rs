//! Every other fate, and that odd packets meet one.

use ila_agent::datapath::Role;
use ila_proto::{abi::Fate, addr::Address, translate::ChecksumMode};

use crate::harness::{DROP, ETHERNET, Host, IPV6, LOCAL, PASS, REMOTE, echo, identifier, tcp, udp};

#[test]
fn packets_that_are_not_translated_stay_as_they_are() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let sir = |id| host.sir_address(identifier(id));
    let at = |high: u64, low: u64| Address { high, low }.into();
    let here = host.here.bits();
    let elsewhere = "2001:db8:ffff::1".parse().expect("an address");
    let mut arp = vec![0u8; 60];
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let c_bit = at(host.sir.bits(), identifier(REMOTE).bits() | 1 << 60);
    let from = sir(LOCAL);

    let cases = [
        (Role::Container, udp(from, sir("2000:0:0:a1"), b"x"), PASS, Fate::EgressLocal),
        (Role::Container, udp(from, elsewhere, b"x"), PASS, Fate::EgressNotSir),
        (Role::Container, arp.clone(), DROP, Fate::EgressNotIpv6),
        (Role::Container, udp(from, sir("2000:0:0:99"), b"x"), DROP, Fate::EgressUnknownIdentifier),
        (Role::Container, udp(from, c_bit, b"x"), DROP, Fate::EgressUnknownIdentifier),
        (Role::Uplink, udp(elsewhere, sir(LOCAL), b"x"), PASS, Fate::IngressNotLocator),
        (Role::Uplink, udp(elsewhere, at(here, 1), b"x"), PASS, Fate::IngressHost),
        (Role::Uplink, arp, PASS, Fate::IngressNotIpv6),
        (
            Role::Uplink,
            udp(from, at(here, 3 << 60 | 7), b"x"),
            DROP,
            Fate::IngressUnknownIdentifier,
        ),
        (
            Role::Uplink,
            udp(from, at(here, 7 << 61 | 7), b"x"),
            DROP,
            Fate::IngressUnknownIdentifier,
        ),
        (
            // Mapped, yet to another host: not for us to deliver.
            Role::Uplink,
            udp(from, at(here, identifier(REMOTE).bits()), b"x"),
            DROP,
            Fate::IngressUnknownIdentifier,
        ),
    ];
    for (role, packet, action, fate) in cases {
        let outcome = host.run(role, &packet);
        assert_eq!((outcome.action, outcome.fate), (action, fate), "{role:?}");
        assert_eq!(outcome.packet, packet, "{fate} changed the packet");
    }
}

/// Only the fixed header is looked at. The kernel runs no program on a made-up
/// packet that is shorter than that; a lab sends real ones.
#[test]
fn a_packet_is_translated_however_much_of_its_payload_is_missing() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let [from, to] = [LOCAL, REMOTE].map(|id| host.sir_address(identifier(id)));
    for packet in [udp(from, to, b"payload"), tcp(from, to, b"payload"), echo(from, to, b"payload")]
    {
        for length in ETHERNET + IPV6..=packet.len() {
            let outcome = host.run(Role::Container, &packet[..length]);
            assert_eq!(outcome.fate, Fate::EgressTranslated, "{length} bytes");
            let outcome = host.run(Role::Uplink, &packet[..length]);
            assert_eq!(outcome.fate, Fate::IngressNotLocator, "{length} bytes");
        }
    }
}

#[test]
fn a_removed_mapping_is_unknown_and_removing_it_again_is_fine() {
    let mut host = Host::new(ChecksumMode::NeutralMap);
    let [from, to] = [LOCAL, REMOTE].map(|id| host.sir_address(identifier(id)));
    assert_eq!(host.run(Role::Container, &udp(from, to, b"x")).fate, Fate::EgressTranslated);
    for _ in 0..2 {
        host.datapath.remove_mapping(identifier(REMOTE)).expect("it can be removed");
    }
    assert_eq!(host.run(Role::Container, &udp(from, to, b"x")).fate, Fate::EgressUnknownIdentifier);
}
