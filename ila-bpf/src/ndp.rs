//! The answer to a container's neighbour solicitation, given in its place: the
//! packet is turned round and sent back.

use aya_ebpf::programs::TcContext;
use ila_proto::{
    abi::{Fate, GATEWAY_MAC, HostConfig},
    ndp,
};

use crate::{packet, state};

/// Answers the solicitation that the packet is, or drops it.
#[inline(always)]
pub fn run(ctx: &TcContext, config: &HostConfig) -> i32 {
    let Some(solicitation) = packet::solicitation(ctx) else {
        return state::drop(ctx, Fate::NdpInvalid);
    };
    match ndp::answer(config, packet::interface(ctx), &solicitation, state::mapping) {
        Err(fate) => state::drop(ctx, fate),
        Ok(advertisement) => match packet::reply(ctx, GATEWAY_MAC, &advertisement.packet()) {
            Ok(redirect) => {
                state::count(ctx, Fate::NdpAnswered);
                redirect
            }
            Err(()) => state::drop(ctx, Fate::NdpReplyFailed),
        },
    }
}
