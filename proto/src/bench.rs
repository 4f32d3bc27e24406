//! What the kernel programs that are built for measuring share with the one
//! who runs them.

use crate::{abi::Layout, addr::Identifier};

/// Does nothing.
pub const PROGRAM_EMPTY: &str = "empty";
/// Makes the packet the sample, with a random destination.
pub const PROGRAM_RESET: &str = "reset_destination";
/// The same, then what `ila_egress` does.
pub const PROGRAM_EGRESS: &str = "egress";
/// The same, then what `ila_ingress` does.
pub const PROGRAM_INGRESS: &str = "ingress";
/// Makes the packet the sample, with a random source.
pub const PROGRAM_RESET_SOURCE: &str = "reset_source";
/// The same, then what `ila_ingress` does.
pub const PROGRAM_INGRESS_SOURCE: &str = "ingress_source";
/// Makes the whole packet the sample.
pub const PROGRAM_RESET_NDP: &str = "reset_ndp";
/// The same, then what `ila_egress` does.
pub const PROGRAM_NDP: &str = "ndp";

/// Draws an identifier from as many as the sample says.
pub const PROGRAM_DRAW: &str = "draw";
/// The same, then looks it up in the table that ships.
pub const PROGRAM_SHIPPED: &str = "shipped";
/// The same in a preallocated one.
pub const PROGRAM_PREALLOCATED: &str = "preallocated";
/// The same in one with the SIR prefix in its key.
pub const PROGRAM_WIDE: &str = "wide";
/// The same in one that forgets what was not used for long.
pub const PROGRAM_LRU: &str = "lru";
/// Looks up its index in an array.
pub const PROGRAM_INDEX: &str = "index";

/// The array whose one entry is [`Sample`].
pub const MAP_SAMPLE: &str = "ILA_SAMPLE";
/// The tables of those programs.
pub const MAP_PREALLOCATED: &str = "PREALLOCATED";
/// As above.
pub const MAP_WIDE: &str = "WIDE";
/// As above.
pub const MAP_LRU: &str = "LRU";
/// As above.
pub const MAP_INDEX: &str = "INDEX";

/// What a packet is made into before each run: a run leaves it translated, and
/// the next one would take another way with it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Sample {
    /// The link-layer addresses, in pieces that are stored at once.
    pub macs: [[u8; 4]; 3],
    /// Among how many identifiers is drawn; with one it is always the same.
    pub keys: u32,
    /// What lies behind the Ethernet header: the IPv6 header and an ICMPv6
    /// message of four units.
    pub packet: [[u8; 8]; Self::HALVES],
}

impl Sample {
    /// Eight bytes each of the packet.
    pub const HALVES: usize = 9;
    /// Those of the IPv6 header.
    pub const HEADER: usize = 5;
    /// Where in the packet the source has its identifier.
    pub const SOURCE: usize = 2;
    /// Where in the packet the destination has its identifier.
    pub const DESTINATION: usize = 4;

    /// No packet at all.
    pub const EMPTY: Self = Self { macs: [[0; 4]; 3], keys: 1, packet: [[0; 8]; Self::HALVES] };

    /// The index that a random number draws.
    #[must_use]
    #[inline(always)]
    pub const fn draw(&self, random: u32) -> u32 {
        ((random as u64 * self.keys as u64) >> 32) as u32
    }
}

/// The identifier `like`, or the one of an ILA address, with the bits between
/// type and low word made from an index: no two indexes have the same. The low
/// word stays, for an adjustment in it does not depend on those bits when all
/// identifiers have the same one.
#[must_use]
#[inline(always)]
pub const fn scattered(like: Identifier, index: u32) -> Identifier {
    /// The golden ratio of 2^64, as Knuth multiplies by it; odd, or two indexes
    /// could come out the same.
    const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;
    const MIDDLE: u64 = (Identifier::C_BIT - 1) & !0xffff;
    let middle = (index as u64).wrapping_mul(SCATTER) << 16 & MIDDLE;
    Identifier::from_bits(like.bits() & !MIDDLE | middle)
}

const _: () = assert!(size_of::<Sample>() == 88);

impl Layout for Sample {}
