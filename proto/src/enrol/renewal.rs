//! When a certificate is renewed.

use std::time::Duration;

use crate::identity::Validity;

/// How it stands with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It is to be renewed after so many seconds.
    In(u64),
    /// It is to be renewed now: less than a third of its time is left.
    Due,
    /// It is not valid any more: only a token helps.
    Ended,
}

impl Renewal {
    /// How it stands at a time, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn of(Validity { from, until }: Validity, now: u64) -> Self {
        let due = until - until.saturating_sub(from) / 3;
        if now > until {
            Self::Ended
        } else if now >= due {
            Self::Due
        } else {
            Self::In(due - now)
        }
    }
}

/// The shortest pause between two attempts, and the longest, in milliseconds.
const PAUSES: [u64; 2] = [60_000, 3_600_000];

/// How long to wait behind so many attempts that came to nothing, at least one:
/// twice as long each time, up to an hour. `random` takes up to a quarter of it
/// away, so that hosts that have failed together do not come back together.
#[must_use]
pub const fn pause(failed: u32, random: u64) -> Duration {
    // Six are enough to come past an hour.
    let doublings = if failed > 6 { 6 } else { failed.saturating_sub(1) };
    let doubled = PAUSES[0] << doublings;
    let pause = if doubled > PAUSES[1] { PAUSES[1] } else { doubled };
    Duration::from_millis(pause - random % (pause / 4))
}

#[cfg(test)]
mod tests;
