//! Container → uplink: the SIR prefix of the destination gives way to the
//! locator of the host that holds the identifier; routing does the rest.

use aya_ebpf::programs::TcContext;
use ila_proto::{
    abi::{Fate, HostConfig},
    addr::Address,
    ndp::{NEXT_HEADER_ICMPV6, SOLICITATION},
    translate::{self, ChecksumMode, Verdict},
};

use crate::{
    ndp,
    packet::{self, NoIpv6},
    state,
};

/// Carries out the verdict on what a container sends.
#[inline(always)]
pub fn run(ctx: &TcContext) -> i32 {
    let header = match packet::ipv6(ctx) {
        Ok(header) => header,
        Err(NoIpv6::Other) => return state::pass(ctx, Fate::EgressNotIpv6),
        Err(NoIpv6::Truncated) => return state::drop(ctx, Fate::EgressTruncated),
    };
    let config = state::config();
    if header.next_header == NEXT_HEADER_ICMPV6 && packet::icmp_type(ctx) == Some(SOLICITATION) {
        return ndp::run(ctx, &config);
    }
    let verdict = translate::egress(&config, header.destination, state::mapping);
    carry_out(ctx, &config, verdict, Fate::EgressStoreFailed)
}

/// Carries out a verdict; `failed` is the fate if the kernel refuses.
#[inline(always)]
pub fn carry_out(ctx: &TcContext, config: &HostConfig, verdict: Verdict, failed: Fate) -> i32 {
    match verdict {
        Verdict::Pass(fate) => state::pass(ctx, fate),
        Verdict::Drop(fate) => state::drop(ctx, fate),
        Verdict::Rewrite(destination, fate) => match rewrite(ctx, config, destination) {
            Ok(()) => state::pass(ctx, fate),
            Err(()) => state::drop(ctx, failed),
        },
    }
}

#[inline(always)]
fn rewrite(ctx: &TcContext, config: &HostConfig, destination: Address) -> Result<(), ()> {
    match ChecksumMode::from_number(config.checksum_mode) {
        ChecksumMode::NoAction => packet::set_destination(ctx, destination),
        ChecksumMode::NeutralMap | ChecksumMode::NeutralMapAuto => {
            packet::set_destination_neutral(ctx, destination)
        }
    }
}
