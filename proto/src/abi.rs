//! What kernel programs and agent share in memory: names, layouts, fates.
//!
//! Layouts are `repr(C)`, of plain integers in host byte order, with padding
//! spelled out: every byte pattern is a valid value and none is left
//! uninitialised, so that they can be read and written as bytes.

use crate::{
    addr::{Address, Identifier, Locator, SirPrefix},
    checksum::ChecksumDelta,
};

mod fate;
pub use fate::{FATE_SLOTS, Fate, Outcome};

/// Changes with every layout, name or meaning in this module. Object and agent
/// are built together; the number is for what outlives an agent, and stands in
/// the path of what is pinned.
pub const ABI_VERSION: u32 = 4;

/// The program on a container's host-side interface: container → uplink.
pub const PROGRAM_EGRESS: &str = "ila_egress";
/// The program on an uplink: uplink → container.
pub const PROGRAM_INGRESS: &str = "ila_ingress";
/// The program array in which the others are found, by [`Tail`].
pub const MAP_TAILS: &str = "ILA_TAILS";
/// The hash map [`MappingKey`] → [`MappingValue`].
pub const MAP_MAPPINGS: &str = "ILA_MAPPINGS";
/// The hash map [`LocatorKey`] → [`LocatorValue`], of the locators of other
/// hosts and of this one.
pub const MAP_LOCATORS: &str = "ILA_LOCATORS";
/// The per-CPU hash map interface index → [`InterfaceCounts`].
pub const MAP_COUNTS: &str = "ILA_COUNTS";
/// The array whose one entry is the time until which [`Event`]s are made: a
/// `u64`, nanoseconds of `CLOCK_MONOTONIC`, zero for none at all. Only the agent
/// writes it; what one that is gone has written is over by itself.
pub const MAP_WANTED: &str = "ILA_WANTED";
/// The array whose one entry, a `u64`, is not zero if the routes to all locators
/// are known to be plain: by the one uplink, and as wide as that. What is sent
/// there need not be asked for then. Only the agent writes it.
pub const MAP_PLAIN: &str = "ILA_PLAIN";
/// The per-CPU array whose one entry, a `u64`, counts events for which the ring
/// buffer had no room. Only the programs write it.
pub const MAP_MISSED: &str = "ILA_MISSED";
/// The ring buffer of [`Event`]s.
pub const MAP_EVENTS: &str = "ILA_EVENTS";
/// The read-only [`HostConfig`] that is filled in before loading.
pub const GLOBAL_CONFIG: &str = "ILA_CONFIG";

/// How many mappings fit in the kernel map.
pub const MAX_MAPPINGS: u32 = 1 << 20;
/// How many locators fit in the kernel map.
pub const MAX_LOCATORS: u32 = 1 << 17;
/// How many interfaces can have a program.
pub const MAX_INTERFACES: u32 = 1 << 14;
/// How many SIR prefixes a host can serve.
pub const MAX_DOMAINS: usize = 4;
/// How many uplinks a host can have.
pub const MAX_UPLINKS: usize = 4;
/// How many prefixes the locators of a host's domains can be taken from.
pub const MAX_LOCATOR_SPACES: usize = 4;
/// Bytes of the ring buffer of events: a power of two, and of pages.
pub const EVENT_BYTES: u32 = 1 << 18;

/// Under this key [`InterfaceCounts`] of interfaces that are gone add up, so
/// that a sum over all never falls. No interface has this index.
pub const GONE_INTERFACES: u32 = 0;

/// The link-layer address of the containers' side of the host, the same on
/// every host, so that a container that moves keeps a valid neighbour entry.
/// Locally administered; the middle bytes spell "ILA".
pub const GATEWAY_MAC: Mac = [0x02, 0x49, 0x4c, 0x41, 0x00, 0x01];

/// A link-layer address.
pub type Mac = [u8; 6];

