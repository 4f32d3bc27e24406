use proptest::prelude::*;
use rustls::{
    SignatureScheme,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};

use super::*;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let digits = hex.as_bytes().chunks(2).map(|it| std::str::from_utf8(it).expect("it is ASCII"));
    let bytes: Vec<_> = digits.map(|it| u8::from_str_radix(it, 16).expect("hex")).collect();
    bytes.try_into().expect("its length")
}

/// RFC 8032, section 7.1, test 2.
const SEED: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
const PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
const SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

#[test]
fn keys_and_signatures_are_those_of_the_rfc() {
    let key = KeyPair::from_seed(&bytes(SEED));
    assert_eq!(key.public().0, bytes(PUBLIC));
    let signature = key.sign(&[0x72]);
    assert_eq!(signature.to_bytes(), bytes(SIGNATURE));
    assert_eq!(Signature::from_bytes(&signature.to_bytes()), Some(signature));
    assert!(is_signed(&key.public(), &[0x72], &signature));
    for length in [0, 31, 63, 65] {
        assert_eq!(Signature::from_bytes(&[0; 65][..length]), None);
    }
}

#[test]
fn a_key_is_read_as_openssl_writes_it() {
    // RFC 8410, section 10.3: without the public half, and with it.
    let without = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    let key = KeyPair::from_pem(without).expect("it is a key");
    assert_eq!(
        key.public().0,
        bytes("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1")
    );
    assert_eq!(key.to_pem(), without);
}

#[test]
fn a_tls_library_reads_the_key_and_signs_with_it() {
    let key = KeyPair::from_seed(&bytes(SEED));
    let der = PrivateKeyDer::from_pem_slice(key.to_pem().as_bytes()).expect("it is PEM");
    let loaded = ring::default_provider().key_provider.load_private_key(der).expect("it is a key");
    let signer = loaded.choose_scheme(&[SignatureScheme::ED25519]).expect("it is Ed25519");
    let signature = signer.sign(b"hello").expect("it signs");
    assert_eq!(signature, key.sign(b"hello").to_bytes());
}

#[test]
fn what_is_no_key_is_refused_and_none_is_shown() {
    let key = KeyPair::from_seed(&[7; 32]);
    let good = key.to_pem();
    for bad in [
        String::new(),
        good.replace("PRIVATE KEY", "CERTIFICATE"),
        good.replace("MC4", "MC5"),
        // X25519, RFC 8410, section 10.3 with the other OID.
        good.replace("K2Vw", "K2Vu"),
        good.replace("-----END", "----END"),
    ] {
        assert_eq!(KeyPair::from_pem(&bad), Err(KeyError), "{bad}");
    }
    assert_eq!(format!("{key:?}"), format!("KeyPair({:?}, ..)", key.public().node()));
}

/// With the neutral element as the key, one signature would hold for anything.
#[test]
fn a_key_of_small_order_has_signed_nothing() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let signature = Signature { r: neutral, s: [0; 32] };
    assert!(!is_signed(&PublicKey(neutral), b"anything", &signature));
}

proptest! {
    #[test]
    fn only_what_was_signed_is(seed: [u8; 32], message: Vec<u8>, bit in 0..512_usize) {
        let key = KeyPair::from_seed(&seed);
        prop_assert_eq!(KeyPair::from_pem(&key.to_pem()), Ok(key.clone()));
        let signature = key.sign(&message);
        prop_assert!(is_signed(&key.public(), &message, &signature));
        let other = [&message[..], &[0]].concat();
        prop_assert!(!is_signed(&key.public(), &other, &signature));
        let mut wrong = signature.to_bytes();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let wrong = Signature::from_bytes(&wrong).expect("64 bytes");
        prop_assert!(!is_signed(&key.public(), &message, &wrong));
        let stranger = KeyPair::from_seed(&seed.map(|byte| !byte)).public();
        prop_assert!(!is_signed(&stranger, &message, &signature));
    }

    #[test]
    fn no_text_does_harm(text: String) {
        let _ = KeyPair::from_pem(&text);
    }
}
