//! Every guard, and every other fate that a made-up packet can meet.

use std::net::Ipv6Addr;

use ila_agent::datapath::Role;
use ila_proto::{abi::Fate, addr::Address, translate::ChecksumMode};

use crate::harness::{
    ADDRESS, BESIDE, DROP, ETHERNET, Host, IPV6, LOCAL, OTHER_MAC, PASS, REDIRECT, REMOTE, address,
    echo, tcp, udp, with_hop_limit,
};

const ROUTER: &str = "2606:4700::1111";
const NOBODY: &str = "2000:0:0:99";

/// Runs the program and demands that the packet stays as it is.
fn untouched(host: &Host, role: Role, packet: &[u8]) -> (i32, Fate) {
    let outcome = host.run(role, packet);
    assert_eq!(outcome.packet, packet, "{} changed the packet", outcome.fate);
    (outcome.action, outcome.fate)
}

#[test]
fn a_container_sends_from_its_own_address_only() {
    for mode in ChecksumMode::ALL {
        let host = Host::new(mode);
        let c_bit = Address { low: 1 << 60 | 0xa1, ..host.sir(LOCAL).into() };
        let foreign = [
            host.sir(BESIDE),
            host.sir(REMOTE),
            host.sir(NOBODY),
            host.ila(LOCAL, host.here),
            host.ila(REMOTE, host.there),
            c_bit.into(),
            address(ROUTER),
            address(ADDRESS),
            address("::1"),
            address("ff02::1"),
        ];
        let targets = [host.sir(REMOTE), host.sir(BESIDE), address(ROUTER), address("ff02::2")];
        for from in foreign {
            for to in targets {
                let given = untouched(&host, Role::Container, &udp(from, to, b"x"));
                assert_eq!(given, (DROP, Fate::EgressSource), "{from} to {to}");
            }
        }
        for (from, to) in [("fe80::a1", "ff02::2"), ("::", "ff02::16"), ("fe80::a1", "fe80::1")] {
            let given = untouched(&host, Role::Container, &udp(address(from), address(to), b"x"));
            assert_eq!(given, (PASS, Fate::EgressNotSir), "{from} to {to}");
        }
        for from in ["fe80::a1", "::"] {
            for to in [host.sir(REMOTE), host.ila(REMOTE, host.there), address(ROUTER)] {
                let given = untouched(&host, Role::Container, &udp(address(from), to, b"x"));
                assert_eq!(given, (DROP, Fate::EgressSource), "{from} to {to}");
            }
        }
    }
}

#[test]
fn a_container_sends_nothing_straight_to_a_locator() {
    for mode in ChecksumMode::ALL {
        let host = Host::new(mode);
        let from = host.sir(LOCAL);
        for to in [
            host.ila(REMOTE, host.there),
            host.ila(LOCAL, host.here),
            address("2001:db8:a:1::1"),
            address("2001:db8:b:2::1"),
        ] {
            let given = untouched(&host, Role::Container, &udp(from, to, b"x"));
            assert_eq!(given, (DROP, Fate::EgressLocator), "{to}");
        }
        for to in [address(ROUTER), address(ADDRESS), address("fd00:db8:0:9:2000::a2")] {
            let given = untouched(&host, Role::Container, &udp(from, to, b"x"));
            assert_eq!(given, (PASS, Fate::EgressNotSir), "{to}");
        }
    }
}

#[test]
fn the_underlay_states_sources_that_their_locator_holds_or_none() {
    for mode in ChecksumMode::ALL {
        let host = Host::new(mode);
        let to = host.ila(LOCAL, host.here);
        let held = [host.ila(REMOTE, host.there), host.ila(BESIDE, host.here)];
        for from in held.into_iter().chain([ROUTER, "2001:db8:b:2::1", "fec0::1"].map(address)) {
            let outcome = host.run(Role::Uplink, &udp(from, to, b"x"));
            let given = (outcome.action, outcome.fate);
            assert_eq!(given, (REDIRECT, Fate::IngressRestored), "{from}");
        }
        let never = ["::", "::1", "fe80::1", "febf::1", "ff02::1", "::2000:0:0:b1"].map(address);
        let not_held = [
            host.ila(REMOTE, host.here),
            host.ila(BESIDE, host.there),
            host.ila(NOBODY, host.there),
            host.ila(NOBODY, host.here),
        ];
        for from in never.into_iter().chain(not_held) {
            for to in [to, host.sir(LOCAL), host.sir(REMOTE), host.sir(NOBODY)] {
                let given = untouched(&host, Role::Uplink, &udp(from, to, b"x"));
                assert_eq!(given, (DROP, Fate::IngressSource), "{from} to {to}");
            }
        }
    }
}

