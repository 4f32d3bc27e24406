//! Certificates and keys, as others show them and as they lie on a disk.

use std::sync::LazyLock;

use ila_proto::{
    gossip::sim::Dice,
    identity::{self, Authority, Certificate, Holder, KeyPair, MAX_DER},
};

use super::{
    WORLD, corpus,
    memory::peak,
    mutate::mutant,
    run::{mutants, run},
    world::{VALIDITY, certified},
};

/// What is read of a certificate takes for each of its bytes, and besides.
const GROWTH: usize = 64;
const ROOM: usize = 64 << 10;

/// Those of nodes, and the authority's own.
static ISSUED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let nodes = WORLD.speakers.iter().map(|it| it.record.certificate.clone());
    nodes.chain([WORLD.authority.2.clone()]).collect()
});

fn check(der: &[u8]) {
    let (_, authority, ca) = &WORLD.authority;
    let (read, took) = peak(|| Certificate::read(der));
    assert!(took <= ROOM + der.len() * GROWTH, "{took} bytes of memory for {}", der.len());
    assert!(read.is_err() || der.len() <= MAX_DER);
    // Whatever it says: the bytes are those that were signed, or it is nobody's.
    let issued = ISSUED.iter().any(|it| it == der);
    if let Ok(node) = authority.certified(der, None) {
        assert!(issued, "the authority has not issued it: {node:?}");
        assert_eq!(read.as_ref().map(|it| &it.holder), Ok(&Holder::Node(node)));
    }
    if let Ok(other) = Authority::read(der) {
        assert!(der == ca && other == *authority, "{other:?} has not signed it");
    }
    if read.is_ok() {
        assert_eq!(identity::from_pem(&identity::to_pem(der)).as_deref(), Ok(der));
    }
}

#[test]
fn certificates_are_read() {
    let target = "-p ila-proto --test decoders certificates_are_read";
    let pool = [&ISSUED[..], &corpus::all("certificate")].concat();
    mutants(target, 15_000, &pool, |_, _| (), check);
}

/// The bytes before and behind what is signed, and where its length is not.
const START: usize = 4;
const END: usize = 74;

/// Signed by an authority that does not look at what it signs: names, URIs and
/// lists are all read.
#[test]
fn what_an_authority_signs_is_read() {
    let (key, authority, _) = &WORLD.authority;
    let signed: Vec<_> = ISSUED.iter().map(|der| der[START..der.len() - END].to_vec()).collect();
    let uris = ["ila:node:", "ila:locator:fd00::/64@2001:db8::/64", "ila:home:2000:10:0:0/28"];
    let signed: Vec<_> = signed
        .into_iter()
        .chain(uris.map(|uri| [b"\x86", &[40][..], uri.as_bytes()].concat()))
        .collect();
    run("-p ila-proto --test decoders what_an_authority_signs", 5000, |dice| {
        let mut said = mutant(dice, &signed);
        said.truncate(2 * MAX_DER);
        let tail = &ISSUED[0][ISSUED[0].len() - END..][..END - 64];
        let rest = [tail, &key.sign(&said).to_bytes()].concat();
        let length = u16::try_from(said.len() + rest.len()).expect("it is short").to_be_bytes();
        let der = [&[0x30, 0x82][..], &length, &said, &rest].concat();
        let (read, took) = peak(|| Certificate::read(&der));
        assert!(took <= ROOM + der.len() * GROWTH, "{took} bytes of memory for {}", der.len());
        if let Ok(node) = authority.certified(&der, None) {
            assert_eq!(read.map(|it| it.holder), Ok(Holder::Node(node.clone())));
            // Whatever it is, it is a node that could have been written.
            let again = authority.issue(key, &node, [1; 16], VALIDITY).expect("it is one");
            assert_eq!(authority.certified(&again, None), Ok(node));
        }
    });
}

#[test]
fn keys_are_read() {
    let key = KeyPair::from_seed(&[7; 32]);
    let pool = [key.to_pem(), identity::to_pem(&WORLD.authority.2)].map(String::into_bytes);
    let target = "-p ila-proto --test decoders keys_are_read";
    mutants(
        target,
        20_000,
        &pool,
        |_, _| (),
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let (read, took) = peak(|| KeyPair::from_pem(&text));
            assert!(
                took <= ROOM + text.len() * GROWTH,
                "{took} bytes of memory for {}",
                text.len()
            );
            if let Ok(key) = read {
                assert_eq!(KeyPair::from_pem(&key.to_pem()), Ok(key));
            }
            let (read, took) = peak(|| identity::from_pem(&text));
            assert!(
                took <= ROOM + text.len() * GROWTH,
                "{took} bytes of memory for {}",
                text.len()
            );
            if let Ok(der) = read {
                assert_eq!(identity::from_pem(&identity::to_pem(&der)), Ok(der));
            }
        },
    );
}

/// The same node again and again, or another locator for each: as many as fit.
#[test]
fn full_certificates_are_read() {
    let (key, authority, _) = &WORLD.authority;
    let mut dice = Dice::new(1);
    let mut node = certified(key, 1);
    while let Ok(der) = authority.issue(key, &node, [1; 16], VALIDITY) {
        let (read, took) = peak(|| authority.certified(&der, None));
        assert!(took <= ROOM + der.len() * GROWTH, "{took} bytes of memory for {}", der.len());
        assert_eq!(read.as_ref(), Ok(&node));
        let mut range = node.home[0];
        range.bits ^= dice.below(1 << 20) << 36;
        node.home.push(range);
    }
    assert!(node.home.len() > 50);
}
