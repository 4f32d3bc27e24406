use super::*;
use crate::addr::Address;

// Modes.

#[test]
fn each_mode_has_the_number_and_the_name_that_linux_has() {
    let known = [
        (ChecksumMode::NeutralMap, 1, "neutral-map"),
        (ChecksumMode::NoAction, 2, "no-action"),
        (ChecksumMode::NeutralMapAuto, 3, "neutral-map-auto"),
    ];
    assert_eq!(ChecksumMode::ALL, known.map(|(mode, ..)| mode));
    for (mode, number, name) in known {
        assert_eq!(mode.number(), number);
        assert_eq!(ChecksumMode::from_number(number), mode);
        assert_eq!(mode.name(), name);
        let json = format!("\"{name}\"");
        assert_eq!(serde_json::to_string(&mode).expect("it is a string"), json);
        assert_eq!(serde_json::from_str::<ChecksumMode>(&json).expect("it is valid"), mode);
    }
}

#[test]
fn an_unknown_number_is_neutral_mapping_and_an_unknown_name_is_refused() {
    assert_eq!(ChecksumMode::default(), ChecksumMode::NeutralMap);
    for number in [0, 4, 0x0101, 0xffff] {
        assert_eq!(ChecksumMode::from_number(number), ChecksumMode::NeutralMap, "{number}");
    }
    for json in [r#""adj-transport""#, r#""NeutralMap""#, r#""neutral_map""#, r#""""#, "1"] {
        assert!(serde_json::from_str::<ChecksumMode>(json).is_err(), "{json}");
    }
}

// Translation, exhaustively.

/// What an address is, for all purposes of a checksum: its one's complement
/// sum with both zeroes taken for the same.
fn sum_class(address: Address) -> u64 {
    let words =
        |half: u64| (half >> 48) + (half >> 32 & 0xffff) + (half >> 16 & 0xffff) + (half & 0xffff);
    (words(address.high) + words(address.low)) % 0xffff
}

/// The generator of Steele, Lea and Flood: the same numbers in every run.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// Prefix pairs: those at which one's complement has its corners, and 64
/// others.
fn prefix_pairs() -> Vec<(SirPrefix, Locator)> {
    let picked = [
        (0xfd00_0db8_0000_0001, 0x2001_0db8_000a_000b),
        // Of the same sum, so that nothing needs adjusting.
        (0xfd00_0001_0002_0003, 0xfd00_0003_0002_0001),
        (0x2001_0db8_000a_000b, 0x2001_0db8_000a_000b),
        // Both spellings of a zero sum, in all combinations.
        (0x0000_0000_0000_0000, 0x0000_0000_0000_0000),
        (0x0000_0000_0000_0000, 0xffff_ffff_ffff_ffff),
        (0xffff_ffff_ffff_ffff, 0x0000_0000_0000_0000),
        (0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff),
        (0x0000_0000_0000_0000, 0xffff_0000_0000_0000),
        (0xffff_0000_0000_0000, 0x0000_0000_0000_ffff),
        // The C-bit's 1000 makes up for the difference, or doubles it.
        (0x3000_0000_0000_0000, 0x2000_0000_0000_0000),
        (0x2000_0000_0000_0000, 0x3000_0000_0000_0000),
        (0xffff_ffff_ffff_fffe, 0x0000_0000_0000_0001),
    ];
    let mut random = SplitMix64(0x0011_1a00);
    let random = std::iter::repeat_with(|| (random.next(), random.next())).take(64);
    picked
        .into_iter()
        .chain(random)
        .map(|(sir, locator)| (SirPrefix::from_bits(sir), Locator::from_bits(locator)))
        .collect()
}

/// Calls `check` for every mode and prefix pair, each with another identifier
/// of type 1.
fn for_every_pair(mut check: impl FnMut(ChecksumMode, SirPrefix, Locator, Identifier)) {
    let mut random = SplitMix64(0x1de4_71f1);
    let pairs = prefix_pairs();
    assert_eq!(pairs.len(), 76);
    for (sir, locator) in pairs {
        let identifier = Identifier::locally_unique(random.next());
        for mode in ChecksumMode::ALL {
            check(mode, sir, locator, identifier);
        }
    }
}

fn adjusts(mode: ChecksumMode) -> bool {
    mode != ChecksumMode::NoAction
}

/// The low word that comes back in place of `word`: one's complement cannot
/// tell its zeroes apart.
fn low_word_after(mode: ChecksumMode, word: u16) -> u16 {
    if adjusts(mode) && word == 0x0000 { 0xffff } else { word }
}

