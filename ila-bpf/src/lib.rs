//! The kernel programs, one file per concern, for the objects that are made of
//! them: `ila-bpf`, which ships, and those that are built for measuring only.
//!
//! They hold no policy: a program loads what decides from the packet, asks
//! `ila_proto` for the verdict, carries it out and counts the fate. Raw packet
//! memory is touched in [`packet`] only.
//!
//! | file | concern |
//! |---|---|
//! | `egress` | a container's host-side interface, what the container sends |
//! | `ingress` | an uplink, what the underlay delivers |
//! | `ndp` | the answer to a neighbour solicitation |
//! | `packet` | bounds-checked reads and writes of packet memory |
//! | `refuse` | the error that the source of a dropped packet is told |
//! | `route` | the way out of the host |
//! | `state` | configuration, tables, counters, events |
//! | `verdict` | carrying out what was decided |
//!
//! For any other target there is nothing in here: `ila-agent` depends on it so
//! that cargo rebuilds the objects when it changes.
#![no_std]
#![cfg(any(target_arch = "bpf", clippy))]
#![allow(
    clippy::inline_always,
    reason = "a call would make the verifier forget what it knows of packet pointers"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "what is cast are offsets in a header and the small codes that helpers return"
)]
#![allow(missing_debug_implementations, reason = "kernel programs print nothing")]

mod egress;
mod ingress;
mod ndp;
mod packet;
mod refuse;
mod route;
mod state;
mod verdict;

use aya_ebpf::programs::TcContext;

#[cfg(feature = "bench")]
pub use packet::{ETHERNET, Plain, write};
#[cfg(feature = "bench")]
pub use state::{Kernel, config};

use verdict::Side;

/// What a container sends.
#[must_use]
#[inline(always)]
pub fn egress(ctx: &TcContext) -> i32 {
    verdict::conclude(ctx, Side::Container, ctx.len(), egress::run(ctx))
}

/// What the underlay delivers.
#[must_use]
#[inline(always)]
pub fn ingress(ctx: &TcContext) -> i32 {
    verdict::conclude(ctx, Side::Uplink, ctx.len(), ingress::run(ctx))
}

/// The `ICMPv6` errors that [`ingress`] leaves to it.
#[must_use]
#[inline(always)]
pub fn ingress_error(ctx: &TcContext) -> i32 {
    verdict::conclude(ctx, Side::Uplink, ctx.len(), ingress::run_error(ctx))
}

/// The neighbour solicitations that [`egress`] leaves to it.
#[must_use]
#[inline(always)]
pub fn solicited(ctx: &TcContext) -> i32 {
    verdict::conclude(ctx, Side::Container, ctx.len(), ndp::run(ctx))
}

/// The neighbour solicitations that [`ingress`] leaves to it.
#[must_use]
#[inline(always)]
pub fn solicited_on_uplink(ctx: &TcContext) -> i32 {
    verdict::conclude(ctx, Side::Uplink, ctx.len(), ndp::run_on_uplink(ctx))
}

/// The dropped packets whose source any of the others wants told.
#[must_use]
#[inline(always)]
pub fn refuse(ctx: &TcContext) -> i32 {
    refuse::run(ctx)
}
