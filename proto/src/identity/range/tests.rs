use proptest::prelude::*;

use super::*;

fn range(text: &str) -> IdentifierRange {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn ranges_are_read_and_written() {
    for (text, bits, length, written) in [
        ("2000:10:0:0/28", 0x2000_0010_0000_0000, 28, "2000:10:0:0/28"),
        ("2000:0010:0:0/28", 0x2000_0010_0000_0000, 28, "2000:10:0:0/28"),
        ("2000001000000000/28", 0x2000_0010_0000_0000, 28, "2000:10:0:0/28"),
        ("2000:0:0:0/4", 0x2000_0000_0000_0000, 4, "2000:0:0:0/4"),
        ("2fff:ffff:ffff:ffff/64", 0x2fff_ffff_ffff_ffff, 64, "2fff:ffff:ffff:ffff/64"),
    ] {
        assert_eq!(range(text), IdentifierRange { bits, length }, "{text}");
        assert_eq!(range(text).to_string(), written);
    }
}

#[test]
fn other_texts_are_refused_and_why() {
    let syntax = |text: &str| RangeError::Syntax(text.to_owned());
    let length = |text: &str| RangeError::Length(text.to_owned());
    let kind = |text: &str| RangeError::Type(text.to_owned());
    for (text, error) in [
        ("", syntax as fn(&str) -> _),
        ("2000:10:0:0", syntax),
        ("2000:10:0/28", syntax),
        ("2000:10::/28", syntax),
        ("2000:10:0:0/", syntax),
        ("2000:10:0:0/+28", syntax),
        ("2000:10:0:0/028", syntax),
        ("2000:10:0:0/28/28", syntax),
        ("2000:10:0:0/ 28", syntax),
        ("0:0:0:0/0", length),
        ("2000:0:0:0/3", length),
        ("2000:10:0:0/65", length),
        ("0:10:0:0/28", kind),
        // The C-bit.
        ("3000:10:0:0/28", kind),
        ("4000:10:0:0/28", kind),
    ] {
        assert_eq!(text.parse::<IdentifierRange>(), Err(error(text)), "{text}");
    }
    let error = "2000:10:0:1/28".parse::<IdentifierRange>().expect_err("a bit is set behind it");
    assert_eq!(error, RangeError::Bits("2000:10:0:1/28".to_owned(), range("2000:10:0:0/28")));
    assert!(error.to_string().ends_with("did you mean 2000:10:0:0/28?"), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(bits: u64, length in 4..=64_u8) {
        let range = IdentifierRange::around(Identifier::locally_unique(bits), length);
        prop_assert_eq!(range.to_string().parse(), Ok(range));
    }

    /// An identifier that lies in both shows that two ranges overlap: of two that
    /// do, the first of the longer one.
    #[test]
    fn ranges_overlap_if_one_identifier_lies_in_both(
        bits: u64, flips in 0..=60_u32, lengths: [u8; 2],
    ) {
        let other = bits ^ 1_u64.checked_shl(flips).unwrap_or_default();
        let [one, two] = [(bits, lengths[0]), (other, lengths[1])]
            .map(|(bits, length)| {
                IdentifierRange::around(Identifier::locally_unique(bits), 4 + length % 61)
            });
        let ends = |range: IdentifierRange| {
            let size = 1_u128 << (64 - range.length);
            (u128::from(range.bits), u128::from(range.bits) + size)
        };
        let ((a, b), (c, d)) = (ends(one), ends(two));
        prop_assert_eq!(one.overlaps(two), a < d && c < b);
        prop_assert_eq!(one.overlaps(two), two.overlaps(one));
    }
}
