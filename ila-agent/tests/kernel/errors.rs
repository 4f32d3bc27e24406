//! `ICMPv6` errors: those that are sent, and those that are brought home.

use std::net::Ipv6Addr;

use ila_agent::datapath::Role;
use ila_proto::{
    abi::{Fate, GATEWAY_MAC, HostConfig},
    icmp::ERRORS_PER_SECOND,
    translate::ChecksumMode,
};

use crate::{
    generate::checksum,
    harness::{
        ADDRESS, CONTAINER_MAC, DROP, ETHERNET, HOST_MAC, Host, LOCAL, NEXT_HEADER, PAYLOAD,
        PAYLOAD_LENGTH, REDIRECT, REMOTE, TEST_MTU, address, checksum_is_valid, delivered, echo,
        readdressed, redirected, sources_at_locator, udp, with_hop_limit,
    },
};

const NOBODY: &str = "2000:0:0:99";
const TIME_EXCEEDED: [u8; 8] = [3, 0, 0, 0, 0, 0, 0, 0];
const UNREACHABLE: [u8; 8] = [1, 3, 0, 0, 0, 0, 0, 0];

/// The frame that tells `to` about `quote`, as etherparse has it, with its
/// destination on the wire.
fn error(header: [u8; 8], to: Ipv6Addr, wire: Ipv6Addr, refused: &[u8]) -> Vec<u8> {
    let quote = &refused[ETHERNET..refused.len().min(ETHERNET + 1232)];
    let mut message = [&header, quote].concat();
    checksum(address(ADDRESS), to, &mut message);
    let length = u16::try_from(message.len()).expect("it is short");
    let mut packet = [&refused[6..12], &GATEWAY_MAC, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    packet.extend(length.to_be_bytes());
    packet.extend([58, 64]);
    packet.extend([address(ADDRESS).octets(), wire.octets()].concat());
    packet.extend(message);
    packet
}

/// A packet of a container with this upper layer behind the fixed header.
fn packet(from: Ipv6Addr, to: Ipv6Addr, hop_limit: u8, next: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("it is short").to_be_bytes();
    let mut packet = [&HOST_MAC, &CONTAINER_MAC, &[0x86, 0xdd, 0x60, 0, 0, 0][..]].concat();
    packet.extend([length[0], length[1], next, hop_limit]);
    packet.extend([from.octets(), to.octets()].concat());
    packet.extend(body);
    packet
}

#[test]
fn a_container_is_told_byte_by_byte_in_quotes_of_every_length() {
    let mut host = Host::new(ChecksumMode::NeutralMap);
    let (from, remote) = (host.sir(LOCAL), host.sir(REMOTE));
    let bytes: Vec<u8> = (0..1330u32).map(|at| (at * 37 % 251).to_le_bytes()[0]).collect();
    for length in 0..1330 {
        if length % 25 == 0 {
            host.forget_errors();
        }
        let last = with_hop_limit(&udp(from, remote, &bytes[..length]), 1);
        let outcome = host.run_resizing(Role::Container, &last);
        let what = (outcome.action, outcome.fate);
        assert_eq!(what, (REDIRECT, Fate::EgressHopLimit), "{length} bytes");
        assert_eq!(outcome.packet, error(TIME_EXCEEDED, from, from, &last), "{length} bytes");
        let outcome =
            host.run_resizing(Role::Container, &udp(from, host.sir(NOBODY), &bytes[..length]));
        let what = (outcome.action, outcome.fate);
        assert_eq!(what, (REDIRECT, Fate::EgressUnknownIdentifier), "{length} bytes");
        assert_eq!(outcome.packet[PAYLOAD..PAYLOAD + 2], [1, 3], "{length} bytes");
        assert!(checksum_is_valid(&outcome.packet), "{length} bytes");
    }
}

#[test]
fn what_the_uplink_does_not_carry_is_answered_with_its_mtu() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let (from, remote) = (host.sir(LOCAL), host.sir(REMOTE));
    let room = TEST_MTU as usize - 48;
    let fits = udp(from, remote, &vec![1; room]);
    assert_eq!(host.run(Role::Container, &fits).fate, Fate::EgressTranslated);
    let large = udp(from, remote, &vec![1; room + 1]);
    let outcome = host.run_resizing(Role::Container, &large);
    assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::EgressTooBig));
    let [a, b] = [(TEST_MTU >> 8).to_le_bytes()[0], TEST_MTU.to_le_bytes()[0]];
    assert_eq!(outcome.packet, error([2, 0, 0, 0, 0, 0, a, b], from, from, &large));
    let arriving = readdressed(&large, address("2606:4700::1111"), host.ila(REMOTE, host.here));
    let outcome = host.run_resizing(Role::Uplink, &arriving);
    assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::IngressTooBig));
}

