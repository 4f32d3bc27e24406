//! What is in a datagram: the stream's number, the datagram's own, and in an
//! end marker how many there were.

/// Bytes of a datagram without its headers.
pub const LENGTH: usize = 24;

/// The number of an end marker, which no other datagram ever has.
const END: u64 = u64::MAX;

/// What a datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It is the one with that number, from 0.
    Number(u64),
    /// There are as many, and all have been sent.
    End(u64),
}

/// A datagram of the stream `id`.
pub fn write(id: u64, content: Content) -> [u8; LENGTH] {
    let (number, total) = match content {
        Content::Number(number) => (number, 0),
        Content::End(total) => (END, total),
    };
    let mut bytes = [0; LENGTH];
    for (place, value) in bytes.chunks_exact_mut(8).zip([id, number, total]) {
        place.copy_from_slice(&value.to_be_bytes());
    }
    bytes
}

/// What a datagram says, if it is of the stream `id`.
pub fn read(id: u64, bytes: &[u8]) -> Option<Content> {
    let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
    let word = |place: usize| {
        u64::from_be_bytes(bytes[place * 8..][..8].try_into().expect("8 bytes are 8"))
    };
    (word(0) == id).then(|| match word(1) {
        END => Content::End(word(2)),
        number => Content::Number(number),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_its_own_stream_only() {
        for content in [Content::Number(0), Content::Number(1 << 40), Content::End(7)] {
            let bytes = write(3, content);
            assert_eq!(read(3, &bytes), Some(content));
            assert_eq!(read(4, &bytes), None);
            assert_eq!(read(3, &bytes[1..]), None);
        }
    }
}
