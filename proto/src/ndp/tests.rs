use std::{cell::RefCell, net::Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn address(text: &str) -> Address {
    text.parse::<Ipv6Addr>().expect("the test writes an address").into()
}

/// A host whose containers have SIR prefix `fd00:db8:0:1::/64`.
const HOST: HostConfig = HostConfig {
    sir_prefix: 0xfd00_0db8_0000_0001,
    locator: 0x2001_0db8_000a_000b,
    to_sir: 0,
    checksum_mode: 1,
    padding: 0,
};

/// The interface of the container that solicits.
const ASKING: u32 = 7;
/// The interface of another container on the same host.
const NEIGHBOUR: u32 = 8;
/// What a mapping to another host has for an interface.
const ELSEWHERE: u32 = 0;

/// A well-formed solicitation for `target`.
fn solicitation(target: &str) -> Solicitation {
    Solicitation {
        source: address("fe80::aa"),
        hop_limit: 255,
        payload_length: 32,
        code: 0,
        target: address(target),
    }
}

/// What is answered, and what the mappings were asked for. They hold three
/// identifiers: `…b1` of the container that asks, `…b2` of its neighbour and
/// `…b3` on another host.
fn ask(solicitation: &Solicitation) -> (Result<Advertisement, Fate>, Vec<Identifier>) {
    let asked = RefCell::default();
    let answer = answer(&HOST, ASKING, solicitation, |identifier| {
        let asked: &RefCell<Vec<_>> = &asked;
        asked.borrow_mut().push(identifier);
        let interface = match identifier.bits() {
            0x2000_0000_0000_00b1 => ASKING,
            0x2000_0000_0000_00b2 => NEIGHBOUR,
            0x2000_0000_0000_00b3 => ELSEWHERE,
            _ => return None,
        };
        Some(MappingValue { locator: HOST.locator, to_ila: 0, padding: 0, interface })
    });
    (answer, asked.into_inner())
}

#[test]
fn the_gateway_is_answered_for_as_by_itself() {
    let (answer, asked) = ask(&solicitation("fe80::1"));
    let to = address("fe80::aa");
    // Router, solicited, override.
    assert_eq!(answer, Ok(Advertisement { to, target: GATEWAY, flags: 0xe000_0000 }));
    assert_eq!(asked, []);
}

#[test]
fn whoever_has_a_mapping_is_answered_for_without_override() {
    for target in ["fd00:db8:0:1:2000::b2", "fd00:db8:0:1:2000::b3"] {
        let (answer, asked) = ask(&solicitation(target));
        let (to, target) = (address("fe80::aa"), address(target));
        // Router, solicited.
        assert_eq!(answer, Ok(Advertisement { to, target, flags: 0xc000_0000 }));
        assert_eq!(asked, [Identifier::from_bits(target.low)]);
    }
}

#[test]
fn the_answer_goes_to_whoever_asked_even_by_its_sir_address() {
    let source = address("fd00:db8:0:1:2000::b1");
    let (answer, _) = ask(&Solicitation { source, ..solicitation("fe80::1") });
    assert_eq!(answer.map(|advertisement| advertisement.to), Ok(source));
}

#[test]
fn each_solicitation_without_an_answer_has_its_fate() {
    let good = solicitation("fe80::1");
    let source = Address::UNSPECIFIED;
    for (why, solicitation, fate, asks) in [
        // RFC 4861 section 7.1.1.
        ("handed on once", Solicitation { hop_limit: 254, ..good }, Fate::NdpInvalid, None),
        ("hop limit 0", Solicitation { hop_limit: 0, ..good }, Fate::NdpInvalid, None),
        ("another code", Solicitation { code: 1, ..good }, Fate::NdpInvalid, None),
        ("too short", Solicitation { payload_length: 23, ..good }, Fate::NdpInvalid, None),
        ("empty", Solicitation { payload_length: 0, ..good }, Fate::NdpInvalid, None),
        ("multicast", solicitation("ff02::1:ff00:b2"), Fate::NdpInvalid, None),
        ("an invalid probe", Solicitation { source, hop_limit: 1, ..good }, Fate::NdpInvalid, None),
        // Duplicate address detection, whatever it asks for.
        ("a probe", Solicitation { source, ..good }, Fate::NdpDuplicateProbe, None),
        (
            "a probe for its own address",
            Solicitation { source, ..solicitation("fd00:db8:0:1:2000::b1") },
            Fate::NdpDuplicateProbe,
            None,
        ),
        (
            "a probe for another's address",
            Solicitation { source, ..solicitation("fd00:db8:0:1:2000::b2") },
            Fate::NdpDuplicateProbe,
            None,
        ),
        // Targets that are nobody's here.
        ("on the link", solicitation("fe80::2"), Fate::NdpUnknownTarget, None),
        ("fe80:0:0:1::1", solicitation("fe80:0:0:1::1"), Fate::NdpUnknownTarget, None),
        ("outside", solicitation("fd00:db8:0:2:2000::b2"), Fate::NdpUnknownTarget, None),
        ("a locator", solicitation("2001:db8:a:b:2000::b2"), Fate::NdpUnknownTarget, None),
        ("unspecified", solicitation("::"), Fate::NdpUnknownTarget, None),
        (
            "no mapping",
            solicitation("fd00:db8:0:1:2000::b4"),
            Fate::NdpUnknownTarget,
            Some(0x2000_0000_0000_00b4),
        ),
        ("a type 0 identifier", solicitation("fd00:db8:0:1::1"), Fate::NdpUnknownTarget, Some(1)),
        // Its own.
        (
            "its own address",
            solicitation("fd00:db8:0:1:2000::b1"),
            Fate::NdpOwnAddress,
            Some(0x2000_0000_0000_00b1),
        ),
    ] {
        let (answer, asked) = ask(&solicitation);
        assert_eq!(answer, Err(fate), "{why}");
        assert_eq!(asked, Vec::from_iter(asks.map(Identifier::from_bits)), "{why}");
    }
}

#[test]
fn a_solicitation_without_options_is_answered() {
    let (answer, _) = ask(&Solicitation { payload_length: 24, ..solicitation("fe80::1") });
    assert!(answer.is_ok(), "{answer:?}");
}

// The packet.

fn bytes(advertisement: &Advertisement) -> Vec<u8> {
    advertisement.packet().into_iter().flat_map(u64::to_be_bytes).collect()
}

#[rustfmt::skip]
const FROM_THE_GATEWAY: [u8; 72] = [
    // IPv6 (RFC 8200 section 3): version, traffic class, flow label;
    0x60, 0x00, 0x00, 0x00,
    // payload length, next header ICMPv6, hop limit;
    0x00, 0x20, 58, 255,
    // source, which is the target;
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
    // destination, which is the solicitor.
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa,
    // Neighbour advertisement (RFC 4861 section 4.4): type, code, checksum;
    136, 0x00, 0x4a, 0xe9,
    // R, S and O, reserved;
    0b1110_0000, 0x00, 0x00, 0x00,
    // target.
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
    // Target link-layer address (section 4.6.1): type, length in eights, MAC.
    2, 1, 0x02, 0x49, 0x4c, 0x41, 0x00, 0x01,
];

#[rustfmt::skip]
const FROM_A_NEIGHBOUR: [u8; 72] = [
    0x60, 0x00, 0x00, 0x00,
    0x00, 0x20, 58, 255,
    0xfd, 0x00, 0x0d, 0xb8, 0, 0, 0, 0x01, 0x20, 0, 0, 0, 0, 0, 0, 0xb2,
    0xfd, 0x00, 0x0d, 0xb8, 0, 0, 0, 0x01, 0x20, 0, 0, 0, 0, 0, 0, 0xb1,
    136, 0x00, 0xe4, 0xd4,
    0b1100_0000, 0x00, 0x00, 0x00,
    0xfd, 0x00, 0x0d, 0xb8, 0, 0, 0, 0x01, 0x20, 0, 0, 0, 0, 0, 0, 0xb2,
    2, 1, 0x02, 0x49, 0x4c, 0x41, 0x00, 0x01,
];

#[test]
fn the_packet_is_laid_out_as_in_rfc_4861() {
    let (gateway, _) = ask(&solicitation("fe80::1"));
    assert_eq!(bytes(&gateway.expect("it is answered")), FROM_THE_GATEWAY);

    let source = address("fd00:db8:0:1:2000::b1");
    let (neighbour, _) = ask(&Solicitation { source, ..solicitation("fd00:db8:0:1:2000::b2") });
    assert_eq!(bytes(&neighbour.expect("it is answered")), FROM_A_NEIGHBOUR);
}

/// The one's complement sum of an ICMPv6 message with its pseudo-header
/// (RFC 8200 section 8.1), added up byte by byte: ffff if its checksum is right.
fn icmpv6_sum(packet: &[u8]) -> u32 {
    let (header, message) = packet.split_at(40);
    let length = u32::try_from(message.len()).expect("it is short");
    let mut all = header[8..40].to_vec();
    all.extend(length.to_be_bytes());
    all.extend([0, 0, 0, 58]);
    all.extend(message);
    let sum: u32 = all
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(*byte) << if at % 2 == 0 { 8 } else { 0 })
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (folded & 0xffff) + (folded >> 16)
}

