//! What happens to a packet's destination, decided from values alone.
//!
//! Only the 16 bytes of the destination address change, and in the neutral
//! modes their one's complement sum does not: whatever follows the IPv6 header
//! (extension headers, fragments, ESP, protocols not yet invented) keeps a
//! valid checksum without being looked at.

use crate::{
    abi::{Fate, HostConfig, MappingValue},
    addr::{Address, Identifier, IdentifierType, IlaAddr, Locator, SirAddr, SirPrefix},
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
    /// right again at the receiver.
    NoAction,
    /// As neutral mapping, without the C-bit: both ends know.
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
    const fn adjusts(self, wire: Identifier) -> bool {
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

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it as it is.
    Pass(Fate),
    /// Replace its destination, then hand it on.
    Rewrite {
        /// The new destination.
        destination: Address,
        /// Whether the new one sums up to the same as the old one, so that no
        /// checksum anywhere has to change.
        neutral: bool,
        /// Why.
        fate: Fate,
    },
    /// Drop it.
    Drop(Fate),
}

/// Decides on a packet that a container sends to `destination`.
pub fn egress(
    config: &HostConfig,
    destination: Address,
    look_up: impl FnOnce(Identifier) -> Option<MappingValue>,
) -> Verdict {
    if destination.high != config.sir_prefix {
        return Verdict::Pass(Fate::EgressNotSir);
    }
    let identifier = Identifier::from_bits(destination.low);
    let Some(mapping) = look_up(identifier) else {
        return Verdict::Drop(Fate::EgressUnknownIdentifier);
    };
    if mapping.interface != 0 {
        return Verdict::Pass(Fate::EgressLocal);
    }
    let mode = ChecksumMode::from_number(config.checksum_mode);
    let ila = to_ila(mode, identifier, mapping.locator(), mapping.to_ila());
    Verdict::Rewrite {
        destination: ila.into(),
        neutral: mode.adjusts(ila.identifier),
        fate: Fate::EgressTranslated,
    }
}

/// Decides on a packet that an uplink receives for `destination`.
pub fn ingress(
    config: &HostConfig,
    destination: Address,
    look_up: impl FnOnce(Identifier) -> Option<MappingValue>,
) -> Verdict {
    if destination.high != config.locator {
        return Verdict::Pass(Fate::IngressNotLocator);
    }
    let identifier = Identifier::from_bits(destination.low);
    if identifier.kind() == IdentifierType::Interface {
        return Verdict::Pass(Fate::IngressHost);
    }
    let mode = ChecksumMode::from_number(config.checksum_mode);
    let ila = IlaAddr { locator: config.locator(), identifier };
    let sir = to_sir(mode, ila, config.sir_prefix(), config.to_sir());
    match look_up(sir.identifier) {
        Some(mapping) if mapping.interface != 0 => Verdict::Rewrite {
            destination: sir.into(),
            neutral: mode.adjusts(identifier),
            fate: Fate::IngressRestored,
        },
        _ => Verdict::Drop(Fate::IngressUnknownIdentifier),
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
