use std::{error::Error as _, fmt::Debug, net::Ipv6Addr, str::FromStr};

use proptest::{prelude::*, string::string_regex};
use schemars::schema_for;

use super::*;

fn ipv6(text: &str) -> Ipv6Addr {
    text.parse().expect("the test writes an address")
}

/// Any identifier that a container may have.
fn identifiers() -> impl Strategy<Value = Identifier> {
    (any::<u64>(), 1..=0xfffe_u16)
        .prop_map(|(bits, word)| Identifier::locally_unique(bits).with_low_word(word))
}

/// The high half of any address that something could route.
fn prefixes() -> impl Strategy<Value = u64> {
    any::<u64>().prop_filter("routable", |bits| {
        *bits != 0 && bits >> 56 != 0xff && bits >> 54 != 0xfe80 >> 6
    })
}

/// Texts of the characters that addresses are made of: most are wrong by one
/// character only.
const NEARLY_AN_ADDRESS: &str = "(0x)?[0-9a-fA-F]{0,5}(:{1,2}[0-9a-fA-F]{0,5}){0,5}(/[0-9]{0,3})?";

// Addresses.

#[test]
fn an_address_has_the_halves_of_its_text() {
    let address = Address { high: 0xfd00_0db8_0000_0001, low: 0x2000_0000_0000_00b1 };
    assert_eq!(Address::from(ipv6("fd00:db8:0:1:2000::b1")), address);
    assert_eq!(Ipv6Addr::from(address), ipv6("fd00:db8:0:1:2000::b1"));
    assert_eq!(Address::from(Ipv6Addr::UNSPECIFIED), Address::UNSPECIFIED);
}

#[test]
fn an_address_is_read_from_a_header_in_network_order() {
    let address =
        Address::from_halves([0xfd, 0, 0x0d, 0xb8, 0, 0, 0, 1], [0x20, 0, 0, 0, 0, 0, 0, 0xb1]);
    assert_eq!(Ipv6Addr::from(address), ipv6("fd00:db8:0:1:2000::b1"));
}

#[test]
fn multicast_is_ff00_slash_8_and_no_more() {
    for (text, multicast) in [
        ("ff00::", true),
        ("ff02::1", true),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("feff:ffff:ffff:ffff::", false),
        ("fd00::ff00:0:0:0", false),
        ("::", false),
    ] {
        assert_eq!(Address::from(ipv6(text)).is_multicast(), multicast, "{text}");
    }
}

#[test]
fn the_parts_of_sir_and_ila_addresses_stand_side_by_side() {
    let identifier = Identifier::from_bits(0x2000_0000_0000_00b1);
    let sir = SirPrefix::from_bits(0xfd00_0db8_0000_0001).address(identifier);
    assert_eq!(sir.to_string(), "fd00:db8:0:1:2000::b1");
    assert_eq!(Ipv6Addr::from(Address::from(sir)), ipv6("fd00:db8:0:1:2000::b1"));

    let ila = IlaAddr { locator: Locator::from_bits(0x2001_0db8_000a_0001), identifier };
    assert_eq!(ila.to_string(), "2001:db8:a:1:2000::b1");
    assert_eq!(Ipv6Addr::from(Address::from(ila)), ipv6("2001:db8:a:1:2000::b1"));
}

// Prefixes and locators.

#[test]
fn a_prefix_is_read_in_any_spelling_and_written_in_one() {
    for (text, bits, written) in [
        ("fd00:db8:0:1::/64", 0xfd00_0db8_0000_0001, "fd00:db8:0:1::/64"),
        ("FD00:0DB8:0000:0001:0:0:0:0/64", 0xfd00_0db8_0000_0001, "fd00:db8:0:1::/64"),
        ("2001:db8::/64", 0x2001_0db8_0000_0000, "2001:db8::/64"),
        ("2000::/64", 0x2000_0000_0000_0000, "2000::/64"),
        ("0:0:0:1::/64", 1, "0:0:0:1::/64"),
        ("64:ff9b::/64", 0x0064_ff9b_0000_0000, "64:ff9b::/64"),
    ] {
        assert_eq!(text.parse(), Ok(SirPrefix::from_bits(bits)), "{text}");
        assert_eq!(text.parse(), Ok(Locator::from_bits(bits)), "{text}");
        assert_eq!(SirPrefix::from_bits(bits).to_string(), written);
        assert_eq!(Locator::from_bits(bits).to_string(), written);
        assert_eq!(SirPrefix::from_bits(bits).bits(), bits);
        assert_eq!(Locator::from_bits(bits).bits(), bits);
    }
}

