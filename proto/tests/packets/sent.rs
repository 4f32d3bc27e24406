//! What is sent, and what may be.

use etherparse::{
    Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber, Ipv6FlowLabel, Ipv6FragmentHeader,
    Ipv6Header, Ipv6RawExtHeader, TcpHeader, UdpHeader,
};
use ila_proto::{
    addr::{Address, Identifier, Locator, SirPrefix},
    forward::SourceMode,
    translate::ChecksumMode,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub enum Upper {
    Tcp(Box<TcpHeader>),
    Udp { source_port: u16, destination_port: u16 },
    Echo(Icmpv6Type),
}

/// A packet as a container sends it, in one or more fragments, and the domain
/// that it is sent in.
#[derive(Clone, Debug)]
pub struct Sent {
    pub mode: ChecksumMode,
    pub source_mode: SourceMode,
    pub prefix: SirPrefix,
    pub from: End,
    pub to: End,
    pub traffic_class: u8,
    pub flow_label: Ipv6FlowLabel,
    pub hop_limit: u8,
    /// Number and content of each header before any fragment header.
    pub extensions: Vec<(IpNumber, Vec<u8>)>,
    /// Content of a Destination Options header behind any fragment header.
    pub last_options: Option<Vec<u8>>,
    pub upper: Upper,
    pub payload: Vec<u8>,
    pub fragments: usize,
}

/// A container and the host where it lives.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub identifier: Identifier,
    pub locator: Locator,
}

impl Sent {
    fn source(&self) -> [u8; 16] {
        to_bytes(self.prefix.address(self.from.identifier).into())
    }

    fn destination(&self) -> [u8; 16] {
        to_bytes(self.prefix.address(self.to.identifier).into())
    }

    /// The upper layer's header, with its checksum as etherparse has it, and
    /// the payload.
    fn datagram(&self) -> (IpNumber, Vec<u8>) {
        let (source, destination) = (self.source(), self.destination());
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
    pub fn packets(&self) -> Vec<Vec<u8>> {
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
            source: self.source(),
            destination: self.destination(),
        };
        [&header.to_bytes()[..], &body].concat()
    }
}

pub fn extension(next: IpNumber, content: &[u8]) -> Vec<u8> {
    Ipv6RawExtHeader::new_raw(next, content).expect("the content fits").to_bytes().to_vec()
}

pub fn to_bytes(address: Address) -> [u8; 16] {
    std::net::Ipv6Addr::from(address).octets()
}

// What may be sent.

pub fn modes(modes: &'static [ChecksumMode]) -> impl Strategy<Value = ChecksumMode> {
    prop::sample::select(modes)
}

pub const NEUTRAL: &[ChecksumMode] = &[ChecksumMode::NeutralMap, ChecksumMode::NeutralMapAuto];
pub const NO_ACTION: &[ChecksumMode] = &[ChecksumMode::NoAction];

/// A SIR prefix and the locators of two hosts, now and then of the same sum.
pub fn domains() -> impl Strategy<Value = (SirPrefix, [Locator; 2])> {
    let all = prop_oneof![
        3 => any::<[u64; 3]>(),
        1 => any::<u64>().prop_map(|bits| [bits, bits.rotate_left(16), bits.rotate_left(32)]),
    ];
    // Elsewhere no router hands on what comes from there.
    let routed = |high: &u64| Address { high: *high, low: 1 }.is_routable_source();
    all.prop_filter(
        "three different prefixes that are routed",
        move |all @ [sir, first, second]| {
            sir != first && sir != second && first != second && all.iter().all(routed)
        },
    )
    .prop_map(|[sir, first, second]| {
        (SirPrefix::from_bits(sir), [first, second].map(Locator::from_bits))
    })
}

/// What containers have: type 1, neither zero in the low word.
pub fn identifiers() -> impl Strategy<Value = Identifier> {
    (any::<u64>(), 1..=0xfffe_u16).prop_map(|(bits, word)| {
        let identifier = Identifier::locally_unique(bits).with_low_word(word);
        identifier.check_container().expect("a container may have it")
    })
}

pub fn tcp() -> impl Strategy<Value = Upper> {
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

pub fn udp() -> impl Strategy<Value = Upper> {
    any::<(u16, u16)>()
        .prop_map(|(source_port, destination_port)| Upper::Udp { source_port, destination_port })
}

pub fn echo() -> impl Strategy<Value = Upper> {
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
pub fn options() -> impl Strategy<Value = Vec<u8>> {
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
pub fn routing() -> impl Strategy<Value = Vec<u8>> {
    any::<[u8; 16]>().prop_map(|visited| [&[2, 0, 0, 0, 0, 0], &visited[..]].concat())
}

/// Any of the headers that stand before a fragment header, in their order.
pub fn extensions() -> impl Strategy<Value = Vec<(IpNumber, Vec<u8>)>> {
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

pub fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(any::<u8>(), 1380..1441),
        // Sums of nothing but zeroes and of nothing but carries.
        (prop::sample::select(&[0x00, 0xff][..]), 0..64_usize)
            .prop_map(|(byte, length)| vec![byte; length]),
    ]
}

/// Whole packets without extension headers.
pub fn sent(
    mode: impl Strategy<Value = ChecksumMode>,
    upper: impl Strategy<Value = Upper>,
) -> impl Strategy<Value = Sent> {
    let source_mode = prop::sample::select(&[SourceMode::Sir, SourceMode::Locator][..]);
    let containers = (identifiers(), identifiers()).prop_filter("two", |(from, to)| from != to);
    let domain = (mode, source_mode, domains(), containers);
    let header = (any::<u8>(), 0..1_u32 << 20, 2..=255_u8);
    (domain, header, upper, payloads()).prop_map(
        |((mode, source_mode, (prefix, locators), (from, to)), header, upper, payload)| {
            let (traffic_class, flow_label, hop_limit) = header;
            let from = End { identifier: from, locator: locators[0] };
            let to = End { identifier: to, locator: locators[1] };
            let flow_label = Ipv6FlowLabel::try_new(flow_label).expect("20 bits fit");
            let (extensions, last_options, fragments) = (vec![], None, 1);
            Sent {
                mode,
                source_mode,
                prefix,
                from,
                to,
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
pub fn with_extensions(sent: impl Strategy<Value = Sent>) -> impl Strategy<Value = Sent> {
    (sent, extensions(), prop::option::of(options()))
        .prop_map(|(sent, extensions, last_options)| Sent { extensions, last_options, ..sent })
        .prop_filter("an extension header", |sent| {
            !sent.extensions.is_empty() || sent.last_options.is_some()
        })
}

/// The same in two or three fragments.
pub fn in_fragments(sent: impl Strategy<Value = Sent>) -> impl Strategy<Value = Sent> {
    (sent, 2..=3_usize, prop::collection::vec(any::<u8>(), 40..3000))
        .prop_map(|(sent, fragments, payload)| Sent { payload, fragments, ..sent })
}

/// All of the above.
pub fn anything(
    modes: impl Strategy<Value = ChecksumMode> + 'static,
) -> impl Strategy<Value = Sent> {
    let whole = sent(modes, prop_oneof![tcp(), udp(), echo()]).boxed();
    prop_oneof![
        whole.clone(),
        with_extensions(whole.clone()),
        in_fragments(whole.clone()),
        in_fragments(with_extensions(whole)),
    ]
}
