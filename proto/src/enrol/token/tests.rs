use proptest::{collection::vec, prelude::*};

use super::*;

fn token() -> impl Strategy<Value = Token> {
    let address = (any::<u128>(), any::<u16>())
        .prop_map(|(ip, port)| SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, 0));
    // Of 2000::/3.
    let prefix = any::<u64>().prop_map(|bits| SirPrefix::from_bits(1 << 61 | bits >> 3));
    let parts = (
        any::<[u8; 32]>(),
        any::<[u8; 16]>(),
        vec(address, 1..=MAX_ADDRESSES),
        vec(prefix, 1..=MAX_SIR_PREFIXES),
    );
    parts.prop_map(|(authority, secret, addresses, sir_prefixes)| Token {
        authority: Fingerprint(authority),
        secret: Secret(secret),
        addresses,
        sir_prefixes,
    })
}

fn one() -> Token {
    Token {
        authority: Fingerprint::of(b"a certificate"),
        secret: Secret([7; 16]),
        addresses: vec!["[2001:db8::1]:7741".parse().expect("an address")],
        sir_prefixes: vec!["fd00:db8:0:1::/64".parse().expect("a prefix")],
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(token in token()) {
        let text = token.to_string();
        prop_assert!(text.len() <= MAX_TEXT, "{}", text.len());
        prop_assert_eq!(text.parse(), Ok(token));
    }

    #[test]
    fn no_text_is_a_surprise(text in "(ila1)?.{0,210}") {
        prop_assert!(text.parse::<Token>().is_err());
    }

    /// What has the right check may still be anything.
    #[test]
    fn bytes_of_any_kind_are_one_token_or_none(bytes in vec(any::<u8>(), 0..120)) {
        let sum = check(&bytes);
        let text = format!("{START}{}", base32::write(&[&bytes[..], &sum].concat()));
        if let Ok(token) = text.parse::<Token>() {
            prop_assert_eq!(token.to_string(), text);
        }
    }

    #[test]
    fn base32_has_one_text_for_some_bytes(text in "[0-9a-z]{0,40}") {
        if let Some(bytes) = base32::read(&text) {
            prop_assert_eq!(base32::write(&bytes), text);
        }
    }
}

/// Written here once, as it must be read by every later version of this one.
#[test]
fn a_token_stays_as_it_is() {
    let text = "ila16ybh5x961xbbk5wc12b9vxw2fn2gr3j98e9f2pp4qtng50vf6720e1r70w3ge1r70w3ge1r70w3\
                ge490046vg00000000000000000013ryzt00dq0000001wg71x5r";
    assert_eq!(one().to_string(), text);
    assert_eq!(text.parse(), Ok(one()));
}

#[test]
fn each_wrong_missing_doubled_or_exchanged_character_is_noticed() {
    let text = one().to_string();
    for (place, own) in text.char_indices() {
        for other in ('!'..='~').filter(|other| *other != own) {
            let mut wrong = text.clone();
            wrong.replace_range(place..=place, &other.to_string());
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
        let (before, after) = text.split_at(place);
        for wrong in [format!("{before}{}", &after[1..]), format!("{before}{own}{after}")] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
        if let Some(next) = after[1..].chars().next().filter(|next| *next != own) {
            let wrong = format!("{before}{next}{own}{}", &after[2..]);
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
        assert!(before.parse::<Token>().is_err());
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, error) in [
        ("", TokenError::Start),
        ("ila2abc", TokenError::Start),
        ("ila1ab c", TokenError::Character(7)),
        ("ila1ABC", TokenError::Character(5)),
        ("ila1ü", TokenError::Character(5)),
        ("ila1", TokenError::Damaged),
        ("ila1o", TokenError::Damaged),
    ] {
        assert_eq!(text.parse::<Token>(), Err(error), "{text}");
    }
}

#[test]
fn a_secret_is_known_by_its_hash_and_never_shown() {
    let (secret, other) = (Secret([1; 16]), Secret([2; 16]));
    assert!(secret.is_hashed(&secret.hash()));
    for hash in [other.hash(), String::new(), "ü".to_owned(), secret.hash()[1..].to_owned()] {
        assert!(!secret.is_hashed(&hash), "{hash}");
    }
    assert_eq!(format!("{secret:?}"), "Secret { .. }");
    assert!(!format!("{:?}", one()).contains("7, 7"));
}
