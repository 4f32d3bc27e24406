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