#[test]
fn without_an_address_of_its_own_a_host_tells_containers_from_the_gateway() {
    let host = Host::with(ChecksumMode::NeutralMap, |config| config.address = [0; 2]);
    let (from, to) = (host.sir(LOCAL), host.sir(NOBODY));
    let outcome = host.run_resizing(Role::Container, &udp(from, to, b"x"));
    assert_eq!(
        (outcome.action, outcome.packet[22..38].to_vec()),
        (REDIRECT, { address("fe80::1").octets().to_vec() })
    );
    assert!(checksum_is_valid(&outcome.packet));
    // Nobody on the underlay would know that.
    let arriving = udp(address(ADDRESS), to, b"x");
    let outcome = host.run(Role::Uplink, &arriving);
    assert_eq!((outcome.action, outcome.fate), (DROP, Fate::IngressUnknownIdentifier));
    assert_eq!(outcome.packet, arriving);
}

#[test]
fn a_sender_elsewhere_is_told_where_it_lives() {
    for mode in ChecksumMode::ALL {
        let host = Host::new(mode);
        let router = address("2606:4700::1111");
        let there = host.ila(REMOTE, host.there);
        // To a SIR address the error goes by way of the ILA address; its checksum
        // is that of the SIR address, which the other host restores.
        for (from, wire) in [(host.sir(REMOTE), there), (there, there), (router, router)] {
            for (to, hop_limit, fate, header) in [
                (NOBODY, 64, Fate::IngressUnknownIdentifier, UNREACHABLE),
                (LOCAL, 1, Fate::IngressHopLimit, TIME_EXCEEDED),
            ] {
                let sent = udp(from, host.ila(to, host.here), b"some");
                let sent = with_hop_limit(&sent, hop_limit);
                let outcome = host.run_resizing(Role::Uplink, &sent);
                assert_eq!((outcome.action, outcome.fate), (REDIRECT, fate), "{from}");
                assert_eq!(outcome.packet, error(header, from, wire, &sent), "{from}");
            }
        }
        // From nobody, or from a container here and yet from outside.
        for from in [NOBODY, LOCAL] {
            let sent = udp(host.sir(from), host.sir(NOBODY), b"some");
            let outcome = host.run(Role::Uplink, &sent);
            let expected = (DROP, Fate::IngressUnknownIdentifier, sent);
            assert_eq!((outcome.action, outcome.fate, outcome.packet), expected, "{from}");
        }
    }
}

#[test]
fn errors_are_sent_about_some_packets_only() {
    let mut host = Host::new(ChecksumMode::NeutralMap);
    let (from, to) = (host.sir(LOCAL), host.sir(REMOTE));
    let options = |next: u8, count: usize| {
        let mut chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        chain[8 * (count - 1)] = next;
        chain
    };
    for kind in 0..=255 {
        if kind % 25 == 0 {
            host.forget_errors();
        }
        // Never about errors and redirects, wherever they stand.
        let message = [kind, 0, 0, 0, 0, 0, 0, 0];
        let is_error = kind < 128 || kind == 137;
        let hidden = packet(from, to, 1, 60, &[&options(58, 2)[..], &message].concat());
        let outcome = host.run_resizing(Role::Container, &hidden);
        assert_eq!(outcome.action, if is_error { DROP } else { REDIRECT }, "{kind}");
        assert_eq!(outcome.fate, Fate::EgressHopLimit, "{kind}");
        if !(133..=137).contains(&kind) {
            let plain = packet(from, to, 1, 58, &message);
            let outcome = host.run_resizing(Role::Container, &plain);
            assert_eq!(outcome.action, if is_error { DROP } else { REDIRECT }, "{kind}");
        }
    }
    host.forget_errors();
    let later = [17, 0, 0, 8, 0, 0, 0, 0];
    let first = [58, 0, 0, 1, 0, 0, 0, 0, 1, 4, 0, 0];
    for (what, next, body, action) in [
        ("a later fragment", 44, later.to_vec(), REDIRECT),
        ("the first fragment of an error", 44, first.to_vec(), DROP),
        ("no type", 58, vec![], DROP),
        ("a header cut short", 60, vec![58, 0, 1], DROP),
        ("six headers", 60, options(17, 6), REDIRECT),
        ("seven headers", 60, options(17, 7), DROP),
        ("nothing", 59, vec![], REDIRECT),
    ] {
        let outcome = host.run_resizing(Role::Container, &packet(from, to, 1, next, &body));
        assert_eq!((outcome.action, outcome.fate), (action, Fate::EgressHopLimit), "{what}");
    }
}

