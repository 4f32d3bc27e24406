//! `ICMPv6` errors (RFC 4443): those that the kernel programs send, and those
//! of the underlay, which quote packets as they were on the wire.
//!
//! ```text
//!  | type | code | checksum (2) | unused, or MTU (4) | the packet, as much as fits …
//! ```

use crate::{addr::Address, checksum::Sum};

/// `ICMPv6` as a next header.
pub const NEXT_HEADER: u8 = 58;

/// Bytes before the quoted packet.
pub const HEADER: usize = 8;

/// Bytes of an error at most, from its IPv6 header on: the smallest MTU
/// (RFC 4443, section 2.4 c).
pub const LARGEST: u16 = 1280;

/// Bytes of a packet that are quoted at most, with both headers before them.
pub const MAX_QUOTE: usize = LARGEST as usize - 40 - HEADER;

/// The hop limit that errors start with.
const HOP_LIMIT: u8 = 64;

/// How many errors a CPU sends on behalf of one interface in a second
/// (RFC 4443, section 2.4 f).
pub const ERRORS_PER_SECOND: u64 = 100;

/// What is told to the source of a packet that goes no further: type, code and
/// the word behind the checksum, as they stand in the message. A number rather
/// than a choice, because the verifier follows each choice to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(u64);

impl Error {
    /// No route to destination.
    pub const NO_ROUTE: Self = Self::new(1, 0);
    /// Communication with destination administratively prohibited.
    pub const PROHIBITED: Self = Self::new(1, 1);
    /// Address unreachable.
    pub const ADDRESS_UNREACHABLE: Self = Self::new(1, 3);
    /// Hop limit exceeded in transit.
    pub const TIME_EXCEEDED: Self = Self::new(3, 0);

    /// Packet too big, with the MTU of the link that it should take.
    #[must_use]
    #[inline(always)]
    pub const fn packet_too_big(mtu: u32) -> Self {
        Self(Self::new(2, 0).0 | mtu as u64)
    }

    /// The error as the number that it is.
    #[must_use]
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The error that a number from [`Error::bits`] is.
    #[must_use]
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    const fn new(kind: u8, code: u8) -> Self {
        Self((kind as u64) << 56 | (code as u64) << 48)
    }

    /// The IPv6 and `ICMPv6` headers of the error from `source` to
    /// `destination`, each eight bytes as the number that they spell, to stand
    /// before a quote of `length` bytes, [`MAX_QUOTE`] at most, that sum up to
    /// `quote`.
    #[must_use]
    #[inline(always)]
    pub const fn headers(
        self,
        source: Address,
        destination: Address,
        length: u16,
        quote: Sum,
    ) -> [u64; 6] {
        const VERSION: u64 = 6 << 60;
        #[expect(clippy::cast_possible_truncation, reason = "it is eight")]
        let length = HEADER as u16 + length;
        let sum = quote
            .half(source.high)
            .half(source.low)
            .half(destination.high)
            .half(destination.low)
            .word(length)
            .word(NEXT_HEADER as u16)
            .half(self.0);
        [
            VERSION | (length as u64) << 16 | (NEXT_HEADER as u64) << 8 | HOP_LIMIT as u64,
            source.high,
            source.low,
            destination.high,
            destination.low,
            self.0 | (sum.finish().value() as u64) << 32,
        ]
    }
}

/// Whether an `ICMPv6` type is that of an error or a redirect, which are never
/// answered with an error (RFC 4443, sections 2.1 and 2.4 e).
#[must_use]
#[inline(always)]
pub const fn is_error(kind: u8) -> bool {
    const REDIRECT: u8 = 137;
    kind < 128 || kind == REDIRECT
}

/// Whether an `ICMPv6` type quotes a packet: destination unreachable, packet
/// too big, time exceeded, parameter problem.
#[must_use]
#[inline(always)]
pub const fn quotes(kind: u8) -> bool {
    matches!(kind, 1..=4)
}

/// Whether somebody can be told of what became of a packet with these
/// addresses (RFC 4443, section 2.4 e).
#[must_use]
#[inline(always)]
pub const fn may_answer(source: Address, destination: Address) -> bool {
    !source.is_multicast() && !source.is_unspecified() && !destination.is_multicast()
}

#[cfg(all(test, feature = "std"))]
mod tests;
