//! Neighbour discovery on a container's link: the host answers for its gateway
//! address and for every address that a mapping names, so that containers need
//! no more than an address and a default route.
//!
//! ```text
//!  neighbour solicitation (RFC 4861 section 4.3), behind the IPv6 header
//!  | type 135 | code 0 | checksum (2) | reserved (4) | target (16) | options …
//!  neighbour advertisement (section 4.4), as it is sent here
//!  | type 136 | code 0 | checksum (2) | R S O, 0 (4) | target (16) | 2 1 MAC (8)
//! ```

use crate::{
    abi::{Fate, GATEWAY_MAC, HostConfig, MappingValue},
    addr::{Address, Identifier},
    checksum::Sum,
};

/// The gateway of every container, `fe80::1`: link-local, so that it is the
/// same on every host and never collides with an address that is routed.
pub const GATEWAY: Address = Address { high: 0xfe80_0000_0000_0000, low: 1 };

/// ICMPv6 as a next header.
pub const NEXT_HEADER_ICMPV6: u8 = 58;
/// The hop limit of every neighbour discovery packet: proof that no router
/// handed it on.
pub const HOP_LIMIT: u8 = 255;
/// ICMPv6 type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// All types of neighbour discovery, router solicitation to redirect. None of
/// them is ever handed on by a router (RFC 4861 section 4), and a host that
/// listened to a container's could be made to learn anything.
pub const TYPES: core::ops::RangeInclusive<u8> = 133..=137;
/// Bytes of a solicitation without options.
pub const SOLICITATION_LENGTH: usize = 24;

const ROUTER: u32 = 1 << 31;
const SOLICITED: u32 = 1 << 30;
const OVERRIDE: u32 = 1 << 29;

/// IPv6, traffic class and flow label zero.
const VERSION: u64 = 6 << 60;
/// Type 136, code 0, checksum not yet filled in.
const KIND: u64 = 136 << 56;
/// Bytes of an advertisement with the one option that is sent.
const LENGTH: u16 = 32;
/// That option: target link-layer address, one unit of eight bytes.
const TARGET_LINK_LAYER: u64 = {
    let [a, b, c, d, e, f] = GATEWAY_MAC;
    u64::from_be_bytes([2, 1, a, b, c, d, e, f])
};

/// The fields of a solicitation that decide on its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// IPv6 source; unspecified in duplicate address detection.
    pub source: Address,
    /// IPv6 hop limit.
    pub hop_limit: u8,
    /// IPv6 payload length, in bytes.
    pub payload_length: u16,
    /// ICMPv6 code.
    pub code: u8,
    /// Whose link-layer address is asked for.
    pub target: Address,
}

/// Decides on a solicitation that arrived from the container behind
/// `interface`: `Ok` with the answer, or why there is none.
///
/// # Errors
/// The fate of the solicitation that is not answered.
pub fn answer(
    config: &HostConfig,
    interface: u32,
    solicitation: &Solicitation,
    look_up: impl FnOnce(Identifier) -> Option<MappingValue>,
) -> Result<Advertisement, Fate> {
    let Solicitation { source, hop_limit, payload_length, code, target } = *solicitation;
    // From RFC 4861 section 7.1.1; a source that is a group would have the
    // answer sent to all of it.
    if hop_limit != HOP_LIMIT
        || code != 0
        || usize::from(payload_length) < SOLICITATION_LENGTH
        || target.is_multicast()
        || source.is_multicast()
    {
        return Err(Fate::NdpInvalid);
    }
    // An answer would tell the container that its own address is taken
    // (RFC 4862 section 5.4).
    if source == Address::UNSPECIFIED {
        return Err(Fate::NdpDuplicateProbe);
    }
    if target == GATEWAY {
        return Ok(Advertisement { to: source, target, flags: ROUTER | SOLICITED | OVERRIDE });
    }
    if target.high != config.sir_prefix {
        return Err(Fate::NdpUnknownTarget);
    }
    match look_up(Identifier::from_bits(target.low)) {
        None => Err(Fate::NdpUnknownTarget),
        Some(mapping) if mapping.interface == interface => Err(Fate::NdpOwnAddress),
        // On behalf of another: no override (RFC 4861 section 7.2.8).
        Some(_) => Ok(Advertisement { to: source, target, flags: ROUTER | SOLICITED }),
    }
}

/// A neighbour advertisement to be sent from its target to the solicitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// IPv6 destination.
    pub to: Address,
    /// Target, which is the IPv6 source as well.
    pub target: Address,
    flags: u32,
}

impl Advertisement {
    /// The IPv6 packet, each eight bytes as the number that they spell: header (5),
    /// type to flags, target (2), option.
    #[must_use]
    pub const fn packet(&self) -> [u64; 9] {
        let Self { to, target, flags } = *self;
        let sum = Sum::new()
            .half(target.high)
            .half(target.low)
            .half(to.high)
            .half(to.low)
            .word(LENGTH)
            .word(NEXT_HEADER_ICMPV6 as u16)
            .half(KIND | flags as u64)
            .half(target.high)
            .half(target.low)
            .half(TARGET_LINK_LAYER);
        [
            VERSION | (LENGTH as u64) << 16 | (NEXT_HEADER_ICMPV6 as u64) << 8 | HOP_LIMIT as u64,
            target.high,
            target.low,
            to.high,
            to.low,
            KIND | (sum.finish().value() as u64) << 32 | flags as u64,
            target.high,
            target.low,
            TARGET_LINK_LAYER,
        ]
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
