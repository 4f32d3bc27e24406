//! Uplink → container: this host's locator gives way to the SIR prefix.

use aya_ebpf::programs::TcContext;
use ila_proto::{
    abi::{Fate, HostConfig},
    forward::{self, Header, Verdict},
    icmp,
    ndp::SOLICITATION,
};

use crate::{
    ndp,
    packet::{self, NoIpv6},
    state::{self, Kernel},
    verdict::{self, Failures, Refusal, Side},
};

/// Carries out the verdict on what the underlay delivers.
#[inline(always)]
pub fn run(ctx: &TcContext) -> i32 {
    if packet::is_tagged(ctx) {
        return state::pass(ctx, Fate::IngressTagged);
    }
    let header = match packet::header(ctx) {
        Ok(header) => header,
        Err(NoIpv6::Other) => return state::pass(ctx, Fate::IngressNotIpv6),
        Err(NoIpv6::Truncated) => return state::drop(ctx, Fate::IngressTruncated),
    };
    let config = state::config();
    let icmp_type =
        if header.next_header == icmp::NEXT_HEADER { packet::icmp_type(ctx) } else { None };
    if icmp_type == Some(SOLICITATION)
        && let Some(answered) = ndp::run_on_uplink(ctx, config, &header)
    {
        return answered;
    }
    carry_out(ctx, config, &header, icmp_type)
        .unwrap_or_else(|refusal| verdict::refuse(ctx, config, &header, Side::Uplink, refusal))
}

#[inline(always)]
fn carry_out(
    ctx: &TcContext,
    config: &HostConfig,
    header: &Header,
    icmp_type: Option<u8>,
) -> Result<i32, Refusal> {
    match forward::ingress(config, &Kernel, header) {
        Verdict::Pass(fate) => Ok(state::pass(ctx, fate)),
        Verdict::Drop(fate) => Ok(state::drop(ctx, fate)),
        Verdict::Refuse(error, fate) => Err((error, fate)),
        Verdict::Deliver { interface, mac, rewrite, mut fate } => {
            let mut rest = verdict::rest_of(header, &rewrite);
            if icmp_type.is_some_and(icmp::quotes)
                && let Some((source, destination)) = packet::quote(ctx)
                && let Some(quote) = forward::quoted(config, &Kernel, rest, source, destination)
            {
                if packet::set_quote(ctx, &quote).is_err() {
                    return Ok(state::drop(ctx, Fate::IngressStoreFailed));
                }
                rest = quote.rest;
                fate = Fate::IngressError;
            }
            let fates = (fate, Fate::IngressStoreFailed);
            Ok(verdict::deliver(ctx, config, header, (interface, mac), (&rewrite, rest), fates))
        }
        Verdict::Send { rewrite, fate } => {
            let failures = Failures {
                store: Fate::IngressStoreFailed,
                route: Fate::IngressNoRoute,
                size: Fate::IngressTooBig,
            };
            verdict::send(ctx, config, header, &rewrite, (fate, failures))
        }
    }
}
