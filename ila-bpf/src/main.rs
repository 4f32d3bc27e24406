//! The object that ships.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the macro that makes a program's entry drops its comment")]
#![allow(clippy::needless_pass_by_value, reason = "the macro hands the context over by value")]

mod object;

use aya_ebpf::{macros::classifier, programs::TcContext};

/// At tc ingress of a container's host-side interface.
#[classifier]
pub fn ila_egress(ctx: TcContext) -> i32 {
    ila_bpf::egress(&ctx)
}

/// At tc ingress of an uplink.
#[classifier]
pub fn ila_ingress(ctx: TcContext) -> i32 {
    ila_bpf::ingress(&ctx)
}

/// Behind `ila_ingress`.
#[classifier]
pub fn ila_ingress_error(ctx: TcContext) -> i32 {
    ila_bpf::ingress_error(&ctx)
}

/// Behind `ila_egress`.
#[classifier]
pub fn ila_ndp(ctx: TcContext) -> i32 {
    ila_bpf::solicited(&ctx)
}

/// Behind `ila_ingress`.
#[classifier]
pub fn ila_ndp_uplink(ctx: TcContext) -> i32 {
    ila_bpf::solicited_on_uplink(&ctx)
}

/// Behind all of the others.
#[classifier]
pub fn ila_refuse(ctx: TcContext) -> i32 {
    ila_bpf::refuse(&ctx)
}
