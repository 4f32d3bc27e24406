use proptest::prelude::*;

use super::*;

/// One's complement has two zeroes; this makes them one, so that sums that
/// mean the same compare equal.
fn class(sum: u16) -> u16 {
    sum % 0xffff
}

/// The sum as a schoolbook has it: all carries are kept, then folded in.
fn naive(words: impl IntoIterator<Item = u16>) -> u16 {
    let mut sum: u32 = words.into_iter().map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("it is folded")
}

fn words(half: u64) -> [u16; 4] {
    let [a, b, c, d, e, f, g, h] = half.to_be_bytes();
    [[a, b], [c, d], [e, f], [g, h]].map(u16::from_be_bytes)
}

/// One word added to another.
fn add(a: u16, b: u16) -> u16 {
    ChecksumDelta::from_value(a).adjust(b)
}

/// Words at which carries begin and end.
const CORNERS: [u16; 10] =
    [0x0000, 0x0001, 0x00ff, 0x0100, 0x7fff, 0x8000, 0x8001, 0xeffe, 0xfffe, 0xffff];

#[test]
fn the_carry_comes_round_to_the_low_end() {
    for (a, b, sum) in [
        (0x0000, 0x0000, 0x0000),
        (0x0001, 0x0002, 0x0003),
        (0xfffe, 0x0001, 0xffff),
        (0xffff, 0x0001, 0x0001),
        (0xffff, 0x0000, 0xffff),
        (0xffff, 0xffff, 0xffff),
        (0x8000, 0x8000, 0x0001),
        (0xffff, 0xfffe, 0xfffe),
    ] {
        assert_eq!(add(a, b), sum, "{a:#06x} + {b:#06x}");
        assert_eq!(add(b, a), sum, "{b:#06x} + {a:#06x}");
    }
}

#[test]
fn every_word_plus_its_complement_is_the_zero_that_is_spelled_ffff() {
    for word in 0..=0xffff {
        assert_eq!(add(word, !word), 0xffff);
    }
}

#[test]
fn only_two_zeroes_make_0000() {
    for a in 0..=0xffff {
        for b in CORNERS {
            assert_eq!(add(a, b) == 0, a == 0 && b == 0, "{a:#06x} + {b:#06x}");
        }
    }
}

/// RFC 1071 section 3: the bytes 00 01 f2 03 f4 f5 f6 f7 add up to ddf2.
#[test]
fn the_example_of_rfc_1071_comes_out() {
    let sum = Sum::new().half(0x0001_f203_f4f5_f6f7).finish();
    assert_eq!(sum.value(), !0xddf2);
    let word_by_word = [0x0001, 0xf203, 0xf4f5, 0xf6f7].into_iter().fold(Sum::new(), Sum::word);
    assert_eq!(word_by_word.finish(), sum);
}

/// RFC 6296: `fd01:203:405::/48` gives way to
/// `2001:db8:1::/48`, the adjustment is d54f and the subnet 0001 becomes d550.
#[test]
fn the_example_of_rfc_6296_comes_out() {
    let delta = ChecksumDelta::replacing(0xfd01_0203_0405_0001, 0x2001_0db8_0001_0001);
    assert_eq!(delta.value(), 0xd54f);
    assert_eq!(delta.adjust(0x0001), 0xd550);
    let back = ChecksumDelta::replacing(0x2001_0db8_0001_0001, 0xfd01_0203_0405_0001);
    assert_eq!(back.adjust(0xd550), 0x0001);
}

#[test]
fn an_empty_sum_finishes_as_ffff() {
    assert_eq!(Sum::new().finish().value(), 0xffff);
    assert_eq!(Sum::default().finish().value(), 0xffff);
}

#[test]
fn a_delta_survives_shared_memory() {
    for value in CORNERS {
        assert_eq!(ChecksumDelta::from_value(value).value(), value);
    }
    let delta = ChecksumDelta::replacing(0xfd00_0db8_0000_0001, 0x2001_0db8_000a_000b);
    assert_eq!(ChecksumDelta::from_value(delta.value()), delta);
}