#[test]
fn a_cpu_sends_so_many_errors_in_a_second() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let refused = udp(host.sir(LOCAL), host.sir(NOBODY), b"x");
    // Of two seconds at most and all CPUs, in less than one.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let started = std::time::Instant::now();
    let mut answered = 0;
    let mut dropped = 0;
    while dropped == 0 || answered < ERRORS_PER_SECOND {
        let outcome = host.run_after(&mut host.counts(), Role::Container, &refused, false);
        let outcome = outcome.expect("the kernel runs it");
        assert_eq!(outcome.fate, Fate::EgressUnknownIdentifier);
        if outcome.action == REDIRECT {
            answered += 1;
        } else {
            assert_eq!((outcome.action, &outcome.packet), (DROP, &refused));
            dropped += 1;
        }
        let seconds = started.elapsed().as_secs() + 2;
        assert!(answered <= ERRORS_PER_SECOND * cpus * seconds, "{answered} in {seconds} s");
    }
    // And so many again in the next one.
    let asked = std::time::Instant::now();
    while answered <= 2 * ERRORS_PER_SECOND {
        assert!(asked.elapsed().as_secs() < 20, "{answered} in all");
        let outcome = host.run_after(&mut host.counts(), Role::Container, &refused, false);
        answered += u64::from(outcome.expect("the kernel runs it").action == REDIRECT);
    }
}

// Brought home.

const ROUTER: &str = "2606:4700::1111";

/// The error of a router about a container's packet as it was on the wire.
fn of_router(to: Ipv6Addr, quote: &[u8]) -> Vec<u8> {
    let router = address(ROUTER);
    let mut message = [&[3, 0, 0, 0, 0, 0, 0, 0], quote].concat();
    checksum(router, to, &mut message);
    packet(router, to, 64, 58, &message)
}

#[test]
fn an_error_comes_home_as_if_there_were_no_translation_however_much_it_quotes() {
    let unchanged: fn(&mut HostConfig) = |_| {};
    for mode in ChecksumMode::ALL {
        for (change, at_locator) in [(unchanged, false), (sources_at_locator, true)] {
            let host = Host::with(mode, change);
            let (from, to) = (host.sir(LOCAL), host.sir(REMOTE));
            let sent = udp(from, to, b"odd");
            let source = if at_locator { host.ila(LOCAL, host.here) } else { from };
            let wire = readdressed(&sent, source, host.ila(REMOTE, host.there));
            for length in 0..=wire.len() - ETHERNET {
                let quote = &wire[ETHERNET..ETHERNET + length];
                let outcome = host.run(Role::Uplink, &of_router(source, quote));
                assert_eq!(outcome.action, REDIRECT);
                if length < 40 {
                    // Too short to say whom it is about: left alone.
                    let fate = if at_locator { Fate::IngressRestored } else { Fate::IngressSir };
                    assert_eq!(outcome.fate, fate, "{length} bytes");
                    let as_it_is = redirected(&of_router(source, quote), from);
                    assert_eq!(outcome.packet, delivered(&as_it_is, CONTAINER_MAC));
                    continue;
                }
                assert_eq!(outcome.fate, Fate::IngressError, "{length} bytes");
                let home = of_router(from, &sent[ETHERNET..ETHERNET + length]);
                if !at_locator && mode == ChecksumMode::NoAction {
                    // It was made out to the SIR address, and stays right.
                    assert!(checksum_is_valid(&outcome.packet), "{length} bytes");
                }
                assert_eq!(outcome.packet, delivered(&home, CONTAINER_MAC), "{length} bytes");
            }
        }
    }
}

/// The packet with a chain of extension headers in front of what it carries, of
/// which each says what kind it is and what stands behind its first byte.
fn behind(chain: &[(u8, &[u8])], packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    for (kind, rest) in chain.iter().rev() {
        let next = std::mem::replace(&mut packet[NEXT_HEADER], *kind);
        packet.splice(PAYLOAD..PAYLOAD, [&[next], *rest].concat());
    }
    let length = u16::try_from(packet.len() - PAYLOAD).expect("it is short");
    packet[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 2].copy_from_slice(&length.to_be_bytes());
    packet
}

