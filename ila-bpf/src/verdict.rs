//! What both directions do with a verdict.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::bpf_redirect_peer,
    programs::TcContext,
};
use ila_proto::{
    abi::{Fate, HostConfig, Mac},
    checksum::ChecksumDelta,
    forward::{Header, Path, Rewrite},
    icmp,
};

use crate::{
    packet, refuse,
    route::{self, NoRoute},
    state,
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
    /// There is not to be one.
    pub prohibited: Fate,
    /// There is one that leads to no uplink.
    pub elsewhere: Fate,
    /// The way carries only less.
    pub size: Fate,
}

/// Ends a program: counts the packet, tells of it if it is dropped, and does
/// what was decided. `length` is that of the packet as it came: callers take it
/// before they decide.
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
    if let Action::Refuse(error) = action {
        refuse::go(ctx, side, error);
    }
    TC_ACT_SHOT
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
    let route = match route::find(ctx, config, header, rewrite) {
        Ok(route) => route,
        Err(NoRoute::None) => return (Action::Refuse(icmp::Error::NO_ROUTE), fates.route),
        Err(NoRoute::Elsewhere) => {
            return (Action::Refuse(icmp::Error::NO_ROUTE), fates.elsewhere);
        }
        Err(NoRoute::Prohibited) => {
            return (Action::Refuse(icmp::Error::PROHIBITED), fates.prohibited);
        }
        Err(NoRoute::Blackhole) => return (Action::Drop, fates.prohibited),
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