/// The programs in which the two that are attached go on with what is rare, so
/// that each is small enough for the verifier and for a CPU's cache: its index
/// in the program array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Tail {
    /// Answers a container's neighbour solicitation.
    Solicited = 0,
    /// Answers the underlay's neighbour solicitation.
    SolicitedOnUplink = 1,
    /// Delivers an `ICMPv6` error with the packet that it quotes restored.
    IngressError = 2,
    /// Tells the source of a dropped packet.
    Refuse = 3,
}

impl Tail {
    /// All of them, by index.
    pub const ALL: [Self; 4] =
        [Self::Solicited, Self::SolicitedOnUplink, Self::IngressError, Self::Refuse];

    /// The name of the program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Solicited => "ila_ndp",
            Self::SolicitedOnUplink => "ila_ndp_uplink",
            Self::IngressError => "ila_ingress_error",
            Self::Refuse => "ila_refuse",
        }
    }
}

/// A type whose every byte may be read and written as it is: `repr(C)`,
/// integers only, no padding. The size tests beside each layout hold it to it.
pub trait Layout: Copy + 'static {}

/// Key of the mapping table.
///
/// ```text
///  | index of the SIR prefix in [`HostConfig::domains`] (4) | identifier (60) |
/// ```
///
/// Only identifiers of type 1 without C-bit are mapped, which makes the four
/// bits of the type field free to tell SIR prefixes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct MappingKey(pub u64);

/// Value of the mapping table: where an identifier lives.
///
/// ```text
///         0                      8        10        12              16
///  there  | locator              | to-ILA | padding | 0             |
///  here   | 0 (2) | MAC (6)      | 0      | padding | interface     |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MappingValue {
    place: u64,
    to_ila: u16,
    padding: u16,
    interface: u32,
}

/// What a [`MappingValue`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this host.
    Here {
        /// The container's host-side interface, never zero.
        interface: u32,
        /// The link-layer address of the container's end.
        mac: Mac,
    },
    /// On another host.
    There {
        /// Its locator.
        locator: Locator,
        /// The delta from SIR to ILA address, computed once when the mapping
        /// is stored and not for every packet.
        to_ila: ChecksumDelta,
    },
}

/// Key of the locator table: [`Locator::bits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct LocatorKey(pub u64);

/// Value of the locator table: what turns an ILA address back. A locator
/// belongs to one SIR prefix (draft, section 3.4).
///
/// ```text
///  0        4        6         8
///  | domain | to-SIR | padding |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LocatorValue {
    /// The index of its SIR prefix in [`HostConfig::domains`].
    pub domain: u32,
    /// [`ChecksumDelta::value`] from ILA to SIR address.
    pub to_sir: u16,
    /// Zero.
    pub padding: u16,
}

/// A SIR prefix and the locator that this host has in it.
///
/// ```text
///  0            8         16       18       20        24
///  | SIR prefix | locator | to-ILA | to-SIR | padding |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Domain {
    /// [`SirPrefix::bits`]; zero for none.
    pub sir_prefix: u64,
    /// [`Locator::bits`] of this host.
    pub locator: u64,
    /// [`ChecksumDelta::value`] from SIR to this host's ILA addresses.
    pub to_ila: u16,
    /// [`ChecksumDelta::value`] from this host's ILA addresses to SIR.
    pub to_sir: u16,
    /// Zero.
    pub padding: u32,
}

/// An underlay interface.
///
/// ```text
///  0           4     10        12
///  | interface | MAC | padding |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Uplink {
    /// Its index; zero for none.
    pub interface: u32,
    /// Its link-layer address.
    pub mac: Mac,
    /// Zero.
    pub padding: u16,
}

/// Where locators are taken from, those of hosts that this one knows nothing of
/// among them.
///
/// ```text
///  0      8      16
///  | bits | mask |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LocatorSpace {
    /// The first bits that all of these locators have, zeroes behind them.
    pub bits: u64,
    /// Ones for those bits; zero for no such space.
    pub mask: u64,
}

