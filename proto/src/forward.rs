//! What happens to a packet, decided from its IPv6 header.
//!
//! ```text
//!  container ── egress ──┬─▶ container on this host      as it is
//!                        ├─▶ uplink                      SIR → ILA
//!                        └─▶ the host's stack            not for the overlay
//!  uplink ───── ingress ─┬─▶ container on this host      ILA → SIR
//!                        ├─▶ uplink                      moved away: on to its new locator
//!                        └─▶ the host's stack            not for the overlay
//! ```

use crate::{
    abi::{Fate, HostConfig, LocatorKey, LocatorValue, Mac, MappingKey, MappingValue, Place},
    addr::{Address, Identifier, IdentifierType, IlaAddr, Locator, SirAddr},
    checksum::ChecksumDelta,
    icmp::Error,
    translate::{ChecksumMode, to_ila, to_sir},
};

/// What becomes of the source address of a container's packet on its way to
/// another host. The receiver understands both; within a domain hosts may
/// differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "std",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "kebab-case")
)]
pub enum SourceMode {
    /// It stays the SIR address (draft, section 5.2 and appendix A.4).
    #[default]
    Sir,
    /// It becomes the container's ILA address: the underlay sees addresses of
    /// hosts only, needs no route for the SIR prefix, and its ICMPv6 errors
    /// come home.
    Locator,
}

impl SourceMode {
    /// The number of the mode in [`HostConfig::source_mode`].
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The name that configuration and API have for the mode.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sir => "sir",
            Self::Locator => "locator",
        }
    }
}

/// The way of translated packets through the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "std",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "kebab-case")
)]
pub enum Path {
    /// Past the host's stack: straight to the uplink or into the container.
    #[default]
    Fast,
    /// Through the host's stack, whose routing and netfilter see them.
    Slow,
}

impl Path {
    /// The number of the path in [`HostConfig::path`].
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The name that configuration and API have for the path.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
        }
    }
}

/// What is looked up on the way to a verdict.
pub trait Tables {
    /// Where an identifier lives.
    fn mapping(&self, key: MappingKey) -> Option<MappingValue>;
    /// What a locator belongs to.
    fn locator(&self, key: LocatorKey) -> Option<LocatorValue>;
    /// `value` as it is. The verifier of kernel programs goes through all that
    /// comes behind once for each value that it knows of; the kernel's tables
    /// make it forget.
    fn forget(&self, value: u32) -> u32;
}

/// The fields of the IPv6 header that decide on a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The payload length, in bytes.
    pub payload_length: u16,
    /// The header behind it.
    pub next_header: u8,
    /// The hop limit.
    pub hop_limit: u8,
    /// Where it comes from.
    pub source: Address,
    /// Where it goes.
    pub destination: Address,
}

/// The addresses that a packet leaves with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The source.
    pub source: Address,
    /// The destination.
    pub destination: Address,
    /// Whether both sum up to the same as before, so that no checksum anywhere
    /// has to change.
    pub neutral: bool,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it as it is to the host's stack.
    Pass(Fate),
    /// Drop it.
    Drop(Fate),
    /// Drop it and tell its source.
    Refuse(Error, Fate),
    /// Hand it to a container on this host.
    Deliver {
        /// The container's host-side interface.
        interface: u32,
        /// The link-layer address of the container's end.
        mac: Mac,
        /// Its addresses.
        rewrite: Rewrite,
        /// Why.
        fate: Fate,
    },
    /// Send it to another host.
    Send {
        /// Its addresses.
        rewrite: Rewrite,
        /// Why.
        fate: Fate,
    },
}

/// A router discards a packet that arrives with no more than this: it would
/// leave with zero (RFC 8200, section 3).
const LAST_HOP: u8 = 1;

/// An address and whether it sums up to the same as the one it stands for.
#[derive(Clone, Copy)]
struct Stated {
    address: Address,
    neutral: bool,
}

