//! What the tests of several modules share: hosts with their tables, and sums
//! that are added up byte by byte, by code that knows nothing of deltas.

use std::{collections::BTreeMap, net::Ipv6Addr};

use proptest::prelude::*;

use crate::{
    abi::{
        HostConfig, LocatorKey, LocatorSpace, LocatorValue, Mac, MappingKey, MappingValue, Place,
    },
    addr::{Address, Identifier, Locator, SirPrefix},
    forward::{Header, SourceMode, Tables},
    translate::ChecksumMode,
};

pub fn address(text: &str) -> Address {
    text.parse::<Ipv6Addr>().expect("the test writes an address").into()
}

/// The upper half of a prefix that ends in `::`.
pub fn prefix(text: &str) -> u64 {
    let Address { high, low } = address(text);
    assert_eq!(low, 0, "{text} is a prefix");
    high
}

pub fn octets(address: Address) -> [u8; 16] {
    Ipv6Addr::from(address).octets()
}

/// Locators of a prefix that is `length` bits long.
pub fn space(text: &str, length: u32) -> LocatorSpace {
    LocatorSpace { bits: prefix(text), mask: u64::MAX << (64 - length) }
}

// A host.

/// A host and what its kernel programs look up.
#[derive(Clone, Debug)]
pub struct Host {
    pub config: HostConfig,
    mappings: BTreeMap<MappingKey, MappingValue>,
    locators: BTreeMap<LocatorKey, LocatorValue>,
}

impl Tables for Host {
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

impl Host {
    /// A host that has a locator in each SIR prefix.
    pub fn new(mode: ChecksumMode, domains: &[(u64, u64)]) -> Self {
        let mut host = Self {
            config: HostConfig { checksum_mode: mode.number(), ..HostConfig::default() },
            mappings: BTreeMap::new(),
            locators: BTreeMap::new(),
        };
        for (index, &(sir_prefix, locator)) in (0..).zip(domains) {
            let own = &mut host.config.domains[index as usize];
            (own.sir_prefix, own.locator) = (sir_prefix, locator);
            let (sir, to) = (own.sir_prefix(), own.locator());
            own.to_ila = mode.to_ila_delta(sir, to).value();
            own.to_sir = mode.to_sir_delta(sir, to).value();
            host = host.knows(index, locator);
        }
        host
    }

    pub fn with_source_mode(mut self, mode: SourceMode) -> Self {
        self.config.source_mode = mode.number();
        self
    }

    /// With a locator that belongs to the SIR prefix at `domain`.
    pub fn knows(mut self, domain: u32, locator: u64) -> Self {
        let sir = self.config.domains[domain as usize].sir_prefix();
        let to_sir = self.mode().to_sir_delta(sir, Locator::from_bits(locator)).value();
        self.locators.insert(LocatorKey(locator), LocatorValue { domain, to_sir, padding: 0 });
        self
    }

    /// With a container of this host.
    pub fn here(self, sir: Address, interface: u32, mac: Mac) -> Self {
        self.mapped(sir, Place::Here { interface, mac })
    }

    /// With a container of another host.
    pub fn there(self, sir: Address, locator: u64) -> Self {
        let locator = Locator::from_bits(locator);
        let to_ila = self.mode().to_ila_delta(SirPrefix::from_bits(sir.high), locator);
        self.mapped(sir, Place::There { locator, to_ila })
    }

    fn mapped(mut self, sir: Address, place: Place) -> Self {
        let domain = self.config.domains.iter().position(|it| it.sir_prefix == sir.high);
        let domain = u32::try_from(domain.expect("the host serves it")).expect("there are four");
        let key = MappingKey::new(domain, Identifier::from_bits(sir.low)).expect("it is mapped");
        self.mappings.insert(key, MappingValue::new(place));
        self
    }

