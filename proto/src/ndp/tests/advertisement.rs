//! The packet that is sent.

use proptest::prelude::*;

use super::*;
use crate::testing::{addresses, octets, upper_layer_sum};

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

/// The same, to a probe: to all nodes, not solicited.
#[rustfmt::skip]
const TO_A_PROBE: [u8; 72] = [
    0x60, 0x00, 0x00, 0x00,
    0x00, 0x20, 58, 255,
    0xfd, 0x00, 0x0d, 0xb8, 0, 0, 0, 0x01, 0x20, 0, 0, 0, 0, 0, 0, 0xb2,
    0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
    136, 0x00, 0x51, 0x3c,
    0b1000_0000, 0x00, 0x00, 0x00,
    0xfd, 0x00, 0x0d, 0xb8, 0, 0, 0, 0x01, 0x20, 0, 0, 0, 0, 0, 0, 0xb2,
    2, 1, 0x02, 0x49, 0x4c, 0x41, 0x00, 0x01,
];

#[test]
fn the_packet_is_laid_out_as_in_rfc_4861() {
    let host = host(ChecksumMode::NeutralMap);
    for (source, target, expected) in [
        ("fe80::aa", "fe80::1", FROM_THE_GATEWAY),
        ("fd00:db8:0:1:2000::b1", "fd00:db8:0:1:2000::b2", FROM_A_NEIGHBOUR),
        ("::", "fd00:db8:0:1:2000::b2", TO_A_PROBE),
    ] {
        let solicitation = Solicitation { source: address(source), target: address(target) };
        let (given, _) =
            answer(&host.config, &host, 7, &solicitation).expect("another has the address");
        assert_eq!(bytes(&given), expected, "{source}");
    }
}

#[test]
fn the_hand_written_packets_carry_the_right_checksum() {
    for packet in [FROM_THE_GATEWAY, FROM_A_NEIGHBOUR, TO_A_PROBE] {
        assert_eq!(upper_layer_sum(&packet), 0xffff);
    }
}

proptest! {
    #[test]
    fn the_packet_is_as_told_and_its_checksum_right_whoever_asks_for_whom(
        to in addresses(),
        target in addresses(),
        mac: Mac,
        flags in prop::sample::select(&[0x8000_0000_u32, 0xa000_0000, 0xc000_0000, 0xe000_0000][..]),
    ) {
        let packet = bytes(&Advertisement { to, target, mac, flags });
        prop_assert_eq!(packet.len(), Advertisement::LENGTH);
        prop_assert_eq!(upper_layer_sum(&packet), 0xffff);
        prop_assert_eq!(&packet[..8], &[0x60, 0, 0, 0, 0, 32, 58, 255]);
        prop_assert_eq!(&packet[8..24], &octets(target));
        prop_assert_eq!(&packet[24..40], &octets(to));
        prop_assert_eq!(&packet[40..42], &[136, 0]);
        prop_assert_eq!(&packet[44..48], &flags.to_be_bytes());
        prop_assert_eq!(&packet[48..64], &octets(target));
        prop_assert_eq!(&packet[64..66], &[2, 1]);
        prop_assert_eq!(&packet[66..], &mac);
    }

    #[test]
    fn on_an_uplink_it_names_the_uplink(mac: Mac) {
        let host = host(ChecksumMode::NoAction);
        let target = address("2001:db8:a:a:2000::b1");
        let solicitation = Solicitation { source: GATEWAY, target };
        let given = answer_on_uplink(&host.config, &host, mac, &solicitation)
            .expect("the container is here");
        prop_assert_eq!(&bytes(&given)[66..], &mac);
    }
}
