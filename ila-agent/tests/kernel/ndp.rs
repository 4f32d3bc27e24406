//! Neighbour solicitations: which are answered, and the answer to the byte.

use std::net::Ipv6Addr;

use ila_agent::datapath::Role;
use ila_proto::{
    abi::{Fate, GATEWAY_MAC, Uplink},
    translate::ChecksumMode,
};

use crate::{
    generate::checksum,
    harness::{
        BESIDE, BESIDE_INTERFACE, CONTAINER_MAC, DROP, ETHERNET, HOST_MAC, Host, LOCAL, OTHER_MAC,
        PASS, PAYLOAD, REDIRECT, REMOTE, UPLINK_MAC, address, checksum_is_valid,
    },
};

const GATEWAY: &str = "fe80::1";
const CONTAINER: &str = "fe80::a1";
const NOBODY: &str = "2000:0:0:99";

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

const NONCE: [u8; 8] = [14, 1, 1, 2, 3, 4, 5, 6];
const TIMESTAMP: [u8; 16] = [13, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn source_option() -> Vec<u8> {
    [&[1, 1], &CONTAINER_MAC[..]].concat()
}

/// A solicitation as Linux sends it, in every field that a test may bend.
#[derive(Clone)]
struct Solicitation {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    hop_limit: u8,
    kind: u8,
    code: u8,
    options: Vec<u8>,
    /// What stands between the fixed header and the message, and its number.
    before: (u8, Vec<u8>),
}

impl Solicitation {
    fn new(target: Ipv6Addr) -> Self {
        let mut group = address("ff02::1:ff00:0").octets();
        group[13..].copy_from_slice(&target.octets()[13..]);
        Self {
            source: address(CONTAINER),
            destination: group.into(),
            target,
            hop_limit: 255,
            kind: 135,
            code: 0,
            options: source_option(),
            before: (58, vec![]),
        }
    }

    fn probe(target: Ipv6Addr) -> Self {
        Self { source: Ipv6Addr::UNSPECIFIED, options: NONCE.to_vec(), ..Self::new(target) }
    }

    fn packet(&self) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0, 0, 0, 0, 0];
        message.extend(self.target.octets());
        message.extend(&self.options);
        checksum(self.source, self.destination, &mut message);
        let body = [&self.before.1[..], &message].concat();
        let length = u16::try_from(body.len()).expect("it is short").to_be_bytes();
        let mut packet = [&HOST_MAC, &CONTAINER_MAC, &[0x86, 0xdd, 0x60, 0, 0, 0][..]].concat();
        packet.extend([length[0], length[1], self.before.0, self.hop_limit]);
        packet.extend([self.source.octets(), self.destination.octets()].concat());
        packet.extend(body);
        packet
    }
}

/// RFC 4861 section 4.4, field by field, with its checksum blank.
fn advertisement(asked: &Solicitation, mac: [u8; 6], flags: u8) -> Vec<u8> {
    let is_probe = asked.source.is_unspecified();
    let to = if is_probe { address("ff02::1") } else { asked.source };
    let mut packet = if is_probe { vec![0x33, 0x33, 0, 0, 0, 1] } else { CONTAINER_MAC.to_vec() };
    packet.extend(mac);
    packet.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
    packet.extend([asked.target.octets(), to.octets()].concat());
    packet.extend([136, 0, 0, 0, flags, 0, 0, 0]);
    packet.extend(asked.target.octets());
    packet.extend([2, 1]);
    packet.extend(mac);
    packet
}

/// Runs the program for `role` and demands this answer.
fn is_answered(host: &Host, role: Role, asked: &Solicitation, mac: [u8; 6], flags: u8) {
    let packet = asked.packet();
    let is_resized = packet.len() != advertisement(asked, mac, flags).len();
    let mut outcome =
        if is_resized { host.run_resizing(role, &packet) } else { host.run(role, &packet) };
    let is_probe = asked.source.is_unspecified();
    let fate = match role {
        Role::Container if is_probe => Fate::NdpDefended,
        _ => Fate::NdpAnswered,
    };
    assert_eq!((outcome.action, outcome.fate), (REDIRECT, fate), "{}", asked.target);
    assert!(checksum_is_valid(&outcome.packet), "{}", asked.target);
    outcome.packet[PAYLOAD + 2..PAYLOAD + 4].fill(0);
    assert_eq!(outcome.packet, advertisement(asked, mac, flags), "{}", asked.target);
}

/// Demands that the packet stays as it is.
fn is_left(host: &Host, role: Role, packet: &[u8], expected: (i32, Fate)) {
    let outcome = host.run(role, packet);
    assert_eq!((outcome.action, outcome.fate), expected);
    assert_eq!(outcome.packet, packet, "{} changed the packet", outcome.fate);
}

