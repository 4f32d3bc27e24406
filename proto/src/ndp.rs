//! Neighbour discovery, answered in place.
//!
//! On a container's link the host answers for its gateway address and for
//! every address that a mapping names, so that containers need no more than an
//! address and a default route. On an uplink it answers for the ILA addresses
//! of its containers, for routers that take the locator to be on the link.
//!
//! ```text
//!  neighbour solicitation (RFC 4861 section 4.3), behind the IPv6 header
//!  | type 135 | code 0 | checksum (2) | reserved (4) | target (16) | options …
//!  neighbour advertisement (section 4.4), as it is sent here
//!  | type 136 | code 0 | checksum (2) | R S O, 0 (4) | target (16) | 2 1 MAC (8)
//! ```

use crate::{
    abi::{Fate, GATEWAY_MAC, HostConfig, Mac, MappingKey, Place},
    addr::{Address, Identifier, IdentifierType, IlaAddr},
    checksum::Sum,
    forward::{Header, Tables},
    icmp::NEXT_HEADER,
    translate::{ChecksumMode, to_sir},
};

/// The gateway of every container, `fe80::1`: link-local, so that it is the
/// same on every host and never collides with an address that is routed.
pub const GATEWAY: Address = Address { high: 0xfe80_0000_0000_0000, low: 1 };

/// All nodes of a link (RFC 4291, section 2.7.1).
pub const ALL_NODES: Address = Address { high: 0xff02_0000_0000_0000, low: 1 };
/// The link-layer address that goes with it (RFC 2464, section 7).
pub const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// The hop limit of every neighbour discovery packet: proof that no router
/// handed it on.
pub const HOP_LIMIT: u8 = 255;
/// `ICMPv6` type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// All types of neighbour discovery, router solicitation to redirect. None of
/// them is ever handed on by a router (RFC 4861 section 4), and a host that
/// listened to a container's could be made to learn anything.
pub const TYPES: core::ops::RangeInclusive<u8> = 133..=137;

/// Bytes in which options are counted.
pub const UNIT: usize = 8;
/// Units of a solicitation without options.
const BARE: usize = 3;
/// Units of a solicitation that are looked at: room for the options that
/// hosts send, link-layer address, nonce and timestamp. Longer ones are
/// refused, for nothing that was not summed up is trusted.
pub const MAX_UNITS: usize = 8;

const OPTION_SOURCE_LINK_LAYER: u8 = 1;

const ROUTER: u32 = 1 << 31;
const SOLICITED: u32 = 1 << 30;
const OVERRIDE: u32 = 1 << 29;

/// A solicitation that is as RFC 4861 section 7.1.1 wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Who asks; unspecified in duplicate address detection.
    pub source: Address,
    /// Whose link-layer address is asked for.
    pub target: Address,
}

impl Solicitation {
    /// Reads a solicitation behind `header`. `unit` gives its eight bytes at
    /// an index as the number that they spell, and zero or none behind its end.
    ///
    /// None for a packet that is to be dropped in silence: hop limit, code,
    /// length, checksum, target, source or an option is not as it must be.
    #[inline(always)]
    pub fn read(header: &Header, unit: impl Fn(usize) -> Option<u64>) -> Option<Self> {
        let Header { payload_length, hop_limit, source, destination, .. } = *header;
        let units = usize::from(payload_length) / UNIT;
        if hop_limit != HOP_LIMIT
            || usize::from(payload_length) % UNIT != 0
            || !(BARE..=MAX_UNITS).contains(&units)
            // The answer would go to all of the group.
            || source.is_multicast()
        {
            return None;
        }
        let [kind, code, ..] = unit(0)?.to_be_bytes();
        let target = Address { high: unit(1)?, low: unit(2)? };
        if kind != SOLICITATION || code != 0 || target.is_multicast() {
            return None;
        }
        let (sum, names_link_layer) = options(header, units, unit)?;
        let is_probe = source.is_unspecified();
        if !sum.is_valid() || is_probe && (names_link_layer || destination != group_of(target)) {
            return None;
        }
        Some(Self { source, target })
    }
}

/// Sums up the packet and walks its options; whether one of them is the
/// source's link-layer address. None if an option has no length, or one that
/// is beyond the end.
///
/// Bits stand for branches: the verifier goes through every combination of
/// branches, and there is one less for each that is not there.
#[inline(always)]
fn options(
    header: &Header,
    units: usize,
    unit: impl Fn(usize) -> Option<u64>,
) -> Option<(Sum, bool)> {
    let Header { payload_length, source, destination, .. } = *header;
    let mut sum = Sum::new()
        .half(source.high)
        .half(source.low)
        .half(destination.high)
        .half(destination.low)
        .word(payload_length)
        .word(u16::from(NEXT_HEADER));
    // One bit for each unit that an option starts with, or the end.
    let mut starts = 1u64 << BARE;
    let (mut too_long, mut names_link_layer) = (0, 0);
    for index in 0..MAX_UNITS {
        // Behind the end there are zeroes, as `unit` may say itself.
        let half = unit(index).unwrap_or(0);
        sum = sum.half(half);
        let [kind, length, ..] = half.to_be_bytes();
        let is_start = starts >> index & 1;
        let mask = is_start.wrapping_neg();
        too_long |= mask & (u64::from(length) / MAX_UNITS as u64);
        // One without a length starts itself anew, and the end is not reached.
        starts |= is_start << (index as u64 + u64::from(length) % MAX_UNITS as u64);
        names_link_layer |= is_start & u64::from(kind == OPTION_SOURCE_LINK_LAYER);
    }
    let reaches_end = starts >> units == 1;
    (reaches_end && too_long == 0).then_some((sum, names_link_layer != 0))
}