/// Decides on a packet that arrived from the container behind `interface`.
#[inline(always)]
pub fn egress(
    config: &HostConfig,
    tables: &impl Tables,
    interface: u32,
    header: &Header,
) -> Verdict {
    let Header { source, destination, hop_limit, .. } = *header;
    let own = own_domain(config, tables, interface, source);
    let Some(domain) = config.domain_of_sir(destination.high) else {
        return outside(config, tables, own.is_some(), header);
    };
    let domain = tables.forget(domain);
    let Some(own) = own else {
        return Verdict::Drop(Fate::EgressSource);
    };
    if hop_limit <= LAST_HOP {
        return Verdict::Refuse(Error::TIME_EXCEEDED, Fate::EgressHopLimit);
    }
    let identifier = Identifier::from_bits(destination.low);
    let mapping = MappingKey::new(domain, identifier).and_then(|key| tables.mapping(key));
    match mapping.map(|value| value.place()) {
        None => Verdict::Refuse(Error::ADDRESS_UNREACHABLE, Fate::EgressUnknownIdentifier),
        Some(Place::Here { interface, mac }) => {
            let rewrite = Rewrite { source, destination, neutral: true };
            Verdict::Deliver { interface, mac, rewrite, fate: Fate::EgressLocal }
        }
        Some(Place::There { locator, to_ila }) => {
            let destination = ila(config, identifier, locator, to_ila);
            let source = if config.source_mode == SourceMode::Locator.number() {
                let own = config.domain(own);
                ila(config, Identifier::from_bits(source.low), own.locator(), own.to_ila())
            } else {
                Stated { address: source, neutral: true }
            };
            let rewrite = Rewrite {
                source: source.address,
                destination: destination.address,
                neutral: source.neutral && destination.neutral,
            };
            Verdict::Send { rewrite, fate: Fate::EgressTranslated }
        }
    }
}

/// Decides on a packet that an uplink receives. `is_error` says that it is an
/// `ICMPv6` error: routers may send those from addresses under a locator that
/// nobody holds, and what they tell is needed all the same.
#[inline(always)]
pub fn ingress(
    config: &HostConfig,
    tables: &impl Tables,
    header: &Header,
    is_error: bool,
) -> Verdict {
    let Header { source, destination, hop_limit, .. } = *header;
    // First, because the verifier goes through it once for every domain if it
    // comes behind the next line.
    let Restored { stated: origin, holds } = restore(config, tables, source);
    let Target { domain, stated: target, is_ours, fate } = target(config, tables, destination);
    if !is_ours {
        return Verdict::Pass(fate);
    }
    let is_believed = holds || is_error && source.is_routable_source();
    if !is_believed {
        return Verdict::Drop(Fate::IngressSource);
    }
    if hop_limit <= LAST_HOP {
        return Verdict::Refuse(Error::TIME_EXCEEDED, Fate::IngressHopLimit);
    }
    let identifier = Identifier::from_bits(target.address.low);
    let mapping = MappingKey::new(domain, identifier).and_then(|key| tables.mapping(key));
    match mapping.map(|value| value.place()) {
        None => Verdict::Refuse(Error::ADDRESS_UNREACHABLE, Fate::IngressUnknownIdentifier),
        Some(Place::Here { interface, mac }) => {
            let rewrite = Rewrite {
                source: origin.address,
                destination: target.address,
                neutral: origin.neutral && target.neutral,
            };
            Verdict::Deliver { interface, mac, rewrite, fate }
        }
        // The source stays as the sender has stated it, for the receiver checks
        // it against the sender's locator.
        Some(Place::There { locator, to_ila }) => {
            let next = ila(config, identifier, locator, to_ila);
            let neutral = target.neutral && next.neutral;
            let rewrite = Rewrite { source, destination: next.address, neutral };
            Verdict::Send { rewrite, fate: Fate::IngressForwarded }
        }
    }
}

/// Whether an address that an uplink receives packets for is of the overlay,
/// as a SIR or as an ILA address, and not the host's.
#[must_use]
#[inline(always)]
pub fn is_overlay(config: &HostConfig, destination: Address) -> bool {
    let kind = Identifier::from_bits(destination.low).kind();
    config.domain_of_sir(destination.high).is_some()
        || config.domain_of_locator(destination.high).is_some() && kind != IdentifierType::Interface
}