/// The kernel programs' constants, written before they are loaded.
///
/// ```text
///  0             96            144                  208       224
///  | domains (4) | uplinks (4) | locator spaces (4) | address | …
///
///    224             226      228    230       232
///  … | checksum mode | source | path | padding |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HostConfig {
    /// The SIR prefixes that this host serves, without gaps.
    pub domains: [Domain; MAX_DOMAINS],
    /// The underlay interfaces, without gaps.
    pub uplinks: [Uplink; MAX_UPLINKS],
    /// Where locators are taken from, without gaps.
    pub locator_spaces: [LocatorSpace; MAX_LOCATOR_SPACES],
    /// The halves of the host's own address in the underlay, from which it
    /// sends ICMPv6 errors; `::` for none.
    pub address: [u64; 2],
    /// [`crate::translate::ChecksumMode::number`].
    pub checksum_mode: u16,
    /// [`crate::forward::SourceMode::number`].
    pub source_mode: u16,
    /// [`crate::forward::Path::number`].
    pub path: u16,
    /// Zero.
    pub padding: u16,
}

/// Packets and bytes that met one fate on one interface and CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FateCount {
    /// Packets; one that was aggregated by offloads counts once.
    pub packets: u64,
    /// Bytes from the link-layer header on.
    pub bytes: u64,
}

/// What one CPU keeps of one interface.
///
/// ```text
///  0            1024              1032            1040
///  | fates (64) | second of error | errors in it |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct InterfaceCounts {
    /// Indexed by [`Fate::number`].
    pub fates: [FateCount; FATE_SLOTS],
    /// The second, since boot, in which the last ICMPv6 error was made.
    pub error_second: u64,
    /// ICMPv6 errors made in that second.
    pub errors: u64,
}

/// A packet that was dropped.
///
/// ```text
///  0      4           8        24            40       44            45          46
///  | fate | interface | source | destination | length | next header | hop limit | padding |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// [`Fate::number`].
    pub fate: u32,
    /// The interface whose program dropped it.
    pub interface: u32,
    /// The halves of the source; zeroes if it was not IPv6.
    pub source: [u64; 2],
    /// The halves of the destination; zeroes if it was not IPv6.
    pub destination: [u64; 2],
    /// Bytes from the link-layer header on.
    pub length: u32,
    /// The header behind the IPv6 header.
    pub next_header: u8,
    /// The hop limit.
    pub hop_limit: u8,
    /// Zero.
    pub padding: u16,
}

const _: () = {
    assert!(size_of::<MappingKey>() == 8);
    assert!(size_of::<MappingValue>() == 16);
    assert!(size_of::<LocatorKey>() == 8);
    assert!(size_of::<LocatorValue>() == 8);
    assert!(size_of::<Domain>() == 24);
    assert!(size_of::<Uplink>() == 12);
    assert!(size_of::<LocatorSpace>() == 16);
    assert!(size_of::<HostConfig>() == 232);
    assert!(size_of::<FateCount>() == 16);
    assert!(size_of::<InterfaceCounts>() == 1040);
    assert!(size_of::<Event>() == 48);
};

impl Layout for MappingKey {}
impl Layout for MappingValue {}
impl Layout for LocatorKey {}
impl Layout for LocatorValue {}
impl Layout for HostConfig {}
impl Layout for InterfaceCounts {}
impl Layout for Event {}

impl MappingKey {
    const DOMAIN_SHIFT: u32 = 60;

    /// The key of `identifier` in the SIR prefix at `domain`; none for an
    /// identifier that cannot be mapped.
    #[must_use]
    #[inline(always)]
    pub const fn new(domain: u32, identifier: Identifier) -> Option<Self> {
        if !identifier.is_locally_unique() {
            return None;
        }
        let identifier = identifier.bits() & ((1 << Self::DOMAIN_SHIFT) - 1);
        Some(Self((domain as u64) << Self::DOMAIN_SHIFT | identifier))
    }