#[test]
fn replacing_a_prefix_by_itself_adjusts_nothing_but_the_spelling_of_zero() {
    let nothing = ChecksumDelta::replacing(0x2001_0db8_000a_000b, 0x2001_0db8_000a_000b);
    for word in 1..=0xffff {
        assert_eq!(nothing.adjust(word), word);
    }
    assert_eq!(nothing.adjust(0x0000), 0xffff);
}

/// An address of eight words.
fn address(words: [u16; 8]) -> Address {
    std::net::Ipv6Addr::from(words).into()
}

#[test]
fn between_two_addresses_every_word_counts() {
    let before = address([0x1000, 0x2000, 0x3000, 0x4000, 0x0500, 0x0600, 0x0700, 0x0800]);
    for word in 0..8 {
        let mut words = std::net::Ipv6Addr::from(before).segments();
        words[word] += 0x0021;
        let delta = ChecksumDelta::between(before, address(words));
        // 21 more are made up for by 21 less, ffde; and back by 21 more.
        assert_eq!(class(delta.value()), 0xffde, "word {word}");
        let back = ChecksumDelta::between(address(words), before);
        assert_eq!(class(back.value()), 0x0021, "word {word}");
        assert!(!delta.is_zero() && !back.is_zero());
    }
}

#[test]
fn there_is_nothing_to_make_up_for_between_addresses_of_one_sum() {
    let sir = address([0xfd00, 0x0db8, 0, 1, 0x2000, 0, 0, 1]);
    for other in [
        sir,
        // Its ILA address, by the vectors, and its words in another order.
        address([0x2001, 0x0db8, 0x000a, 0x000b, 0x3000, 0, 0, 0xccec]),
        address([1, 0x2000, 0, 0xfd00, 1, 0, 0x0db8, 0]),
        // Either zero in place of the other.
        address([0xfd00, 0x0db8, 0xffff, 1, 0x2000, 0, 0xffff, 1]),
    ] {
        assert!(ChecksumDelta::between(sir, other).is_zero(), "{other:?}");
        assert!(ChecksumDelta::between(other, sir).is_zero(), "{other:?}");
    }
}

#[test]
fn both_zeroes_are_zero_and_nothing_else_is() {
    for value in 0..=0xffff {
        let is_zero = value == 0 || value == 0xffff;
        assert_eq!(ChecksumDelta::from_value(value).is_zero(), is_zero, "{value:#06x}");
    }
}

/// Nothing sums up to 0000 that has a protocol number in it.
#[test]
fn a_sum_is_valid_if_it_is_ffff() {
    for sum in 0..=0xffff {
        assert_eq!(Sum::new().word(sum).is_valid(), sum == 0xffff, "{sum:#06x}");
    }
}