/// Options as hosts lay them out, the longest that is looked at among them.
fn layouts() -> Vec<Vec<u8>> {
    let source = source_option();
    let filling = [&[200, 5], &[0xff; 38][..]].concat();
    vec![
        vec![],
        source.clone(),
        NONCE.to_vec(),
        TIMESTAMP.to_vec(),
        [&source[..], &NONCE].concat(),
        [&TIMESTAMP[..], &NONCE, &source].concat(),
        NONCE.repeat(5),
        filling,
    ]
}

#[test]
fn gateway_and_mapped_targets_are_answered_in_place() {
    for mode in ChecksumMode::ALL {
        let host = Host::new(mode);
        for options in layouts() {
            for (target, flags) in
                [(address(GATEWAY), OVERRIDE), (host.sir(REMOTE), 0), (host.sir(BESIDE), 0)]
            {
                for source in [address(CONTAINER), host.sir(LOCAL)] {
                    let options = options.clone();
                    let asked = Solicitation { source, options, ..Solicitation::new(target) };
                    let flags = ROUTER | SOLICITED | flags;
                    is_answered(&host, Role::Container, &asked, GATEWAY_MAC, flags);
                }
            }
        }
    }
}

#[test]
fn a_probe_for_what_another_has_is_told_so() {
    let host = Host::new(ChecksumMode::NeutralMap);
    for options in [vec![], NONCE.to_vec(), TIMESTAMP.to_vec()] {
        for (target, flags) in
            [(address(GATEWAY), OVERRIDE), (host.sir(REMOTE), 0), (host.sir(BESIDE), 0)]
        {
            let asked = Solicitation { options: options.clone(), ..Solicitation::probe(target) };
            is_answered(&host, Role::Container, &asked, GATEWAY_MAC, ROUTER | flags);
        }
    }
}

#[test]
fn everything_else_is_dropped() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let gateway = || Solicitation::new(address(GATEWAY));
    let probe = || Solicitation::probe(address(GATEWAY));
    let own = host.sir(LOCAL);
    let with = |options: &[u8]| Solicitation { options: options.to_vec(), ..gateway() };
    let cases = [
        (Solicitation::new(host.sir(NOBODY)), Fate::NdpUnknownTarget),
        (Solicitation::new(host.ila(REMOTE, host.there)), Fate::NdpUnknownTarget),
        (Solicitation::new(address("fe80::2")), Fate::NdpUnknownTarget),
        (Solicitation::new(address("2001:db8::1")), Fate::NdpUnknownTarget),
        (Solicitation::new(own), Fate::NdpOwnAddress),
        (Solicitation::probe(own), Fate::NdpDuplicateProbe),
        (Solicitation::probe(host.sir(NOBODY)), Fate::NdpDuplicateProbe),
        (Solicitation::probe(address("fe80::a1")), Fate::NdpDuplicateProbe),
        (Solicitation { hop_limit: 254, ..gateway() }, Fate::NdpInvalid),
        (Solicitation { code: 1, ..gateway() }, Fate::NdpInvalid),
        (Solicitation::new(address("ff02::1")), Fate::NdpInvalid),
        (Solicitation { source: address("ff02::1"), ..gateway() }, Fate::NdpInvalid),
        (Solicitation { options: source_option(), ..probe() }, Fate::NdpInvalid),
        (Solicitation { destination: address("ff02::1"), ..probe() }, Fate::NdpInvalid),
        (with(&NONCE.repeat(6)), Fate::NdpInvalid),
        (with(&[1, 0, 0, 0, 0, 0, 0, 0]), Fate::NdpInvalid),
        (with(&[1, 2, 0, 0, 0, 0, 0, 0]), Fate::NdpInvalid),
        (with(&[1, 9, 0, 0, 0, 0, 0, 0]), Fate::NdpInvalid),
        (with(&NONCE[..4]), Fate::NdpInvalid),
    ];
    for (asked, fate) in cases {
        is_left(&host, Role::Container, &asked.packet(), (DROP, fate));
    }
}

#[test]
fn a_solicitation_with_a_wrong_bit_or_cut_short_is_invalid() {
    let host = Host::new(ChecksumMode::NeutralMap);
    for asked in [Solicitation::new(address(GATEWAY)), Solicitation::probe(address(GATEWAY))] {
        let packet = asked.packet();
        for at in (18..20).chain(21..54).chain(55..packet.len()) {
            for bit in 0..8 {
                let mut packet = packet.clone();
                packet[at] ^= 1 << bit;
                is_left(&host, Role::Container, &packet, (DROP, Fate::NdpInvalid));
            }
        }
        for length in PAYLOAD + 1..packet.len() {
            is_left(&host, Role::Container, &packet[..length], (DROP, Fate::NdpInvalid));
        }
        // What Ethernet adds is no part of it.
        let padded = [&packet[..], &[0xff; 40]].concat();
        assert_eq!(host.run_resizing(Role::Container, &padded).action, REDIRECT);
    }
}

