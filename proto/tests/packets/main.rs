//! Whole packets through both hosts: a container's packet is built, its
//! addresses translated by the sender and restored by the receiver, and at
//! each step the checksum of the upper layer is added up from zero, by code
//! that knows nothing of translation.

use etherparse::{SlicedPacket, TransportSlice};
use ila_proto::{forward::SourceMode, translate::ChecksumMode};
use proptest::prelude::*;

mod checks;
mod hosts;
mod sent;

use checks::{ICMPV6, TCP, UDP, checksum_holds, checksum_holds_everywhere, sum_class, upper_layer};
use sent::{
    NEUTRAL, NO_ACTION, Sent, anything, echo, in_fragments, modes, sent, tcp, udp, with_extensions,
};

proptest! {
    // No file of failures: there is no crate root here for it to lie beside.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tcp_keeps_a_valid_checksum(sent in sent(modes(NEUTRAL), tcp())) {
        checksum_holds_everywhere(&sent)?;
    }

    #[test]
    fn udp_keeps_a_valid_checksum(sent in sent(modes(NEUTRAL), udp())) {
        checksum_holds_everywhere(&sent)?;
    }

    #[test]
    fn icmpv6_echoes_keep_a_valid_checksum(sent in sent(modes(NEUTRAL), echo())) {
        checksum_holds_everywhere(&sent)?;
    }

    #[test]
    fn a_datagram_put_together_from_fragments_has_a_valid_checksum(
        sent in in_fragments(sent(modes(NEUTRAL), udp())),
    ) {
        prop_assert_eq!(sent.packets().len(), sent.fragments);
        checksum_holds_everywhere(&sent)?;
    }

    #[test]
    fn extension_headers_are_of_no_account(
        sent in with_extensions(sent(modes(NEUTRAL), prop_oneof![tcp(), udp()])),
    ) {
        checksum_holds_everywhere(&sent)?;
    }

    #[test]
    fn fragments_behind_extension_headers_are_of_no_account(
        sent in in_fragments(with_extensions(sent(modes(NEUTRAL), udp()))),
    ) {
        checksum_holds_everywhere(&sent)?;
    }

    #[test]
    fn without_action_the_checksum_is_wrong_on_the_wire_unless_the_prefixes_sum_up_the_same(
        sent in anything(modes(NO_ACTION)),
    ) {
        prop_assert!(checksum_holds(&sent.packets()), "as it is sent");
        let translated = 1 + u32::from(sent.source_mode == SourceMode::Locator);
        let before = translated * sum_class(sent.prefix.bits());
        let mut after = sum_class(sent.to.locator.bits());
        if translated == 2 {
            after += sum_class(sent.from.locator.bits());
        }
        let same = before % 0xffff == after % 0xffff;
        prop_assert_eq!(checksum_holds(&sent.on_the_wire()), same, "on the wire");
        prop_assert!(checksum_holds(&sent.received()), "as it is received");
    }

    #[test]
    fn on_the_wire_only_prefix_c_bit_and_low_word_differ(
        sent in anything(modes(&ChecksumMode::ALL)),
    ) {
        // Counted from the start of an address.
        let of_address = |at: usize| match at {
            0..8 => 0xff,
            8 if sent.mode == ChecksumMode::NeutralMap => 0x10,
            14 | 15 if sent.mode != ChecksumMode::NoAction => 0xff,
            _ => 0x00,
        };
        let may_differ = |at: usize| match at {
            8..24 if sent.source_mode == SourceMode::Locator => of_address(at - 8),
            24..40 => of_address(at - 24),
            _ => 0x00,
        };
        for (before, after) in sent.packets().iter().zip(sent.on_the_wire()) {
            prop_assert_eq!(&after[24..32], &sent.to.locator.bits().to_be_bytes());
            let source = match sent.source_mode {
                SourceMode::Sir => sent.prefix.bits(),
                SourceMode::Locator => sent.from.locator.bits(),
            };
            prop_assert_eq!(&after[8..16], &source.to_be_bytes());
            prop_assert_eq!(before.len(), after.len());
            for (at, (before, after)) in before.iter().zip(&after).enumerate() {
                prop_assert_eq!((before ^ after) & !may_differ(at), 0, "byte {}", at);
            }
        }
    }

    #[test]
    fn what_is_received_is_what_was_sent(sent in anything(modes(&ChecksumMode::ALL))) {
        prop_assert_eq!(sent.received(), sent.packets());
    }

    /// What is tested above are packets to somebody else as well.
    #[test]
    fn whole_packets_read_the_same_to_etherparse(
        sent in anything(modes(NEUTRAL)).prop_map(|sent| Sent { fragments: 1, ..sent }),
    ) {
        for packets in [sent.packets(), sent.on_the_wire()] {
            let sliced = SlicedPacket::from_ip(&packets[0]).expect("it is well-formed");
            let (protocol, payload) = match sliced.transport {
                Some(TransportSlice::Tcp(tcp)) => (TCP, tcp.payload()),
                Some(TransportSlice::Udp(udp)) => (UDP, udp.payload()),
                Some(TransportSlice::Icmpv6(icmpv6)) => (ICMPV6, icmpv6.payload()),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(protocol, upper_layer(&packets).0);
            prop_assert_eq!(payload, &sent.payload);
        }
    }

    /// The check of checksums above can fail, and for one bit does.
    #[test]
    fn no_wrong_bit_goes_unnoticed(
        sent in anything(modes(NEUTRAL)),
        bit in 0..8_u8,
        at: prop::sample::Index,
    ) {
        // Of the addresses, or of the payload's last byte.
        let mut packets = sent.packets();
        let last = packets.last_mut().expect("there is one");
        let length = last.len();
        let covered: Vec<_> = (8..40).chain(length - sent.payload.len().min(1)..length).collect();
        last[covered[at.index(covered.len())]] ^= 1 << bit;
        let addresses = last[8..40].to_vec();
        for packet in &mut packets {
            packet[8..40].copy_from_slice(&addresses);
        }
        prop_assert!(!checksum_holds(&packets));
    }
}
