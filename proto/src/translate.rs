//! Between SIR and ILA addresses: the arithmetic.
//!
//! Only the 16 bytes of an address change, and in the neutral modes their
//! one's complement sum does not: whatever follows the IPv6 header (extension
//! headers, fragments, ESP, protocols not yet invented) keeps a valid checksum
//! without being looked at.

use crate::{
    addr::{Identifier, IlaAddr, Locator, SirAddr, SirPrefix},
    checksum::ChecksumDelta,
};

/// How checksums are kept right, the same on the wire as Linux's `csum-mode`.
/// Within a domain all hosts use one mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "std",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "kebab-case")
)]
pub enum ChecksumMode {
    /// The low word makes up for the changed prefix and the C-bit says so
    /// (draft, section 5.4.1).
    #[default]
    NeutralMap,
    /// The address is left as it is: the checksum is wrong on the wire and
    /// right again at the receiver (draft, section 5.4.2).
    NoAction,
    /// As neutral mapping, without the C-bit: both ends know (draft, section 4.1).
    NeutralMapAuto,
}

impl ChecksumMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NeutralMap, Self::NoAction, Self::NeutralMapAuto];

    /// The number that Linux has for the mode (`ILA_CSUM_…` in `linux/ila.h`).
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::NeutralMap => 1,
            Self::NoAction => 2,
            Self::NeutralMapAuto => 3,
        }
    }

    /// The mode that has `number`; neutral mapping for any other number.
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            2 => Self::NoAction,
            3 => Self::NeutralMapAuto,
            _ => Self::NeutralMap,
        }
    }

    /// The name that Linux, the configuration and the API have for the mode.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeutralMap => "neutral-map",
            Self::NoAction => "no-action",
            Self::NeutralMapAuto => "neutral-map-auto",
        }
    }

    /// What setting the C-bit adds to an address's sum; clearing it adds the
    /// complement.
    const fn c_bit(self) -> u64 {
        match self {
            Self::NeutralMap => Identifier::C_BIT,
            Self::NoAction | Self::NeutralMapAuto => 0,
        }
    }

    /// Whether the low word of an identifier that stands on the wire is one
    /// that makes up for the changed prefix.
    pub(crate) const fn adjusts(self, wire: Identifier) -> bool {
        match self {
            Self::NeutralMap => wire.has_c_bit(),
            Self::NeutralMapAuto => true,
            Self::NoAction => false,
        }
    }

    /// The delta for the low word when `sir` gives way to `locator`.
    #[must_use]
    pub const fn to_ila_delta(self, sir: SirPrefix, locator: Locator) -> ChecksumDelta {
        ChecksumDelta::replacing(sir.bits(), locator.bits())
            .and(ChecksumDelta::replacing(0, self.c_bit()))
    }

    /// The delta for the low word when `locator` gives way to `sir`.
    #[must_use]
    pub const fn to_sir_delta(self, sir: SirPrefix, locator: Locator) -> ChecksumDelta {
        ChecksumDelta::replacing(locator.bits(), sir.bits())
            .and(ChecksumDelta::replacing(self.c_bit(), 0))
    }
}

/// The ILA address of `identifier` at `locator`. `delta` is what
/// [`ChecksumMode::to_ila_delta`] gave for the two prefixes.
#[must_use]
pub const fn to_ila(
    mode: ChecksumMode,
    identifier: Identifier,
    locator: Locator,
    delta: ChecksumDelta,
) -> IlaAddr {
    let identifier = match mode {
        ChecksumMode::NoAction => identifier,
        ChecksumMode::NeutralMap | ChecksumMode::NeutralMapAuto => {
            let adjusted = identifier.with_low_word(delta.adjust(identifier.low_word()));
            Identifier::from_bits(adjusted.bits() | mode.c_bit())
        }
    };
    IlaAddr { locator, identifier }
}

/// The SIR address behind an ILA address. `delta` is what
/// [`ChecksumMode::to_sir_delta`] gave for the two prefixes.
///
/// In neutral mapping the C-bit of the address itself says whether its low
/// word was adjusted; a sender that did not adjust is understood as well.
#[must_use]
pub const fn to_sir(
    mode: ChecksumMode,
    address: IlaAddr,
    prefix: SirPrefix,
    delta: ChecksumDelta,
) -> SirAddr {
    let wire = address.identifier;
    let identifier = if mode.adjusts(wire) {
        let restored = wire.with_low_word(delta.adjust(wire.low_word()));
        Identifier::from_bits(restored.bits() & !mode.c_bit())
    } else {
        wire
    };
    SirAddr { prefix, identifier }
}

#[cfg(all(test, feature = "std"))]
mod tests;
