//! The way past extension headers (RFC 8200, section 4) to what they carry.

/// Bytes of the shortest extension header.
const UNIT: usize = 8;

/// More extension headers than this nobody sends; a packet that has them is
/// not looked into.
const MOST: usize = 6;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// What a packet carries behind its extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// A header of this protocol, so many bytes behind the fixed header.
    Header {
        /// The protocol's number.
        protocol: u8,
        /// Where it starts.
        offset: usize,
    },
    /// A fragment that is not the first: the header is in another packet.
    LaterFragment,
    /// It ends before, or hides it behind too much.
    Unknown,
}

/// Whether a next header is an extension header that is walked past.
#[must_use]
#[inline(always)]
pub const fn is_extension(next_header: u8) -> bool {
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// Finds what the packet carries. `read` gives the four bytes at an offset
/// behind the fixed header.
#[inline(always)]
pub fn upper(next_header: u8, read: impl Fn(usize) -> Option<[u8; 4]>) -> Upper {
    let mut protocol = next_header;
    let mut offset = 0;
    for _ in 0..MOST {
        if !is_extension(protocol) {
            return Upper::Header { protocol, offset };
        }
        let Some([next, length, high, low]) = read(offset) else {
            return Upper::Unknown;
        };
        // The upper 13 of the 16 bits are the fragment's offset.
        if protocol == FRAGMENT && u16::from_be_bytes([high, low]) >> 3 != 0 {
            return Upper::LaterFragment;
        }
        offset += match protocol {
            FRAGMENT => UNIT,
            // In units of four bytes, less two (RFC 4302, section 2.2).
            AUTHENTICATION => (length as usize + 2) * 4,
            _ => (length as usize + 1) * UNIT,
        };
        protocol = next;
    }
    if is_extension(protocol) { Upper::Unknown } else { Upper::Header { protocol, offset } }
}

#[cfg(all(test, feature = "std"))]
mod tests;
