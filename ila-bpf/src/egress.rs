//! Container → uplink: the SIR prefix of the destination gives way to the
//! locator of the host that holds the identifier; routing does the rest.

use aya_ebpf::programs::TcContext;
use ila_proto::{
    abi::Fate,
    ndp::{NEXT_HEADER_ICMPV6, SOLICITATION, TYPES},
    translate,
};

use crate::{
    ndp,
    packet::{self, NoIpv6},
    state, verdict,
};

/// Carries out the verdict on what a container sends.
#[inline(always)]
pub fn run(ctx: &TcContext) -> i32 {
    let header = match packet::ipv6(ctx) {
        Ok(header) => header,
        Err(NoIpv6::Other) => return state::drop(ctx, Fate::EgressNotIpv6),
        Err(NoIpv6::Truncated) => return state::drop(ctx, Fate::EgressTruncated),
    };
    let config = state::config();
    if header.next_header == NEXT_HEADER_ICMPV6
        && let Some(kind) = packet::icmp_type(ctx)
        && TYPES.contains(&kind)
    {
        return match kind {
            SOLICITATION => ndp::run(ctx, &config),
            _ => state::drop(ctx, Fate::NdpNotForHost),
        };
    }
    let verdict = translate::egress(&config, header.destination, state::mapping);
    verdict::carry_out(ctx, verdict, Fate::EgressStoreFailed)
}
