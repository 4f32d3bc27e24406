//! What must be true of it, by code that knows nothing of translation.

use proptest::prelude::*;

use crate::sent::Sent;

pub const HOP_BY_HOP: u8 = 0;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const ICMPV6: u8 = 58;
pub const DESTINATION_OPTIONS: u8 = 60;

/// Walks over extension headers to the first header of another kind.
pub fn walk(mut next: u8, mut rest: &[u8]) -> (u8, &[u8]) {
    while let HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS = next {
        let length = 8 + 8 * usize::from(rest[1]);
        (next, rest) = (rest[0], &rest[length..]);
    }
    (next, rest)
}

/// The upper-layer protocol and its bytes, put together from fragments that
/// come in the order of their offsets.
pub fn upper_layer(packets: &[Vec<u8>]) -> (u8, Vec<u8>) {
    let mut whole = Vec::new();
    for (number, packet) in packets.iter().enumerate() {
        let payload_length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
        assert_eq!(payload_length, packet.len() - 40);
        let (next, rest) = walk(packet[6], &packet[40..]);
        if next != FRAGMENT {
            assert_eq!(packets.len(), 1, "only fragments are sent in pieces");
            return (next, rest.to_vec());
        }
        let offset_and_flag = u16::from_be_bytes([rest[2], rest[3]]);
        assert_eq!(usize::from(offset_and_flag & !7), whole.len(), "no gap, no overlap");
        assert_eq!(offset_and_flag & 1 == 1, number + 1 < packets.len(), "the last says so");
        whole.extend(&rest[8..]);
        if number + 1 == packets.len() {
            let (next, rest) = walk(rest[0], &whole);
            return (next, rest.to_vec());
        }
    }
    panic!("there is no packet");
}

/// Whether the upper-layer checksum is right: the pseudo-header (RFC 8200
/// section 8.1) and all bytes of the upper layer, its checksum among them, add
/// up to a zero of one's complement.
pub fn checksum_holds(packets: &[Vec<u8>]) -> bool {
    let (protocol, upper) = upper_layer(packets);
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        ICMPV6 => 2,
        other => panic!("protocol {other} was never sent"),
    };
    assert!(protocol != UDP || upper[at..at + 2] != [0, 0], "UDP has no checksum of zero");
    let addresses = &packets[0][8..40];
    assert!(packets.iter().all(|packet| &packet[8..40] == addresses), "one sender, one receiver");

    let mut covered = addresses.to_vec();
    covered.extend(u32::try_from(upper.len()).expect("it is short").to_be_bytes());
    covered.extend([0, 0, 0, protocol]);
    covered.extend(upper);
    if covered.len() % 2 == 1 {
        covered.push(0);
    }
    let mut sum: u32 =
        covered.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}

/// One's complement sum of a half, both zeroes taken for the same.
pub fn sum_class(half: u64) -> u32 {
    half.to_be_bytes()
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum::<u32>()
        % 0xffff
}

pub fn checksum_holds_everywhere(sent: &Sent) -> Result<(), TestCaseError> {
    prop_assert!(checksum_holds(&sent.packets()), "as it is sent");
    prop_assert!(checksum_holds(&sent.on_the_wire()), "on the wire");
    prop_assert!(checksum_holds(&sent.received()), "as it is received");
    Ok(())
}
