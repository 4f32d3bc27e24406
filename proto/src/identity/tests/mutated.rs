//! Certificates that are not as they were made.

use std::sync::LazyLock;

use super::*;

/// The same for each case: in a debug build most of the time goes into signing.
static ISSUED: LazyLock<(Authority, Certified, Vec<u8>)> = LazyLock::new(issued);
static CA: LazyLock<Vec<u8>> = LazyLock::new(|| authority(1).1);

/// What is done to the bytes of a certificate.
#[derive(Clone, Debug)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Copy(prop::sample::Index, prop::sample::Index, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    use prop::sample::Index;
    prop_oneof![
        4 => any::<(Index, u8)>().prop_map(|(at, byte)| Mutation::Set(at, byte)),
        1 => any::<Index>().prop_map(Mutation::Cut),
        1 => any::<(Index, u8)>().prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        1 => any::<Index>().prop_map(Mutation::Remove),
        1 => any::<(Index, Index, u8)>().prop_map(|(from, to, n)| Mutation::Copy(from, to, n)),
    ]
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = |index: &prop::sample::Index| index.index(bytes.len());
        match self {
            Self::Set(index, byte) => {
                let at = at(index);
                bytes[at] = *byte;
            }
            Self::Cut(index) => bytes.truncate(at(index)),
            Self::Insert(index, byte) => bytes.insert(at(index), *byte),
            Self::Remove(index) => drop(bytes.remove(at(index))),
            Self::Copy(from, to, length) => {
                let (from, to) = (at(from), at(to));
                let end = bytes.len().min(from + usize::from(*length));
                let part = bytes[from..end].to_vec();
                bytes.splice(to..to, part);
            }
        }
    }
}

fn apply(mutations: &[Mutation], bytes: &mut Vec<u8>) {
    for mutation in mutations {
        mutation.apply(bytes);
    }
}

proptest! {
    /// What the signature covers is all that is read.
    #[test]
    fn is_refused_without_harm(mutations in prop::collection::vec(mutation(), 1..4)) {
        let (authority, node, der) = &*ISSUED;
        let [mut der, mut ca] = [der.clone(), CA.clone()];
        for bytes in [&mut der, &mut ca] {
            apply(&mutations, bytes);
            let _ = Certificate::read(bytes);
        }
        if let Ok(read) = authority.certified(&der, Some(IN_TIME)) {
            prop_assert_eq!(&read, node);
        }
        if let Ok(read) = Authority::read(&ca) {
            prop_assert_eq!(&read, authority);
        }
    }

    /// Behind a signature that holds: what an authority of another version says.
    #[test]
    fn and_signed_does_no_harm(mutations in prop::collection::vec(mutation(), 1..4)) {
        let (authority, _, der) = &*ISSUED;
        // SEQUENCE { tbsCertificate, AlgorithmIdentifier (7 bytes), BIT STRING (67 bytes) }
        let mut signed = der[4..der.len() - 74].to_vec();
        apply(&mutations, &mut signed);
        let signature = key(1).sign(&signed).to_bytes();
        let rest = [&der[der.len() - 74..der.len() - 64], &signature].concat();
        let length = u16::try_from(signed.len() + rest.len()).expect("it is short").to_be_bytes();
        let bytes = [&[0x30, 0x82][..], &length, &signed, &rest].concat();
        if let Ok(node) = authority.certified(&bytes, Some(IN_TIME)) {
            // Whatever it is, it is a node that could have been written.
            let again = authority.issue(&key(1), &node, SERIAL, VALIDITY);
            prop_assert_eq!(again.and_then(|der| authority.certified(&der, None)), Ok(node));
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes: Vec<u8>, text: String) {
        prop_assert!(Certificate::read(&bytes).is_err());
        prop_assert!(Authority::read(&bytes).is_err());
        let _ = from_pem(&text);
    }
}

#[test]
fn is_refused_with_anything_behind_it() {
    let (authority, _, der) = &*ISSUED;
    for bytes in [[&der[..], &[0]].concat(), [&der[..], der].concat()] {
        assert_eq!(authority.certified(&bytes, None), Err(CertificateError::Malformed));
    }
}

/// So that the test of signed ones is about signatures that hold.
#[test]
fn a_certificate_is_put_together_as_above() {
    let (_, _, der) = issued();
    assert_eq!(der[..2], [0x30, 0x82]);
    let behind = &der[der.len() - 74..];
    assert_eq!(behind[..10], [0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 65, 0]);
    assert_eq!(behind[10..], key(1).sign(&der[4..der.len() - 74]).to_bytes());
}

#[test]
fn and_longer_than_a_record_is_refused_before_it_is_read() {
    assert_eq!(Certificate::read(&[0x30; MAX_DER + 1]), Err(CertificateError::TooLong(3073)));
    assert_eq!(Certificate::read(&[0x30; MAX_DER]), Err(CertificateError::Malformed));
}

/// Each byte by itself, so that none is left to chance.
#[test]
fn is_refused_whichever_byte_is_changed() {
    let (authority, _, der) = &*ISSUED;
    for at in 0..der.len() {
        let mut bytes = der.clone();
        bytes[at] ^= 1;
        let read = authority.certified(&bytes, None);
        assert!(read.is_err(), "{at}: {read:?}");
    }
}
