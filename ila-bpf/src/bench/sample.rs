//! The packet that every run starts from, and the program that does nothing.

use aya_ebpf::{
    bindings::TC_ACT_SHOT,
    helpers::bpf_get_prandom_u32,
    macros::{classifier, map},
    maps::Array,
    programs::TcContext,
};
use ila_proto::{
    addr::Identifier,
    bench::{Sample, scattered},
};

#[map]
static ILA_SAMPLE: Array<Sample> = Array::with_max_entries(1, 0);

#[classifier]
pub fn empty(_ctx: TcContext) -> i32 {
    TC_ACT_SHOT
}

/// The sample.
#[inline(always)]
pub fn sample() -> Option<&'static Sample> {
    ILA_SAMPLE.get(0)
}

/// A random index below the sample's number of keys.
#[inline(always)]
pub fn draw(sample: &Sample) -> u32 {
    // SAFETY: the helper takes nothing.
    sample.draw(unsafe { bpf_get_prandom_u32() })
}

/// Makes the first `HALVES` of the packet those of the sample, but for the
/// identifier at `random`.
#[inline(always)]
pub fn reset<const HALVES: usize>(ctx: &TcContext, random: Option<usize>) -> Option<()> {
    let sample = sample()?;
    for (index, piece) in sample.macs.iter().enumerate() {
        ila_bpf::write(ctx, index * 4, *piece)?;
    }
    for (index, half) in sample.packet.iter().enumerate().take(HALVES) {
        let half = match random {
            Some(place) if place == index => {
                let like = Identifier::from_bits(u64::from_be_bytes(*half));
                scattered(like, draw(sample)).bits().to_be_bytes()
            }
            _ => *half,
        };
        ila_bpf::write(ctx, ila_bpf::ETHERNET + index * 8, half)?;
    }
    Some(())
}
