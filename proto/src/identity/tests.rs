use proptest::prelude::*;

use super::*;
use crate::gossip::IdentifierRange;

mod mutated;
mod tls;

/// The start of 2026 and of 2027.
const VALIDITY: Validity = Validity { from: 1_767_225_600, until: 1_798_761_600 };
const IN_TIME: u64 = VALIDITY.from + 1;
const SERIAL: Serial = [0xff; 16];

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

/// An authority's key, its certificate, and what others know of it.
fn authority(seed: u8) -> (KeyPair, Vec<u8>, Authority) {
    let der = Authority::create(&key(seed), SERIAL, VALIDITY).expect("it can be made");
    let authority = Authority::read(&der).expect("it is good");
    (key(seed), der, authority)
}

fn node(key: &KeyPair) -> Certified {
    Certified {
        key: key.public(),
        name: "h1".parse().expect("a name"),
        locators: vec![
            (
                "fd00:db8:0:1::/64".parse().expect("a prefix"),
                Locator::from_bits(0x2001_0db8_000a_0001),
            ),
            (
                "fd00:db8:0:2::/64".parse().expect("a prefix"),
                Locator::from_bits(0x2001_0db8_000a_0002),
            ),
        ],
        home: vec!["2000:10:0:0/28".parse().expect("a range")],
    }
}

/// What the authority with seed 1 has issued to the node with seed 2.
fn issued() -> (Authority, Certified, Vec<u8>) {
    let (ca_key, _, authority) = authority(1);
    let node = node(&key(2));
    let der = authority.issue(&ca_key, &node, SERIAL, VALIDITY).expect("it can be issued");
    (authority, node, der)
}

#[test]
fn what_was_issued_is_read_and_by_nobody_elses_word() {
    let (authority, node, der) = issued();
    assert_eq!(authority.certified(&der, None), Ok(node.clone()));
    assert_eq!(
        node.key.0,
        ed25519_dalek::SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes()
    );
    let read = Certificate::read(&der).expect("it is good");
    let expected = Certificate {
        serial: "f".repeat(32),
        validity: VALIDITY,
        issuer: Some(authority.key().node()),
        holder: Holder::Node(node),
    };
    assert_eq!(read, expected);
    // Another with the same name and key, but another certificate, is the same;
    // one with another key is not.
    assert_eq!(self::authority(1).2.certified(&der, None), authority.certified(&der, None));
    assert_eq!(self::authority(3).2.certified(&der, None), Err(CertificateError::Foreign));
}

#[test]
fn the_authority_is_no_node_and_no_node_an_authority() {
    let (_, ca, authority) = authority(1);
    let (_, _, der) = issued();
    assert_eq!(authority.certified(&ca, None), Err(CertificateError::OfAuthority));
    assert_eq!(Authority::read(&der), Err(CertificateError::OfNode));
    assert_eq!(authority.key(), key(1).public());
    let read = Certificate::read(&ca).expect("it is good");
    assert_eq!(read.holder, Holder::Authority(key(1).public()));
    // A certificate that an authority signs for another authority is none of ours.
    let mut of_another = ca;
    let length = of_another.len();
    of_another[length - 1] ^= 1;
    assert_eq!(Authority::read(&of_another), Err(CertificateError::Foreign));
}

#[test]
fn a_certificate_is_valid_from_its_first_second_to_its_last() {
    let (authority, node, der) = issued();
    for (now, expected) in [
        (0, Err(CertificateError::NotYet)),
        (VALIDITY.from - 1, Err(CertificateError::NotYet)),
        (VALIDITY.from, Ok(node.clone())),
        (VALIDITY.until, Ok(node)),
        (VALIDITY.until + 1, Err(CertificateError::Expired)),
        (u64::MAX, Err(CertificateError::Expired)),
    ] {
        assert_eq!(authority.certified(&der, Some(now)), expected, "{now}");
    }
}

#[test]
fn what_would_not_be_believed_is_not_issued() {
    let (ca_key, _, authority) = authority(1);
    let good = node(&key(2));
    let issue = |node: &Certified, validity| authority.issue(&ca_key, node, SERIAL, validity);
    assert_eq!(authority.issue(&key(3), &good, SERIAL, VALIDITY), Err(CertificateError::OtherKey));
    let Validity { from, until } = VALIDITY;
    for (from, until, error) in [
        (from, until + 1, CertificateError::OutlivesAuthority),
        (until, from, CertificateError::Times),
    ] {
        assert_eq!(issue(&good, Validity { from, until }), Err(error));
    }
    let mut twice = good.clone();
    twice.locators.push(good.locators[0]);
    assert_eq!(issue(&twice, VALIDITY), Err(CertificateError::TwoLocators(good.locators[0].0)));
    let mut no_range = good.clone();
    no_range.home.push(IdentifierRange { bits: 1, length: 4 });
    assert!(matches!(issue(&no_range, VALIDITY), Err(CertificateError::Uri { .. })));
    let mut too_much = good;
    too_much.home =
        (0..130).map(|n| IdentifierRange { bits: 0x2000_0000_0001_0000 + n, length: 64 }).collect();
    assert!(matches!(issue(&too_much, VALIDITY), Err(CertificateError::TooLong(3073..))));
    let last = Validity { from, until: LAST_SECOND };
    let der = Authority::create(&ca_key, [0; 16], last).expect("it can be made");
    assert_eq!(Authority::read(&der).map(|authority| authority.validity()), Ok(last));
    for until in [LAST_SECOND + 1, u64::MAX] {
        let result = Authority::create(&ca_key, SERIAL, Validity { from, until });
        assert_eq!(result, Err(CertificateError::Times));
    }
}

/// A host can serve four SIR prefixes.
#[test]
fn the_longest_certificate_of_a_node_fits() {
    let (ca_key, _, authority) = authority(1);
    let longest = Certified {
        key: key(2).public(),
        name: "h".repeat(128).parse().expect("a name"),
        locators: (0..4)
            .map(|n| {
                (
                    SirPrefix::from_bits(0xfd11_1111_1111_1111 + n),
                    Locator::from_bits(0x2001_1111_1111_1111 + n),
                )
            })
            .collect(),
        home: (0..16)
            .map(|n| IdentifierRange { bits: 0x2111_1111_1111_1110 + n, length: 64 })
            .collect(),
    };
    let der = authority.issue(&ca_key, &longest, SERIAL, VALIDITY).expect("it fits");
    assert_eq!(authority.certified(&der, None), Ok(longest));
    let parsed = parse(&der).expect("it is good");
    let common_name = parsed.subject().iter_common_name().next().expect("it has one");
    assert_eq!(common_name.as_str().map(str::len), Ok(64));
}

#[test]
fn certificates_are_pem() {
    let (_, _, der) = issued();
    let pem = to_pem(&der);
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");
    assert_eq!(from_pem(&pem), Ok(der));
    let crlf = pem.replace('\n', "\r\n");
    assert_eq!(from_pem(&crlf), from_pem(&pem));
    for bad in ["", &pem[1..], &pem[..pem.len() - 9], &key(2).to_pem(), &pem.replace('A', "?")] {
        assert_eq!(from_pem(bad), Err(CertificateError::Malformed), "{bad}");
    }
}

/// The same seeds, numbers and times make the same bytes, as for all that is
/// pure.
#[test]
fn certificates_are_made_of_what_is_given_only() {
    assert_eq!(issued().2, issued().2);
    assert_eq!(authority(1).1, authority(1).1);
}
