//! Errors of routers of the underlay, built around packets as they were on the
//! wire, brought home and restored. Every checksum is added up from zero.

use etherparse::{
    Icmpv6Header, Icmpv6Type, IpNumber, Ipv6Header, TcpHeader, UdpHeader,
    icmpv6::{DestUnreachableCode, ParameterProblemCode, ParameterProblemHeader, TimeExceededCode},
};
use proptest::prelude::*;

use super::{
    pair::{Pair, delivered, pairs, sent, sum_of},
    *,
};
use crate::testing::{address_at, class, header_of, host, octets, sum, upper_layer_sum};

// Packets.

/// A container's packet, with valid checksums.
fn packet(pair: &Pair, tcp: bool, payload: &[u8]) -> Vec<u8> {
    let [source, destination] = [pair.from, pair.to].map(octets);
    let fits = "the payload is short";
    let (next_header, upper) = if tcp {
        let mut tcp = TcpHeader::new(40000, 80, 1, 65535);
        tcp.checksum = tcp.calc_checksum_ipv6_raw(source, destination, payload).expect(fits);
        (IpNumber::TCP, tcp.to_bytes().to_vec())
    } else {
        let length = u16::try_from(8 + payload.len()).expect(fits);
        let mut udp =
            UdpHeader { source_port: 33434, destination_port: 33435, length, checksum: 0 };
        udp.checksum = udp.calc_checksum_ipv6_raw(source, destination, payload).expect(fits);
        (IpNumber::UDP, udp.to_bytes().to_vec())
    };
    ip(source, destination, next_header, &[&upper, payload].concat())
}

fn ip(source: [u8; 16], destination: [u8; 16], next_header: IpNumber, body: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        payload_length: body.len().try_into().expect("it is short"),
        next_header,
        hop_limit: 63,
        source,
        destination,
        ..Ipv6Header::default()
    };
    [&header.to_bytes()[..], body].concat()
}

/// The error of a router at `from` about `quote`, made out to its source.
fn error(from: Address, kind: Icmpv6Type, quote: &[u8]) -> Vec<u8> {
    let [source, to] = [from, address_at(quote, 8)].map(octets);
    let header = Icmpv6Header::with_checksum(kind, source, to, quote).expect("it is short");
    ip(source, to, IpNumber::IPV6_ICMP, &[&header.to_bytes()[..], quote].concat())
}

fn kinds() -> impl Strategy<Value = Icmpv6Type> {
    prop_oneof![
        Just(Icmpv6Type::DestinationUnreachable(DestUnreachableCode::NoRoute)),
        (1280..1500_u32).prop_map(|mtu| Icmpv6Type::PacketTooBig { mtu }),
        Just(Icmpv6Type::TimeExceeded(TimeExceededCode::HopLimitExceeded)),
        Just(Icmpv6Type::ParameterProblem(ParameterProblemHeader {
            code: ParameterProblemCode::UnrecognizedNextHeader,
            pointer: 6,
        })),
    ]
}

// What the kernel programs do.

const ERROR: usize = 40;
const QUOTE: usize = ERROR + 8;

fn set_addresses(packet: &mut [u8], source: Address, destination: Address) {
    packet[8..24].copy_from_slice(&octets(source));
    packet[24..40].copy_from_slice(&octets(destination));
}

fn translated(packet: &[u8], rewrite: &Rewrite) -> Vec<u8> {
    let mut packet = packet.to_vec();
    set_addresses(&mut packet, rewrite.source, rewrite.destination);
    packet
}

/// Delivers the error on `host`; what is told to a device that has summed the
/// packet up must be what its sum has changed by.
fn deliver_error(host: &Host, error: &[u8]) -> Vec<u8> {
    let header = header_of(error);
    let rewrite = delivered(ingress(&host.config, host, &header, true));
    let outer = if rewrite.neutral {
        ChecksumDelta::from_value(0)
    } else {
        ChecksumDelta::between(header.source, rewrite.source)
            .and(ChecksumDelta::between(header.destination, rewrite.destination))
    };
    let (from, to) = (address_at(error, QUOTE + 8), address_at(error, QUOTE + 24));
    let mut restored = translated(error, &rewrite);
    let mut rest = outer;
    let addressed = (header.destination, rewrite.destination);
    if let Some(quote) = quoted(&host.config, host, addressed, outer, from, to) {
        set_addresses(&mut restored[QUOTE..], quote.source, quote.destination);
        if !quote.checksum.is_zero() {
            let checksum = u16::from_be_bytes([restored[ERROR + 2], restored[ERROR + 3]]);
            restored[ERROR + 2..ERROR + 4]
                .copy_from_slice(&quote.checksum.adjust(checksum).to_be_bytes());
        }
        rest = quote.rest;
    }
    let told = if rewrite.neutral { 0 } else { rest.value() };
    let sums = [error, &restored].map(|packet| u32::from(sum(packet)));
    assert_eq!((sums[1] + u32::from(told)) % 0xffff, sums[0] % 0xffff, "what is told");
    restored
}