/// Whom a packet from an uplink is for.
struct Target {
    domain: u32,
    stated: Stated,
    /// Whether it is for anybody in the overlay.
    is_ours: bool,
    fate: Fate,
}

#[inline(always)]
fn target(config: &HostConfig, tables: &impl Tables, destination: Address) -> Target {
    let as_it_is = Stated { address: destination, neutral: true };
    let not_ours = |fate| Target { domain: 0, stated: as_it_is, is_ours: false, fate };
    if let Some(domain) = config.domain_of_locator(destination.high) {
        let wire = Identifier::from_bits(destination.low);
        if wire.kind() == IdentifierType::Interface {
            return not_ours(Fate::IngressHost);
        }
        let domain = tables.forget(domain);
        let own = config.domain(domain);
        let ila = IlaAddr { locator: own.locator(), identifier: wire };
        let mode = ChecksumMode::from_number(config.checksum_mode);
        let sir = to_sir(mode, ila, own.sir_prefix(), own.to_sir());
        let stated = Stated { address: sir.into(), neutral: mode.adjusts(wire) };
        return Target { domain, stated, is_ours: true, fate: Fate::IngressRestored };
    }
    match config.domain_of_sir(destination.high) {
        // From outside of the domain: this host is its router into it.
        Some(domain) => Target {
            domain: tables.forget(domain),
            stated: as_it_is,
            is_ours: true,
            fate: Fate::IngressSir,
        },
        None => not_ours(Fate::IngressNotLocator),
    }
}

/// How a packet that is quoted in an `ICMPv6` error is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The quoted packet's source.
    pub source: Address,
    /// The quoted packet's destination.
    pub destination: Address,
    /// What the checksum of the error is adjusted by.
    pub checksum: ChecksumDelta,
    /// What makes up for the change of the error's own addresses that its
    /// checksum does not.
    pub rest: ChecksumDelta,
}

/// Decides on the quote of an `ICMPv6` error that is delivered to a container:
/// none if its addresses are as the container knows them.
///
/// `addressed` is the error's destination as it came and as it is delivered,
/// `outer` makes up for what becomes of the error's own addresses. In the
/// neutral modes that is zero and the checksum stays.
#[inline(always)]
pub fn quoted(
    config: &HostConfig,
    tables: &impl Tables,
    addressed: (Address, Address),
    outer: ChecksumDelta,
    source: Address,
    destination: Address,
) -> Option<Quote> {
    // An error goes to where the packet came from, in the form that whoever
    // made it saw. If that is the ILA address, the checksum has to follow; if
    // it is the SIR address, the checksum waits for that to come back.
    let (came, delivered) = addressed;
    let is_ila = source == came && came != delivered;
    let from = if is_ila { delivered } else { source };
    // Nothing is believed by it, so that it need not be held there any more: whoever
    // had it has sent the packet on. What cannot be restored stays as it is: the
    // container will not know it, which is what would have become of it anyway.
    let is_host = Identifier::from_bits(destination.low).kind() == IdentifierType::Interface;
    let behind = if is_host { None } else { behind(config, tables, destination) };
    let to = behind.map_or(destination, |(_, sir)| sir.into());
    if !is_ila && to == destination {
        return None;
    }
    let inner = ChecksumDelta::between_both([source, destination], [from, to]);
    let none = ChecksumDelta::from_value(0);
    let (checksum, rest) = if is_ila { (inner.and(outer), none) } else { (inner, outer) };
    Some(Quote { source: from, destination: to, checksum, rest })
}