#[test]
fn the_hand_written_packets_carry_the_right_checksum() {
    assert_eq!(icmpv6_sum(&FROM_THE_GATEWAY), 0xffff);
    assert_eq!(icmpv6_sum(&FROM_A_NEIGHBOUR), 0xffff);
}

proptest! {
    #[test]
    fn the_packet_has_the_right_checksum_whoever_asks_for_whom(
        to: [u8; 16],
        target: [u8; 16],
        flags in prop_oneof![Just(ROUTER | SOLICITED), Just(ROUTER | SOLICITED | OVERRIDE)],
    ) {
        let advertisement =
            Advertisement { to: Ipv6Addr::from(to).into(), target: Ipv6Addr::from(target).into(), flags };
        let packet = bytes(&advertisement);
        prop_assert_eq!(icmpv6_sum(&packet), 0xffff);
        prop_assert_eq!(&packet[8..24], &target);
        prop_assert_eq!(&packet[24..40], &to);
        prop_assert_eq!(&packet[48..64], &target);
    }

    #[test]
    fn a_hop_limit_below_255_is_never_answered(
        source: u128, target: u128, hop_limit in 0..=254_u8, payload_length: u16, code: u8,
    ) {
        let [source, target] = [source, target].map(|bits| Ipv6Addr::from_bits(bits).into());
        let solicitation = Solicitation { source, hop_limit, payload_length, code, target };
        prop_assert_eq!(ask(&solicitation), (Err(Fate::NdpInvalid), vec![]));
    }
}
