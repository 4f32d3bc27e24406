//! Uplink → container: this host's locator gives way to the SIR prefix;
//! routing finds the container's interface.

use aya_ebpf::programs::TcContext;
use ila_proto::{abi::Fate, translate};

use crate::{
    packet::{self, NoIpv6},
    state, verdict,
};

/// Carries out the verdict on what the underlay delivers.
#[inline(always)]
pub fn run(ctx: &TcContext) -> i32 {
    let header = match packet::ipv6(ctx) {
        Ok(header) => header,
        Err(NoIpv6::Other) => return state::pass(ctx, Fate::IngressNotIpv6),
        Err(NoIpv6::Truncated) => return state::drop(ctx, Fate::IngressTruncated),
    };
    let config = state::config();
    let verdict = translate::ingress(&config, header.destination, state::mapping);
    verdict::carry_out(ctx, verdict, Fate::IngressStoreFailed)
}