/// What an error must be at a container: as if there were no translation.
fn check(restored: &[u8], from: Address, sent: &[u8]) -> Result<(), TestCaseError> {
    prop_assert_eq!(address_at(restored, 8), from);
    prop_assert_eq!(address_at(restored, 24), address_at(sent, 8));
    prop_assert_eq!(upper_layer_sum(restored), 0xffff);
    let quote = &restored[QUOTE..];
    prop_assert_eq!(quote, &sent[..quote.len()]);
    if quote.len() == sent.len() {
        prop_assert_eq!(upper_layer_sum(quote), 0xffff);
    }
    Ok(())
}

fn routers() -> impl Strategy<Value = Address> {
    any::<(u64, u64)>().prop_map(|(high, low)| Address {
        high: 0x2000_0000_0000_0000 | high >> 3,
        low: low & !(7 << 61),
    })
}

/// Where the addresses of a packet are, and a router that is none of them.
fn scenes() -> impl Strategy<Value = (Pair, Address)> {
    (pairs(), routers()).prop_filter("somebody else's address", |(pair, router)| {
        let known = pair.sender.locator(LocatorKey(router.high)).is_some()
            || pair.sender.config.domain_of_sir(router.high).is_some();
        !known
    })
}

proptest! {
    #[test]
    fn an_error_of_a_router_comes_home_as_if_there_were_no_translation(
        (pair, router) in scenes(),
        tcp: bool,
        payload in prop::collection::vec(any::<u8>(), 0..48),
        kind in kinds(),
        length in 40..=100_usize,
    ) {
        let packet = packet(&pair, tcp, &payload);
        let wire = translated(&packet, &pair.on_the_wire());
        let error = error(router, kind, &wire[..length.min(wire.len())]);
        prop_assert_eq!(upper_layer_sum(&error), 0xffff);
        // If it was made out to the SIR address, then the sender's host is the
        // one that routes it.
        check(&deliver_error(&pair.sender, &error), router, &packet)?;
    }

    /// Made out to the SIR address it reaches any host that has a route for
    /// the SIR prefix, and is sent on from there.
    #[test]
    fn an_error_comes_home_by_way_of_another_host(
        (pair, router) in scenes(),
        payload in prop::collection::vec(any::<u8>(), 0..48),
        kind in kinds(),
    ) {
        let pair = Pair { sender: pair.sender.with_source_mode(SourceMode::Sir), ..pair };
        let packet = packet(&pair, true, &payload);
        let error = error(router, kind, &translated(&packet, &pair.on_the_wire()));
        let on = sent(ingress(&pair.third.config, &pair.third, &header_of(&error), true));
        let error = translated(&error, &on);
        check(&deliver_error(&pair.sender, &error), router, &packet)?;
    }

    /// The other container quotes what it got, and knows SIR addresses only.
    #[test]
    fn an_error_of_a_container_needs_no_restoring(
        pair in pairs(),
        payload in prop::collection::vec(any::<u8>(), 0..48),
        kind in kinds(),
    ) {
        let packet = packet(&pair, false, &payload);
        let error = error(pair.to, kind, &packet);
        let header = header_of(&error);
        let wire = translated(&error, &sent(egress(&pair.receiver.config, &pair.receiver, 7, &header)));
        check(&deliver_error(&pair.sender, &wire), pair.to, &packet)?;
        let outer = ChecksumDelta::from_value(0x1234);
        for came in [header_of(&wire).destination, pair.from] {
            let addressed = (came, pair.from);
            let host = &pair.sender;
            let nothing = quoted(&host.config, host, addressed, outer, pair.from, pair.to);
            prop_assert_eq!(nothing, None);
        }
    }

    /// In the neutral modes the checksum of the error needs no adjusting.
    #[test]
    fn in_the_neutral_modes_only_addresses_change((pair, _) in scenes()) {
        if pair.is_neutral() {
            let wire = pair.on_the_wire();
            let none = ChecksumDelta::from_value(0);
            let host = &pair.sender;
            let addressed = (wire.source, pair.from);
            let quote =
                quoted(&host.config, host, addressed, none, wire.source, wire.destination)
                    .expect("the destination is an ILA address");
            prop_assert_eq!((quote.source, quote.destination), (pair.from, pair.to));
            prop_assert!(quote.checksum.is_zero() && quote.rest.is_zero());
            prop_assert_eq!(
                sum_of(quote.source, quote.destination),
                sum_of(wire.source, wire.destination)
            );
        }
    }
}

