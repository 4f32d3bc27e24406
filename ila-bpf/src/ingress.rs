//! Uplink → container: this host's locator gives way to the SIR prefix.

use aya_ebpf::programs::TcContext;
use ila_proto::{
    abi::{Fate, Tail},
    forward::{self, Tables as _, Verdict},
    icmp,
    ndp::SOLICITATION,
};

use crate::{
    packet::{self, NoIpv6},
    state::{self, Kernel},
    verdict::{self, Action, Conclusion, Fates},
};

/// Decides on what the underlay delivers, and does it.
#[inline(always)]
pub fn run(ctx: &TcContext) -> Conclusion {
    if packet::is_tagged(ctx) {
        return (Action::Pass, Fate::IngressTagged);
    }
    let header = match packet::header(ctx) {
        Ok(header) => header,
        Err(NoIpv6::Other) => return (Action::Pass, Fate::IngressNotIpv6),
        Err(NoIpv6::Truncated) => return (Action::Drop, Fate::IngressTruncated),
    };
    if packet::is_misaddressed(ctx, header.destination) {
        return (Action::Pass, Fate::IngressLinkLayer);
    }
    let mut quotes = false;
    if header.next_header == icmp::NEXT_HEADER
        && let Some(kind) = packet::icmp_type(ctx)
    {
        if kind == SOLICITATION {
            state::go_on(ctx, Tail::SolicitedOnUplink);
            return (Action::Drop, Fate::NdpReplyFailed);
        }
        quotes = icmp::quotes(kind);
    }
    let config = state::config();
    match forward::ingress(config, &Kernel(ctx), &header, quotes) {
        Verdict::Pass(fate) => (Action::Pass, fate),
        Verdict::Drop(fate) => (Action::Drop, fate),
        Verdict::Refuse(error, fate) => (Action::Refuse(error), fate),
        Verdict::Deliver { interface, mac, rewrite, fate } => {
            if quotes {
                state::go_on(ctx, Tail::IngressError);
                return (Action::Drop, STORE_FAILED);
            }
            let rest = verdict::rest_of(&header, &rewrite);
            let to = (interface, mac);
            verdict::deliver(ctx, config, &header, to, (&rewrite, rest), (fate, STORE_FAILED))
        }
        Verdict::Send { rewrite, fate } => {
            let fates = Fates {
                sent: fate,
                store: STORE_FAILED,
                route: Fate::IngressNoRoute,
                prohibited: Fate::IngressProhibited,
                elsewhere: Fate::IngressNotUplink,
                size: Fate::IngressTooBig,
            };
            verdict::send(ctx, config, &header, &rewrite, fates)
        }
    }
}

const STORE_FAILED: Fate = Fate::IngressStoreFailed;

/// Delivers an `ICMPv6` error of which [`run`] has found out that it is to be.
#[inline(always)]
pub fn run_error(ctx: &TcContext) -> Conclusion {
    let (config, host) = (state::config(), &Kernel(ctx));
    let Ok(header) = packet::header(ctx) else { return (Action::Drop, STORE_FAILED) };
    let verdict = forward::ingress(config, host, &header, true);
    let Verdict::Deliver { interface, mac, mut rewrite, mut fate } = verdict else {
        return (Action::Drop, STORE_FAILED);
    };
    // The verifier then does not go through the rest for each way to get here.
    rewrite.neutral = host.forget(u32::from(rewrite.neutral)) != 0;
    let mut rest = verdict::rest_of(&header, &rewrite);
    let addressed = (header.destination, rewrite.destination);
    if let Some((source, destination)) = packet::quote(ctx)
        && let Some(quote) = forward::quoted(config, host, addressed, rest, source, destination)
    {
        if packet::set_quote(ctx, &quote).is_err() {
            return (Action::Drop, STORE_FAILED);
        }
        rest = quote.rest;
        fate = Fate::IngressError;
    }
    let to = (interface, mac);
    verdict::deliver(ctx, config, &header, to, (&rewrite, rest), (fate, STORE_FAILED))
}
