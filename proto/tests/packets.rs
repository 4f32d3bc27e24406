//! Whole packets through both hosts: a container's packet is built, its
//! destination translated by the sender and restored by the receiver, and at
//! each step the checksum of the upper layer is added up from zero, by code
//! that knows nothing of translation.

use etherparse::{
    Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber, Ipv6FlowLabel, Ipv6FragmentHeader,
    Ipv6Header, Ipv6RawExtHeader, SlicedPacket, TcpHeader, TransportSlice, UdpHeader,
};
use ila_proto::{
    abi::{Fate, HostConfig, MappingValue},
    addr::{Address, Identifier, Locator, SirPrefix},
    translate::{self, ChecksumMode, Verdict},
};
use proptest::prelude::*;

// What is sent.

#[derive(Clone, Debug)]
enum Upper {
    Tcp(Box<TcpHeader>),
    Udp { source_port: u16, destination_port: u16 },
    Echo(Icmpv6Type),
}

/// A packet as a container sends it, in one or more fragments, and the domain
/// that it is sent in.
#[derive(Clone, Debug)]
struct Sent {
    mode: ChecksumMode,
    prefix: SirPrefix,
    locator: Locator,
    identifier: Identifier,
    source: [u8; 16],
    traffic_class: u8,
    flow_label: Ipv6FlowLabel,
    hop_limit: u8,
    /// Number and content of each header before any fragment header.
    extensions: Vec<(IpNumber, Vec<u8>)>,
    /// Content of a Destination Options header behind any fragment header.
    last_options: Option<Vec<u8>>,
    upper: Upper,
    payload: Vec<u8>,
    fragments: usize,
}

impl Sent {
    fn destination(&self) -> [u8; 16] {
        to_bytes(self.prefix.address(self.identifier).into())
    }

    /// The upper layer's header, with its checksum as etherparse has it, and
    /// the payload.
    fn datagram(&self) -> (IpNumber, Vec<u8>) {
        let (source, destination) = (self.source, self.destination());
        let fits = "the payload is short";
        let (protocol, mut bytes) = match &self.upper {
            Upper::Tcp(header) => {
                let mut header = header.clone();
                header.checksum =
                    header.calc_checksum_ipv6_raw(source, destination, &self.payload).expect(fits);
                (IpNumber::TCP, header.to_bytes().to_vec())
            }
            Upper::Udp { source_port, destination_port } => {
                let length = UdpHeader::LEN + self.payload.len();
                let mut header = UdpHeader {
                    source_port: *source_port,
                    destination_port: *destination_port,
                    length: length.try_into().expect(fits),
                    checksum: 0,
                };
                header.checksum =
                    header.calc_checksum_ipv6_raw(source, destination, &self.payload).expect(fits);
                (IpNumber::UDP, header.to_bytes().to_vec())
            }
            Upper::Echo(message) => {
                let header =
                    Icmpv6Header::with_checksum(*message, source, destination, &self.payload);
                (IpNumber::IPV6_ICMP, header.expect(fits).to_bytes().to_vec())
            }
        };
        bytes.extend(&self.payload);
        (protocol, bytes)
    }

    /// The packet as its fragments, or whole.
    fn packets(&self) -> Vec<Vec<u8>> {
        let (mut next, mut datagram) = self.datagram();
        if let Some(options) = &self.last_options {
            datagram = [extension(next, options), datagram].concat();
            next = IpNumber::IPV6_DESTINATION_OPTIONS;
        }
        if self.fragments == 1 {
            return vec![self.packet(next, &datagram)];
        }
        // All but the last are a multiple of eight bytes.
        let size = datagram.len().div_ceil(self.fragments).next_multiple_of(8);
        let pieces: Vec<_> = datagram.chunks(size).collect();
        let fragment = |(number, piece): (usize, &&[u8])| {
            let offset = u16::try_from(number * size / 8).expect("the datagram is short");
            let offset = IpFragOffset::try_new(offset).expect("the datagram is short");
            let more = number + 1 < pieces.len();
            let header = Ipv6FragmentHeader::new(next, offset, more, 0x11a0_f4a6).to_bytes();
            self.packet(IpNumber::IPV6_FRAGMENTATION_HEADER, &[&header, *piece].concat())
        };
        pieces.iter().enumerate().map(fragment).collect()
    }