// By table.

/// What is made of a quote's addresses, and of an outer change of 1111, in an
/// error that came to `came` for `…b1`.
fn quote_on(mode: ChecksumMode, came: &str, from: &str, to: &str) -> Option<Quote> {
    let host = host(mode);
    let addressed = (address(came), address(HERE));
    let outer = ChecksumDelta::from_value(0x1111);
    quoted(&host.config, &host, addressed, outer, address(from), address(to))
}

const HERE: &str = "fd00:db8:0:1:2000::b1";

#[test]
fn what_no_locator_is_known_for_stays_as_it_is() {
    let (ila, wire) = ("2001:db8:a:a:3000::cd9d", "2001:db8:a:b:3000::cdac");
    for (from, to) in [
        // Nothing of it is translated.
        (HERE, "fd00:db8:0:1:2000::c1"),
        (HERE, "2606:4700::1111"),
        ("::", "ff02::1"),
        // At a locator that is not known; a host's.
        (HERE, "2001:db8:a:b::1"),
        ("2001:db8:a:b:3000::cdad", "2001:db8:a:d:3000::cdac"),
        // From somebody else, who would have been told instead.
        (wire, "2606:4700::1111"),
        ("2001:db8:a:a:3000::cd9e", "2606:4700::1111"),
        ("2001:db8:a:a:2000::b1", "2606:4700::1111"),
    ] {
        for came in [ila, HERE] {
            let quote = quote_on(ChecksumMode::NeutralMap, came, from, to);
            assert_eq!(quote, None, "{from} to {to}, told {came}");
        }
    }
    // One of both is restored, whatever the other one is.
    let sir = address("fd00:db8:0:1:2000::c1");
    for other in ["2606:4700::1111", "::"] {
        let restored = |from, to| {
            let quote = quote_on(ChecksumMode::NeutralMap, ila, from, to);
            quote.map(|quote| (quote.source, quote.destination))
        };
        assert_eq!(restored(other, wire), Some((address(other), sir)), "{other}");
        assert_eq!(restored(ila, other), Some((address(HERE), address(other))), "{other}");
    }
    // Made out to a SIR address it quotes one: an ILA address is none of ours.
    assert_eq!(quote_on(ChecksumMode::NeutralMap, HERE, ila, "2606:4700::1111"), None);
}

/// A host that it has left sends packets on, and routers behind that quote them.
#[test]
fn what_moved_away_is_restored_all_the_same() {
    let ila = "2001:db8:a:a:3000::cd9d";
    for (to, sir) in [
        ("2001:db8:a:c:3000::cdab", "fd00:db8:0:1:2000::c1"),
        ("2001:db8:a:b:3000::cdd9", "fd00:db8:0:1:2000::ee"),
    ] {
        let quote = quote_on(ChecksumMode::NeutralMap, ila, HERE, to).expect("it is restored");
        assert_eq!((quote.source, quote.destination), (address(HERE), address(sir)), "{to}");
    }
}

/// Without action the words of the prefixes are what changes: those of
/// 2001:db8:a:a add up to 2dcd, of 2001:db8:a:b to 2dce, of fd00:db8:0:1 to 0aba.
#[test]
fn the_checksum_follows_what_the_error_was_made_out_to() {
    let ila_source = "2001:db8:a:a:2000::b1";
    let [sir, ila] = ["fd00:db8:0:1:2000::c1", "2001:db8:a:b:2000::c1"];
    for (from, to, checksum, rest) in [
        // To the SIR address: it covers the quote, and the outer change waits.
        (HERE, ila, 0x2314, 0x1111),
        // To the ILA address: it covers all.
        (ila_source, ila, 0x2313 + 0x2314 + 0x1111, 0x0000),
        (ila_source, sir, 0x2313 + 0x1111, 0x0000),
    ] {
        let quote = quote_on(ChecksumMode::NoAction, ila_source, from, to).expect("it is restored");
        assert_eq!((quote.source, quote.destination), (address(HERE), address(sir)));
        let given = (class(quote.checksum.value()), class(quote.rest.value()));
        assert_eq!(given, (checksum, rest), "{from} to {to}");
    }
}