#[test]
fn what_is_not_of_the_overlay_is_left_to_the_host() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let from = address(ROUTER);
    for (to, fate) in [
        (address(ADDRESS), Fate::IngressNotLocator),
        (address("ff02::1"), Fate::IngressNotLocator),
        (host.ila(REMOTE, host.there), Fate::IngressNotLocator),
        (address("2001:db8:a:1::1"), Fate::IngressHost),
    ] {
        for hop_limit in [1, 64] {
            let packet = with_hop_limit(&udp(from, to, b"x"), hop_limit);
            assert_eq!(untouched(&host, Role::Uplink, &packet), (PASS, fate), "{to}");
        }
    }
    let mut arp = vec![0u8; 60];
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let tagged = {
        let mut packet = udp(host.sir(LOCAL), host.sir(REMOTE), b"x");
        packet.splice(12..12, [0x81, 0, 0, 7]);
        packet
    };
    // What says that it is IPv6, and is not.
    let version = {
        let mut packet = udp(host.sir(LOCAL), host.sir(REMOTE), b"x");
        packet[ETHERNET] = 0x40;
        packet
    };
    for packet in [arp, tagged, version] {
        let given = untouched(&host, Role::Container, &packet);
        assert_eq!(given, (DROP, Fate::EgressNotIpv6));
        assert_eq!(untouched(&host, Role::Uplink, &packet), (PASS, Fate::IngressNotIpv6));
    }
}

/// Whatever it carries. The kernel takes a tag out of the frame before programs
/// run, so it is not the bytes that tell.
#[test]
fn what_is_in_another_vlan_is_neither_translated_nor_answered() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let [from, to] = [LOCAL, REMOTE].map(|id| host.sir(id));
    let home = host.ila(LOCAL, host.here);
    for packet in [udp(from, to, b"x"), udp(to, home, b"x"), udp(from, host.sir(BESIDE), b"x")] {
        for tag in [1, 7, 0xfff, 0xe007] {
            for (role, expected) in [
                (Role::Container, (DROP, Fate::EgressTagged)),
                (Role::Uplink, (PASS, Fate::IngressTagged)),
            ] {
                let outcome = host.run_tagged(role, tag, &packet);
                assert_eq!((outcome.action, outcome.fate), expected, "{tag:#x}");
                assert_eq!(outcome.packet, packet, "{tag:#x}");
            }
        }
        // Of no VLAN, however urgent.
        for tag in [0x1000, 0x2000, 0xf000] {
            for role in [Role::Container, Role::Uplink] {
                assert_eq!(
                    host.run_tagged(role, tag, &packet),
                    host.run(role, &packet),
                    "{tag:#x}"
                );
            }
        }
    }
}

