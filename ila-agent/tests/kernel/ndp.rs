//! Neighbour solicitations: which are answered, and the answer to the byte.

use std::net::Ipv6Addr;

use etherparse::{Icmpv6Type, PacketBuilder};
use ila_agent::datapath::Role;
use ila_proto::{
    abi::{Fate, GATEWAY_MAC},
    translate::ChecksumMode,
};

use crate::harness::{
    CONTAINER_MAC, DROP, ETHERNET, Host, IPV6, LOCAL, OTHER_MAC, PASS, REDIRECT, REMOTE,
    TEST_INTERFACE, checksum_is_valid, identifier,
};

const GATEWAY: &str = "fe80::1";
const CONTAINER: &str = "fe80::a1";

/// A solicitation as Linux sends it, in every field that a test may bend.
struct Solicitation {
    source: Ipv6Addr,
    target: Ipv6Addr,
    hop_limit: u8,
    code: u8,
    options: Vec<u8>,
}

impl Solicitation {
    fn new(target: Ipv6Addr) -> Self {
        let options = [&[1, 1], &CONTAINER_MAC[..]].concat();
        Self { source: address(CONTAINER), target, hop_limit: 255, code: 0, options }
    }

    fn packet(&self) -> Vec<u8> {
        let body = [&self.target.octets()[..], &self.options].concat();
        let builder = PacketBuilder::ethernet2(CONTAINER_MAC, OTHER_MAC)
            .ipv6(self.source.octets(), address("ff02::1:ff00:1").octets(), self.hop_limit)
            .icmpv6(Icmpv6Type::Unknown { type_u8: 135, code_u8: self.code, bytes5to8: [0; 4] });
        let mut packet = Vec::new();
        builder.write(&mut packet, &body).expect("the packet fits");
        packet
    }
}

fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

/// RFC 4861 section 4.4, field by field.
fn advertisement(target: Ipv6Addr, to: Ipv6Addr, flags: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(CONTAINER_MAC);
    packet.extend(GATEWAY_MAC);
    packet.extend([0x86, 0xdd]);
    packet.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
    packet.extend(target.octets());
    packet.extend(to.octets());
    packet.extend([136, 0, 0, 0, flags, 0, 0, 0]);
    packet.extend(target.octets());
    packet.extend([2, 1]);
    packet.extend(GATEWAY_MAC);
    packet
}

/// The packet with its ICMPv6 checksum blanked, for comparison.
fn without_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    packet[ETHERNET + IPV6 + 2..ETHERNET + IPV6 + 4].fill(0);
    packet
}

#[test]
fn gateway_and_mapped_targets_are_answered_in_place() {
    const ROUTER_SOLICITED: u8 = 0xc0;
    const OVERRIDE: u8 = 0x20;
    let host = Host::new(ChecksumMode::NeutralMap);
    let cases = [
        (address(GATEWAY), ROUTER_SOLICITED | OVERRIDE),
        (host.sir_address(identifier(REMOTE)), ROUTER_SOLICITED),
        (host.sir_address(identifier(LOCAL)), ROUTER_SOLICITED),
    ];
    let source_option = [&[1, 1], &CONTAINER_MAC[..]].concat();
    let nonce_as_well = [&source_option[..], &[14, 1, 1, 2, 3, 4, 5, 6]].concat();
    for (target, flags) in cases {
        // Without an option, as in a unicast probe; with one; with two.
        for options in [vec![], source_option.clone(), nonce_as_well.clone()] {
            let asked = Solicitation { options, ..Solicitation::new(target) };
            let outcome = host.run(Role::Container, &asked.packet());
            assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::NdpAnswered), "{target}");
            assert!(checksum_is_valid(&outcome.packet), "{target}");
            let expected = advertisement(target, asked.source, flags);
            assert_eq!(without_checksum(outcome.packet), expected, "{target}");
        }
    }
}

#[test]
fn everything_else_is_dropped() {
    let mut host = Host::new(ChecksumMode::NeutralMap);
    let own = identifier("2000:0:0:a2");
    host.map(own, host.here, TEST_INTERFACE);
    let gateway = || Solicitation::new(address(GATEWAY));
    let unspecified = Ipv6Addr::UNSPECIFIED;
    let unknown = host.sir_address(identifier("2000:0:0:99"));
    let cases = [
        (Solicitation::new(unknown), Fate::NdpUnknownTarget),
        (Solicitation::new(address("fe80::2")), Fate::NdpUnknownTarget),
        (Solicitation::new(address("2001:db8::1")), Fate::NdpUnknownTarget),
        (Solicitation::new(host.sir_address(own)), Fate::NdpOwnAddress),
        (Solicitation { source: unspecified, ..gateway() }, Fate::NdpDuplicateProbe),
        (
            Solicitation { source: unspecified, ..Solicitation::new(host.sir_address(own)) },
            Fate::NdpDuplicateProbe,
        ),
        (Solicitation { hop_limit: 254, ..gateway() }, Fate::NdpInvalid),
        (Solicitation { code: 1, ..gateway() }, Fate::NdpInvalid),
        (Solicitation::new(address("ff02::1")), Fate::NdpInvalid),
        (Solicitation { source: address("ff02::1"), ..gateway() }, Fate::NdpInvalid),
    ];
    for (asked, fate) in cases {
        let packet = asked.packet();
        let outcome = host.run(Role::Container, &packet);
        assert_eq!((outcome.action, outcome.fate), (DROP, fate));
        assert_eq!(outcome.packet, packet, "{fate} changed the packet");
    }
}

#[test]
fn a_solicitation_cut_short_is_invalid() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let packet = Solicitation { options: vec![], ..Solicitation::new(address(GATEWAY)) }.packet();
    for length in ETHERNET + IPV6 + 1..packet.len() {
        let outcome = host.run(Role::Container, &packet[..length]);
        assert_eq!((outcome.action, outcome.fate), (DROP, Fate::NdpInvalid), "{length} bytes");
    }
}

/// A host that listened to these could have its neighbour table filled, or its
/// routes changed, by a container.
#[test]
fn the_host_does_not_hear_other_neighbour_discovery() {
    let host = Host::new(ChecksumMode::NeutralMap);
    for (kind, action, fate) in [
        (132, PASS, Fate::EgressNotSir),
        (133, DROP, Fate::NdpNotForHost),
        (134, DROP, Fate::NdpNotForHost),
        (136, DROP, Fate::NdpNotForHost),
        (137, DROP, Fate::NdpNotForHost),
        (138, PASS, Fate::EgressNotSir),
    ] {
        let mut packet = Solicitation::new(address(GATEWAY)).packet();
        packet[ETHERNET + IPV6] = kind;
        let outcome = host.run(Role::Container, &packet);
        assert_eq!((outcome.action, outcome.fate), (action, fate), "type {kind}");
    }
}
