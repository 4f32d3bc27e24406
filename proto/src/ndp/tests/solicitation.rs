//! Reading a solicitation, RFC 4861 section 7.1.1 point by point.

use proptest::prelude::*;

use super::*;
use crate::testing::{addresses, header_of, octets, upper_layer_sum};

const SOURCE_LINK_LAYER: [u8; 8] = [1, 1, 0x02, 0, 0, 0, 0, 0xaa];
const NONCE: [u8; 8] = [14, 1, 0x11, 0xa0, 0xf4, 0xa6, 0x5e, 0x0d];
/// RFC 3971 section 5.3.1, two units.
const TIMESTAMP: [u8; 16] = [13, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// A solicitation to be written down, whether it is as it must be or not.
#[derive(Clone, Debug)]
struct Draft {
    source: Address,
    destination: Address,
    hop_limit: u8,
    kind: u8,
    code: u8,
    reserved: [u8; 4],
    target: Address,
    options: Vec<u8>,
}

/// As a host asks for the link-layer address of `…b2`.
fn question() -> Draft {
    Draft {
        source: address("fe80::aa"),
        destination: address("ff02::1:ff00:b2"),
        hop_limit: 255,
        kind: 135,
        code: 0,
        reserved: [0; 4],
        target: address("fd00:db8:0:1:2000::b2"),
        options: SOURCE_LINK_LAYER.to_vec(),
    }
}

/// As it makes sure that nobody has `…b2` yet.
fn probe() -> Draft {
    Draft { source: Address::UNSPECIFIED, options: Vec::new(), ..question() }
}

impl Draft {
    fn packet(&self) -> Vec<u8> {
        let length = u16::try_from(24 + self.options.len()).expect("it is short");
        let [high, low] = length.to_be_bytes();
        let mut packet = vec![0x60, 0, 0, 0, high, low, 58, self.hop_limit];
        packet.extend(octets(self.source));
        packet.extend(octets(self.destination));
        packet.extend([self.kind, self.code, 0, 0]);
        packet.extend(self.reserved);
        packet.extend(octets(self.target));
        packet.extend(&self.options);
        let checksum = !upper_layer_sum(&packet);
        packet[42..44].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    fn read(&self) -> Option<Solicitation> {
        read(&self.packet())
    }

    fn asks(&self) -> Solicitation {
        Solicitation { source: self.source, target: self.target }
    }
}

fn read(packet: &[u8]) -> Option<Solicitation> {
    let header = header_of(packet);
    // No more than the packet says that it has, as the kernel programs do.
    let end = packet.len().min(40 + usize::from(header.payload_length));
    Solicitation::read(&header, |index| {
        let unit = packet[..end].get(40 + index * 8..48 + index * 8)?;
        Some(u64::from_be_bytes(unit.try_into().expect("eight bytes are eight bytes")))
    })
}

#[test]
fn a_solicitation_is_read_with_whatever_options_it_has() {
    let all = [&SOURCE_LINK_LAYER[..], &NONCE, &TIMESTAMP].concat();
    let any_order = [&TIMESTAMP[..], &NONCE, &SOURCE_LINK_LAYER].concat();
    // One that fills all that is looked at.
    let longest = [&[200, 5], &[0xff; 38][..]].concat();
    for options in [
        &[][..],
        &SOURCE_LINK_LAYER,
        &NONCE,
        &[SOURCE_LINK_LAYER, NONCE].concat(),
        &[NONCE, SOURCE_LINK_LAYER].concat(),
        &all,
        &any_order,
        &longest,
        &SOURCE_LINK_LAYER.repeat(5),
    ] {
        let draft = Draft { options: options.to_vec(), ..question() };
        assert_eq!(draft.read(), Some(draft.asks()), "{options:?}");
    }
}

#[test]
fn a_solicitation_may_go_to_one_node_and_name_anybody() {
    for (source, destination, target) in [
        ("fe80::aa", "fe80::1", "fe80::1"),
        ("fd00:db8:0:1:2000::b1", "fd00:db8:0:1:2000::b2", "fd00:db8:0:1:2000::b2"),
        ("fd00:db8:0:1:2000::b1", "ff02::1:ff00:b2", "fd00:db8:0:1:2000::b2"),
        ("fe80::aa", "ff02::1:ff00:1", "fe80::1"),
        // Whose group it is sent to is of account for a probe only.
        ("fe80::aa", "ff02::1", "fe80::1"),
        ("fe80::aa", "ff02::1:ff00:b3", "fd00:db8:0:1:2000::b2"),
        ("fe80::aa", "ff02::1:ff00:0", "::"),
    ] {
        let [source, destination, target] = [source, destination, target].map(address);
        let draft = Draft { source, destination, target, ..question() };
        assert_eq!(draft.read(), Some(draft.asks()), "{draft:?}");
    }
}

#[test]
fn what_is_reserved_is_of_no_account() {
    let draft = Draft { reserved: [0xff, 0x12, 0, 1], ..question() };
    assert_eq!(draft.read(), Some(draft.asks()));
}

#[test]
fn each_field_that_is_not_as_it_must_be_makes_it_invalid() {
    let good = question();
    let multicast = address("ff02::1:ff00:b2");
    for (why, draft) in [
        ("handed on once", Draft { hop_limit: 254, ..good.clone() }),
        ("handed on often", Draft { hop_limit: 1, ..good.clone() }),
        ("hop limit 0", Draft { hop_limit: 0, ..good.clone() }),
        ("code 1", Draft { code: 1, ..good.clone() }),
        ("code 128", Draft { code: 128, ..good.clone() }),
        ("an advertisement", Draft { kind: 136, ..good.clone() }),
        ("an echo", Draft { kind: 128, ..good.clone() }),
        ("for a group", Draft { target: multicast, ..good.clone() }),
        ("from a group", Draft { source: multicast, ..good.clone() }),
        ("from all of a group of the world", Draft { source: address("ffff::1"), ..good.clone() }),
    ] {
        assert_eq!(draft.read(), None, "{why}");
    }
}

/// The checksum is right for each, and what is left over is zero, so that the
/// length alone is wrong.
#[test]
fn each_length_that_it_cannot_have_makes_it_invalid() {
    for length in 4..=u8::MAX {
        let mut packet = Draft { options: vec![0; 232], ..question() }.packet();
        (packet[4], packet[5]) = (0, length);
        // One option that fills the units.
        (packet[64], packet[65]) = (14, length.saturating_sub(24) / 8);
        packet[42..44].fill(0);
        let checksum = !upper_layer_sum(&packet[..40 + usize::from(length)]);
        packet[42..44].copy_from_slice(&checksum.to_be_bytes());
        let valid = (24..=64).contains(&length) && length % 8 == 0;
        assert_eq!(read(&packet).is_some(), valid, "{length} bytes");
    }
    for length in 0..4 {
        let mut packet = question().packet();
        (packet[4], packet[5]) = (0, length);
        assert_eq!(read(&packet), None, "{length} bytes");
    }
}

#[test]
fn what_is_in_the_frame_behind_the_packet_is_of_no_account() {
    let packet = [question().packet(), vec![0xff; 64]].concat();
    assert_eq!(read(&packet), Some(question().asks()));
}

#[test]
fn a_packet_that_ends_before_it_says_is_invalid() {
    let packet = Draft { options: NONCE.repeat(2), ..question() }.packet();
    for length in 40..packet.len() {
        assert_eq!(read(&packet[..length]), None, "{length} bytes");
    }
}

#[test]
fn no_wrong_bit_goes_unnoticed() {
    for draft in [question(), probe(), Draft { options: NONCE.repeat(5), ..question() }] {
        let packet = draft.packet();
        assert_eq!(read(&packet), Some(draft.asks()));
        // Payload length; hop limit, both addresses and all of the message.
        for at in (4..6).chain(7..packet.len()) {
            for bit in 0..8 {
                let mut packet = packet.clone();
                packet[at] ^= 1 << bit;
                assert_eq!(read(&packet), None, "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn an_option_without_a_length_or_past_the_end_makes_it_invalid() {
    for (why, options) in [
        ("no length", [14, 0, 0, 0, 0, 0, 0, 0].to_vec()),
        ("no length, the second", [&NONCE[..], &[14, 0, 0, 0, 0, 0, 0, 0]].concat()),
        ("past the end", [14, 2, 0, 0, 0, 0, 0, 0].to_vec()),
        ("far past the end", [14, 255, 0, 0, 0, 0, 0, 0].to_vec()),
        ("past the end, the second", [&NONCE[..], &[1, 2, 0, 0, 0, 0, 0, 0]].concat()),
        ("as far as bits go round", [14, 9, 0, 0, 0, 0, 0, 0].to_vec()),
        ("as far as bits go, the second", [&NONCE[..], &[14, 8, 0, 0, 0, 0, 0, 0]].concat()),
        ("past the longest", [&[200, 6], &[0; 38][..]].concat()),
    ] {
        assert_eq!(Draft { options, ..question() }.read(), None, "{why}");
    }
}

// Probes.

#[test]
fn a_probe_is_read() {
    for options in [Vec::new(), NONCE.to_vec(), [&NONCE[..], &TIMESTAMP].concat()] {
        let draft = Draft { options, ..probe() };
        assert_eq!(draft.read(), Some(draft.asks()));
    }
    let draft = Draft {
        target: address("fe80::1:2:3fed:cba9"),
        destination: address("ff02::1:ffed:cba9"),
        ..probe()
    };
    assert_eq!(draft.read(), Some(draft.asks()));
}

#[test]
fn a_probe_goes_to_the_group_of_its_target() {
    for to in [
        "ff02::1:ff00:b3",
        "ff02::1:ff01:b2",
        "ff02::1:fe00:b2",
        "ff02::ff00:b2",
        "ff05::1:ff00:b2",
        "ff02::1",
        "ff02::2",
        "fd00:db8:0:1:2000::b2",
        "fe80::1",
        "::",
    ] {
        let draft = Draft { destination: address(to), ..probe() };
        assert_eq!(draft.read(), None, "{to}");
    }
}

#[test]
fn a_probe_names_no_link_layer_address() {
    for options in [
        SOURCE_LINK_LAYER.to_vec(),
        [NONCE, SOURCE_LINK_LAYER].concat(),
        [SOURCE_LINK_LAYER, NONCE].concat(),
    ] {
        assert_eq!(Draft { options, ..probe() }.read(), None);
    }
    // Nor is one named by what only looks like one, within another option.
    let within = [&TIMESTAMP[..8], &SOURCE_LINK_LAYER].concat();
    let draft = Draft { options: within, ..probe() };
    assert_eq!(draft.read(), Some(draft.asks()));
}

// Whatever comes off the wire.

fn options() -> impl Strategy<Value = Vec<u8>> {
    let option = (any::<u8>(), 1..=3_usize).prop_flat_map(|(kind, units)| {
        prop::collection::vec(any::<u8>(), units * 8 - 2).prop_map(move |content| {
            let length = u8::try_from(units).expect("it is short");
            [&[kind, length], &content[..]].concat()
        })
    });
    prop::collection::vec(option, 0..=3).prop_map(|options| options.concat())
}

/// Anything that is laid out as a solicitation; the ends of ranges are made
/// likely.
fn drafts() -> impl Strategy<Value = Draft> {
    let hop_limit = prop_oneof![8 => Just(255_u8), 1 => any::<u8>()];
    let kind = prop_oneof![8 => Just(135_u8), 1 => any::<u8>()];
    let code = prop_oneof![8 => Just(0_u8), 1 => any::<u8>()];
    let to = prop_oneof![2 => Just(None), 1 => addresses().prop_map(Some)];
    let from = prop_oneof![1 => Just(Address::UNSPECIFIED), 1 => addresses()];
    (from, to, addresses(), hop_limit, kind, code, any::<[u8; 4]>(), options()).prop_map(
        |(source, to, target, hop_limit, kind, code, reserved, options)| {
            let [.., a, b, c] = octets(target);
            let mut group = octets(address("ff02::1:ff00:0"));
            group[13..].copy_from_slice(&[a, b, c]);
            let group = std::net::Ipv6Addr::from(group).into();
            let destination = to.unwrap_or(group);
            Draft { source, destination, hop_limit, kind, code, reserved, target, options }
        },
    )
}

impl Draft {
    /// The rules as RFC 4861 section 7.1.1 lists them, for a draft whose length
    /// and checksum are right.
    fn is_valid(&self) -> bool {
        let mut rest = &self.options[..];
        let mut kinds = Vec::new();
        while let [kind, length, ..] = rest {
            kinds.push(*kind);
            rest = &rest[usize::from(*length) * 8..];
        }
        let [source, target] = [self.source, self.target].map(octets);
        let to_group = octets(self.destination)[..13] == octets(address("ff02::1:ff00:0"))[..13]
            && octets(self.destination)[13..] == target[13..];
        let probe = source == [0; 16];
        self.hop_limit == 255
            && (self.kind, self.code) == (135, 0)
            && source[0] != 0xff
            && target[0] != 0xff
            && (!probe || to_group && !kinds.contains(&1))
            // Ours: more than five units are not looked at.
            && self.options.len() <= 40
    }
}

proptest! {
    #[test]
    fn a_solicitation_is_read_if_it_keeps_to_the_rules(draft in drafts()) {
        prop_assert_eq!(draft.read(), draft.is_valid().then(|| draft.asks()));
    }

    /// More cases: `PROPTEST_CASES`.
    #[test]
    fn what_is_read_from_arbitrary_bytes_has_a_valid_checksum(
        mut packet in prop::collection::vec(any::<u8>(), 64..=120),
        right in any::<[bool; 5]>(),
    ) {
        let [length, hop_limit, kind, checksum, group] = right;
        if length {
            let payload = u16::try_from((packet.len() - 40) & !7).expect("it is short");
            packet[4..6].copy_from_slice(&payload.to_be_bytes());
        }
        packet[6] = 58;
        if hop_limit {
            packet[7] = 255;
        }
        if kind {
            packet[40..42].copy_from_slice(&[135, 0]);
        }
        if group {
            packet[8..24].fill(0);
            let [.., a, b, c] = packet[48..64] else { unreachable!("it has 16 bytes") };
            let start = octets(address("ff02::1:ff00:0"));
            packet[24..37].copy_from_slice(&start[..13]);
            packet[37..40].copy_from_slice(&[a, b, c]);
        }
        let end = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
        if checksum && (64..=packet.len()).contains(&end) {
            packet[42..44].fill(0);
            let sum = !upper_layer_sum(&packet[..end]);
            packet[42..44].copy_from_slice(&sum.to_be_bytes());
        }
        if let Some(read) = read(&packet) {
            prop_assert!(end <= packet.len());
            prop_assert_eq!(upper_layer_sum(&packet[..end]), 0xffff);
            prop_assert_eq!(packet[7], 255);
            prop_assert_eq!(&packet[40..42], &[135, 0]);
            prop_assert_eq!(&packet[8..24], &octets(read.source));
            prop_assert_eq!(&packet[48..64], &octets(read.target));
        }
    }
}
