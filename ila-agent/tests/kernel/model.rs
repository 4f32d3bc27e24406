//! What the programs do to a packet, once more and in the plainest way: bytes
//! in, bytes out. Verdicts and the arithmetic of addresses are `ila_proto`'s,
//! which has tests of its own; headers, checksums, errors and neighbour
//! discovery are worked out here by other means than the programs have.

use std::collections::BTreeMap;

use ila_agent::datapath::Role;
use ila_proto::{
    abi::{
        Fate, GATEWAY_MAC, HostConfig, LocatorKey, LocatorValue, MappingKey, MappingValue, Place,
    },
    addr::{Address, Identifier, IlaAddr},
    forward::{self, Header, Path, Rewrite, Tables, Verdict},
    translate::{ChecksumMode, to_ila, to_sir},
};

use crate::harness::{DROP, ETHERNET, HOST_MAC, IPV6, PASS, REDIRECT, TEST_INTERFACE, TEST_MTU};

const GATEWAY: &str = "fe80::1";
const ALL_NODES: &str = "ff02::1";

const EXTENSIONS: [u8; 5] = [0, 43, 44, 51, 60];
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;

/// What the source of a packet is told of, if it can be.
const REFUSED: [Fate; 6] = [
    Fate::EgressHopLimit,
    Fate::EgressUnknownIdentifier,
    Fate::EgressTooBig,
    Fate::IngressHopLimit,
    Fate::IngressUnknownIdentifier,
    Fate::IngressTooBig,
];

/// A host's constants and tables.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub config: HostConfig,
    pub mappings: BTreeMap<MappingKey, MappingValue>,
    pub locators: BTreeMap<LocatorKey, LocatorValue>,
}

impl Tables for World {
    fn mapping(&self, key: MappingKey) -> Option<MappingValue> {
        self.mappings.get(&key).copied()
    }

    fn locator(&self, key: LocatorKey) -> Option<LocatorValue> {
        self.locators.get(&key).copied()
    }

    fn forget(&self, value: u32) -> u32 {
        value
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    pub action: i32,
    pub fate: Fate,
    pub packet: Vec<u8>,
    /// Whether it may count against the limit of errors.
    pub is_refused: bool,
}

impl World {
    /// What the program for `role` does with a packet that has a tag, which may
    /// be that of a VLAN, or none; the limit of errors is not reached.
    pub fn predict(&self, role: Role, tag: Option<u16>, packet: &[u8]) -> Prediction {
        const VLAN: u16 = 0xfff;
        let mut packet = packet.to_vec();
        // Behind the tag of no VLAN there may be another one, which then takes
        // its place.
        let is_of_vlan = tag.is_some_and(|tag| {
            let behind = tag & VLAN == 0 && matches!(packet[12..14], [0x81, 0] | [0x88, 0xa8]);
            if behind && packet.len() >= ETHERNET + 4 {
                packet.drain(12..16);
            }
            tag & VLAN != 0 || behind
        });
        let (action, fate, result) = match (role, is_of_vlan) {
            (Role::Container, true) => (DROP, Fate::EgressTagged, packet),
            (Role::Uplink, true) => (PASS, Fate::IngressTagged, packet),
            (Role::Container, false) => self.egress(&packet),
            (Role::Uplink, false) => self.ingress(&packet),
        };
        Prediction { action, fate, packet: result, is_refused: REFUSED.contains(&fate) }
    }

    /// Where an identifier that is mapped lives.
    pub fn place_of(&self, domain: u32, identifier: Identifier) -> Place {
        self.place(domain, identifier.bits()).expect("it is mapped")
    }

    fn mode(&self) -> ChecksumMode {
        ChecksumMode::from_number(self.config.checksum_mode)
    }

    fn is_fast(&self) -> bool {
        self.config.path == Path::Fast.number()
    }

