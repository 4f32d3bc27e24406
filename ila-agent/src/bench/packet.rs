//! The hosts that packets are made for, and the packets.

use std::net::Ipv6Addr;

use anyhow::Result;
use ila_agent::datapath::Loaded;
use ila_proto::{
    abi::{Domain, HostConfig, LocatorValue, MappingKey, MappingValue, Place, Uplink},
    addr::{Address, Identifier, IlaAddr, Locator, SirPrefix},
    bench::{Sample, scattered},
    checksum::Sum,
    forward::SourceMode,
    icmp,
    ndp::{GATEWAY, SOLICITATION},
    translate::{ChecksumMode, to_ila},
};

use crate::network::UPLINK;

const MODE: ChecksumMode = ChecksumMode::NeutralMap;
const SIR: SirPrefix = SirPrefix::from_bits(0xfd00_0db8_0000_0001);
const HERE: Locator = Locator::from_bits(0x2001_0db8_000a_0001);
const THERE: Locator = Locator::from_bits(0x2001_0db8_000b_0002);

/// The container that packets leave and reach.
const OWN: Identifier = Identifier::locally_unique(1);
/// What all other identifiers are like, and one that nothing has.
const LIKE: Identifier = Identifier::locally_unique(0xa1);
const NOBODY: Identifier = Identifier::locally_unique(2);

const CONTAINER_MAC: [u8; 6] = [0x06, 0, 0, 0, 0, 0xa1];
/// The loopback interface, which `PROG_TEST_RUN` takes if it is told nothing.
const INTERFACE: u32 = 1;
const OTHER_INTERFACE: u32 = 77;

const UDP: u8 = 17;
/// Bytes behind the IPv6 header of every packet.
const PAYLOAD: u16 = 32;

/// Where the random identifiers live.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Here,
    There,
}

/// The programs of an object for a host without mappings.
pub fn host(object: &[u8], sources: SourceMode) -> Result<Loaded> {
    let mut config = HostConfig {
        address: [0x2001_0db8_ffff_0000, 2],
        checksum_mode: MODE.number(),
        source_mode: sources.number(),
        ..HostConfig::default()
    };
    config.domains[0] = Domain {
        sir_prefix: SIR.bits(),
        locator: HERE.bits(),
        to_ila: MODE.to_ila_delta(SIR, HERE).value(),
        to_sir: MODE.to_sir_delta(SIR, HERE).value(),
        padding: 0,
    };
    config.uplinks[0] = Uplink { interface: UPLINK, mac: [2, 0, 0, 0, 0, 1], padding: 0 };
    let mut host = Loaded::of_object(&config, object)?;
    host.tables.count(INTERFACE)?;
    host.tables.set_plain(true)?;
    for locator in [HERE, THERE] {
        let to_sir = MODE.to_sir_delta(SIR, locator).value();
        let value = LocatorValue { domain: 0, to_sir, padding: 0 };
        host.tables.set_locator(locator.into(), value)?;
    }
    let own = Place::Here { interface: INTERFACE, mac: CONTAINER_MAC };
    host.tables.set_mapping(key(OWN), MappingValue::new(own))?;
    Ok(host)
}

/// So many mappings, each as the programs draw it.
pub fn mappings(count: u32, place: Where) -> (Vec<MappingKey>, Vec<MappingValue>) {
    let value = MappingValue::new(match place {
        Where::Here => Place::Here { interface: OTHER_INTERFACE, mac: CONTAINER_MAC },
        Where::There => Place::There { locator: THERE, to_ila: MODE.to_ila_delta(SIR, THERE) },
    });
    let keys: Vec<_> = (0..count).map(|index| key(scattered(LIKE, index))).collect();
    let values = vec![value; keys.len()];
    (keys, values)
}

/// Reads `key` with the SIR prefix beside it.
pub const fn wide(key: MappingKey) -> [u64; 2] {
    [SIR.bits(), key.0]
}

/// From the container to one that is drawn.
pub fn leaving() -> Sample {
    udp(SIR.address(OWN).into(), SIR.address(LIKE).into())
}

/// From outside of the overlay's locators to a container here that is drawn.
pub fn arriving() -> Sample {
    udp(SIR.address(NOBODY).into(), on_wire(LIKE, HERE))
}

/// From one that is drawn, at another host's locator, to the container.
pub fn arriving_from_locator() -> Sample {
    udp(on_wire(LIKE, THERE), on_wire(OWN, HERE))
}

/// The container asks for its gateway.
pub fn solicitation() -> Sample {
    let source = "fe80::a1".parse::<Ipv6Addr>().expect("an address").into();
    let group = "ff02::1:ff00:1".parse::<Ipv6Addr>().expect("an address").into();
    let [a, b, c, d, e, f] = CONTAINER_MAC;
    let option = u64::from_be_bytes([1, 1, a, b, c, d, e, f]);
    let kind = u64::from(SOLICITATION) << 56;
    let body = [kind, GATEWAY.high, GATEWAY.low, option];
    let sum = body
        .into_iter()
        .chain(halves(source))
        .chain(halves(group))
        .fold(Sum::new().word(PAYLOAD).word(u16::from(icmp::NEXT_HEADER)), Sum::half);
    let checksum = u64::from(sum.finish().value()) << 32;
    let message = [kind | checksum, GATEWAY.high, GATEWAY.low, option];
    sample(icmp::NEXT_HEADER, u8::MAX, source, group, message)
}

/// The frame that a sample starts out as.
pub fn frame(sample: &Sample) -> Vec<u8> {
    [sample.macs.as_flattened(), &[0x86, 0xdd], sample.packet.as_flattened()].concat()
}

fn udp(source: Address, destination: Address) -> Sample {
    let ports = 4000 << 48 | 53 << 32 | u64::from(PAYLOAD) << 16;
    sample(UDP, 64, source, destination, [ports, 0, 0, 0])
}

fn sample(
    next_header: u8,
    hop_limit: u8,
    source: Address,
    destination: Address,
    payload: [u64; 4],
) -> Sample {
    let first = 6 << 60 | u64::from(PAYLOAD) << 16 | u64::from(next_header) << 8;
    let header =
        [first | u64::from(hop_limit), source.high, source.low, destination.high, destination.low];
    let mut sample = Sample::EMPTY;
    let macs = sample.macs.as_flattened_mut();
    // The kernel runs programs on the loopback interface, whose address this is.
    macs[..6].fill(0);
    macs[6..].copy_from_slice(&CONTAINER_MAC);
    for (place, half) in sample.packet.iter_mut().zip(header.into_iter().chain(payload)) {
        *place = half.to_be_bytes();
    }
    sample
}

fn key(identifier: Identifier) -> MappingKey {
    MappingKey::new(0, identifier).expect("it can be mapped")
}

fn on_wire(identifier: Identifier, locator: Locator) -> Address {
    let ila: IlaAddr = to_ila(MODE, identifier, locator, MODE.to_ila_delta(SIR, locator));
    ila.into()
}

const fn halves(address: Address) -> [u64; 2] {
    [address.high, address.low]
}
