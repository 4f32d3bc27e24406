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

/// Folds a sum of words into one: what has carried out of the low 16 bits is
/// brought round to their low end. It yields 0x0000 only from zero; everywhere
/// else zero is spelled 0xffff.
#[must_use]
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "nothing is left above after the last step")]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// The words of half an address, added up as far as they need be: words of 32
/// bits fold into the same sum as those of 16 that they are made of.
#[must_use]
#[inline(always)]
const fn words(half: u64) -> u64 {
    (half >> 32) + (half & 0xffff_ffff)
}

/// What makes up for `before` being replaced by `after`, not folded yet.
#[must_use]
#[inline(always)]
const fn change(before: Address, after: Address) -> u64 {
    words(before.high) + words(before.low) + words(!after.high) + words(!after.low)
}

/// What must be added to a word of a packet so that its sum stays what it was
/// while other words change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumDelta(u16);

impl ChecksumDelta {
    /// The delta that makes up for `before` being replaced by `after`:
    /// `W(before) +' ~W(after)` (draft, section 5.4.1).
    #[must_use]
    #[inline(always)]
    pub const fn replacing(before: u64, after: u64) -> Self {
        Self(fold(words(before) + words(!after)))
    }

    /// The delta that makes up for one address being replaced by another.
    #[must_use]
    #[inline(always)]
    pub const fn between(before: Address, after: Address) -> Self {
        Self(fold(change(before, after)))
    }

    /// The same for two addresses.
    #[must_use]
    #[inline(always)]
    pub const fn between_both(before: [Address; 2], after: [Address; 2]) -> Self {
        Self(fold(change(before[0], after[0]) + change(before[1], after[1])))
    }

    /// Whether there is nothing to make up for: either zero.
    #[must_use]
    #[inline(always)]
    pub const fn is_zero(self) -> bool {
        matches!(self.0, 0 | 0xffff)
    }

    /// The delta kept in shared memory as `value`.
    #[must_use]
    #[inline(always)]
    pub const fn from_value(value: u16) -> Self {
        Self(value)
    }

    /// The 16 bits, for shared memory.
    #[must_use]
    #[inline(always)]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// This delta and `other`, one after the other.
    #[must_use]
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(fold(self.0 as u64 + other.0 as u64))
    }

    /// `word` adjusted.
    #[must_use]
    #[inline(always)]
    pub const fn adjust(self, word: u16) -> u16 {
        fold(word as u64 + self.0 as u64)
    }
}

/// A sum under way: good for billions of words before it has to be folded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// An empty sum.
    #[must_use]
    #[inline(always)]
    pub const fn new() -> Self {
        Self(0)
    }

    /// The sum with one more word.
    #[must_use]
    #[inline(always)]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// The sum with four more words.
    #[must_use]
    #[inline(always)]
    pub const fn half(self, half: u64) -> Self {
        Self(self.0 + words(half))
    }

    /// Whether the sum is that of a packet whose checksum, summed up with the
    /// rest, is right.
    #[must_use]
    #[inline(always)]
    pub const fn is_valid(self) -> bool {
        fold(self.0) == 0xffff
    }

    /// Complements the sum into what a packet carries.
    #[must_use]
    #[inline(always)]
    pub const fn finish(self) -> WireChecksum {
        WireChecksum(!fold(self.0))
    }
}

/// A checksum as it stands in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireChecksum(u16);

impl WireChecksum {
    /// The number that its two bytes spell in network order.
    #[must_use]
    #[inline(always)]
    pub const fn value(self) -> u16 {
        self.0
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
