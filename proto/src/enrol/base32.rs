//! Bytes as digits and small letters that are not mistaken for each other
//! (Crockford's alphabet), five bits each, one way of writing each.

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The text of some bytes.
pub fn write(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(digit(bits >> count));
        }
    }
    if count > 0 {
        text.push(digit(bits << (5 - count)));
    }
    text
}

/// The bytes of a text; none if it is not how [`write()`] writes them.
pub fn read(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0_u32, 0);
    for character in text.bytes() {
        let value = DIGITS.iter().position(|digit| *digit == character)?;
        bits = bits << 5 | u32::try_from(value).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(low_byte(bits >> count));
        }
    }
    // No digit more than the bytes take, and nothing in what is left of the last.
    let is_left_over = count >= 5 || bits & ((1 << count) - 1) != 0;
    (!is_left_over).then_some(bytes)
}

fn digit(bits: u32) -> char {
    char::from(DIGITS[(bits & 31) as usize])
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is wanted")]
const fn low_byte(bits: u32) -> u8 {
    bits as u8
}
