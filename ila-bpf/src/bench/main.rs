//! The object that `cargo xtask bench --kernel` measures with: each program
//! twice, once only making the packet what it was and once running what ships
//! behind that. The difference is what ships.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the macro that makes a program's entry drops its comment")]
#![allow(clippy::needless_pass_by_value, reason = "the macro hands the context over by value")]
#![allow(
    clippy::inline_always,
    reason = "a call would make the verifier forget what it knows of packet pointers"
)]

#[path = "../object.rs"]
mod object;
mod sample;

use aya_ebpf::{bindings::TC_ACT_SHOT, macros::classifier, programs::TcContext};
use ila_proto::bench::Sample;

use crate::sample::reset;

#[classifier]
pub fn reset_ndp(ctx: TcContext) -> i32 {
    whole(&ctx, nothing)
}

#[classifier]
pub fn ndp(ctx: TcContext) -> i32 {
    whole(&ctx, ila_bpf::egress)
}

#[classifier]
pub fn ila_ndp(ctx: TcContext) -> i32 {
    ila_bpf::solicited(&ctx)
}

#[classifier]
pub fn reset_destination(ctx: TcContext) -> i32 {
    to_random(&ctx, nothing)
}

#[classifier]
pub fn egress(ctx: TcContext) -> i32 {
    to_random(&ctx, ila_bpf::egress)
}

#[classifier]
pub fn ingress(ctx: TcContext) -> i32 {
    to_random(&ctx, ila_bpf::ingress)
}

#[classifier]
pub fn reset_source(ctx: TcContext) -> i32 {
    from_random(&ctx, nothing)
}

#[classifier]
pub fn ingress_source(ctx: TcContext) -> i32 {
    from_random(&ctx, ila_bpf::ingress)
}

#[inline(always)]
fn nothing(_ctx: &TcContext) -> i32 {
    TC_ACT_SHOT
}

#[inline(always)]
fn whole(ctx: &TcContext, program: impl Fn(&TcContext) -> i32) -> i32 {
    reset::<{ Sample::HALVES }>(ctx, None).map_or(TC_ACT_SHOT, |()| program(ctx))
}

#[inline(always)]
fn to_random(ctx: &TcContext, program: impl Fn(&TcContext) -> i32) -> i32 {
    let reset = reset::<{ Sample::HEADER }>(ctx, Some(Sample::DESTINATION));
    reset.map_or(TC_ACT_SHOT, |()| program(ctx))
}

#[inline(always)]
fn from_random(ctx: &TcContext, program: impl Fn(&TcContext) -> i32) -> i32 {
    let reset = reset::<{ Sample::HEADER }>(ctx, Some(Sample::SOURCE));
    reset.map_or(TC_ACT_SHOT, |()| program(ctx))
}