    /// One packet that carries `rest`, of protocol `next`, behind the extension
    /// headers.
    fn packet(&self, mut next: IpNumber, rest: &[u8]) -> Vec<u8> {
        let mut body = rest.to_vec();
        for (number, content) in self.extensions.iter().rev() {
            body = [extension(next, content), body].concat();
            next = *number;
        }
        let header = Ipv6Header {
            traffic_class: self.traffic_class,
            flow_label: self.flow_label,
            payload_length: body.len().try_into().expect("the packet is short"),
            next_header: next,
            hop_limit: self.hop_limit,
            source: self.source,
            destination: self.destination(),
        };
        [&header.to_bytes()[..], &body].concat()
    }
}

fn extension(next: IpNumber, content: &[u8]) -> Vec<u8> {
    Ipv6RawExtHeader::new_raw(next, content).expect("the content fits").to_bytes().to_vec()
}

fn to_bytes(address: Address) -> [u8; 16] {
    std::net::Ipv6Addr::from(address).octets()
}

// What happens to it.

impl Sent {
    /// The host that sends: its own locator is of no account here.
    fn sender(&self) -> HostConfig {
        HostConfig { locator: !self.locator.bits(), ..self.receiver() }
    }

    /// The host that holds the identifier.
    fn receiver(&self) -> HostConfig {
        HostConfig {
            sir_prefix: self.prefix.bits(),
            locator: self.locator.bits(),
            to_sir: self.mode.to_sir_delta(self.prefix, self.locator).value(),
            checksum_mode: self.mode.number(),
            padding: 0,
        }
    }

    /// A host's mappings, which hold the one identifier.
    fn mappings(&self, interface: u32) -> impl Fn(Identifier) -> Option<MappingValue> {
        let known = self.identifier;
        let to_ila = self.mode.to_ila_delta(self.prefix, self.locator).value();
        let value = MappingValue { locator: self.locator.bits(), to_ila, padding: 0, interface };
        move |identifier| (identifier == known).then_some(value)
    }

    /// The packet between the hosts.
    fn translated(&self, packet: &[u8]) -> Vec<u8> {
        let verdict = translate::egress(&self.sender(), destination(packet), self.mappings(0));
        rewritten(packet, verdict, Fate::EgressTranslated)
    }

    /// The packet as the other container gets it.
    fn restored(&self, packet: &[u8]) -> Vec<u8> {
        let verdict = translate::ingress(&self.receiver(), destination(packet), self.mappings(7));
        rewritten(packet, verdict, Fate::IngressRestored)
    }

    fn on_the_wire(&self) -> Vec<Vec<u8>> {
        self.packets().iter().map(|packet| self.translated(packet)).collect()
    }

    fn received(&self) -> Vec<Vec<u8>> {
        self.on_the_wire().iter().map(|packet| self.restored(packet)).collect()
    }
}

fn destination(packet: &[u8]) -> Address {
    let half = |at| packet[at..at + 8].try_into().expect("eight bytes are eight bytes");
    Address::from_halves(half(24), half(32))
}

/// What the kernel programs do for a verdict: store 16 bytes.
fn rewritten(packet: &[u8], verdict: Verdict, expected: Fate) -> Vec<u8> {
    let Verdict::Rewrite { destination, fate, .. } = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(fate, expected);
    let mut packet = packet.to_vec();
    packet[24..40].copy_from_slice(&to_bytes(destination));
    packet
}

// What must be true of it.

const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;

/// Walks over extension headers to the first header of another kind.
fn walk(mut next: u8, mut rest: &[u8]) -> (u8, &[u8]) {
    while let HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS = next {
        let length = 8 + 8 * usize::from(rest[1]);
        (next, rest) = (rest[0], &rest[length..]);
    }
    (next, rest)
}

