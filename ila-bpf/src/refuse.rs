//! The error that the source of a dropped packet is told, in a program of its
//! own: most packets never need it, and the verifier need not go through it
//! behind each of their ways.

use aya_ebpf::{bindings::TC_ACT_SHOT, helpers::bpf_redirect, programs::TcContext};
use ila_proto::{
    abi::{HostConfig, MappingKey, Place, Tail},
    addr::{Address, Identifier},
    extension::Upper,
    forward::{Header, Tables as _},
    icmp,
    ndp::GATEWAY,
    translate::{ChecksumMode, to_ila},
};

use crate::{
    packet::{self, Flow},
    route,
    state::{self, Kernel},
    verdict::Side,
};

/// Goes on in that program; comes back only if it is not there.
#[inline(always)]
pub fn go(ctx: &TcContext, side: Side, error: icmp::Error) {
    packet::remember(ctx, [error.bits() as u32, (error.bits() >> 32) as u32, side as u32]);
    state::go_on(ctx, Tail::Refuse);
}

/// What that program does.
#[inline(always)]
pub fn run(ctx: &TcContext) -> i32 {
    let [low, high, side] = packet::remembered(ctx);
    let error = icmp::Error::from_bits(u64::from(high) << 32 | u64::from(low));
    refuse(ctx, side == Side::Container as u32, error).unwrap_or(TC_ACT_SHOT)
}

/// Turns the packet into the error that its source is told, if it may be, and
/// sends it back.
#[inline(always)]
fn refuse(ctx: &TcContext, from_container: bool, error: icmp::Error) -> Option<i32> {
    let header = packet::header(ctx).ok()?;
    if !may_answer(ctx, &header) {
        return None;
    }
    let config = state::config();
    let (from, to, route) = if from_container {
        (config.address().unwrap_or(GATEWAY), header.source, None)
    } else {
        let from = config.address()?;
        let to = way_back(ctx, config, header.source)?;
        let flow = Flow { protocol: icmp::NEXT_HEADER, ..Flow::default() };
        (from, to, Some(route::ask(ctx, config, (from, to), flow, icmp::LARGEST).ok()?))
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
    let key = MappingKey::new(domain, identifier)?;
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
