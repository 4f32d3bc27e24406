use super::*;
use crate::addr::{Locator, SirPrefix};

const KEY: PublicKey = PublicKey([7; 32]);

fn sir(text: &str) -> SirPrefix {
    text.parse().expect("a SIR prefix")
}

fn locator(text: &str) -> Locator {
    text.parse().expect("a locator")
}

#[test]
fn a_node_is_its_uris() {
    let uris = [
        "ila:node:h1",
        "ila:locator:fd00:db8:0:2::/64@2001:db8:a:2::/64",
        "ila:locator:fd00:db8:0:1::/64@2001:db8:a:1::/64",
        "ila:home:2000:10:0:0/28",
        "ila:home:2000:0:0:1/64",
    ];
    let node = read(KEY, uris.into_iter()).expect("they are good");
    assert_eq!(node.key, KEY);
    assert_eq!(node.name.as_str(), "h1");
    // In their order, which the mesh counts by.
    assert_eq!(
        node.locators,
        [
            (sir("fd00:db8:0:2::/64"), locator("2001:db8:a:2::/64")),
            (sir("fd00:db8:0:1::/64"), locator("2001:db8:a:1::/64")),
        ]
    );
    assert_eq!(node.home.len(), 2);
    assert_eq!(write(&node), uris);
}

#[test]
fn uris_for_others_are_skipped() {
    let uris = [
        "https://example.com/",
        "ila:colour:green",
        "ila:node",
        "ILA:node:h2",
        "ila:node:h1",
        "ila:",
        "",
        "ila:nodes:h3",
    ];
    let node = read(KEY, uris.into_iter()).expect("one is for us");
    assert_eq!(write(&node), ["ila:node:h1"]);
}

#[test]
fn what_contradicts_itself_is_refused() {
    use CertificateError::{
        LocatorIsSirPrefix, Malformed, Nameless, Twice, TwoLocators, TwoNames, TwoSirPrefixes,
    };
    let one = "ila:locator:fd00:db8:0:1::/64@2001:db8:a:1::/64";
    let cases: &[(&[&str], CertificateError)] = &[
        (&["ila:node:h1", "ila:node:h1"], TwoNames),
        (&["ila:node:h1", "ila:node:h2"], TwoNames),
        (&["ila:node:h1", one, one], TwoLocators(sir("fd00:db8:0:1::/64"))),
        (
            &["ila:node:h1", one, "ila:locator:fd00:db8:0:1::/64@2001:db8:a:2::/64"],
            TwoLocators(sir("fd00:db8:0:1::/64")),
        ),
        (
            &["ila:node:h1", one, "ila:locator:fd00:db8:0:2::/64@2001:db8:a:1::/64"],
            TwoSirPrefixes(locator("2001:db8:a:1::/64")),
        ),
        (
            &["ila:node:h1", "ila:locator:fd00:db8:0:1::/64@fd00:db8:0:1::/64"],
            LocatorIsSirPrefix(locator("fd00:db8:0:1::/64")),
        ),
        // Whichever comes first.
        (
            &["ila:node:h1", "ila:locator:fd00:db8:0:2::/64@fd00:db8:0:1::/64", one],
            LocatorIsSirPrefix(locator("fd00:db8:0:1::/64")),
        ),
        (
            &["ila:node:h1", "ila:home:2000:10:0:0/28", "ila:home:2000:0010:0:0/28"],
            Twice("ila:home:2000:10:0:0/28".to_owned()),
        ),
        (&[one], Nameless),
        (&[], Nameless),
        // It would be shown to people.
        (&["ila:node:\x1b[2J"], Malformed),
        (&["ila:home:2000:10:0:0/28\n"], Malformed),
    ];
    for (uris, error) in cases {
        assert_eq!(read(KEY, uris.iter().copied()), Err(error.clone()), "{uris:?}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_why() {
    for (uri, says) in [
        ("ila:node:", "cannot be a node's name"),
        ("ila:node:-h1", "cannot be a node's name"),
        ("ila:locator:", "SIR_PREFIX@LOCATOR"),
        ("ila:locator:fd00:db8:0:1::/64", "SIR_PREFIX@LOCATOR"),
        ("ila:locator:fd00:db8:0:1::/64@", "not an IPv6 prefix"),
        ("ila:locator:@2001:db8:a:1::/64", "not an IPv6 prefix"),
        ("ila:locator:fd00:db8:0:1::/64@2001:db8:a:1::/64@x", "not an IPv6 prefix"),
        ("ila:locator:fd00:db8:0:1::/64@2001:db8:a:1::/48", "/48"),
        ("ila:locator:fd00:db8:0:1::/64@fe80::/64", "route"),
        ("ila:home:2000:10:0:1/28", "did you mean 2000:10:0:0/28"),
    ] {
        let error = read(KEY, ["ila:node:h1", uri].into_iter()).expect_err(uri);
        assert!(matches!(&error, CertificateError::Uri { uri: named, .. } if named == uri));
        assert!(error.to_string().contains(says), "{error}");
    }
}
