//! The kernel programs against their model, and decoders, for longer than a test
//! run has time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::{parts, setup, step};

/// As many packets are a run: some tens of seconds.
const PACKETS: u64 = 1_000_000;
/// As many inputs of each decoder are.
const INPUTS: u64 = 10_000;

/// Makes up packets for so many minutes, from `seed` on or from one that no run
/// before had; fails with the first on which kernel and model differ.
pub fn run(minutes: u64, seed: Option<u64>) -> Result<()> {
    setup::run()?;
    step::require_root("the packets are run by the kernel")?;
    for_minutes(minutes, seed, PACKETS, |seed| {
        println!("\n== packets from seed {seed} ==");
        step::shown(&mut parts::made_up_packets(seed, PACKETS))
    })
}

/// Has everything that reads what comes from outside read what is nearly right,
/// for so many minutes; fails with the first input that does harm.
pub fn decoders(minutes: u64, seed: Option<u64>) -> Result<()> {
    setup::run()?;
    for_minutes(minutes, seed, INPUTS, |seed| {
        println!("\n== inputs from seed {seed} ==");
        parts::decoders(seed, INPUTS).iter_mut().try_for_each(step::shown)
    })
}

/// Does something with seeds from `seed` on, so many at a time, or from one that
/// no run before had.
fn for_minutes(
    minutes: u64,
    seed: Option<u64>,
    step: u64,
    run: impl Fn(u64) -> Result<()>,
) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut seed = match seed {
        Some(seed) => seed,
        // Second by second apart by more than any machine gets through.
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() << 24,
    };
    loop {
        run(seed)?;
        seed = seed.wrapping_add(step);
        if Instant::now() >= end {
            return Ok(());
        }
    }
}