/// What a container sends to an address that is not of the overlay.
#[inline(always)]
fn outside(config: &HostConfig, tables: &impl Tables, own: bool, header: &Header) -> Verdict {
    let Header { source, destination, .. } = *header;
    let on_link = destination.is_link_local() || destination.is_multicast();
    let from_link = source.is_link_local() || source.is_unspecified();
    if !(own || from_link && on_link) {
        return Verdict::Drop(Fate::EgressSource);
    }
    let is_locator = config.domain_of_locator(destination.high).is_some()
        || config.is_in_locator_space(destination.high)
        || tables.locator(LocatorKey(destination.high)).is_some();
    if is_locator { Verdict::Drop(Fate::EgressLocator) } else { Verdict::Pass(Fate::EgressNotSir) }
}

/// The SIR prefix of `source`, if that is the address of the container behind
/// `interface`.
#[inline(always)]
fn own_domain(
    config: &HostConfig,
    tables: &impl Tables,
    interface: u32,
    source: Address,
) -> Option<u32> {
    let domain = tables.forget(config.domain_of_sir(source.high)?);
    let key = MappingKey::new(domain, Identifier::from_bits(source.low))?;
    match tables.mapping(key)?.place() {
        Place::Here { interface: holder, .. } if holder == interface => Some(domain),
        _ => None,
    }
}

/// The SIR address behind an ILA address.
#[derive(Clone, Copy)]
struct Restored {
    stated: Stated,
    /// Whether packets from there are handed on: the locator holds the
    /// identifier, or there is no locator. Else the address is as it was.
    holds: bool,
}

/// The SIR address behind an ILA address; any other address as it is.
#[inline(always)]
fn restore(config: &HostConfig, tables: &impl Tables, address: Address) -> Restored {
    let as_it_is = Restored { stated: Stated { address, neutral: true }, holds: true };
    let wire = Identifier::from_bits(address.low);
    if !address.is_routable_source() {
        return Restored { holds: false, ..as_it_is };
    }
    // Spares most a look-up. Under another SIR prefix it finds nothing.
    let is_sir = address.high == config.domains[0].sir_prefix;
    if is_sir || wire.kind() == IdentifierType::Interface {
        return as_it_is;
    }
    let Some((known, sir)) = behind(config, tables, address) else {
        // The locator of a host that this one has not heard of holds nobody.
        let is_locator = config.is_in_locator_space(address.high)
            && config.domain_of_sir(address.high).is_none();
        return Restored { holds: !is_locator, ..as_it_is };
    };
    let locator = Locator::from_bits(address.high);
    let mapping = MappingKey::new(known.domain, sir.identifier).and_then(|key| tables.mapping(key));
    let holds = match mapping.map(|value| value.place()) {
        Some(Place::There { locator: mapped, .. }) => mapped == locator,
        Some(Place::Here { .. }) => config.domain(known.domain).locator() == locator,
        None => false,
    };
    // Before anything is made of it: the verifier would go on with both.
    if !holds {
        return Restored { holds, ..as_it_is };
    }
    let mode = ChecksumMode::from_number(config.checksum_mode);
    let stated = Stated { address: sir.into(), neutral: mode.adjusts(wire) };
    Restored { stated, holds }
}

/// What is known of an address's locator, and the SIR address behind it, whoever
/// is there; none if the locator is not known.
#[inline(always)]
fn behind(
    config: &HostConfig,
    tables: &impl Tables,
    address: Address,
) -> Option<(LocatorValue, SirAddr)> {
    let known = tables.locator(LocatorKey(address.high))?;
    let mode = ChecksumMode::from_number(config.checksum_mode);
    let identifier = Identifier::from_bits(address.low);
    let ila = IlaAddr { locator: Locator::from_bits(address.high), identifier };
    let sir = to_sir(mode, ila, config.domain(known.domain).sir_prefix(), known.to_sir());
    Some((known, sir))
}

#[inline(always)]
fn ila(
    config: &HostConfig,
    identifier: Identifier,
    locator: Locator,
    delta: ChecksumDelta,
) -> Stated {
    let mode = ChecksumMode::from_number(config.checksum_mode);
    let ila = to_ila(mode, identifier, locator, delta);
    Stated { address: ila.into(), neutral: mode.adjusts(ila.identifier) }
}

#[cfg(all(test, feature = "std"))]
mod tests;