    /// The domain and the identifier that it is the key of.
    #[must_use]
    pub const fn parts(self) -> (u32, Identifier) {
        ((self.0 >> Self::DOMAIN_SHIFT) as u32, Identifier::locally_unique(self.0))
    }
}

impl MappingValue {
    /// All zeroes: no host has this locator.
    pub const NONE: Self = Self { place: 0, to_ila: 0, padding: 0, interface: 0 };

    /// The value that says `place`.
    #[must_use]
    pub const fn new(place: Place) -> Self {
        match place {
            Place::Here { interface, mac: [a, b, c, d, e, f] } => Self {
                place: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
                to_ila: 0,
                padding: 0,
                interface,
            },
            Place::There { locator, to_ila } => {
                Self { place: locator.bits(), to_ila: to_ila.value(), padding: 0, interface: 0 }
            }
        }
    }

    /// What it says.
    #[must_use]
    #[inline(always)]
    pub const fn place(&self) -> Place {
        match self.interface {
            0 => Place::There {
                locator: Locator::from_bits(self.place),
                to_ila: ChecksumDelta::from_value(self.to_ila),
            },
            interface => {
                let [_, _, a, b, c, d, e, f] = self.place.to_be_bytes();
                Place::Here { interface, mac: [a, b, c, d, e, f] }
            }
        }
    }
}

impl From<Locator> for LocatorKey {
    fn from(locator: Locator) -> Self {
        Self(locator.bits())
    }
}

impl LocatorValue {
    /// The delta as its type.
    #[must_use]
    pub const fn to_sir(&self) -> ChecksumDelta {
        ChecksumDelta::from_value(self.to_sir)
    }
}

impl Domain {
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
    pub const fn to_ila(&self) -> ChecksumDelta {
        ChecksumDelta::from_value(self.to_ila)
    }

    /// The delta as its type.
    #[must_use]
    pub const fn to_sir(&self) -> ChecksumDelta {
        ChecksumDelta::from_value(self.to_sir)
    }
}

impl HostConfig {
    /// The index of the SIR prefix that an address starts with.
    #[must_use]
    #[inline(always)]
    pub fn domain_of_sir(&self, high: u64) -> Option<u32> {
        // An unused place is all zeroes.
        if high == 0 {
            return None;
        }
        (0u32..).zip(&self.domains).find(|(_, it)| it.sir_prefix == high).map(|it| it.0)
    }

    /// The index of the SIR prefix whose locator on this host an address
    /// starts with.
    #[must_use]
    #[inline(always)]
    pub fn domain_of_locator(&self, high: u64) -> Option<u32> {
        if high == 0 {
            return None;
        }
        (0u32..).zip(&self.domains).find(|(_, it)| it.locator == high).map(|it| it.0)
    }

    /// Whether an address starts with what is or may be a locator.
    #[must_use]
    #[inline(always)]
    pub fn is_in_locator_space(&self, high: u64) -> bool {
        self.locator_spaces.iter().any(|it| it.mask != 0 && high & it.mask == it.bits)
    }

    /// The domain at `index`; past the last one they are counted round.
    #[must_use]
    #[inline(always)]
    pub fn domain(&self, index: u32) -> &Domain {
        // The mask is what the verifier bounds the index by.
        &self.domains[index as usize & (MAX_DOMAINS - 1)]
    }

    /// The uplink at `index` modulo their number.
    #[must_use]
    #[inline(always)]
    pub fn uplink(&self, index: u32) -> &Uplink {
        &self.uplinks[index as usize & (MAX_UPLINKS - 1)]
    }

    /// The host's own address, if it has one.
    #[must_use]
    #[inline(always)]
    pub const fn address(&self) -> Option<Address> {
        let [high, low] = self.address;
        if high == 0 { None } else { Some(Address { high, low }) }
    }
}

impl Default for InterfaceCounts {
    fn default() -> Self {
        Self { fates: [FateCount::default(); FATE_SLOTS], error_second: 0, errors: 0 }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
