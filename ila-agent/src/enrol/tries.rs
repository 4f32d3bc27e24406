//! How often who has shown a secret that is none. Secrets cannot be guessed; what
//! this keeps small is what it costs to refuse them, and what it says in the log.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// So many tries that fail …
const MOST: u32 = 5;
/// … within this time, and nobody from there is listened to until it is over.
const WITHIN: Duration = Duration::from_secs(60);
/// Places that are remembered.
const PLACES: usize = 1024;

/// All tries that have failed.
#[derive(Debug, Default)]
pub struct Tries {
    failed: u64,
    places: HashMap<IpAddr, (Instant, u32)>,
}

impl Tries {
    /// Whether somebody from there is listened to.
    #[must_use]
    pub fn may(&self, from: IpAddr, now: Instant) -> bool {
        self.places
            .get(&place(from))
            .is_none_or(|(since, count)| *count < MOST || is_over(*since, now))
    }

    /// Notes that somebody from there has failed.
    pub fn fail(&mut self, from: IpAddr, now: Instant) {
        self.failed += 1;
        self.places.retain(|_, (since, _)| !is_over(*since, now));
        let place = place(from);
        if self.places.len() >= PLACES && !self.places.contains_key(&place) {
            let oldest = self.places.iter().min_by_key(|(_, (since, _))| *since);
            if let Some(oldest) = oldest.map(|(place, _)| *place) {
                self.places.remove(&oldest);
            }
        }
        self.places.entry(place).or_insert((now, 0)).1 += 1;
    }

    /// How many have failed, ever.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed
    }
}

fn is_over(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= WITHIN
}

/// A host has all of a /64 to send from.
fn place(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests;
