//! How certificates are made.

use ed25519_dalek::SECRET_KEY_LENGTH;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm, SigningKey, string::Ia5String,
};
use time::OffsetDateTime;

use super::{Authority, CertificateError, KeyPair, SERVER_NAME, Serial, Validity, names};
use crate::gossip::{Certified, PublicKey};

/// What the authority is called.
const AUTHORITY: &str = "ila CA";

impl Authority {
    /// A new authority's certificate, in DER, signed with its own key.
    pub fn create(
        key: &KeyPair,
        serial: Serial,
        validity: Validity,
    ) -> Result<Vec<u8>, CertificateError> {
        let params = authority(key.public(), serial, validity)?;
        Ok(params.self_signed(&Signer::new(key)).expect(WRITES).der().to_vec())
    }

    /// The certificate, in DER, of a node: what it is certified to be is what
    /// [`certified`](Self::certified) will read. `key` is the authority's.
    pub fn issue(
        &self,
        key: &KeyPair,
        node: &Certified,
        serial: Serial,
        validity: Validity,
    ) -> Result<Vec<u8>, CertificateError> {
        if key.public() != self.key() {
            return Err(CertificateError::OtherKey);
        }
        if validity.until > self.validity().until {
            return Err(CertificateError::OutlivesAuthority);
        }
        let issuer = authority(self.key(), serial, validity)?;
        let der = sign(&certified(node, serial, validity)?, node.key, issuer, key);
        self.certified(&der, None)?;
        Ok(der)
    }
}

/// Characters of a common name at most (RFC 5280, appendix A.1). It is for
/// people; the whole name is in the URI.
const MAX_NAME: usize = 64;

/// Why a certificate can be written.
const WRITES: &str = "names are ASCII, times are in range, and the key signs anything";

fn authority(
    key: PublicKey,
    serial: Serial,
    validity: Validity,
) -> Result<CertificateParams, CertificateError> {
    let mut params = params(AUTHORITY, key, serial, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    Ok(params)
}

fn certified(
    node: &Certified,
    serial: Serial,
    validity: Validity,
) -> Result<CertificateParams, CertificateError> {
    let uris = names::write(node).into_iter().map(|uri| SanType::URI(ascii(uri)));
    let name = SanType::DnsName(ascii(SERVER_NAME.to_owned()));
    let mut params = params(node.name.as_str(), node.key, serial, validity)?;
    params.subject_alt_names = std::iter::once(name).chain(uris).collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn sign(
    params: &CertificateParams,
    public: PublicKey,
    issuer: CertificateParams,
    key: &KeyPair,
) -> Vec<u8> {
    let issuer = Issuer::new(issuer, Signer::new(key));
    params.signed_by(&Public(public), &issuer).expect(WRITES).der().to_vec()
}

fn params(
    name: &str,
    key: PublicKey,
    serial: Serial,
    Validity { from, until }: Validity,
) -> Result<CertificateParams, CertificateError> {
    let date = |seconds| {
        let seconds = i64::try_from(seconds).ok()?;
        OffsetDateTime::from_unix_timestamp(seconds).ok()
    };
    let (Some(not_before), Some(not_after), true) = (date(from), date(until), from <= until) else {
        return Err(CertificateError::Times);
    };
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name.get(..MAX_NAME).unwrap_or(name));
    let mut params = CertificateParams::default();
    params.not_before = not_before;
    params.not_after = not_after;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = distinguished_name;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.node().0.to_vec());
    Ok(params)
}

fn ascii(text: String) -> Ia5String {
    text.try_into().expect("names and addresses are ASCII")
}

/// A public key, for the library that writes certificates.
struct Public(PublicKey);

impl PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// A key that signs for it.
struct Signer<'a> {
    key: &'a KeyPair,
    public: [u8; SECRET_KEY_LENGTH],
}

impl<'a> Signer<'a> {
    fn new(key: &'a KeyPair) -> Self {
        Self { key, public: key.public().0 }
    }
}

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(message).to_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests;
