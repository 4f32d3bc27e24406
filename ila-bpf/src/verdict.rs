//! What both directions do with a verdict.

use aya_ebpf::{
    helpers::{bpf_redirect, bpf_redirect_peer},
    programs::TcContext,
};
use ila_proto::{
    abi::{Fate, HostConfig, Mac, Place},
    addr::{Address, Identifier},
    checksum::ChecksumDelta,
    extension::Upper,
    forward::{Header, Path, Rewrite, Tables},
    icmp,
    ndp::GATEWAY,
    translate::{ChecksumMode, to_ila},
};

use crate::{
    packet, route,
    state::{self, Kernel},
};

/// Which side of the host the packet came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A container.
    Container,
    /// The underlay.
    Uplink,
}

/// Why a packet goes no further: what its source is told, and its fate.
pub type Refusal = (icmp::Error, Fate);

/// The fates of a packet that cannot be sent on.
pub struct Failures {
    /// The kernel refused to write.
    pub store: Fate,
    /// There is no route.
    pub route: Fate,
    /// The link carries only less.
    pub size: Fate,
}

/// Hands the packet to a container here. `rest` makes up for what the sum of
/// the packet has changed.
#[inline(always)]
pub fn deliver(
    ctx: &TcContext,
    config: &HostConfig,
    header: &Header,
    (interface, mac): (u32, Mac),
    (rewrite, rest): (&Rewrite, ChecksumDelta),
    (fate, failed): (Fate, Fate),
) -> i32 {
    if packet::set_addresses(ctx, rewrite, rest).is_err() {
        return state::drop(ctx, failed);
    }
    if config.path != Path::Fast.number() {
        return state::pass(ctx, fate);
    }
    if packet::decrement_hop_limit(ctx, header.hop_limit)
        .and_then(|()| packet::set_link_layer(ctx, mac))
        .is_err()
    {
        return state::drop(ctx, failed);
    }
    state::count(ctx, fate);
    // SAFETY: the helper takes numbers only.
    unsafe { bpf_redirect_peer(interface, 0) as i32 }
}

/// Sends the packet to another host.
#[inline(always)]
pub fn send(
    ctx: &TcContext,
    config: &HostConfig,
    header: &Header,
    rewrite: &Rewrite,
    (fate, failures): (Fate, Failures),
) -> Result<i32, Refusal> {
    let route = route::find(ctx, config, rewrite).map_err(|error| match error {
        icmp::Error::PacketTooBig(_) => (error, failures.size),
        _ => (error, failures.route),
    })?;
    let rest = rest_of(header, rewrite);
    if packet::set_addresses(ctx, rewrite, rest).is_err() {
        return Ok(state::drop(ctx, failures.store));
    }
    if config.path != Path::Fast.number() {
        return Ok(state::pass(ctx, fate));
    }
    if packet::decrement_hop_limit(ctx, header.hop_limit).is_err() {
        return Ok(state::drop(ctx, failures.store));
    }
    state::count(ctx, fate);
    Ok(route.take())
}

/// What makes up for the change of a packet's addresses.
#[inline(always)]
pub fn rest_of(header: &Header, rewrite: &Rewrite) -> ChecksumDelta {
    if rewrite.neutral {
        return ChecksumDelta::from_value(0);
    }
    ChecksumDelta::between(header.source, rewrite.source)
        .and(ChecksumDelta::between(header.destination, rewrite.destination))
}

/// Drops the packet and, if that is allowed, tells its source why.
#[inline(always)]
pub fn refuse(
    ctx: &TcContext,
    config: &HostConfig,
    header: &Header,
    side: Side,
    (error, fate): Refusal,
) -> i32 {
    let dropped = state::drop(ctx, fate);
    if !may_answer(ctx, header) || !state::may_send_error(ctx) {
        return dropped;
    }
    answer(ctx, config, header, side, error).unwrap_or(dropped)
}

#[inline(always)]
fn answer(
    ctx: &TcContext,
    config: &HostConfig,
    header: &Header,
    side: Side,
    error: icmp::Error,
) -> Option<i32> {
    match side {
        Side::Container => {
            let from = config.address().unwrap_or(GATEWAY);
            packet::refuse(ctx, error, from, header.source).ok()?;
            // SAFETY: the helper takes numbers only.
            Some(unsafe { bpf_redirect(packet::interface(ctx), 0) as i32 })
        }
        Side::Uplink => {
            let from = config.address()?;
            let to = way_back(config, header.source)?;
            let rewrite = Rewrite { source: from, destination: to, neutral: true };
            let route = route::find_for_error(ctx, config, &rewrite)?;
            packet::refuse(ctx, error, from, to).ok()?;
            Some(route.take())
        }
    }
}

/// Where an error for `source` is to be sent.
#[inline(always)]
fn way_back(config: &HostConfig, source: Address) -> Option<Address> {
    let Some(domain) = config.domain_of_sir(source.high) else { return Some(source) };
    let identifier = Identifier::from_bits(source.low);
    let key = ila_proto::abi::MappingKey::new(domain, identifier)?;
    match Kernel.mapping(key)?.place() {
        Place::There { locator, to_ila: delta } => {
            let mode = ChecksumMode::from_number(config.checksum_mode);
            Some(to_ila(mode, identifier, locator, delta).into())
        }
        // It says that it comes from a container here, and came from outside.
        Place::Here { .. } => None,
    }
}

/// Whether a packet is one that errors may be sent about.
#[inline(always)]
fn may_answer(ctx: &TcContext, header: &Header) -> bool {
    if !icmp::may_answer(header.source, header.destination) {
        return false;
    }
    match packet::upper(ctx, header) {
        Upper::Header { protocol: icmp::NEXT_HEADER, offset } => {
            packet::byte(ctx, offset).is_some_and(|kind| !icmp::is_error(kind))
        }
        Upper::Header { .. } | Upper::LaterFragment => true,
        Upper::Unknown => false,
    }
}