#[test]
fn low_word_zero_comes_back_as_ffff_and_all_others_as_they_were() {
    for_every_pair(|mode, prefix, locator, identifier| {
        let to_ila_delta = mode.to_ila_delta(prefix, locator);
        let to_sir_delta = mode.to_sir_delta(prefix, locator);
        for word in 0..=0xffff {
            let identifier = identifier.with_low_word(word);
            let ila = to_ila(mode, identifier, locator, to_ila_delta);
            let sir = to_sir(mode, ila, prefix, to_sir_delta);
            let expected = prefix.address(identifier.with_low_word(low_word_after(mode, word)));
            assert_eq!(sir, expected, "{mode:?} by way of {ila}");
        }
    });
}

#[test]
fn ila_addresses_survive_as_well() {
    for_every_pair(|mode, prefix, locator, identifier| {
        let to_ila_delta = mode.to_ila_delta(prefix, locator);
        let to_sir_delta = mode.to_sir_delta(prefix, locator);
        let c_bit = if mode == ChecksumMode::NeutralMap { Identifier::C_BIT } else { 0 };
        let wire = Identifier::from_bits(identifier.bits() | c_bit);
        for word in 0..=0xffff {
            let ila = IlaAddr { locator, identifier: wire.with_low_word(word) };
            let sir = to_sir(mode, ila, prefix, to_sir_delta);
            let back = to_ila(mode, sir.identifier, locator, to_ila_delta);
            let word = low_word_after(mode, word);
            let expected = IlaAddr { locator, identifier: wire.with_low_word(word) };
            assert_eq!(back, expected, "{mode:?} by way of {sir}");
        }
    });
}

#[test]
fn the_sum_of_the_address_stays_in_the_neutral_modes() {
    for_every_pair(|mode, prefix, locator, identifier| {
        let to_ila_delta = mode.to_ila_delta(prefix, locator);
        let to_sir_delta = mode.to_sir_delta(prefix, locator);
        if !adjusts(mode) {
            return;
        }
        for word in 0..=0xffff {
            let sir = prefix.address(identifier.with_low_word(word));
            let ila = to_ila(mode, sir.identifier, locator, to_ila_delta);
            assert_eq!(sum_class(ila.into()), sum_class(sir.into()), "{mode:?}: {sir} to {ila}");
            let back = to_sir(mode, ila, prefix, to_sir_delta);
            assert_eq!(sum_class(back.into()), sum_class(ila.into()), "{mode:?}: {ila} to {back}");
        }
    });
}

#[test]
fn of_the_identifier_only_the_low_word_and_the_c_bit_change() {
    for_every_pair(|mode, prefix, locator, identifier| {
        let to_ila_delta = mode.to_ila_delta(prefix, locator);
        let changed = match mode {
            ChecksumMode::NeutralMap => 0x1000_0000_0000_0000,
            ChecksumMode::NoAction | ChecksumMode::NeutralMapAuto => 0,
        };
        for word in 0..=0xffff {
            let identifier = identifier.with_low_word(word);
            let ila = to_ila(mode, identifier, locator, to_ila_delta);
            assert_eq!(ila.locator, locator);
            let difference = ila.identifier.bits() ^ identifier.bits();
            assert_eq!(difference & !0xffff, changed, "{mode:?}: {identifier} to {ila}");
            if !adjusts(mode) {
                assert_eq!(difference, 0, "{mode:?}: {identifier} to {ila}");
            }
        }
    });
}

/// Two containers would be one on the wire, which is why neither low word is
/// given to any.
#[test]
fn low_words_zero_and_ffff_share_one_wire_address() {
    for_every_pair(|mode, prefix, locator, identifier| {
        let delta = mode.to_ila_delta(prefix, locator);
        let [zero, ones] = [0x0000, 0xffff]
            .map(|word| to_ila(mode, identifier.with_low_word(word), locator, delta));
        assert_eq!(zero == ones, adjusts(mode), "{mode:?}: {zero} and {ones}");
    });
}

/// What Linux does with an address, told from the description of its
/// arithmetic and not from ours: sums of 32 bits, over words as they lie in the
/// memory of a little-endian machine, folded at the very end.
mod linux {
    use super::{Address, ChecksumMode};

    /// `htonl(0x10000000)`, the C-bit in the first word of the identifier.
    const CSUM_NEUTRAL_FLAG: u32 = 0x10000000_u32.to_be();

    fn csum_add(sum: u32, addend: u32) -> u32 {
        let (sum, carry) = sum.overflowing_add(addend);
        sum + u32::from(carry)
    }

    fn csum_fold(sum: u32) -> u16 {
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        !u16::try_from(sum).expect("two folds are enough")
    }