/// A host that listened to these could have its neighbour table filled, or its
/// routes changed, by a container.
#[test]
fn the_host_does_not_hear_other_neighbour_discovery() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let options = |next: u8, count: usize| {
        let mut chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        chain[8 * (count - 1)] = next;
        chain
    };
    for kind in 0..=255 {
        let is_discovery = (133..=137).contains(&kind);
        let fate = if is_discovery { Fate::NdpNotForHost } else { Fate::EgressNotSir };
        let action = if is_discovery { DROP } else { PASS };
        let asked = Solicitation { kind, ..Solicitation::new(address(GATEWAY)) };
        if kind != 135 {
            is_left(&host, Role::Container, &asked.packet(), (action, fate));
        }
        for before in [
            (60, options(58, 1)),
            (0, options(58, 6)),
            (44, vec![58, 0, 0, 1, 0, 0, 0, 0]),
            (51, [&[58, 4][..], &[0; 22]].concat()),
        ] {
            let asked = Solicitation { before, ..asked.clone() };
            is_left(&host, Role::Container, &asked.packet(), (action, fate));
        }
    }
    let hidden = |before| Solicitation { before, ..Solicitation::new(address(GATEWAY)) }.packet();
    let drop = (DROP, Fate::NdpNotForHost);
    // Behind more than is walked past, and cut before the type.
    is_left(&host, Role::Container, &hidden((0, options(58, 7))), drop);
    is_left(&host, Role::Container, &hidden((60, options(58, 1)))[..PAYLOAD + 8], drop);
    is_left(&host, Role::Container, &hidden((60, options(58, 1)))[..PAYLOAD + 3], drop);
    // A later fragment and another protocol hide nothing.
    let pass = (PASS, Fate::EgressNotSir);
    is_left(&host, Role::Container, &hidden((44, vec![58, 0, 0, 8, 0, 0, 0, 0])), pass);
    is_left(&host, Role::Container, &hidden((60, options(17, 1))), pass);
}

// Uplinks.

#[test]
fn a_router_is_answered_for_the_ila_addresses_of_containers_here() {
    for mode in ChecksumMode::ALL {
        let host = Host::new(mode);
        for who in [LOCAL, BESIDE] {
            let target = host.ila(who, host.here);
            for options in layouts() {
                let asked = Solicitation { options, ..Solicitation::new(target) };
                let flags = ROUTER | SOLICITED | OVERRIDE;
                is_answered(&host, Role::Uplink, &asked, UPLINK_MAC, flags);
            }
            let probe = Solicitation::probe(target);
            is_answered(&host, Role::Uplink, &probe, UPLINK_MAC, ROUTER | OVERRIDE);
        }
    }
}

#[test]
fn a_router_is_told_the_address_of_the_uplink_that_it_asks_on() {
    let host = Host::with(ChecksumMode::NeutralMap, |config| {
        config.uplinks[1] = config.uplinks[0];
        config.uplinks[0] = Uplink { interface: BESIDE_INTERFACE, mac: OTHER_MAC, padding: 0 };
    });
    let asked = Solicitation::new(host.ila(LOCAL, host.here));
    is_answered(&host, Role::Uplink, &asked, UPLINK_MAC, ROUTER | SOLICITED | OVERRIDE);
}

#[test]
fn what_else_is_asked_on_an_uplink_is_the_hosts_affair() {
    let host = Host::new(ChecksumMode::NeutralMap);
    let pass = (PASS, Fate::IngressNotLocator);
    for target in [
        host.ila(REMOTE, host.here),
        host.ila(NOBODY, host.here),
        host.ila(LOCAL, host.there),
        host.sir(LOCAL),
        address("2001:db8:a:1::1"),
        address(GATEWAY),
    ] {
        is_left(&host, Role::Uplink, &Solicitation::new(target).packet(), pass);
    }
    let asked = Solicitation::new(host.ila(LOCAL, host.here));
    let handed_on = Solicitation { hop_limit: 254, ..asked.clone() };
    is_left(&host, Role::Uplink, &handed_on.packet(), pass);
    let mut wrong = asked.packet();
    wrong[ETHERNET + 60] ^= 1;
    is_left(&host, Role::Uplink, &wrong, pass);
    for to in [host.ila(LOCAL, host.here), host.ila(NOBODY, host.here), host.sir(NOBODY)] {
        let sent_to = |asked: Solicitation| Solicitation { destination: to, ..asked }.packet();
        let unknown = Solicitation::new(host.ila(NOBODY, host.here));
        let expected = (DROP, Fate::NdpUnknownTarget);
        is_left(&host, Role::Uplink, &sent_to(unknown), expected);
        is_left(&host, Role::Uplink, &sent_to(handed_on.clone()), (DROP, Fate::NdpInvalid));
    }
    // From an interface that is no uplink of this host.
    let host = Host::with(ChecksumMode::NeutralMap, |config| config.uplinks[0].interface = 7);
    is_left(&host, Role::Uplink, &asked.packet(), pass);
}
