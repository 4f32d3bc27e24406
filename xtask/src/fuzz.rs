//! The kernel programs against their model for longer than a test run has time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::{parts, setup, step};

/// As many packets are a run: some tens of seconds.
const PACKETS: u64 = 1_000_000;

/// Makes up packets for so many minutes, from `seed` on or from one that no run
/// before had; fails with the first on which kernel and model differ.
pub fn run(minutes: u64, seed: Option<u64>) -> Result<()> {
    setup::run()?;
    step::require_root("the packets are run by the kernel")?;
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut seed = match seed {
        Some(seed) => seed,
        // Second by second apart by more than any machine gets through.
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() << 24,
    };
    loop {
        println!("\n== packets from seed {seed} ==");
        step::shown(&mut parts::made_up_packets(seed, PACKETS))?;
        seed = seed.wrapping_add(PACKETS);
        if Instant::now() >= end {
            return Ok(());
        }
    }
}