/// The upper-layer protocol and its bytes, put together from fragments that
/// come in the order of their offsets.
fn upper_layer(packets: &[Vec<u8>]) -> (u8, Vec<u8>) {
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
fn checksum_holds(packets: &[Vec<u8>]) -> bool {
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
fn sum_class(half: u64) -> u32 {
    half.to_be_bytes()
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum::<u32>()
        % 0xffff
}

fn checksum_holds_everywhere(sent: &Sent) -> Result<(), TestCaseError> {
    prop_assert!(checksum_holds(&sent.packets()), "as it is sent");
    prop_assert!(checksum_holds(&sent.on_the_wire()), "on the wire");
    prop_assert!(checksum_holds(&sent.received()), "as it is received");
    Ok(())
}

// What may be sent.

fn modes(modes: &'static [ChecksumMode]) -> impl Strategy<Value = ChecksumMode> {
    prop::sample::select(modes)
}

const NEUTRAL: &[ChecksumMode] = &[ChecksumMode::NeutralMap, ChecksumMode::NeutralMapAuto];
const NO_ACTION: &[ChecksumMode] = &[ChecksumMode::NoAction];

/// A SIR prefix and the locator of another host, now and then of the same sum.
fn prefix_pairs() -> impl Strategy<Value = (SirPrefix, Locator)> {
    let pairs = prop_oneof![
        3 => any::<(u64, u64)>(),
        1 => any::<u64>().prop_map(|bits| (bits, bits.rotate_left(16))),
    ];
    pairs.prop_map(|(sir, locator)| (SirPrefix::from_bits(sir), Locator::from_bits(locator)))
}

/// What containers have: type 1, neither zero in the low word.
fn identifiers() -> impl Strategy<Value = Identifier> {
    (any::<u64>(), 1..=0xfffe_u16).prop_map(|(bits, word)| {
        let identifier = Identifier::locally_unique(bits).with_low_word(word);
        identifier.check_container().expect("a container may have it")
    })
}

fn tcp() -> impl Strategy<Value = Upper> {
    (any::<[u16; 4]>(), any::<[u32; 2]>(), prop::collection::vec(Just(1_u8), 0..=40)).prop_map(
        |([source, destination, window, urgent], [sequence, acknowledgment], options)| {
            let mut header = TcpHeader::new(source, destination, sequence, window);
            header.ack = true;
            header.acknowledgment_number = acknowledgment;
            header.urgent_pointer = urgent;
            header.set_options_raw(&options).expect("40 bytes of options fit");
            Upper::Tcp(Box::new(header))
        },
    )
}

fn udp() -> impl Strategy<Value = Upper> {
    any::<(u16, u16)>()
        .prop_map(|(source_port, destination_port)| Upper::Udp { source_port, destination_port })
}

fn echo() -> impl Strategy<Value = Upper> {
    any::<(bool, u16, u16)>().prop_map(|(request, id, seq)| {
        let echo = etherparse::IcmpEchoHeader { id, seq };
        Upper::Echo(if request {
            Icmpv6Type::EchoRequest(echo)
        } else {
            Icmpv6Type::EchoReply(echo)
        })
    })
}

/// Options of any value that are to be skipped if unknown, one of a length
/// that fills the header.
fn options() -> impl Strategy<Value = Vec<u8>> {
    (0..4_usize).prop_flat_map(|eights| {
        let length = 4 + 8 * eights;
        prop::collection::vec(any::<u8>(), length).prop_map(move |value| {
            let length = u8::try_from(length).expect("it is short");
            [vec![0x1e, length], value].concat()
        })
    })
}

/// A Routing header at its last stop: its destination is the one of the IPv6
/// header, as checksums want it (RFC 8200 section 8.1).
fn routing() -> impl Strategy<Value = Vec<u8>> {
    any::<[u8; 16]>().prop_map(|visited| [&[2, 0, 0, 0, 0, 0], &visited[..]].concat())
}

/// Any of the headers that stand before a fragment header, in their order.
fn extensions() -> impl Strategy<Value = Vec<(IpNumber, Vec<u8>)>> {
    let optional = prop::option::of::<BoxedStrategy<Vec<u8>>>;
    (optional(options().boxed()), optional(options().boxed()), optional(routing().boxed()))
        .prop_map(|(hop_by_hop, destination, routing)| {
            let hop_by_hop = hop_by_hop.map(|content| (IpNumber::IPV6_HEADER_HOP_BY_HOP, content));
            let destination =
                destination.map(|content| (IpNumber::IPV6_DESTINATION_OPTIONS, content));
            let routing = routing.map(|content| (IpNumber::IPV6_ROUTE_HEADER, content));
            hop_by_hop.into_iter().chain(destination).chain(routing).collect()
        })
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(any::<u8>(), 1380..1441),
        // Sums of nothing but zeroes and of nothing but carries.
        (prop::sample::select(&[0x00, 0xff][..]), 0..64_usize)
            .prop_map(|(byte, length)| vec![byte; length]),
    ]
}

/// Whole packets without extension headers.
fn sent(
    mode: impl Strategy<Value = ChecksumMode>,
    upper: impl Strategy<Value = Upper>,
) -> impl Strategy<Value = Sent> {
    let domain = (mode, prefix_pairs(), identifiers());
    let header = (any::<[u8; 16]>(), any::<u8>(), 0..1_u32 << 20, any::<u8>());
    (domain, header, upper, payloads()).prop_map(
        |((mode, (prefix, locator), identifier), header, upper, payload)| {
            let (source, traffic_class, flow_label, hop_limit) = header;
            let flow_label = Ipv6FlowLabel::try_new(flow_label).expect("20 bits fit");
            let (extensions, last_options, fragments) = (vec![], None, 1);
            Sent {
                mode,
                prefix,
                locator,
                identifier,
                source,
                traffic_class,
                flow_label,
                hop_limit,
                extensions,
                last_options,
                upper,
                payload,
                fragments,
            }
        },
    )
}

/// The same behind extension headers, at least one.
fn with_extensions(sent: impl Strategy<Value = Sent>) -> impl Strategy<Value = Sent> {
    (sent, extensions(), prop::option::of(options()))
        .prop_map(|(sent, extensions, last_options)| Sent { extensions, last_options, ..sent })
        .prop_filter("an extension header", |sent| {
            !sent.extensions.is_empty() || sent.last_options.is_some()
        })
}

/// The same in two or three fragments.
fn in_fragments(sent: impl Strategy<Value = Sent>) -> impl Strategy<Value = Sent> {
    (sent, 2..=3_usize, prop::collection::vec(any::<u8>(), 40..3000))
        .prop_map(|(sent, fragments, payload)| Sent { payload, fragments, ..sent })
}

/// All of the above.
fn anything(modes: impl Strategy<Value = ChecksumMode> + 'static) -> impl Strategy<Value = Sent> {
    let whole = sent(modes, prop_oneof![tcp(), udp(), echo()]).boxed();
    prop_oneof![
        whole.clone(),
        with_extensions(whole.clone()),
        in_fragments(whole.clone()),
        in_fragments(with_extensions(whole)),
    ]
}

// Tests.

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
        let same = sum_class(sent.prefix.bits()) == sum_class(sent.locator.bits());
        prop_assert_eq!(checksum_holds(&sent.on_the_wire()), same, "on the wire");
        prop_assert!(checksum_holds(&sent.received()), "as it is received");
    }

    #[test]
    fn on_the_wire_only_prefix_c_bit_and_low_word_differ(
        sent in anything(modes(&ChecksumMode::ALL)),
    ) {
        let may_differ = |at: usize| match at {
            24..32 => 0xff,
            32 if sent.mode == ChecksumMode::NeutralMap => 0x10,
            38 | 39 if sent.mode != ChecksumMode::NoAction => 0xff,
            _ => 0x00,
        };
        for (before, after) in sent.packets().iter().zip(sent.on_the_wire()) {
            prop_assert_eq!(&after[24..32], &sent.locator.bits().to_be_bytes());
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
