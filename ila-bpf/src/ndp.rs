//! The answer to a neighbour solicitation, given in the target's place: the
//! packet is turned round and sent back.

use aya_ebpf::{helpers::bpf_redirect, programs::TcContext};
use ila_proto::{
    abi::Fate,
    forward::{self, Tables as _},
    ndp::{self, Advertisement},
};

use crate::{
    packet,
    state::{self, Kernel},
    verdict::{Action, Conclusion},
};

/// Answers a container's solicitation, or drops it.
#[inline(always)]
pub fn run(ctx: &TcContext) -> Conclusion {
    let Ok(header) = packet::header(ctx) else { return (Action::Drop, Fate::EgressTruncated) };
    let Some(solicitation) = packet::solicitation(ctx, &header) else {
        return (Action::Drop, Fate::NdpInvalid);
    };
    match ndp::answer(state::config(), &Kernel(ctx), packet::interface(ctx), &solicitation) {
        Err(fate) => (Action::Drop, fate),
        Ok((advertisement, fate)) => send(ctx, &advertisement, fate),
    }
}

/// Answers a solicitation of the underlay for the ILA address of a container
/// here; leaves any other to the host, unless it was sent to an address of the
/// overlay.
#[inline(always)]
pub fn run_on_uplink(ctx: &TcContext) -> Conclusion {
    let Ok(header) = packet::header(ctx) else { return (Action::Drop, Fate::IngressTruncated) };
    let (config, interface) = (state::config(), packet::interface(ctx));
    let asked = packet::solicitation(ctx, &header);
    let unanswered = match asked {
        _ if !forward::is_overlay(config, header.destination) => {
            (Action::Pass, Fate::IngressNotLocator)
        }
        None => (Action::Drop, Fate::NdpInvalid),
        Some(_) => (Action::Drop, Fate::NdpUnknownTarget),
    };
    let answer = asked.and_then(|solicitation| {
        let index = config.uplinks.iter().position(|it| it.interface == interface)?;
        let uplink = config.uplink(Kernel(ctx).forget(index as u32));
        ndp::answer_on_uplink(config, &Kernel(ctx), uplink.mac, &solicitation)
    });
    match answer {
        Some(advertisement) => send(ctx, &advertisement, Fate::NdpAnswered),
        None => unanswered,
    }
}

#[inline(always)]
fn send(ctx: &TcContext, advertisement: &Advertisement, fate: Fate) -> Conclusion {
    if packet::reply(ctx, advertisement).is_err() {
        return (Action::Drop, Fate::NdpReplyFailed);
    }
    // SAFETY: the helper takes numbers only.
    (Action::Redirect(unsafe { bpf_redirect(packet::interface(ctx), 0) as i32 }), fate)
}
