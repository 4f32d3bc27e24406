//! What both directions do with a verdict.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
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
    packet,
    route::{self, NoRoute},
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

/// What is done with a packet.
#[derive(Clone, Copy)]
pub enum Action {
    /// Handed on: to later programs, then to the stack.
    Pass,
    /// Dropped.
    Drop,
    /// Dropped, and its source is told.
    Refuse(icmp::Error),
    /// Sent where a helper was told, with the code that the helper gave.
    Redirect(i32),
}

/// What is done with a packet, and under which fate it is counted.
pub type Conclusion = (Action, Fate);

/// The fates of a packet that is sent on, or cannot be.
#[derive(Clone, Copy)]
pub struct Fates {
    /// It is.
    pub sent: Fate,
    /// The kernel refused to write.
    pub store: Fate,
    /// There is no route.
    pub route: Fate,
    /// The link carries only less.
    pub size: Fate,
}

/// Ends a program: counts the packet, tells of it if it is dropped, and does
/// what was decided. `length` is that of the packet as it came.
#[inline(always)]
pub fn conclude(ctx: &TcContext, side: Side, length: u32, conclusion: Conclusion) -> i32 {
    let (action, fate) = conclusion;
    state::count(ctx, fate, length);
    match action {
        // Anything else would end the chain and skip the programs behind ours.
        Action::Pass => return TC_ACT_UNSPEC,
        Action::Redirect(code) => return code,
        Action::Drop | Action::Refuse(_) => state::report(ctx, fate),
    }
    match action {
        Action::Refuse(error) => refuse(ctx, side, error).unwrap_or(TC_ACT_SHOT),
        _ => TC_ACT_SHOT,
    }
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
) -> Conclusion {
    if packet::set_addresses(ctx, rewrite, rest).is_err() {
        return (Action::Drop, failed);
    }
    if config.path != Path::Fast.number() {
        return (Action::Pass, fate);
    }
    if packet::decrement_hop_limit(ctx, header.hop_limit).is_err()
        || packet::set_link_layer(ctx, mac).is_err()
    {
        return (Action::Drop, failed);
    }
    // SAFETY: the helper takes numbers only.
    (Action::Redirect(unsafe { bpf_redirect_peer(interface, 0) as i32 }), fate)
}

/// Sends the packet to another host.
#[inline(always)]
pub fn send(
    ctx: &TcContext,
    config: &HostConfig,
    header: &Header,
    rewrite: &Rewrite,
    fates: Fates,
) -> Conclusion {
    let route = match route::find(ctx, config, rewrite) {
        Ok(route) => route,
        Err(NoRoute::None) => return (Action::Refuse(icmp::Error::NO_ROUTE), fates.route),
        Err(NoRoute::TooBig(mtu)) => {
            return (Action::Refuse(icmp::Error::packet_too_big(mtu)), fates.size);
        }
    };
    if packet::set_addresses(ctx, rewrite, rest_of(header, rewrite)).is_err() {
        return (Action::Drop, fates.store);
    }
    if config.path != Path::Fast.number() {
        return (Action::Pass, fates.sent);
    }
    if packet::decrement_hop_limit(ctx, header.hop_limit).is_err() {
        return (Action::Drop, fates.store);
    }
    (Action::Redirect(route.take()), fates.sent)
}

/// What makes up for the change of a packet's addresses.
#[inline(always)]
pub fn rest_of(header: &Header, rewrite: &Rewrite) -> ChecksumDelta {
    if rewrite.neutral {
        return ChecksumDelta::from_value(0);
    }
    ChecksumDelta::between_both(
        [header.source, header.destination],
        [rewrite.source, rewrite.destination],
    )
}

/// Turns the packet into the error that its source is told, if it may be, and
/// sends it back.
#[inline(always)]
fn refuse(ctx: &TcContext, side: Side, error: icmp::Error) -> Option<i32> {
    let header = packet::header(ctx).ok()?;
    if !may_answer(ctx, &header) {
        return None;
    }
    let config = state::config();
    let (from, to, route) = match side {
        Side::Container => (config.address().unwrap_or(GATEWAY), header.source, None),
        Side::Uplink => {
            let from = config.address()?;
            let to = way_back(ctx, config, header.source)?;
            (from, to, Some(route::choose(ctx, config, from, to)?))
        }
    };
    // Last, so that what could not have been sent takes nothing from the rest.
    if !state::may_send_error(ctx) {
        return None;
    }
    packet::refuse(ctx, error, from, header.source, to).ok()?;
    Some(match route {
        Some(route) => route.take(),
        // SAFETY: the helper takes numbers only.
        None => unsafe { bpf_redirect(packet::interface(ctx), 0) as i32 },
    })
}

/// Where an error for `source` is to be sent.
#[inline(always)]
fn way_back(ctx: &TcContext, config: &HostConfig, source: Address) -> Option<Address> {
    let Some(domain) = config.domain_of_sir(source.high) else { return Some(source) };
    let domain = Kernel(ctx).forget(domain);
    let identifier = Identifier::from_bits(source.low);
    let key = ila_proto::abi::MappingKey::new(domain, identifier)?;
    match Kernel(ctx).mapping(key)?.place() {
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
