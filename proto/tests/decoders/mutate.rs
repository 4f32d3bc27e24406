//! Bytes that are nearly right.

use ila_proto::gossip::sim::Dice;

/// No longer than twice what is ever read.
const MOST: usize = 2 << 20;

/// Numbers as they are written before what they count, at their ends: of one
/// byte, of bincode, of DER, and four bytes of our own.
const EXTREMES: [&[u8]; 15] = [
    &[0],
    &[0x7f],
    &[0x80],
    &[0xfa],
    &[0xfb, 0xff, 0xff],
    &[0xfc, 0xff, 0xff, 0xff, 0xff],
    &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xfe],
    &[0x81, 0xff],
    &[0x82, 0xff, 0xff],
    &[0x84, 0xff, 0xff, 0xff, 0xff],
    &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0, 0x10, 0, 0],
    &[0, 0x10, 0, 1],
];

pub fn below(dice: &mut Dice, end: usize) -> usize {
    usize::try_from(dice.below(end.max(1) as u64)).expect("it is below a usize")
}

pub fn pick<'a, T>(dice: &mut Dice, all: &'a [T]) -> &'a T {
    &all[below(dice, all.len())]
}

/// One of them, changed in up to four places.
pub fn mutant(dice: &mut Dice, pool: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = pick(dice, pool).clone();
    for _ in 0..=dice.below(4) {
        mutate(dice, &mut bytes, pool);
        bytes.truncate(MOST);
    }
    bytes
}

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>, pool: &[Vec<u8>]) {
    let at = below(dice, bytes.len() + 1);
    // Short ones more often, for that is how long fields are.
    let longest = *pick(dice, &[4, 40, usize::MAX]);
    let end = at + below(dice, (bytes.len() - at).min(longest) + 1);
    match dice.below(9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = dice.any().to_le_bytes()[0];
            }
        }
        2 => {
            let new = dice.any().to_le_bytes();
            bytes.splice(at..at, new[..=below(dice, 8)].iter().copied());
        }
        3 => drop(bytes.drain(at..end)),
        4 => {
            let part = bytes[at..end].to_vec();
            let to = below(dice, bytes.len() + 1);
            bytes.splice(to..to, part);
        }
        5 => {
            let other = pick(dice, pool);
            let from = below(dice, other.len() + 1);
            bytes.splice(at.., other[from..].iter().copied());
        }
        6 => {
            let extreme = *pick(dice, &EXTREMES);
            let end = bytes.len().min(at + if dice.below(2) == 0 { 1 } else { extreme.len() });
            bytes.splice(at..end, extreme.iter().copied());
        }
        7 => bytes.truncate(at),
        _ => {
            // Lists that do not end, and what is nested deeper than anything is.
            let part = bytes[at..end].to_vec();
            let times = 1 << below(dice, if part.len() > 40 { 6 } else { 13 });
            bytes.splice(at..at, part.repeat(times));
        }
    }
}
