//! Container → elsewhere: the SIR prefix of the destination gives way to the
//! locator of the host that holds the identifier.

use aya_ebpf::programs::TcContext;
use ila_proto::{
    abi::{Fate, Tail},
    checksum::ChecksumDelta,
    extension::{self, Upper},
    forward::{self, Header, Verdict},
    icmp,
    ndp::{SOLICITATION, TYPES},
};

use crate::{
    packet::{self, NoIpv6},
    state::{self, Kernel},
    verdict::{self, Action, Conclusion, Fates},
};

/// Decides on what a container sends, and does it.
#[inline(always)]
pub fn run(ctx: &TcContext) -> Conclusion {
    if packet::is_tagged(ctx) {
        return (Action::Drop, Fate::EgressTagged);
    }
    let header = match packet::header(ctx) {
        Ok(header) => header,
        Err(NoIpv6::Other) => return (Action::Drop, Fate::EgressNotIpv6),
        Err(NoIpv6::Truncated) => return (Action::Drop, Fate::EgressTruncated),
    };
    if packet::is_misaddressed(ctx, header.destination) {
        return (Action::Drop, Fate::EgressLinkLayer);
    }
    if header.next_header == icmp::NEXT_HEADER
        && let Some(kind) = packet::icmp_type(ctx)
        && TYPES.contains(&kind)
    {
        if kind == SOLICITATION {
            state::go_on(ctx, Tail::Solicited);
            return (Action::Drop, Fate::NdpReplyFailed);
        }
        return (Action::Drop, Fate::NdpNotForHost);
    }
    let config = state::config();
    match forward::egress(config, &Kernel(ctx), packet::interface(ctx), &header) {
        Verdict::Pass(_) if hides_discovery(ctx, &header) => (Action::Drop, Fate::NdpNotForHost),
        Verdict::Pass(fate) => (Action::Pass, fate),
        Verdict::Drop(fate) => (Action::Drop, fate),
        Verdict::Refuse(error, fate) => (Action::Refuse(error), fate),
        Verdict::Deliver { interface, mac, rewrite, fate } => {
            let rest = ChecksumDelta::from_value(0);
            let fates = (fate, Fate::EgressStoreFailed);
            verdict::deliver(ctx, config, &header, (interface, mac), (&rewrite, rest), fates)
        }
        Verdict::Send { rewrite, fate } => {
            let fates = Fates {
                sent: fate,
                store: Fate::EgressStoreFailed,
                route: Fate::EgressNoRoute,
                prohibited: Fate::EgressProhibited,
                elsewhere: Fate::EgressNotUplink,
                size: Fate::EgressTooBig,
            };
            verdict::send(ctx, config, &header, &rewrite, fates)
        }
    }
}

/// Whether a packet for the host carries neighbour discovery behind extension
/// headers, or something that could be.
#[inline(always)]
fn hides_discovery(ctx: &TcContext, header: &Header) -> bool {
    if !extension::is_extension(header.next_header) {
        return false;
    }
    match packet::upper(ctx, header) {
        Upper::Header { protocol: icmp::NEXT_HEADER, offset } => {
            packet::byte(ctx, offset).is_none_or(|kind| TYPES.contains(&kind))
        }
        Upper::Header { .. } | Upper::LaterFragment => false,
        Upper::Unknown => true,
    }
}