proptest! {
    #[test]
    fn addition_is_that_of_the_naive_sum(a: u16, b: u16) {
        prop_assert_eq!(add(a, b), naive([a, b]));
    }

    #[test]
    fn addition_is_associative(a: u16, b: u16, c: u16) {
        prop_assert_eq!(add(add(a, b), c), add(a, add(b, c)));
    }

    /// Why the byte order of the machine does not matter.
    #[test]
    fn addition_commutes_with_swapping_bytes(a: u16, b: u16) {
        prop_assert_eq!(add(a.swap_bytes(), b.swap_bytes()), add(a, b).swap_bytes());
    }

    #[test]
    fn the_words_of_a_half_are_all_summed(half: u64) {
        prop_assert_eq!(fold(super::words(half)), naive(words(half)));
    }

    #[test]
    fn a_sum_is_the_naive_sum_in_any_mixture_of_words_and_halves(
        parts in prop::collection::vec(
            prop_oneof![any::<u16>().prop_map(Ok), any::<u64>().prop_map(Err)], 0..64,
        ),
    ) {
        let sum = parts.iter().fold(Sum::new(), |sum, part| match *part {
            Ok(word) => sum.word(word),
            Err(half) => sum.half(half),
        });
        let naive = naive(parts.iter().flat_map(|part| match *part {
            Ok(word) => vec![word],
            Err(half) => words(half).to_vec(),
        }));
        prop_assert_eq!(sum.finish().value(), !naive);
    }

    #[test]
    fn a_packet_that_carries_its_checksum_sums_to_ffff(halves in prop::collection::vec(any::<u64>(), 0..9)) {
        let checksum = halves.iter().fold(Sum::new(), |sum, half| sum.half(*half)).finish();
        let all = halves.iter().flat_map(|half| words(*half)).chain([checksum.value()]);
        prop_assert_eq!(naive(all), 0xffff);
    }

    #[test]
    fn an_adjusted_word_makes_up_for_what_was_replaced(before: u64, after: u64, word: u16) {
        let adjusted = ChecksumDelta::replacing(before, after).adjust(word);
        let sum = |half, word| class(naive(words(half).into_iter().chain([word])));
        prop_assert_eq!(sum(after, adjusted), sum(before, word));
    }

    #[test]
    fn there_and_back_is_the_same_word_but_for_zero(before: u64, after: u64, word: u16) {
        let there = ChecksumDelta::replacing(before, after);
        let back = ChecksumDelta::replacing(after, before);
        prop_assert_eq!(class(there.and(back).value()), 0);
        prop_assert_eq!(class(back.adjust(there.adjust(word))), class(word));
    }

    #[test]
    fn two_deltas_together_adjust_as_one_after_the_other(
        first in any::<u16>().prop_map(ChecksumDelta::from_value),
        second in any::<u16>().prop_map(ChecksumDelta::from_value),
        word: u16,
    ) {
        prop_assert_eq!(first.and(second).adjust(word), second.adjust(first.adjust(word)));
        prop_assert_eq!(first.and(second), second.and(first));
    }

    #[test]
    fn by_way_of_a_third_prefix_is_as_good_as_directly(a: u64, b: u64, c: u64, word: u16) {
        let directly = ChecksumDelta::replacing(a, c).adjust(word);
        let by_way = ChecksumDelta::replacing(a, b).and(ChecksumDelta::replacing(b, c)).adjust(word);
        prop_assert_eq!(class(by_way), class(directly));
    }

    #[test]
    fn between_both_is_between_the_one_and_between_the_other(a: [u16; 8], b: [u16; 8], c: [u16; 8], d: [u16; 8]) {
        let [a, b, c, d] = [a, b, c, d].map(address);
        let one_by_one = ChecksumDelta::between(a, c).and(ChecksumDelta::between(b, d));
        let given = ChecksumDelta::between_both([a, b], [c, d]);
        prop_assert_eq!(class(given.value()), class(one_by_one.value()));
    }

    #[test]
    fn between_two_addresses_is_what_keeps_the_sum(before: [u16; 8], after: [u16; 8], word: u16) {
        let delta = ChecksumDelta::between(address(before), address(after));
        let sum = |words: [u16; 8], word| class(naive(words.into_iter().chain([word])));
        prop_assert_eq!(sum(after, delta.adjust(word)), sum(before, word));
        let same = class(naive(before)) == class(naive(after));
        prop_assert_eq!(delta.is_zero(), same);
    }

    #[test]
    fn a_sum_is_valid_with_its_checksum_and_with_no_other(
        halves in prop::collection::vec(any::<u64>(), 0..9),
        flip in 1..=0xfffe_u16,
    ) {
        let sum = halves.iter().fold(Sum::new().word(58), |sum, half| sum.half(*half));
        let checksum = sum.finish().value();
        prop_assert!(sum.word(checksum).is_valid());
        prop_assert!(!sum.word(add(checksum, flip)).is_valid());
    }
}