    fn place(&self, domain: u32, low: u64) -> Option<Place> {
        let key = MappingKey::new(domain, Identifier::from_bits(low))?;
        self.mapping(key).map(|value| value.place())
    }

    fn egress(&self, packet: &[u8]) -> (i32, Fate, Vec<u8>) {
        let same = packet.to_vec();
        if packet[12..14] != [0x86, 0xdd] {
            return (DROP, Fate::EgressNotIpv6, same);
        }
        let Some(header) = header(packet) else { return (DROP, Fate::EgressTruncated, same) };
        if packet[14] >> 4 != 6 {
            return (DROP, Fate::EgressNotIpv6, same);
        }
        if !is_for_host(packet) {
            return (DROP, Fate::EgressLinkLayer, same);
        }
        if header.next_header == ICMPV6 {
            match packet.get(54) {
                Some(&SOLICITATION) => return self.neighbour(packet, &header),
                Some(133..=137) => return (DROP, Fate::NdpNotForHost, same),
                _ => {}
            }
        }
        match forward::egress(&self.config, self, TEST_INTERFACE, &header) {
            Verdict::Pass(fate) if may_hide_discovery(packet) => {
                assert_eq!(fate, Fate::EgressNotSir);
                (DROP, Fate::NdpNotForHost, same)
            }
            Verdict::Pass(fate) => (PASS, fate, same),
            Verdict::Drop(fate) => (DROP, fate, same),
            Verdict::Refuse(error, fate) => {
                self.refuse(Role::Container, packet, bytes(error), fate)
            }
            Verdict::Deliver { mac, rewrite, fate, .. } => self.deliver(same, mac, &rewrite, fate),
            Verdict::Send { rewrite, fate } => {
                self.send(Role::Container, packet, &rewrite, fate, Fate::EgressTooBig)
            }
        }
    }

    fn ingress(&self, packet: &[u8]) -> (i32, Fate, Vec<u8>) {
        let same = packet.to_vec();
        if packet[12..14] != [0x86, 0xdd] {
            return (PASS, Fate::IngressNotIpv6, same);
        }
        let Some(header) = header(packet) else { return (DROP, Fate::IngressTruncated, same) };
        if packet[14] >> 4 != 6 {
            return (PASS, Fate::IngressNotIpv6, same);
        }
        if !is_for_host(packet) {
            return (PASS, Fate::IngressLinkLayer, same);
        }
        if header.next_header == ICMPV6 && packet.get(54) == Some(&SOLICITATION) {
            return self.neighbour_on_uplink(packet, &header);
        }
        let error = match walk(packet) {
            Upper::Found(ICMPV6, at) => Some(at).filter(|_| matches!(packet.get(at), Some(1..=4))),
            _ => None,
        };
        match forward::ingress(&self.config, self, &header, error.is_some()) {
            Verdict::Pass(fate) => (PASS, fate, same),
            Verdict::Drop(fate) => (DROP, fate, same),
            Verdict::Refuse(error, fate) => self.refuse(Role::Uplink, packet, bytes(error), fate),
            Verdict::Deliver { mac, rewrite, fate, .. } => {
                let restored =
                    error.and_then(|at| self.quote_restored(packet, at, &header, &rewrite));
                let fate = if restored.is_some() { Fate::IngressError } else { fate };
                self.deliver(restored.unwrap_or(same), mac, &rewrite, fate)
            }
            Verdict::Send { rewrite, fate } => {
                self.send(Role::Uplink, packet, &rewrite, fate, Fate::IngressTooBig)
            }
        }
    }

    fn deliver(
        &self,
        mut packet: Vec<u8>,
        mac: [u8; 6],
        rewrite: &Rewrite,
        fate: Fate,
    ) -> (i32, Fate, Vec<u8>) {
        set_addresses(&mut packet[ETHERNET..], rewrite.source, rewrite.destination);
        if !self.is_fast() {
            return (PASS, fate, packet);
        }
        packet[21] -= 1;
        packet[..6].copy_from_slice(&mac);
        packet[6..12].copy_from_slice(&GATEWAY_MAC);
        (REDIRECT, fate, packet)
    }