#[test]
fn frames_are_for_the_host_or_for_a_group_that_the_packet_is_for() {
    const ALL: [u8; 6] = [0xff; 6];
    const GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
    let host = Host::new(ChecksumMode::NeutralMap);
    let group = address("ff02::1");
    let own = host.sir(LOCAL);
    for (to_link, to) in [OTHER_MAC, ALL, GROUP]
        .map(|to_link| (to_link, host.sir(REMOTE)))
        .into_iter()
        .chain([(OTHER_MAC, group), (ALL, host.sir(BESIDE)), (ALL, address(ROUTER))])
    {
        let mut packet = udp(own, to, b"x");
        packet[..6].copy_from_slice(&to_link);
        let given = untouched(&host, Role::Container, &packet);
        assert_eq!(given, (DROP, Fate::EgressLinkLayer), "{to_link:x?} {to}");
        let mut packet = udp(address(ROUTER), host.ila(LOCAL, host.here), b"x");
        packet[..6].copy_from_slice(&to_link);
        // The stack, which hands on no such frame either, may want it itself.
        let given = untouched(&host, Role::Uplink, &packet);
        assert_eq!(given, (PASS, Fate::IngressLinkLayer), "{to_link:x?} {to}");
    }
    for to_link in [ALL, GROUP] {
        let mut packet = udp(own, group, b"x");
        packet[..6].copy_from_slice(&to_link);
        assert_eq!(untouched(&host, Role::Container, &packet), (PASS, Fate::EgressNotSir));
        let given = untouched(&host, Role::Uplink, &packet);
        assert_eq!(given, (PASS, Fate::IngressNotLocator));
    }
}

#[test]
fn the_last_hop_and_unknown_identifiers_go_nowhere() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let from = host.sir(LOCAL);
    let unmappable = |high: Ipv6Addr, low: u64| Address { low, ..high.into() }.into();
    for (role, from, to, hop_limit, fate) in [
        (Role::Container, from, host.sir(REMOTE), 1, Fate::EgressHopLimit),
        (Role::Container, from, host.sir(BESIDE), 0, Fate::EgressHopLimit),
        (Role::Container, from, host.sir(NOBODY), 1, Fate::EgressHopLimit),
        (Role::Container, from, host.sir(NOBODY), 2, Fate::EgressUnknownIdentifier),
        (Role::Container, from, unmappable(from, 7), 64, Fate::EgressUnknownIdentifier),
        (
            Role::Container,
            from,
            unmappable(from, 3 << 60 | 0xb1),
            64,
            Fate::EgressUnknownIdentifier,
        ),
        (Role::Uplink, address(ROUTER), host.ila(LOCAL, host.here), 1, Fate::IngressHopLimit),
        (Role::Uplink, address(ROUTER), host.sir(REMOTE), 0, Fate::IngressHopLimit),
        (Role::Uplink, address(ROUTER), host.ila(NOBODY, host.here), 2, {
            Fate::IngressUnknownIdentifier
        }),
        (Role::Uplink, address(ROUTER), host.sir(NOBODY), 64, Fate::IngressUnknownIdentifier),
    ] {
        let packet = with_hop_limit(&udp(from, to, b"x"), hop_limit);
        let outcome = host.run_resizing(role, &packet);
        assert_eq!((outcome.action, outcome.fate), (REDIRECT, fate), "{to}");
    }
}

/// Only the fixed header is looked at.
#[test]
fn a_packet_is_translated_however_much_of_its_payload_is_missing() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let [from, to] = [LOCAL, REMOTE].map(|id| host.sir(id));
    for packet in [udp(from, to, b"payload"), tcp(from, to, b"payload"), echo(from, to, b"payload")]
    {
        for length in ETHERNET + IPV6..=packet.len() {
            let outcome = host.run(Role::Container, &packet[..length]);
            assert_eq!(outcome.fate, Fate::EgressTranslated, "{length} bytes");
            let outcome = host.run(Role::Uplink, &packet[..length]);
            assert_eq!(outcome.fate, Fate::IngressForwarded, "{length} bytes");
        }
    }
}

#[test]
fn a_removed_mapping_is_unknown_and_removing_it_again_is_fine() {
    let mut host = Host::new(ChecksumMode::NeutralMap);
    let [from, to] = [LOCAL, REMOTE].map(|id| host.sir(id));
    assert_eq!(host.run(Role::Container, &udp(from, to, b"x")).fate, Fate::EgressTranslated);
    for _ in 0..2 {
        host.forget(crate::harness::identifier(REMOTE));
    }
    let outcome = host.run_resizing(Role::Container, &udp(from, to, b"x"));
    assert_eq!(outcome.fate, Fate::EgressUnknownIdentifier);
}