#[test]
fn an_error_comes_home_behind_extension_headers_as_well() {
    const OPTIONS: (u8, &[u8]) = (60, &[0, 1, 4, 0, 0, 0, 0]);
    const LONG: (u8, &[u8]) = (60, &[1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    const HOP_BY_HOP: (u8, &[u8]) = (0, &[0, 5, 2, 0, 0, 1, 0]);
    const ROUTING: (u8, &[u8]) = (43, &[0, 253, 0, 0, 0, 0, 0]);
    const WHOLE: (u8, &[u8]) = (44, &[0, 0, 0, 0, 0, 0, 7]);
    const FIRST: (u8, &[u8]) = (44, &[0, 0, 1, 0, 0, 0, 7]);
    const LATER: (u8, &[u8]) = (44, &[0, 0, 8, 0, 0, 0, 7]);
    const AUTHENTICATION: (u8, &[u8]) = (51, &[1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0]);
    let unchanged: fn(&mut HostConfig) = |_| {};
    for mode in ChecksumMode::ALL {
        for (change, at_locator) in [(unchanged, false), (sources_at_locator, true)] {
            let host = Host::with(mode, change);
            let (from, to) = (host.sir(LOCAL), host.sir(REMOTE));
            let sent = udp(from, to, b"odd");
            let source = if at_locator { host.ila(LOCAL, host.here) } else { from };
            let wire = readdressed(&sent, source, host.ila(REMOTE, host.there));
            let came = of_router(source, &wire[ETHERNET..]);
            let home = of_router(from, &sent[ETHERNET..]);
            let six = [HOP_BY_HOP, LONG, ROUTING, FIRST, AUTHENTICATION, OPTIONS];
            for (chain, is_found) in [
                (&[HOP_BY_HOP][..], true),
                (&[OPTIONS], true),
                (&[LONG], true),
                (&[ROUTING], true),
                (&[WHOLE], true),
                (&[FIRST], true),
                (&[LATER], false),
                (&[AUTHENTICATION], true),
                (&six, true),
                (&[&[OPTIONS], &six[..]].concat(), false),
            ] {
                let came = behind(chain, &came);
                // Who holds no identifier may tell of errors, and nothing else.
                let stranger = readdressed(&came, host.ila(NOBODY, host.there), source);
                let outcome = host.run(Role::Uplink, &stranger);
                let what = (outcome.action, outcome.fate);
                if !is_found {
                    assert_eq!(what, (DROP, Fate::IngressSource), "{chain:?}");
                    let outcome = host.run(Role::Uplink, &came);
                    let fate = if at_locator { Fate::IngressRestored } else { Fate::IngressSir };
                    assert_eq!((outcome.action, outcome.fate), (REDIRECT, fate), "{chain:?}");
                    let as_it_is = delivered(&redirected(&came, from), CONTAINER_MAC);
                    assert_eq!(outcome.packet, as_it_is, "{chain:?}");
                    continue;
                }
                assert_eq!(what, (REDIRECT, Fate::IngressError), "{chain:?}");
                let outcome = host.run(Role::Uplink, &came);
                let what = (outcome.action, outcome.fate);
                assert_eq!(what, (REDIRECT, Fate::IngressError), "{chain:?}");
                let home = delivered(&behind(chain, &home), CONTAINER_MAC);
                assert_eq!(outcome.packet, home, "{chain:?}");
            }
        }
    }
}

/// A host that a container has left sends on what still comes, to a locator that
/// the sender's host does not have it at.
#[test]
fn an_error_about_a_packet_that_was_sent_on_comes_home_restored() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let (from, to) = (host.sir(LOCAL), host.sir(REMOTE));
    let [wire, sent] = [host.ila(REMOTE, host.here), to].map(|to| udp(from, to, b"x"));
    let outcome = host.run(Role::Uplink, &of_router(from, &wire[ETHERNET..]));
    assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::IngressError));
    assert_eq!(outcome.packet, delivered(&of_router(from, &sent[ETHERNET..]), CONTAINER_MAC));
}

#[test]
fn an_error_that_quotes_nothing_of_the_overlay_stays_as_it_is() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let (from, to) = (host.sir(LOCAL), host.sir(REMOTE));
    let quotes = [
        udp(from, to, b"x"),
        udp(from, address("2606:4700::1"), b"x"),
        // Of somebody else.
        udp(host.ila(REMOTE, host.there), address("2606:4700::1"), b"x"),
    ];
    for quote in quotes {
        let error = of_router(from, &quote[ETHERNET..]);
        let outcome = host.run(Role::Uplink, &error);
        assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::IngressSir));
        assert_eq!(outcome.packet, delivered(&error, CONTAINER_MAC));
    }
    // Only the four types that quote a packet are looked into.
    let wire = udp(from, host.ila(REMOTE, host.there), b"x");
    for kind in 0..=255u8 {
        let mut packet = of_router(from, &wire[ETHERNET..]);
        packet[PAYLOAD] = kind;
        if kind != 135 {
            let fate = if (1..=4).contains(&kind) { Fate::IngressError } else { Fate::IngressSir };
            assert_eq!(host.run(Role::Uplink, &packet).fate, fate, "{kind}");
        }
    }
    assert_eq!(host.run(Role::Uplink, &echo(from, from, b"x")).fate, Fate::IngressSir);
}
