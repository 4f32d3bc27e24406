//! What many rounds say together.

use serde::Serialize;

use super::measure::Good;

/// How often the rounds are drawn anew for an interval.
const DRAWS: usize = 2000;

/// The share of draws on either side that an interval of 95 % leaves out.
const TAIL: f64 = 0.025;

/// Numbers that look random and are the same for the same seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58476d1ce4e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d049bb133111eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        let scaled = (u128::from(self.next()) * limit as u128) >> 64;
        usize::try_from(scaled).expect("it is below a usize")
    }

    /// The numbers below `count` in any order.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..count).collect();
        for end in (1..count).rev() {
            order.swap(end, self.below(end + 1));
        }
        order
    }
}

/// The median of at least one number.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// How a variant compares: its numbers divided by those of the same rounds that
/// they are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The median over the rounds.
    pub median: f64,
    /// In 95 of 100 such runs it is not below this,
    pub low: f64,
    /// nor above this.
    pub high: f64,
}

impl Ratio {
    /// Of at least one round, by a bootstrap.
    pub fn of(rounds: &[f64], random: &mut Random) -> Self {
        let mut medians: Vec<_> = (0..DRAWS)
            .map(|_| {
                let drawn = rounds.iter().map(|_| rounds[random.below(rounds.len())]);
                median(&drawn.collect::<Vec<_>>())
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "it is between 0 and the number of draws"
        )]
        let tail = (DRAWS as f64 * TAIL) as usize;
        Self { median: median(rounds), low: medians[tail], high: medians[DRAWS - 1 - tail] }
    }

    /// By how much equals may differ, if this is the ratio of equals.
    pub fn resolution(&self) -> f64 {
        (self.low - 1.0).abs().max((self.high - 1.0).abs())
    }

    /// What can be said at that resolution: only if the whole interval is
    /// farther from 1 than equals are is there a difference.
    pub fn verdict(&self, good: Good, resolution: f64) -> Verdict {
        let (lower, higher) = match good {
            Good::Low => (Verdict::Better, Verdict::Worse),
            Good::High => (Verdict::Worse, Verdict::Better),
        };
        if self.high < 1.0 - resolution {
            lower
        } else if self.low > 1.0 + resolution {
            higher
        } else {
            Verdict::Equal
        }
    }
}

/// How a variant compares, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Better,
    /// Or at least not to be told apart.
    Equal,
    Worse,
}

#[cfg(test)]
mod tests;
