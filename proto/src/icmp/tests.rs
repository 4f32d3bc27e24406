use etherparse::{
    Icmpv6Header, Icmpv6Type, IpNumber, Ipv6Header,
    icmpv6::{DestUnreachableCode, TimeExceededCode},
};
use proptest::prelude::*;

use super::*;
use crate::testing::{address, addresses, octets, upper_layer_sum};

/// Each error as etherparse has it.
fn errors(mtu: u32) -> [(Error, Icmpv6Type); 4] {
    use Icmpv6Type::{DestinationUnreachable, PacketTooBig, TimeExceeded};
    [
        (Error::NO_ROUTE, DestinationUnreachable(DestUnreachableCode::NoRoute)),
        (Error::ADDRESS_UNREACHABLE, DestinationUnreachable(DestUnreachableCode::Address)),
        (Error::packet_too_big(mtu), PacketTooBig { mtu }),
        (Error::TIME_EXCEEDED, TimeExceeded(TimeExceededCode::HopLimitExceeded)),
    ]
}

/// The whole packet, with the quote summed up in units of eight bytes, the
/// last one filled up with zeroes.
fn packet(error: Error, source: Address, destination: Address, quote: &[u8]) -> Vec<u8> {
    let sum = quote.chunks(8).fold(Sum::new(), |sum, unit| {
        let mut half = [0; 8];
        half[..unit.len()].copy_from_slice(unit);
        sum.half(u64::from_be_bytes(half))
    });
    let length = u16::try_from(quote.len()).expect("a quote is short");
    let headers = error.headers(source, destination, length, sum);
    headers.into_iter().flat_map(u64::to_be_bytes).chain(quote.iter().copied()).collect()
}

fn packet_of_etherparse(
    kind: Icmpv6Type,
    source: Address,
    destination: Address,
    quote: &[u8],
) -> Vec<u8> {
    let (source, destination) = (octets(source), octets(destination));
    let icmp =
        Icmpv6Header::with_checksum(kind, source, destination, quote).expect("a quote is short");
    let ip = Ipv6Header {
        payload_length: u16::try_from(8 + quote.len()).expect("a quote is short"),
        next_header: IpNumber::IPV6_ICMP,
        hop_limit: 64,
        source,
        destination,
        ..Ipv6Header::default()
    };
    [&ip.to_bytes()[..], &icmp.to_bytes(), quote].concat()
}

#[test]
fn quotes_of_every_length_stand_behind_the_headers_of_etherparse() {
    let (source, destination) = (address("2001:db8:a:a::1"), address("fd00:db8:0:1:2000::b1"));
    // No two bytes in a row are the same, nor do they add up to zero.
    let bytes: Vec<u8> = (0..251)
        .map(|at| at * 37 % 251)
        .map(|it: u16| it.to_be_bytes()[1])
        .cycle()
        .take(MAX_QUOTE)
        .collect();
    for length in 0..=MAX_QUOTE {
        for (error, kind) in errors(1500) {
            let quote = &bytes[..length];
            assert_eq!(
                packet(error, source, destination, quote),
                packet_of_etherparse(kind, source, destination, quote),
                "{error:?} with {length} bytes",
            );
        }
    }
}

#[test]
fn with_the_longest_quote_it_fills_the_smallest_mtu() {
    let packet = packet(Error::NO_ROUTE, Address::UNSPECIFIED, Address::UNSPECIFIED, &[0; 1232]);
    assert_eq!(MAX_QUOTE, 1232);
    assert_eq!(packet.len(), 1280);
    assert_eq!(packet[4..6], 1240_u16.to_be_bytes());
}

#[test]
#[rustfmt::skip]
fn the_headers_are_laid_out_as_in_rfc_4443() {
    let (source, destination) = (address("fe80::1"), address("fd00:db8:0:1:2000::b1"));
    let expected = [
        // IPv6: version, length, next header, hop limit, source, destination.
        0x60, 0, 0, 0, 0, 10, 58, 64,
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0xfd, 0, 0x0d, 0xb8, 0, 0, 0, 1, 0x20, 0, 0, 0, 0, 0, 0, 0xb1,
        // Packet too big: type, code, checksum, MTU.
        2, 0, 0x6d, 0xeb, 0, 0, 0x05, 0xdc,
        // The quote.
        0x60, 0x07,
    ];
    assert_eq!(upper_layer_sum(&expected), 0xffff);
    assert_eq!(packet(Error::packet_too_big(1500), source, destination, &[0x60, 0x07]), expected);
}

#[test]
fn errors_have_the_types_below_128_and_a_redirect_counts_as_one() {
    for kind in 0..=255 {
        assert_eq!(is_error(kind), kind <= 127 || kind == 137, "{kind}");
    }
}

#[test]
fn four_types_quote_a_packet() {
    let quoting: Vec<u8> = (0..=255).filter(|kind| quotes(*kind)).collect();
    assert_eq!(quoting, [1, 2, 3, 4]);
    assert!(quoting.into_iter().all(is_error));
}

#[test]
fn errors_go_to_one_node_about_packets_to_one_node() {
    let (one, other) = ("fd00:db8:0:1:2000::b1", "2001:db8:a:b:3000::cdac");
    for (source, destination, may) in [
        (one, other, true),
        ("fe80::1", "fe80::2", true),
        (one, "::", true),
        ("::", one, false),
        ("ff02::1", one, false),
        ("ffff::1", one, false),
        (one, "ff02::1", false),
        (one, "ff0e::1", false),
        ("::", "ff02::1", false),
    ] {
        let given = may_answer(address(source), address(destination));
        assert_eq!(given, may, "{source} to {destination}");
    }
}

proptest! {
    #[test]
    fn whatever_is_quoted_to_whomever_it_is_as_etherparse_has_it(
        source in addresses(),
        destination in addresses(),
        mtu: u32,
        which in 0..4_usize,
        quote in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..=MAX_QUOTE),
            // Sums of nothing but carries.
            (0..=MAX_QUOTE).prop_map(|length| vec![0xff; length]),
        ],
    ) {
        let (error, kind) = errors(mtu)[which];
        let given = packet(error, source, destination, &quote);
        prop_assert_eq!(upper_layer_sum(&given), 0xffff);
        prop_assert_eq!(given, packet_of_etherparse(kind, source, destination, &quote));
    }
}
