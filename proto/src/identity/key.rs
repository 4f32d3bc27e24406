//! Keys, and what they sign.

use std::fmt;

use ed25519_dalek::{
    SECRET_KEY_LENGTH, SIGNATURE_LENGTH, Signer as _, SigningKey, VerifyingKey,
    pkcs8::{
        DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes, spki::der::pem::LineEnding,
    },
};

use crate::gossip::{PublicKey, Signature};

/// A file that has no key for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key as PKCS#8 in PEM")]
pub struct KeyError;

/// An Ed25519 key with its secret half, which is forgotten when it is dropped
/// and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair(SigningKey);

impl KeyPair {
    /// The key of a seed (RFC 8032, section 5.1.5): 32 bytes that nobody else
    /// can guess.
    #[must_use]
    pub fn from_seed(seed: &[u8; SECRET_KEY_LENGTH]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads PKCS#8 (RFC 8410, section 7), with or without the public half.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(text).map(Self).map_err(|_| KeyError)
    }

    /// As PKCS#8 without the public half, which every TLS library reads. Whoever
    /// has this text is the node; it is a secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let bytes = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        bytes.to_pkcs8_pem(LineEnding::LF).expect("32 bytes can be written").to_string()
    }

    /// The same in DER, as TLS libraries take it.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let bytes = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let document = bytes.to_pkcs8_der().expect("32 bytes can be written");
        document.as_bytes().to_vec()
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Its signature over a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.0.sign(message);
        Signature { r: *signature.r_bytes(), s: *signature.s_bytes() }
    }
}

/// Whether a signature is that of the key over the message. Keys and points of
/// small order are never, so that a signature holds for one message only.
#[must_use]
pub fn is_signed(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_components(signature.r, signature.s);
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

impl Signature {
    /// The signature of 64 bytes, as they stand in a certificate.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (r, s) = bytes.split_at_checked(SIGNATURE_LENGTH / 2)?;
        Some(Self { r: r.try_into().ok()?, s: s.try_into().ok()? })
    }

    /// Its 64 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIGNATURE_LENGTH] {
        ed25519_dalek::Signature::from_components(self.r, self.s).to_bytes()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.public().node()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
