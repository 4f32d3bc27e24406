//! One's complement sums, as the Internet checksum has them (RFC 1071).
//!
//! Two types, because two things are meant. A [`ChecksumDelta`] is a rolling
//! value: it is added to other sums and never sent. A [`WireChecksum`] is the
//! complement of a finished sum and stands in a packet; nothing is added to it.
//!
//! All sums are over 16-bit words read in network order. One's complement
//! addition commutes with swapping bytes, so the numbers here agree with a
//! kernel that sums words as they lie in memory.

use crate::addr::Address;

/// `a +' b`: 16-bit addition with the carry brought round to the low end. It
/// yields 0x0000 only from two zeroes; everywhere else zero is spelled 0xffff.
#[must_use]
const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// The sum of the four 16-bit words of half an address.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "each word is cut out on purpose")]
const fn sum_words(half: u64) -> u16 {
    add(add((half >> 48) as u16, (half >> 32) as u16), add((half >> 16) as u16, half as u16))
}

/// What must be added to a word of a packet so that its sum stays what it was
/// while other words change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumDelta(u16);

impl ChecksumDelta {
    /// The delta that makes up for `before` being replaced by `after`:
    /// `W(before) +' ~W(after)` (draft, section 5.4.1).
    #[must_use]
    pub const fn replacing(before: u64, after: u64) -> Self {
        Self(add(sum_words(before), !sum_words(after)))
    }

    /// The delta that makes up for one address being replaced by another.
    #[must_use]
    pub const fn between(before: Address, after: Address) -> Self {
        Self::replacing(before.high, after.high).and(Self::replacing(before.low, after.low))
    }

    /// Whether there is nothing to make up for: either zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        matches!(self.0, 0 | 0xffff)
    }

    /// The delta kept in shared memory as `value`.
    #[must_use]
    pub const fn from_value(value: u16) -> Self {
        Self(value)
    }

    /// The 16 bits, for shared memory.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// This delta and `other`, one after the other.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(add(self.0, other.0))
    }

    /// `word` adjusted.
    #[must_use]
    pub const fn adjust(self, word: u16) -> u16 {
        add(word, self.0)
    }
}

/// A sum under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u16);

impl Sum {
    /// An empty sum.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// The sum with one more word.
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(add(self.0, word))
    }

    /// The sum with four more words.
    #[must_use]
    pub const fn half(self, half: u64) -> Self {
        Self(add(self.0, sum_words(half)))
    }

    /// Whether the sum is that of a packet whose checksum, summed up with the
    /// rest, is right.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 == 0xffff
    }

    /// Complements the sum into what a packet carries.
    #[must_use]
    pub const fn finish(self) -> WireChecksum {
        WireChecksum(!self.0)
    }
}

/// A checksum as it stands in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireChecksum(u16);

impl WireChecksum {
    /// The number that its two bytes spell in network order.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