#[test]
fn a_bad_prefix_is_refused_for_its_reason_and_by_its_name() {
    let syntax = |text: &str| PrefixError::Syntax(text.to_owned());
    let net = |text: &str| text.parse().expect("the test writes a prefix");
    let length = |text| PrefixError::Length(net(text));
    let host_bits = |text| PrefixError::HostBits(net(text));
    let not_routable = |text| PrefixError::NotRoutable(net(text));
    let cases: [(&str, &dyn Fn(&'static str) -> PrefixError); _] = [
        ("", &syntax),
        ("/64", &syntax),
        ("fd00:db8:0:1::", &syntax),
        ("fd00:db8:0:1::/", &syntax),
        ("fd00:db8:0:1/64", &syntax),
        ("fd00:db8:0:1::/129", &syntax),
        ("fd00:db8:0:1::/+64", &syntax),
        (" fd00:db8:0:1::/64", &syntax),
        ("fd00:db8:0:1::/64\n", &syntax),
        ("fd00:db8:0:1::/64/64", &syntax),
        ("fd00:db8:0:1::%eth0/64", &syntax),
        ("10.0.0.0/24", &syntax),
        ("::/0", &length),
        ("2001:db8::/48", &length),
        ("fd00:db8:0:1::/63", &length),
        ("fd00:db8:0:1::/65", &length),
        ("fd00:db8:0:1:2000::b1/128", &length),
        ("fd00:db8:0:1::1/64", &host_bits),
        ("fd00:db8:0:1:8000::/64", &host_bits),
        ("::1/64", &host_bits),
        ("::/64", &not_routable),
        ("fe80::/64", &not_routable),
        ("febf:1:2:3::/64", &not_routable),
        ("ff00::/64", &not_routable),
        ("ff02:0:0:1::/64", &not_routable),
    ];
    for (text, error) in cases {
        let expected = error(text);
        assert_eq!(text.parse::<SirPrefix>(), Err(expected.clone()), "{text:?}");
        assert_eq!(text.parse::<Locator>(), Err(expected.clone()), "{text:?}");
        let message = expected.to_string();
        assert!(message.contains(&format!("`{text}`")), "{message}");
    }
}

#[test]
fn a_prefix_that_is_nearly_right_is_told_what_is_wrong() {
    let message = |text: &str| text.parse::<Locator>().expect_err("it is bad").to_string();
    assert_eq!(
        message("fd00:db8:0:1::b1/64"),
        "`fd00:db8:0:1::b1/64` has bits set behind its first 64; did you mean fd00:db8:0:1::/64?"
    );
    assert_eq!(
        message("2001:db8::/48"),
        "`2001:db8::/48` is a /48; SIR prefixes and locators are 64 bits long"
    );
}

// Identifiers.

#[test]
fn the_first_three_bits_are_the_type_and_the_fourth_is_the_c_bit() {
    for nibble in 0..16 {
        for rest in [0, 0x0fff_ffff_ffff_ffff] {
            let identifier = Identifier::from_bits(nibble << 60 | rest);
            let kind = match nibble {
                0 | 1 => IdentifierType::Interface,
                2 | 3 => IdentifierType::LocallyUnique,
                4 | 5 => IdentifierType::Other(2),
                6 | 7 => IdentifierType::Other(3),
                8 | 9 => IdentifierType::Other(4),
                10 | 11 => IdentifierType::Other(5),
                12 | 13 => IdentifierType::Other(6),
                _ => IdentifierType::Other(7),
            };
            assert_eq!(identifier.kind(), kind, "{identifier}");
            assert_eq!(identifier.has_c_bit(), nibble % 2 == 1, "{identifier}");
        }
    }
}

#[test]
fn the_low_word_is_the_last_group() {
    let identifier = Identifier::from_bits(0x2001_0203_0405_0607);
    assert_eq!(identifier.low_word(), 0x0607);
    assert_eq!(identifier.with_low_word(0xfedc).to_string(), "2001:203:405:fedc");
    assert_eq!(identifier.with_low_word(0).to_string(), "2001:203:405:0");
}

#[test]
fn containers_have_type_1_no_c_bit_and_neither_zero_in_the_low_word() {
    for (bits, verdict) in [
        (0x2000_0000_0000_0001, Ok(())),
        (0x2fff_ffff_ffff_fffe, Ok(())),
        (0x2000_0000_0001_8000, Ok(())),
        (0x3000_0000_0000_0001, Err(IdentifierError::CBit)),
        (0x3000_0000_0000_0000, Err(IdentifierError::CBit)),
        (0x1000_0000_0000_0001, Err(IdentifierError::CBit)),
        (0xf000_0000_0000_0001, Err(IdentifierError::CBit)),
        (0x0000_0000_0000_0001, Err(IdentifierError::Type)),
        (0x0000_0000_0000_0000, Err(IdentifierError::Type)),
        (0x4123_4567_0a01_0203, Err(IdentifierError::Type)),
        (0x6000_0000_0000_0001, Err(IdentifierError::Type)),
        (0x8000_0000_0000_0001, Err(IdentifierError::Type)),
        (0xa000_0000_0000_0001, Err(IdentifierError::Type)),
        (0xc000_0000_0000_0001, Err(IdentifierError::Type)),
        (0xe000_0000_0000_ffff, Err(IdentifierError::Type)),
        (0x2000_0000_0001_0000, Err(IdentifierError::LowWord)),
        (0x2000_0000_0001_ffff, Err(IdentifierError::LowWord)),
    ] {
        let identifier = Identifier::from_bits(bits);
        assert_eq!(identifier.check_container(), verdict.map(|()| identifier), "{identifier}");
    }
}

#[test]
fn an_identifier_is_read_as_groups_or_digits_and_written_as_groups() {
    for (text, written) in [
        ("2000:0:0:1", "2000:0:0:1"),
        ("2000:0000:0000:0001", "2000:0:0:1"),
        ("2000000000000001", "2000:0:0:1"),
        ("0x2000000000000001", "2000:0:0:1"),
        ("2FFF:AbCd:0:fffe", "2fff:abcd:0:fffe"),
        ("0x2FFFabcd0000FFFE", "2fff:abcd:0:fffe"),
    ] {
        let identifier: Identifier = text.parse().expect(text);
        assert_eq!(identifier.to_string(), written, "{text}");
    }
}

#[test]
fn a_text_that_is_no_identifier_is_refused_by_its_name() {
    for text in [
        "",
        ":",
        ":::",
        "0x",
        "0xx2000000000000001",
        "0X2000000000000001",
        "0x2000:0:0:1",
        "2000:0:0",
        "2000:0:0:",
        ":2000:0:0:1",
        "2000:0:0:1:",
        "2000:0:0:1:0",
        "2000::1",
        "2000:0:0:00001",
        "20000:0:0:1",
        "2000:0:0:g",
        "2000:0:0:+1",
        "2000.0.0.1",
        "2000:0:0:1/64",
        " 2000:0:0:1",
        "2000:0:0:1\n",
        "20000000000000001",
        "0x20000000000000001",
        "+200000000000001",
        "-200000000000001",
        "2000_0000_0000_0001",
        "２000:0:0:1",
        "web",
    ] {
        let error = text.parse::<Identifier>().expect_err(text);
        assert_eq!(error, ParseIdentifierError::Syntax(text.to_owned()));
        let message = error.to_string();
        assert!(message.starts_with(&format!("`{text}` is not an identifier")), "{message}");
    }
}

#[test]
fn an_identifier_that_no_container_can_have_is_refused_with_the_rule() {
    for (text, rule) in [
        ("3000:0:0:1", IdentifierError::CBit),
        ("0x3000000000000001", IdentifierError::CBit),
        ("0:0:0:1", IdentifierError::Type),
        ("1", IdentifierError::Type),
        ("200000000000001", IdentifierError::Type),
        ("4123:4567:a01:203", IdentifierError::Type),
        ("2000:0:1:0", IdentifierError::LowWord),
        ("2000:0:1:ffff", IdentifierError::LowWord),
        ("2000000000010000", IdentifierError::LowWord),
    ] {
        let error = text.parse::<Identifier>().expect_err(text);
        assert_eq!(error, ParseIdentifierError::Unusable(text.to_owned(), rule));
        assert_eq!(error.to_string(), format!("identifier `{text}` cannot be used: {rule}"));
        let source = error.source().expect("the rule is the source");
        assert_eq!(source.to_string(), rule.to_string());
    }
}

#[test]
fn each_rule_says_what_is_allowed_instead() {
    for (rule, hint) in [
        (IdentifierError::CBit, "0x1000 in the first group"),
        (IdentifierError::Type, "first group is 2000 to 2fff"),
        (IdentifierError::LowWord, "last group is 0 or ffff"),
    ] {
        assert!(rule.to_string().contains(hint), "{rule}");
    }
}

// JSON.

#[test]
fn in_json_each_is_its_text() {
    fn same<T>(text: &str)
    where
        T: Serialize + for<'de> Deserialize<'de> + FromStr<Err: Debug> + PartialEq + Debug,
    {
        let value: T = text.parse().expect(text);
        let json = format!("{text:?}");
        assert_eq!(serde_json::to_string(&value).expect("it is a string"), json);
        assert_eq!(serde_json::from_str::<T>(&json).expect("it is valid"), value);
    }
    use serde::{Deserialize, Serialize};
    same::<SirPrefix>("fd00:db8:0:1::/64");
    same::<Locator>("2001:db8:a:1::/64");
    same::<Identifier>("2000:0:0:b1");
}

#[test]
fn bad_json_is_refused_with_the_same_words_as_bad_text() {
    let prefix = serde_json::from_str::<SirPrefix>(r#""2001:db8::/48""#).expect_err("a /48");
    assert!(prefix.to_string().contains("`2001:db8::/48` is a /48"), "{prefix}");
    let locator = serde_json::from_str::<Locator>(r#""fe80::/64""#).expect_err("link-local");
    assert!(locator.to_string().contains("`fe80::/64` is not a prefix"), "{locator}");
    let identifier = serde_json::from_str::<Identifier>(r#""3000:0:0:1""#).expect_err("C-bit");
    assert!(identifier.to_string().contains("identifier `3000:0:0:1` cannot be used"));
    for json in ["2305843009213693953", "null", "[]", r#"{"bits":1}"#] {
        assert!(serde_json::from_str::<Identifier>(json).is_err(), "{json}");
    }
}

fn pattern(schema: &schemars::Schema) -> String {
    let pattern = schema.get("pattern").and_then(|pattern| pattern.as_str());
    pattern.expect("it has a pattern").trim_matches(['^', '$']).to_owned()
}

proptest! {
    #[test]
    fn what_is_written_reads_as_the_same(bits in prefixes(), identifier in identifiers()) {
        prop_assert_eq!(
            SirPrefix::from_bits(bits).to_string().parse(), Ok(SirPrefix::from_bits(bits))
        );
        prop_assert_eq!(Locator::from_bits(bits).to_string().parse(), Ok(Locator::from_bits(bits)));
        prop_assert_eq!(identifier.to_string().parse(), Ok(identifier));
        prop_assert_eq!(format!("{:x}", identifier.bits()).parse(), Ok(identifier));
        prop_assert_eq!(format!("{:#x}", identifier.bits()).parse(), Ok(identifier));
    }

    #[test]
    fn addresses_survive_their_text(high in any::<u64>(), low in any::<u64>()) {
        let address = Address { high, low };
        let text = Ipv6Addr::from(address).to_string();
        prop_assert_eq!(Address::from(ipv6(&text)), address);
        prop_assert_eq!(Address::from_halves(high.to_be_bytes(), low.to_be_bytes()), address);
    }

    #[test]
    fn whatever_the_text_it_is_read_or_refused(
        text in prop_oneof![any::<String>(), string_regex(NEARLY_AN_ADDRESS).expect("it is valid")],
    ) {
        if let Ok(prefix) = text.parse::<SirPrefix>() {
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }
        prop_assert_eq!(
            text.parse::<Locator>().map(Locator::bits),
            text.parse::<SirPrefix>().map(SirPrefix::bits)
        );
        if let Ok(identifier) = text.parse::<Identifier>() {
            prop_assert_eq!(identifier.check_container(), Ok(identifier));
            prop_assert_eq!(identifier.to_string().parse(), Ok(identifier));
        }
    }

    #[test]
    fn locally_unique_identifiers_keep_the_60_bits(bits in any::<u64>()) {
        let identifier = Identifier::locally_unique(bits);
        prop_assert_eq!(identifier.kind(), IdentifierType::LocallyUnique);
        prop_assert!(!identifier.has_c_bit());
        prop_assert_eq!(identifier.bits() << 4, bits << 4);
    }

    #[test]
    fn another_low_word_changes_nothing_else(bits in any::<u64>(), word in any::<u16>()) {
        let changed = Identifier::from_bits(bits).with_low_word(word);
        prop_assert_eq!(changed.low_word(), word);
        prop_assert_eq!(changed.bits() >> 16, bits >> 16);
    }

    #[test]
    fn what_the_schema_admits_is_at_least_spelled_as_an_identifier(
        text in string_regex(&pattern(&schema_for!(Identifier))).expect("the pattern is valid"),
    ) {
        let syntax = ParseIdentifierError::Syntax(text.clone());
        prop_assert_ne!(text.parse::<Identifier>(), Err(syntax));
    }
}