/// The solicited-node group of an address (RFC 4291, section 2.7.1).
#[inline(always)]
const fn group_of(target: Address) -> Address {
    Address { high: ALL_NODES.high, low: 0x1_ff00_0000 | target.low & 0xff_ffff }
}

/// Decides on a solicitation that arrived from the container behind
/// `interface`.
///
/// # Errors
/// The fate of the solicitation that is not answered.
#[inline(always)]
pub fn answer(
    config: &HostConfig,
    tables: &impl Tables,
    interface: u32,
    solicitation: &Solicitation,
) -> Result<(Advertisement, Fate), Fate> {
    let Solicitation { source, target } = *solicitation;
    let is_probe = source.is_unspecified();
    let unknown = if is_probe { Fate::NdpDuplicateProbe } else { Fate::NdpUnknownTarget };
    let fate = if is_probe { Fate::NdpDefended } else { Fate::NdpAnswered };
    if target == GATEWAY {
        return Ok((Advertisement::new(solicitation, OVERRIDE, GATEWAY_MAC), fate));
    }
    let domain = tables.forget(config.domain_of_sir(target.high).ok_or(unknown)?);
    let key = MappingKey::new(domain, Identifier::from_bits(target.low)).ok_or(unknown)?;
    match tables.mapping(key).map(|value| value.place()) {
        None => Err(unknown),
        Some(Place::Here { interface: holder, .. }) if holder == interface => {
            // An answer would tell the container that its own address is taken
            // (RFC 4862 section 5.4).
            Err(if is_probe { Fate::NdpDuplicateProbe } else { Fate::NdpOwnAddress })
        }
        // On behalf of another: no override (RFC 4861 section 7.2.8).
        Some(_) => Ok((Advertisement::new(solicitation, 0, GATEWAY_MAC), fate)),
    }
}

/// Decides on a solicitation that arrived on an uplink with the link-layer
/// address `mac`: the answer, if it asks for the ILA address of a container
/// here; none if it is the host's own affair.
#[inline(always)]
pub fn answer_on_uplink(
    config: &HostConfig,
    tables: &impl Tables,
    mac: Mac,
    solicitation: &Solicitation,
) -> Option<Advertisement> {
    let target = solicitation.target;
    let domain = tables.forget(config.domain_of_locator(target.high)?);
    let identifier = Identifier::from_bits(target.low);
    if identifier.kind() == IdentifierType::Interface {
        return None;
    }
    let own = config.domain(domain);
    let mode = ChecksumMode::from_number(config.checksum_mode);
    let ila = IlaAddr { locator: own.locator(), identifier };
    let sir = to_sir(mode, ila, own.sir_prefix(), own.to_sir());
    match tables.mapping(MappingKey::new(domain, sir.identifier)?)?.place() {
        Place::Here { .. } => Some(Advertisement::new(solicitation, OVERRIDE, mac)),
        Place::There { .. } => None,
    }
}

/// A neighbour advertisement to be sent from its target to the solicitor, or
/// to all if that has no address yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// IPv6 destination.
    pub to: Address,
    /// Target, which is the IPv6 source as well.
    pub target: Address,
    /// The target's link-layer address.
    pub mac: Mac,
    flags: u32,
}

impl Advertisement {
    /// Bytes of the packet, the IPv6 header included.
    pub const LENGTH: usize = 72;

    #[inline(always)]
    fn new(solicitation: &Solicitation, flags: u32, mac: Mac) -> Self {
        let Solicitation { source, target } = *solicitation;
        // RFC 4861 section 7.2.4: to a probe the answer goes to all, and is
        // not called solicited.
        let (to, solicited) =
            if source.is_unspecified() { (ALL_NODES, 0) } else { (source, SOLICITED) };
        Self { to, target, mac, flags: ROUTER | flags | solicited }
    }

    /// The IPv6 packet, each eight bytes as the number that they spell: header (5),
    /// type to flags, target (2), option.
    #[must_use]
    #[inline(always)]
    pub const fn packet(&self) -> [u64; Self::LENGTH / 8] {
        /// IPv6, traffic class and flow label zero.
        const VERSION: u64 = 6 << 60;
        /// Type 136, code 0, checksum not yet filled in.
        const KIND: u64 = 136 << 56;
        /// Bytes of an advertisement with the one option that is sent.
        const PAYLOAD: u16 = 32;
        let Self { to, target, mac: [a, b, c, d, e, f], flags } = *self;
        // Target link-layer address, one unit.
        let option = u64::from_be_bytes([2, 1, a, b, c, d, e, f]);
        let sum = Sum::new()
            .half(target.high)
            .half(target.low)
            .half(to.high)
            .half(to.low)
            .word(PAYLOAD)
            .word(NEXT_HEADER as u16)
            .half(KIND | flags as u64)
            .half(target.high)
            .half(target.low)
            .half(option);
        [
            VERSION | (PAYLOAD as u64) << 16 | (NEXT_HEADER as u64) << 8 | HOP_LIMIT as u64,
            target.high,
            target.low,
            to.high,
            to.low,
            KIND | (sum.finish().value() as u64) << 32 | flags as u64,
            target.high,
            target.low,
            option,
        ]
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
