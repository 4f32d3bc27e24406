//! Which numbers have arrived, when, and in which order.

use std::time::{Duration, Instant};

/// The account of a stream's numbers, which count from 0.
#[derive(Debug, Default)]
pub struct Account {
    /// A bit for each number that has arrived.
    seen: Vec<u64>,
    /// One more than the highest number that has arrived.
    next: u64,
    arrivals: u64,
    last: Option<Instant>,
    /// How many arrived that had arrived before.
    pub duplicated: u64,
    /// How many arrived first after one with a higher number.
    pub out_of_order: u64,
    /// By how much the number of one of these was too low, at most.
    pub furthest: u64,
    /// The longest time between two arrivals.
    pub longest_silence: Duration,
}

impl Account {
    /// Notes that `number` arrived at the time `at`.
    pub fn note(&mut self, number: u64, at: Instant) {
        if let Some(last) = self.last.replace(at) {
            self.longest_silence = self.longest_silence.max(at.saturating_duration_since(last));
        }
        self.arrivals += 1;
        if self.has(number) {
            self.duplicated += 1;
            return;
        }
        let (word, bit) = place(number);
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        self.seen[word] |= bit;
        if number < self.next {
            self.out_of_order += 1;
            self.furthest = self.furthest.max(self.next - 1 - number);
        } else {
            self.next = number + 1;
        }
    }

    /// How many numbers have arrived, each counted once.
    pub fn received(&self) -> u64 {
        self.arrivals - self.duplicated
    }

    /// In how many places numbers below `sent` are missing.
    pub fn gaps(&self, sent: u64) -> u64 {
        let starts = |number: &u64| !self.has(*number) && (*number == 0 || self.has(number - 1));
        (0..sent).filter(starts).count() as u64
    }

    fn has(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen.get(word).is_some_and(|seen| seen & bit != 0)
    }
}

fn place(number: u64) -> (usize, u64) {
    let word = usize::try_from(number / 64).expect("nobody has time to send as many");
    (word, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(numbers: impl IntoIterator<Item = u64>) -> Account {
        let (mut account, at) = (Account::default(), Instant::now());
        for number in numbers {
            account.note(number, at);
        }
        account
    }

    /// Received, gaps among the first `sent`, duplicated, out of order, furthest.
    fn told(account: &Account, sent: u64) -> [u64; 5] {
        let Account { duplicated, out_of_order, furthest, .. } = *account;
        [account.received(), account.gaps(sent), duplicated, out_of_order, furthest]
    }

    #[test]
    fn what_arrives_in_order_is_perfect() {
        assert_eq!(told(&account(0..1000), 1000), [1000, 0, 0, 0, 0]);
        assert_eq!(told(&account([]), 0), [0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_missing_is_missed_wherever_it_was() {
        assert_eq!(told(&account(1..1000), 1000), [999, 1, 0, 0, 0]);
        assert_eq!(told(&account(0..999), 1000), [999, 1, 0, 0, 0]);
        assert_eq!(told(&account((0..60).chain(70..1000)), 1000), [990, 1, 0, 0, 0]);
        assert_eq!(told(&account((0..1000).filter(|it| it % 10 != 5)), 1000), [900, 100, 0, 0, 0]);
        assert_eq!(told(&account([]), 1000), [0, 1, 0, 0, 0]);
    }

    #[test]
    fn what_arrives_again_is_duplicated_and_not_out_of_order() {
        assert_eq!(told(&account([0, 1, 1, 2, 0, 0, 3]), 4), [4, 0, 3, 0, 0]);
    }

    #[test]
    fn what_is_overtaken_is_out_of_order_by_the_numbers_that_overtook_it() {
        assert_eq!(told(&account([1, 0, 2, 3]), 4), [4, 0, 0, 1, 1]);
        assert_eq!(told(&account([0, 100, 1, 99]), 101), [4, 1, 0, 2, 99]);
        assert_eq!(told(&account([3, 2, 1, 0]), 4), [4, 0, 0, 3, 3]);
    }

    #[test]
    fn the_longest_silence_is_between_two_arrivals() {
        let (mut account, start) = (Account::default(), Instant::now());
        for (number, milliseconds) in [5, 6, 26, 27].into_iter().enumerate() {
            account.note(number as u64, start + Duration::from_millis(milliseconds));
        }
        assert_eq!(account.longest_silence, Duration::from_millis(20));
    }
}