    fn in_memory(half: u64) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h] = half.to_be_bytes();
        [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes)
    }

    fn compute_csum_diff8(from: u64, to: u64) -> u32 {
        let [[from_0, from_1], [to_0, to_1]] = [from, to].map(in_memory);
        [!from_0, !from_1, to_0, to_1].into_iter().fold(0, csum_add)
    }

    #[derive(Clone, Copy, PartialEq)]
    pub enum Direction {
        SirToIla,
        IlaToSir,
    }

    /// One `ila` route or mapping.
    pub struct Translation {
        mode: ChecksumMode,
        direction: Direction,
        locator: u64,
        csum_diff: u32,
    }

    impl Translation {
        pub fn new(mode: ChecksumMode, direction: Direction, old: u64, new: u64) -> Self {
            Self { mode, direction, locator: new, csum_diff: compute_csum_diff8(new, old) }
        }

        pub fn apply(&self, address: Address) -> Address {
            let has_c_bit = in_memory(address.low)[0] & CSUM_NEUTRAL_FLAG.to_le() != 0;
            let low = match self.mode {
                ChecksumMode::NoAction => address.low,
                ChecksumMode::NeutralMapAuto => adjust(address.low, self.csum_diff),
                // A C-bit that has no business there is left alone.
                ChecksumMode::NeutralMap
                    if has_c_bit == (self.direction == Direction::SirToIla) =>
                {
                    address.low
                }
                ChecksumMode::NeutralMap => {
                    let flag = if has_c_bit { CSUM_NEUTRAL_FLAG } else { !CSUM_NEUTRAL_FLAG };
                    adjust(address.low, csum_add(self.csum_diff, flag)) ^ 1 << 60
                }
            };
            Address { high: self.locator, low }
        }
    }

    fn adjust(identifier: u64, diff: u32) -> u64 {
        let [.., high, low] = identifier.to_be_bytes();
        let word = u16::from_le_bytes([high, low]);
        let [high, low] = (!csum_fold(csum_add(diff, u32::from(word)))).to_le_bytes();
        identifier & !0xffff | u64::from(u16::from_be_bytes([high, low]))
    }
}

#[test]
fn linux_does_the_same_in_both_directions() {
    use linux::{Direction, Translation};
    for_every_pair(|mode, prefix, locator, identifier| {
        let to_ila_delta = mode.to_ila_delta(prefix, locator);
        let to_sir_delta = mode.to_sir_delta(prefix, locator);
        let (high, locator_bits) = (prefix.bits(), locator.bits());
        // Between all zeroes and all ones, neither of which is ever a prefix,
        // Linux has 0000 for a difference and low word 0000 stays.
        let first_word = u16::from(high == !locator_bits && [0, !0].contains(&high));
        let linux_to_ila = Translation::new(mode, Direction::SirToIla, high, locator_bits);
        let linux_to_sir = Translation::new(mode, Direction::IlaToSir, locator_bits, high);
        for word in first_word..=0xffff {
            let sir = prefix.address(identifier.with_low_word(word));
            let ila = to_ila(mode, sir.identifier, locator, to_ila_delta);
            assert_eq!(Address::from(ila), linux_to_ila.apply(sir.into()), "{mode:?}: {sir}");
            let back = to_sir(mode, ila, prefix, to_sir_delta);
            assert_eq!(Address::from(back), linux_to_sir.apply(ila.into()), "{mode:?}: {ila}");

            // As it comes from a sender that did not adjust.
            let plain = IlaAddr { locator, identifier: sir.identifier };
            let back = to_sir(mode, plain, prefix, to_sir_delta);
            assert_eq!(Address::from(back), linux_to_sir.apply(plain.into()), "{mode:?}: {plain}");
        }
    });
}

#[test]
fn a_mode_says_of_a_low_word_whether_it_makes_up_for_the_prefix() {
    let [plain, with_c_bit] = [0x2000_0000_0000_00b1, 0x3000_0000_0000_00b1];
    for (mode, wire, adjusts) in [
        (ChecksumMode::NeutralMap, plain, false),
        (ChecksumMode::NeutralMap, with_c_bit, true),
        (ChecksumMode::NoAction, plain, false),
        (ChecksumMode::NoAction, with_c_bit, false),
        (ChecksumMode::NeutralMapAuto, plain, true),
        (ChecksumMode::NeutralMapAuto, with_c_bit, true),
    ] {
        assert_eq!(mode.adjusts(Identifier::from_bits(wire)), adjusts, "{mode:?}: {wire:x}");
    }
}
