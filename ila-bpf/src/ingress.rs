//! Uplink → container: this host's locator gives way to the SIR prefix.

use aya_ebpf::programs::TcContext;
use ila_proto::{
    abi::{Fate, Tail},
    extension::{self, Upper},
    forward::{self, Header, Tables as _, Verdict},
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
    let kind = match header.next_header {
        icmp::NEXT_HEADER => packet::icmp_type(ctx),
        _ => None,
    };
    if kind == Some(SOLICITATION) {
        state::go_on(ctx, Tail::SolicitedOnUplink);
        return (Action::Drop, Fate::NdpReplyFailed);
    }
    let error = match kind {
        Some(kind) => icmp::quotes(kind).then_some(0),
        None => hidden_error(ctx, &header),
    };
    // The verifier then does not go through the rest for each way to get here.
    let error = Kernel(ctx).forget(error.unwrap_or(NOWHERE));
    let error = (error != NOWHERE).then_some(error);
    let config = state::config();
    match forward::ingress(config, &Kernel(ctx), &header, error.is_some()) {
        Verdict::Pass(fate) => (Action::Pass, fate),
        Verdict::Drop(fate) => (Action::Drop, fate),
        Verdict::Refuse(error, fate) => (Action::Refuse(error), fate),
        Verdict::Deliver { interface, mac, rewrite, fate } => {
            if let Some(error) = error {
                packet::remember(ctx, [error, 0, 0]);
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

/// Where no error begins.
const NOWHERE: u32 = u32::MAX;

/// How far behind the IPv6 header an `ICMPv6` error begins that quotes a packet,
/// if there is one behind extension headers.
#[inline(always)]
fn hidden_error(ctx: &TcContext, header: &Header) -> Option<u32> {
    if !extension::is_extension(header.next_header) {
        return None;
    }
    match packet::upper(ctx, header) {
        Upper::Header { protocol: icmp::NEXT_HEADER, offset } => {
            let kind = packet::byte(ctx, offset)?;
            icmp::quotes(kind).then_some(offset as u32)
        }
        _ => None,
    }
}

const STORE_FAILED: Fate = Fate::IngressStoreFailed;

/// Delivers an `ICMPv6` error of which [`run`] has found out that it is to be.
#[inline(always)]
pub fn run_error(ctx: &TcContext) -> Conclusion {
    let [error, ..] = packet::remembered(ctx);
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
    if let Some((source, destination)) = packet::quote(ctx, error)
        && let Some(quote) = forward::quoted(config, host, addressed, rest, source, destination)
    {
        if packet::set_quote(ctx, error, &quote).is_err() {
            return (Action::Drop, STORE_FAILED);
        }
        rest = quote.rest;
        fate = Fate::IngressError;
    }
    let to = (interface, mac);
    verdict::deliver(ctx, config, &header, to, (&rewrite, rest), (fate, STORE_FAILED))
}
