//! How ranges of identifiers are written and read.

use std::{fmt, str::FromStr};

use crate::{
    addr::{Identifier, parse_bits},
    gossip::IdentifierRange,
};

/// How long the type and the C-bit are together.
const TYPE_BITS: u8 = 4;

/// Why a text is no range of identifiers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not an identifier, a slash and a number.
    #[error("`{0}` is not a range of identifiers such as 2000:10:0:0/28")]
    Syntax(String),
    /// Shorter than what all identifiers of containers have in common, or longer
    /// than an identifier.
    #[error("`{0}` has to have a length of 4 to 64")]
    Length(String),
    /// Not all of them could be identifiers of containers.
    #[error("`{0}` is not a range of containers' identifiers, whose first group is 2000 to 2fff")]
    Type(String),
    /// Bits are set behind the length.
    #[error("`{0}` has bits set behind its length; did you mean {1}?")]
    Bits(String, IdentifierRange),
}

impl IdentifierRange {
    /// The range that an identifier lies in, of this length in bits.
    #[must_use]
    pub fn around(identifier: Identifier, length: u8) -> Self {
        let mask = u64::MAX.checked_shl(64 - u32::from(length)).unwrap_or_default();
        Self { bits: identifier.bits() & mask, length }
    }

    /// Whether some identifier lies in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let differs = self.bits ^ other.bits;
        differs.leading_zeros() >= u32::from(self.length.min(other.length))
    }
}

impl FromStr for IdentifierRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let syntax = || RangeError::Syntax(text.to_owned());
        let (identifier, length) = text.split_once('/').ok_or_else(syntax)?;
        let bits = parse_bits(identifier).ok_or_else(syntax)?;
        // `parse` would also take a sign.
        let is_number = length.len() <= 2 && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u8 = length.parse().ok().filter(|_| is_number).ok_or_else(syntax)?;
        if !(TYPE_BITS..=64).contains(&length) {
            return Err(RangeError::Length(text.to_owned()));
        }
        let identifier = Identifier::from_bits(bits);
        if !identifier.is_locally_unique() {
            return Err(RangeError::Type(text.to_owned()));
        }
        let range = Self::around(identifier, length);
        if range.bits == bits { Ok(range) } else { Err(RangeError::Bits(text.to_owned(), range)) }
    }
}

/// As its first identifier and the length: `2000:10:0:0/28`.
impl fmt::Display for IdentifierRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Identifier::from_bits(self.bits), self.length)
    }
}

#[cfg(test)]
mod tests;
