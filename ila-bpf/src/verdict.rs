//! What both directions do with a verdict.

use aya_ebpf::programs::TcContext;
use ila_proto::{abi::Fate, translate::Verdict};

use crate::{packet, state};

/// Carries out a verdict; `failed` is the fate if the kernel refuses.
#[inline(always)]
pub fn carry_out(ctx: &TcContext, verdict: Verdict, failed: Fate) -> i32 {
    match verdict {
        Verdict::Pass(fate) => state::pass(ctx, fate),
        Verdict::Drop(fate) => state::drop(ctx, fate),
        Verdict::Rewrite { destination, neutral, fate } => {
            let rewritten = if neutral {
                packet::set_destination_neutral(ctx, destination)
            } else {
                packet::set_destination(ctx, destination)
            };
            match rewritten {
                Ok(()) => state::pass(ctx, fate),
                Err(()) => state::drop(ctx, failed),
            }
        }
    }
}
