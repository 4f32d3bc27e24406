//! Addresses and their halves, each a type of its own: a SIR address is never
//! taken for an ILA address, nor a locator for a SIR prefix.
//!
//! ```text
//!  SIR address   |        SIR prefix (64)        | identifier (64), C = 0    |
//!  ILA address   |        locator (64)           | identifier (64), C = 0, 1 |
//!
//!  identifier    | type (3) | C (1) | 60 bits, the last 16 of them adjusted  |
//! ```
//!
//! Every half is kept as the number that its eight bytes spell in network
//! order, so that shifts and masks read as the figures of the draft.

/// An IPv6 address as its two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The first 64 bits: a SIR prefix, a locator or any other prefix.
    pub high: u64,
    /// The last 64 bits: an identifier or any other interface identifier.
    pub low: u64,
}

impl Address {
    /// The unspecified address, `::`.
    pub const UNSPECIFIED: Self = Self { high: 0, low: 0 };

    /// Whether this is the unspecified address.
    #[must_use]
    pub const fn is_unspecified(self) -> bool {
        self.high == 0 && self.low == 0
    }

    /// Whether this is a multicast address, `ff00::/8`.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.high >> 56 == 0xff
    }

    /// Whether this is a link-local unicast address, `fe80::/10`.
    #[must_use]
    pub const fn is_link_local(self) -> bool {
        self.high >> 54 == 0xfe80 >> 6
    }

    /// Whether a router hands on what comes from this address: not from a group,
    /// from a link's own addresses, or from `::/64`, which has unspecified and
    /// loopback (RFC 4291, sections 2.5 and 2.7).
    #[must_use]
    pub const fn is_routable_source(self) -> bool {
        self.high != 0 && !self.is_multicast() && !self.is_link_local()
    }

    /// Splits the 16 bytes that stand in an IPv6 header.
    #[must_use]
    pub const fn from_halves(high: [u8; 8], low: [u8; 8]) -> Self {
        Self { high: u64::from_be_bytes(high), low: u64::from_be_bytes(low) }
    }
}

impl From<core::net::Ipv6Addr> for Address {
    fn from(address: core::net::Ipv6Addr) -> Self {
        let bits = address.to_bits();
        #[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
        Self { high: (bits >> 64) as u64, low: bits as u64 }
    }
}

impl From<Address> for core::net::Ipv6Addr {
    fn from(address: Address) -> Self {
        Self::from_bits(u128::from(address.high) << 64 | u128::from(address.low))
    }
}

/// The 64 bits that all SIR addresses of a domain share (draft, section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SirPrefix(u64);

/// The 64 bits that name a host in the underlay (draft, section 3.2). A
/// locator belongs to exactly one SIR prefix, or the receiver could not know
/// which prefix to put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locator(u64);

impl SirPrefix {
    /// The prefix whose eight bytes spell `bits` in network order.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The eight bytes as a number in network order.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The SIR address of `identifier`.
    #[must_use]
    pub const fn address(self, identifier: Identifier) -> SirAddr {
        SirAddr { prefix: self, identifier }
    }
}

impl Locator {
    /// The locator whose eight bytes spell `bits` in network order.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The eight bytes as a number in network order.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// What the type field of a formatted identifier says (draft, section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifierType {
    /// Type 0: a plain IPv6 interface identifier, never translated.
    Interface,
    /// Type 1: locally unique; what containers get.
    LocallyUnique,
    /// Types 2 to 7: virtual networks, non-local addresses, reserved.
    Other(u8),
}

/// The low 64 bits of a SIR or ILA address.
///
/// Any 64 bits make one with [`Identifier::from_bits`], for a packet can carry
/// any; those that a container may have pass [`Identifier::check_container`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(u64);

impl Identifier {
    /// The C-bit: the low 16 bits carry a checksum adjustment (draft, section
    /// 4.2). Zero in every SIR address (section 4.3).
    pub const C_BIT: u64 = 1 << 60;

    const TYPE_SHIFT: u32 = 61;
    const LOCALLY_UNIQUE: u64 = 1 << Self::TYPE_SHIFT;