    pub fn mode(&self) -> ChecksumMode {
        ChecksumMode::from_number(self.config.checksum_mode)
    }
}

/// The host of the tables. `…b1`, `…b2` and `…b3` live on it, `…c1` and `…c2` on
/// others; `…c3` is nobody's. In the second SIR prefix `…b1` and `…c1` are
/// others again, and `…b4` is a second address of the first container.
pub fn host(mode: ChecksumMode) -> Host {
    let own = [
        (prefix("fd00:db8:0:1::"), prefix("2001:db8:a:a::")),
        (prefix("fd00:db8:0:2::"), prefix("2001:db8:b:a::")),
    ];
    Host::new(mode, &own)
        .knows(0, prefix("2001:db8:a:b::"))
        .knows(0, prefix("2001:db8:a:c::"))
        .knows(1, prefix("2001:db8:b:b::"))
        .here(address("fd00:db8:0:1:2000::b1"), 7, MAC)
        .here(address("fd00:db8:0:1:2000::b2"), 8, NEIGHBOUR_MAC)
        .here(address("fd00:db8:0:2:2000::b1"), 9, SECOND_MAC)
        .here(address("fd00:db8:0:2:2000::b4"), 7, MAC)
        .there(address("fd00:db8:0:1:2000::c1"), prefix("2001:db8:a:b::"))
        .there(address("fd00:db8:0:1:2000::c2"), prefix("2001:db8:a:c::"))
        .there(address("fd00:db8:0:2:2000::c1"), prefix("2001:db8:b:b::"))
}

/// The container behind interface 7.
pub const MAC: Mac = [0x02, 0, 0, 0, 0, 7];
/// The one behind interface 8.
pub const NEIGHBOUR_MAC: Mac = [0x02, 0, 0, 0, 0, 8];
/// The one behind interface 9.
pub const SECOND_MAC: Mac = [0x02, 0, 0, 0, 0, 9];

// Packets.

/// The header of a packet that is decided on, of which the tests of verdicts
/// choose no more.
pub fn header(source: Address, destination: Address, hop_limit: u8) -> Header {
    Header { payload_length: 20, next_header: 6, hop_limit, source, destination }
}

/// The header as it stands in a packet.
pub fn header_of(packet: &[u8]) -> Header {
    Header {
        payload_length: u16::from_be_bytes([packet[4], packet[5]]),
        next_header: packet[6],
        hop_limit: packet[7],
        source: address_at(packet, 8),
        destination: address_at(packet, 24),
    }
}

pub fn address_at(packet: &[u8], at: usize) -> Address {
    let half = |at| packet[at..at + 8].try_into().expect("eight bytes are eight bytes");
    Address::from_halves(half(at), half(at + 8))
}

/// The one's complement sum of bytes, the last one filled up with a zero.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(*byte) << if at % 2 == 0 { 8 } else { 0 })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("it is folded")
}

/// A sum with both zeroes taken for the same.
pub fn class(sum: u16) -> u16 {
    sum % 0xffff
}

/// The sum of an upper layer with its pseudo-header (RFC 8200 section 8.1), for
/// a packet without extension headers: ffff if its checksum is right.
pub fn upper_layer_sum(packet: &[u8]) -> u16 {
    let (header, upper) = packet.split_at(40);
    let mut covered = header[8..40].to_vec();
    covered.extend(u32::try_from(upper.len()).expect("it is short").to_be_bytes());
    covered.extend([0, 0, 0, header[6]]);
    covered.extend(upper);
    sum(&covered)
}

// Anything.

/// The upper half of an address that is routed.
fn routed() -> impl Strategy<Value = u64> {
    any::<u64>().prop_filter("routed", |high| {
        *high != 0 && *high >> 56 != 0xff && *high >> 54 != 0xfe80 >> 6
    })
}

/// As many different ones, some of the same sum.
pub fn prefixes<const N: usize>() -> impl Strategy<Value = [u64; N]> {
    let anything = prop::collection::vec(routed(), N);
    let of_one_sum = (routed(), Just(N)).prop_map(|(high, count)| {
        let turns = [0, 16, 32, 48];
        (0..count).map(|at| high.rotate_left(turns[at % 4]) ^ (at as u64 / 4)).collect::<Vec<_>>()
    });
    prop_oneof![4 => anything, 1 => of_one_sum]
        .prop_map(|highs| <[u64; N]>::try_from(highs).expect("they are counted"))
        .prop_filter("different and routed", |highs| {
            let different: std::collections::BTreeSet<_> = highs.iter().collect();
            different.len() == N
                && highs
                    .iter()
                    .all(|high| *high != 0 && *high >> 56 != 0xff && *high >> 54 != 0xfe80 >> 6)
        })
}

/// What containers have: type 1, neither zero in the low word.
pub fn identifiers() -> impl Strategy<Value = Identifier> {
    (any::<u64>(), 1..=0xfffe_u16).prop_map(|(bits, word)| {
        let identifier = Identifier::locally_unique(bits).with_low_word(word);
        identifier.check_container().expect("a container may have it")
    })
}

pub fn modes() -> impl Strategy<Value = ChecksumMode> {
    prop::sample::select(&ChecksumMode::ALL[..])
}

pub fn source_modes() -> impl Strategy<Value = SourceMode> {
    prop::sample::select(&[SourceMode::Sir, SourceMode::Locator][..])
}

pub fn addresses() -> impl Strategy<Value = Address> {
    any::<(u64, u64)>().prop_map(|(high, low)| Address { high, low })
}
