//! Uplink → container: this host's locator gives way to the SIR prefix.

use aya_ebpf::programs::TcContext;
use ila_proto::{
    abi::Fate,
    forward::{self, Verdict},
    icmp,
    ndp::SOLICITATION,
};

use crate::{
    ndp,
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
    let config = state::config();
    let icmp_type =
        if header.next_header == icmp::NEXT_HEADER { packet::icmp_type(ctx) } else { None };
    if icmp_type == Some(SOLICITATION) {
        return ndp::run_on_uplink(ctx, config, &header);
    }
    match forward::ingress(config, &Kernel(ctx), &header) {
        Verdict::Pass(fate) => (Action::Pass, fate),
        Verdict::Drop(fate) => (Action::Drop, fate),
        Verdict::Refuse(error, fate) => (Action::Refuse(error), fate),
        Verdict::Deliver { interface, mac, rewrite, mut fate } => {
            let mut rest = verdict::rest_of(&header, &rewrite);
            if icmp_type.is_some_and(icmp::quotes)
                && let Some((source, destination)) = packet::quote(ctx)
                && let Some(quote) = {
                    let addressed = (header.destination, rewrite.destination);
                    let host = &Kernel(ctx);
                    forward::quoted(config, host, addressed, rest, source, destination)
                }
            {
                if packet::set_quote(ctx, &quote).is_err() {
                    return (Action::Drop, Fate::IngressStoreFailed);
                }
                rest = quote.rest;
                fate = Fate::IngressError;
            }
            let fates = (fate, Fate::IngressStoreFailed);
            verdict::deliver(ctx, config, &header, (interface, mac), (&rewrite, rest), fates)
        }
        Verdict::Send { rewrite, fate } => {
            let fates = Fates {
                sent: fate,
                store: Fate::IngressStoreFailed,
                route: Fate::IngressNoRoute,
                size: Fate::IngressTooBig,
            };
            verdict::send(ctx, config, &header, &rewrite, fates)
        }
    }
}