    /// The identifier whose eight bytes spell `bits` in network order.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The eight bytes as a number in network order.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The locally unique identifier made of the low 60 bits of `bits`.
    #[must_use]
    pub const fn locally_unique(bits: u64) -> Self {
        Self(Self::LOCALLY_UNIQUE | bits & (Self::C_BIT - 1))
    }

    /// What the type field says.
    #[must_use]
    pub const fn kind(self) -> IdentifierType {
        match self.0 >> Self::TYPE_SHIFT {
            0 => IdentifierType::Interface,
            1 => IdentifierType::LocallyUnique,
            #[expect(clippy::cast_possible_truncation, reason = "three bits are left")]
            other => IdentifierType::Other(other as u8),
        }
    }

    /// Whether this is of type 1 with the C-bit clear: what can be mapped.
    #[must_use]
    pub const fn is_locally_unique(self) -> bool {
        self.0 & !(Self::C_BIT - 1) == Self::LOCALLY_UNIQUE
    }

    /// Whether the C-bit is set.
    #[must_use]
    pub const fn has_c_bit(self) -> bool {
        self.0 & Self::C_BIT != 0
    }

    /// The last 16 bits, the word that checksum-neutral mapping adjusts.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low word is what is wanted")]
    pub const fn low_word(self) -> u16 {
        self.0 as u16
    }

    /// The same identifier with another low word.
    #[must_use]
    pub const fn with_low_word(self, word: u16) -> Self {
        Self(self.0 & !0xffff | word as u64)
    }

    /// Whether a container may have this identifier.
    ///
    /// # Errors
    /// Says which rule it breaks; see [`IdentifierError`].
    pub const fn check_container(self) -> Result<Self, IdentifierError> {
        if self.has_c_bit() {
            return Err(IdentifierError::CBit);
        }
        match (self.kind(), self.low_word()) {
            (IdentifierType::LocallyUnique, 0x0000 | 0xffff) => Err(IdentifierError::LowWord),
            (IdentifierType::LocallyUnique, _) => Ok(self),
            _ => Err(IdentifierError::Type),
        }
    }
}

/// Why a container cannot have an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(thiserror::Error))]
pub enum IdentifierError {
    /// The C-bit is set; SIR addresses have it clear.
    #[cfg_attr(
        feature = "std",
        error("the C-bit (0x1000 in the first group) is set, which only translation does")
    )]
    CBit,
    /// The type field is not 1, locally unique.
    #[cfg_attr(
        feature = "std",
        error("containers have identifiers of type 1, whose first group is 2000 to 2fff")
    )]
    Type,
    /// The low word is 0x0000 or 0xffff. One's complement has two zeroes and
    /// translation turns one into the other, so that `…:0` would come back as
    /// `…:ffff`: both are left unused.
    #[cfg_attr(
        feature = "std",
        error("the last group is 0 or ffff, which checksum-neutral translation cannot tell apart")
    )]
    LowWord,
}

/// A container's address as containers see it: SIR prefix | identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SirAddr {
    /// The domain's prefix.
    pub prefix: SirPrefix,
    /// Who is meant.
    pub identifier: Identifier,
}

/// A container's address on the underlay: locator | identifier, the latter
/// adjusted as the checksum mode wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IlaAddr {
    /// Where the identifier lives.
    pub locator: Locator,
    /// Who is meant, as it stands on the wire.
    pub identifier: Identifier,
}

impl From<SirAddr> for Address {
    fn from(address: SirAddr) -> Self {
        Self { high: address.prefix.0, low: address.identifier.0 }
    }
}

impl From<IlaAddr> for Address {
    fn from(address: IlaAddr) -> Self {
        Self { high: address.locator.0, low: address.identifier.0 }
    }
}

#[cfg(feature = "std")]
mod text;
#[cfg(feature = "identity")]
pub(crate) use text::parse_bits;
#[cfg(feature = "std")]
pub use text::{ParseIdentifierError, PrefixError};

#[cfg(all(test, feature = "std"))]
mod tests;
