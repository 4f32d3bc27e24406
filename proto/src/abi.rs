//! What kernel programs and agent share in memory: names, layouts, fates.
//!
//! Layouts are `repr(C)`, of plain integers in host byte order, with padding
//! spelled out: every byte pattern is a valid value and none is left
//! uninitialised, so that they can be read and written as bytes.

use crate::{
    addr::{Identifier, Locator, SirPrefix},
    checksum::ChecksumDelta,
};

mod fate;
pub use fate::{FATE_SLOTS, Fate, Outcome};

/// Changes with every layout, name or meaning in this module. Object and agent
/// are built together; the number is for what outlives an agent.
pub const ABI_VERSION: u32 = 1;

/// The program on a container's host-side interface: container → uplink.
pub const PROGRAM_EGRESS: &str = "ila_egress";
/// The program on an uplink: uplink → container.
pub const PROGRAM_INGRESS: &str = "ila_ingress";
/// The hash map [`MappingKey`] → [`MappingValue`].
pub const MAP_MAPPINGS: &str = "ILA_MAPPINGS";
/// The per-CPU array [`Fate`] number → [`FateCount`].
pub const MAP_FATES: &str = "ILA_FATES";
/// The read-only [`HostConfig`] that is filled in before loading.
pub const GLOBAL_CONFIG: &str = "ILA_CONFIG";

/// How many mappings fit in the kernel map.
pub const MAX_MAPPINGS: u32 = 1 << 20;

/// The link-layer address of the containers' side of the host, the same on
/// every host, so that a container that moves keeps a valid neighbour entry.
/// Locally administered; the middle bytes spell "ILA".
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0x49, 0x4c, 0x41, 0x00, 0x01];

/// A type whose every byte may be read and written as it is: `repr(C)`,
/// integers only, no padding. The size tests beside each layout hold it to it.
pub trait Layout: Copy + 'static {}

/// Key of the mapping table: [`Identifier::bits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct MappingKey(pub u64);

/// Value of the mapping table: where an identifier lives.
///
/// ```text
///  0        8              10        12              16
///  | locator | checksum delta | padding | interface index |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MappingValue {
    /// [`Locator::bits`] of the host that holds the identifier.
    pub locator: u64,
    /// [`ChecksumDelta::value`] from SIR to ILA address, computed once when
    /// the mapping is stored and not for every packet.
    pub to_ila: u16,
    /// Zero.
    pub padding: u16,
    /// The host-side interface of the container if it lives on this host,
    /// else zero.
    pub interface: u32,
}

/// The kernel programs' constants, written before they are loaded.
///
/// ```text
///  0           8        16           18             20      24
///  | SIR prefix | locator | to-SIR delta | checksum mode | padding |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HostConfig {
    /// [`SirPrefix::bits`] of the domain.
    pub sir_prefix: u64,
    /// [`Locator::bits`] of this host.
    pub locator: u64,
    /// [`ChecksumDelta::value`] from this host's ILA addresses to SIR.
    pub to_sir: u16,
    /// [`crate::translate::ChecksumMode::number`].
    pub checksum_mode: u16,
    /// Zero.
    pub padding: u32,
}

/// Packets and bytes that met one fate on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FateCount {
    /// Packets; one that was aggregated by offloads counts once.
    pub packets: u64,
    /// Bytes from the link-layer header on.
    pub bytes: u64,
}

const _: () = {
    assert!(size_of::<MappingKey>() == 8);
    assert!(size_of::<MappingValue>() == 16);
    assert!(size_of::<HostConfig>() == 24);
    assert!(size_of::<FateCount>() == 16);
};

impl Layout for MappingKey {}
impl Layout for MappingValue {}
impl Layout for HostConfig {}
impl Layout for FateCount {}

impl From<Identifier> for MappingKey {
    fn from(identifier: Identifier) -> Self {
        Self(identifier.bits())
    }
}

impl MappingValue {
    /// The locator as its type.
    #[must_use]
    pub const fn locator(&self) -> Locator {
        Locator::from_bits(self.locator)
    }

    /// The delta as its type.
    #[must_use]
    pub const fn to_ila(&self) -> ChecksumDelta {
        ChecksumDelta::from_value(self.to_ila)
    }
}

impl HostConfig {
    /// The SIR prefix as its type.
    #[must_use]
    pub const fn sir_prefix(&self) -> SirPrefix {
        SirPrefix::from_bits(self.sir_prefix)
    }

    /// The locator as its type.
    #[must_use]
    pub const fn locator(&self) -> Locator {
        Locator::from_bits(self.locator)
    }

    /// The delta as its type.
    #[must_use]
    pub const fn to_sir(&self) -> ChecksumDelta {
        ChecksumDelta::from_value(self.to_sir)
    }
}