    fn send(
        &self,
        role: Role,
        packet: &[u8],
        rewrite: &Rewrite,
        fate: Fate,
        too_big: Fate,
    ) -> (i32, Fate, Vec<u8>) {
        if packet.len() > ETHERNET + TEST_MTU as usize {
            let [a, b, c, d] = TEST_MTU.to_be_bytes();
            return self.refuse(role, packet, [2, 0, 0, 0, a, b, c, d], too_big);
        }
        let mut packet = packet.to_vec();
        set_addresses(&mut packet[ETHERNET..], rewrite.source, rewrite.destination);
        if !self.is_fast() {
            return (PASS, fate, packet);
        }
        packet[21] -= 1;
        (REDIRECT, fate, packet)
    }

    /// The error about `packet`, whose header is `error`, or the packet itself
    /// if none may be sent.
    fn refuse(
        &self,
        role: Role,
        packet: &[u8],
        error: [u8; 8],
        fate: Fate,
    ) -> (i32, Fate, Vec<u8>) {
        let silent = (DROP, fate, packet.to_vec());
        let header = header(packet).expect("its verdict came from there");
        let is_group = |address: Address| address.high >> 56 == 0xff;
        if is_group(header.source) || is_group(header.destination) || is(header.source, "::") {
            return silent;
        }
        match walk(packet) {
            Upper::Found(ICMPV6, at) => match packet.get(at) {
                None | Some(..=127 | 137) => return silent,
                Some(_) => {}
            },
            Upper::Found(..) | Upper::LaterFragment => {}
            Upper::Unknown => return silent,
        }
        let own = Some(Address { high: self.config.address[0], low: self.config.address[1] });
        let own = own.filter(|own| own.high != 0);
        let (from, to) = match role {
            Role::Container => (own.unwrap_or(address(GATEWAY)), Some(header.source)),
            Role::Uplink => match own {
                None => return silent,
                Some(own) => (own, self.way_back(header.source)),
            },
        };
        let Some(to) = to else { return silent };
        let quote = &packet[ETHERNET..packet.len().min(ETHERNET + 1232)];
        let mut answer = [&packet[6..12], &GATEWAY_MAC, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
        answer.extend(u16::try_from(8 + quote.len()).expect("it is short").to_be_bytes());
        answer.extend([ICMPV6, 64]);
        answer.extend([octets(from), octets(header.source)].concat());
        answer.extend(error);
        answer.extend(quote);
        let checksum = !upper_sum(&answer[ETHERNET..]);
        answer[56..58].copy_from_slice(&checksum.to_be_bytes());
        answer[38..54].copy_from_slice(&octets(to));
        (REDIRECT, fate, answer)
    }

    /// Where an error goes by whose source a packet is.
    fn way_back(&self, source: Address) -> Option<Address> {
        let of = |prefix: u64| prefix != 0 && prefix == source.high;
        let Some(domain) = self.config.domains.iter().position(|it| of(it.sir_prefix)) else {
            return Some(source);
        };
        let own = &self.config.domains[domain];
        let domain = u32::try_from(domain).expect("there are four");
        let Place::There { locator, .. } = self.place(domain, source.low)? else { return None };
        let delta = self.mode().to_ila_delta(own.sir_prefix(), locator);
        Some(to_ila(self.mode(), Identifier::from_bits(source.low), locator, delta).into())
    }

    /// The error at a place in the packet with the packet that it quotes
    /// restored; none if that stays as it is.
    fn quote_restored(
        &self,
        packet: &[u8],
        error: usize,
        header: &Header,
        rewrite: &Rewrite,
    ) -> Option<Vec<u8>> {
        let (checksum_at, quote) = (error + 2, error + 8);
        if packet.len() < quote + IPV6 {
            return None;
        }
        let [source, destination] = [8, 24].map(|at| address_at(packet, quote + at));
        let is_ila = source == header.destination && source != rewrite.destination;
        let new_source = if is_ila { rewrite.destination } else { source };
        let new_destination = self.restored(destination).0;
        if new_source == source && new_destination == destination {
            return None;
        }
        let mut result = packet.to_vec();
        set_addresses(&mut result[quote..], new_source, new_destination);
        let outer_before = [header.source, header.destination];
        let outer_after = [rewrite.source, rewrite.destination];
        let mut before = vec![source, destination];
        let mut after = vec![new_source, new_destination];
        if is_ila {
            before.extend(outer_before);
            after.extend(outer_after);
        }
        let [before, after] = [before, after].map(|it| {
            let bytes: Vec<_> = it.into_iter().flat_map(octets).collect();
            u32::from(sum(&bytes)) % 0xffff
        });
        if before != after {
            let [high, low] = [packet[checksum_at], packet[checksum_at + 1]];
            let checksum = u32::from(u16::from_be_bytes([high, low]));
            let checksum = match (checksum + before + 0xffff - after) % 0xffff {
                // A sum of which anything is not zero is never spelled so.
                0 => 0xffff,
                other => other,
            };
            let checksum = u16::try_from(checksum).expect("it is less");
            result[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        Some(result)
    }

    /// The SIR address behind an ILA address, and whether its locator holds it.
    fn restored(&self, given: Address) -> (Address, bool) {
        let kind = given.low >> 61;
        let is_local = given.high >> 54 == 0xfe80 >> 6 || given.high >> 56 == 0xff;
        let Some(known) = self.locator(LocatorKey(given.high)) else { return (given, false) };
        if kind == 0 || is_local {
            return (given, false);
        }
        let own = self.config.domains[known.domain as usize];
        let ila = IlaAddr {
            locator: ila_proto::addr::Locator::from_bits(given.high),
            identifier: Identifier::from_bits(given.low),
        };
        let delta = self.mode().to_sir_delta(own.sir_prefix(), ila.locator);
        let sir = Address::from(to_sir(self.mode(), ila, own.sir_prefix(), delta));
        let holds = match self.place(known.domain, sir.low) {
            Some(Place::There { locator, .. }) => locator == ila.locator,
            Some(Place::Here { .. }) => own.locator() == ila.locator,
            None => false,
        };
        (sir, holds)
    }

    fn neighbour(&self, packet: &[u8], header: &Header) -> (i32, Fate, Vec<u8>) {
        let same = packet.to_vec();
        let Some(target) = solicited(packet, header) else {
            return (DROP, Fate::NdpInvalid, same);
        };
        let is_probe = is(header.source, "::");
        let fate = if is_probe { Fate::NdpDefended } else { Fate::NdpAnswered };
        if is(target, GATEWAY) {
            return (REDIRECT, fate, advertisement(packet, header, target, GATEWAY_MAC, 0x20));
        }
        let of = |prefix: u64| prefix != 0 && prefix == target.high;
        let domain = (0u32..).zip(&self.config.domains).find(|(_, it)| of(it.sir_prefix));
        match domain.and_then(|(domain, _)| self.place(domain, target.low)) {
            None if is_probe => (DROP, Fate::NdpDuplicateProbe, same),
            None => (DROP, Fate::NdpUnknownTarget, same),
            Some(Place::Here { interface: TEST_INTERFACE, .. }) if is_probe => {
                (DROP, Fate::NdpDuplicateProbe, same)
            }
            Some(Place::Here { interface: TEST_INTERFACE, .. }) => {
                (DROP, Fate::NdpOwnAddress, same)
            }
            Some(_) => (REDIRECT, fate, advertisement(packet, header, target, GATEWAY_MAC, 0)),
        }
    }

    fn neighbour_on_uplink(&self, packet: &[u8], header: &Header) -> (i32, Fate, Vec<u8>) {
        let asked = solicited(packet, header);
        let to = header.destination;
        let sent_to_overlay = self.config.domains.iter().any(|it| {
            to.high != 0 && (to.high == it.sir_prefix || to.high == it.locator && to.low >> 61 != 0)
        });
        let (action, fate) = match asked {
            _ if !sent_to_overlay => (PASS, Fate::IngressNotLocator),
            None => (DROP, Fate::NdpInvalid),
            Some(_) => (DROP, Fate::NdpUnknownTarget),
        };
        let host_s = (action, fate, packet.to_vec());
        let Some(target) = asked else { return host_s };
        let uplink = self.config.uplinks.iter().find(|it| it.interface == TEST_INTERFACE);
        let of = |locator: u64| locator != 0 && locator == target.high;
        let domain = (0u32..).zip(&self.config.domains).find(|(_, it)| of(it.locator));
        let (Some(uplink), Some((domain, own))) = (uplink, domain) else { return host_s };
        if target.low >> 61 == 0 {
            return host_s;
        }
        let identifier = Identifier::from_bits(target.low);
        let ila = IlaAddr { locator: own.locator(), identifier };
        let delta = self.mode().to_sir_delta(own.sir_prefix(), own.locator());
        let sir = Address::from(to_sir(self.mode(), ila, own.sir_prefix(), delta));
        match self.place(domain, sir.low) {
            Some(Place::Here { .. }) => {
                let answer = advertisement(packet, header, target, uplink.mac, 0x20);
                (REDIRECT, Fate::NdpAnswered, answer)
            }
            _ => host_s,
        }
    }
}

/// Type, code and the word behind the checksum.
fn bytes(error: ila_proto::icmp::Error) -> [u8; 8] {
    use ila_proto::icmp::Error;
    match error {
        Error::NO_ROUTE => [1, 0, 0, 0, 0, 0, 0, 0],
        Error::ADDRESS_UNREACHABLE => [1, 3, 0, 0, 0, 0, 0, 0],
        Error::TIME_EXCEEDED => [3, 0, 0, 0, 0, 0, 0, 0],
        other => panic!("no verdict says {other:?}"),
    }
}

/// Whose link-layer address is asked for by a solicitation that is as RFC 4861
/// section 7.1.1 wants it, and not longer than what is looked at.
fn solicited(packet: &[u8], header: &Header) -> Option<Address> {
    let length = usize::from(header.payload_length);
    let message = packet.get(54..54 + length)?;
    if length % 8 != 0 || !(24..=64).contains(&length) || message[1] != 0 {
        return None;
    }
    let target = address_at(message, 8);
    let is_group = |address: Address| address.high >> 56 == 0xff;
    if header.hop_limit != 255 || is_group(header.source) || is_group(target) {
        return None;
    }
    if upper_sum(&packet[ETHERNET..54 + length]) != 0xffff {
        return None;
    }
    let mut rest = &message[24..];
    let mut has_source = false;
    while let [kind, units, ..] = *rest {
        has_source |= kind == 1;
        let (option, behind) = rest.split_at_checked(usize::from(units) * 8)?;
        if option.is_empty() {
            return None;
        }
        rest = behind;
    }
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&message[21..24]);
    let is_probe = is(header.source, "::");
    (!is_probe || !has_source && octets(header.destination) == group).then_some(target)
}

/// RFC 4861 section 4.4; `flags` is what goes beside router and solicited.
fn advertisement(
    packet: &[u8],
    header: &Header,
    target: Address,
    mac: [u8; 6],
    flags: u8,
) -> Vec<u8> {
    let (to, to_mac, solicited) = match header.source {
        Address::UNSPECIFIED => (address(ALL_NODES), &[0x33, 0x33, 0, 0, 0, 1][..], 0),
        source => (source, &packet[6..12], 0x40),
    };
    let mut answer = [to_mac, &mac, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, ICMPV6, 255]].concat();
    answer.extend([octets(target), octets(to)].concat());
    answer.extend([136, 0, 0, 0, 0x80 | solicited | flags, 0, 0, 0]);
    answer.extend(octets(target));
    answer.extend([2, 1]);
    answer.extend(mac);
    let checksum = !upper_sum(&answer[ETHERNET..]);
    answer[56..58].copy_from_slice(&checksum.to_be_bytes());
    answer
}

enum Upper {
    /// A protocol and where in the frame its header starts.
    Found(u8, usize),
    LaterFragment,
    Unknown,
}

/// Past six extension headers at most.
fn walk(packet: &[u8]) -> Upper {
    let (mut protocol, mut at) = (packet[20], ETHERNET + IPV6);
    for _ in 0..6 {
        if !EXTENSIONS.contains(&protocol) {
            break;
        }
        let Some(&[next, length, high, low]) = packet.get(at..at + 4) else {
            return Upper::Unknown;
        };
        if protocol == FRAGMENT && (high, low & 0xf8) != (0, 0) {
            return Upper::LaterFragment;
        }
        at += match protocol {
            FRAGMENT => 8,
            AUTHENTICATION => 8 + 4 * usize::from(length),
            _ => 8 + 8 * usize::from(length),
        };
        protocol = next;
    }
    if EXTENSIONS.contains(&protocol) { Upper::Unknown } else { Upper::Found(protocol, at) }
}

fn may_hide_discovery(packet: &[u8]) -> bool {
    EXTENSIONS.contains(&packet[20])
        && match walk(packet) {
            Upper::Found(ICMPV6, at) => {
                packet.get(at).is_none_or(|kind| (133..=137).contains(kind))
            }
            Upper::Found(..) | Upper::LaterFragment => false,
            Upper::Unknown => true,
        }
}

/// Whether the frame is for the host, or for a group that the packet is for.
fn is_for_host(packet: &[u8]) -> bool {
    let group = packet[0] & 1 == 1;
    packet[..6] == HOST_MAC || group && packet[38] == 0xff
}

// Bytes.

fn header(packet: &[u8]) -> Option<Header> {
    (packet.len() >= ETHERNET + IPV6).then(|| Header {
        payload_length: u16::from_be_bytes([packet[18], packet[19]]),
        next_header: packet[20],
        hop_limit: packet[21],
        source: address_at(packet, 22),
        destination: address_at(packet, 38),
    })
}

fn address_at(bytes: &[u8], at: usize) -> Address {
    let octets: [u8; 16] = bytes[at..at + 16].try_into().expect("16 bytes are 16 bytes");
    std::net::Ipv6Addr::from(octets).into()
}

fn octets(address: Address) -> [u8; 16] {
    std::net::Ipv6Addr::from(address).octets()
}

fn address(text: &str) -> Address {
    text.parse::<std::net::Ipv6Addr>().expect("an address").into()
}

fn is(given: Address, text: &str) -> bool {
    given == address(text)
}

/// Of the packet that starts with its IPv6 header.
fn set_addresses(packet: &mut [u8], source: Address, destination: Address) {
    packet[8..24].copy_from_slice(&octets(source));
    packet[24..40].copy_from_slice(&octets(destination));
}

/// The one's complement sum of bytes.
pub fn sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::try_from((sum & 0xffff) + (sum >> 16)).expect("it is folded")
}

/// The sum of an upper layer right behind the IPv6 header, with its
/// pseudo-header: ffff if its checksum is right.
pub fn upper_sum(packet: &[u8]) -> u16 {
    let length = u32::try_from(packet.len() - IPV6).expect("it is short").to_be_bytes();
    let pseudo = [&packet[8..40], &length, &[0, 0, 0, packet[6]]].concat();
    sum(&[&pseudo, &packet[IPV6..]].concat())
}
