//! Who a node is: its key, and the certificate that the authority of its mesh
//! has given it. Pure: seeds, serial numbers and times come from outside.
//!
//! Keys are Ed25519, kept as PKCS#8 in PEM. Certificates are X.509 (RFC 5280),
//! in DER at most [`MAX_DER`] bytes long, so that any TLS library can check them:
//!
//! | field | the authority's | a node's |
//! |---|---|---|
//! | subject | `CN=ila CA` | `CN=` its name, the first 64 characters |
//! | key identifier | [`NodeId`] of its key | the same |
//! | basic constraints | CA, no further CA below it | no CA |
//! | key usage | `digitalSignature`, `keyCertSign` | `digitalSignature` |
//! | extended key usage | | `serverAuth`, `clientAuth` |
//! | DNS name | | [`SERVER_NAME`] |
//! | URIs | | see below |
//!
//! What a node is certified to be stands in URIs among its alternative names,
//! each value as it is displayed:
//!
//! ```text
//!  ila:node:NAME                     once
//!  ila:locator:SIR_PREFIX@LOCATOR    for each SIR prefix that it serves
//!  ila:home:IDENTIFIER/LENGTH        for each range that it is the home of
//! ```
//!
//! URIs that start with anything else are for others and are skipped.

mod issue;
mod key;
mod names;
mod range;

use ed25519_dalek::{SIGNATURE_LENGTH, pkcs8::spki::der::pem};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::OID_SIG_ED25519,
    prelude::FromDer as _,
    x509::{AlgorithmIdentifier, X509Version},
};

use crate::{
    addr::{Locator, SirPrefix},
    gossip::{Certified, NodeId, PublicKey, Signature},
};

pub use key::{KeyError, KeyPair, is_signed};
pub use names::UriError;
pub use range::RangeError;

/// The DNS name in each node's certificate, for verifiers that want one.
pub const SERVER_NAME: &str = "mesh.ila";

/// Bytes of a certificate at most: a node's record, which has room for
/// [`MAX_VALUE`](crate::gossip::MAX_VALUE), carries it and more.
pub const MAX_DER: usize = 3072;

/// The end of the year 9999, behind which certificates have no way to write a
/// time.
const LAST_SECOND: u64 = 253_402_300_799;

/// What a certificate is called in PEM (RFC 7468, section 5).
const PEM_LABEL: &str = "CERTIFICATE";

/// The number by which an authority tells its certificates apart: any, if it is
/// random.
pub type Serial = [u8; 16];

/// When a certificate is valid, in seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: u64,
    /// The last second.
    pub until: u64,
}

/// Why a certificate is not made, or not taken for what it says it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Neither PEM nor a certificate in DER, or not of the form above.
    #[error("not a certificate of a node or an authority")]
    Malformed,
    /// Longer than [`MAX_DER`].
    #[error("the certificate has {0} bytes, {MAX_DER} is the most: it names too much")]
    TooLong(usize),
    /// The times are before 1970, behind 9999, or the wrong way round.
    #[error("the times between which the certificate is valid are out of range")]
    Times,
    /// Signed by somebody else.
    #[error("the certificate was not issued by this authority")]
    Foreign,
    /// The authority's where a node's is expected.
    #[error("the certificate is that of an authority, not of a node")]
    OfAuthority,
    /// A node's where the authority's is expected.
    #[error("the certificate is that of a node, not of an authority")]
    OfNode,
    /// The key is another one than the authority's.
    #[error("the key is not that of the authority's certificate")]
    OtherKey,
    /// It would be valid longer than the authority that issues it.
    #[error("the certificate would outlive its authority")]
    OutlivesAuthority,
    /// Its time has not come.
    #[error("the certificate is not valid yet")]
    NotYet,
    /// Its time is over.
    #[error("the certificate is no longer valid")]
    Expired,
    /// It names no node.
    #[error("the certificate names no node")]
    Nameless,
    /// It names a node twice, by one name or two.
    #[error("the certificate names two nodes")]
    TwoNames,
    /// One of its URIs cannot be read.
    #[error("the certificate has the URI `{uri}`: {reason}")]
    Uri {
        /// The URI, printable ASCII.
        uri: String,
        /// What is wrong with it.
        #[source]
        reason: UriError,
    },
    /// A range stands there twice.
    #[error("the certificate has the URI `{0}` twice")]
    Twice(String),
    /// Two locators for one SIR prefix.
    #[error("the certificate has two locators for the SIR prefix {0}")]
    TwoLocators(SirPrefix),
    /// One locator for two SIR prefixes, which a receiver could not tell apart.
    #[error("the certificate has the locator {0} for two SIR prefixes")]
    TwoSirPrefixes(Locator),
    /// A locator that is a SIR prefix as well.
    #[error("the certificate has {0} for a locator, which is a SIR prefix")]
    LocatorIsSirPrefix(Locator),
}

/// What stands in a certificate, whoever has signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// When it is valid.
    pub validity: Validity,
    /// Whose key has signed it, as it says itself.
    pub issuer: Option<NodeId>,
    /// Whose it is.
    pub holder: Holder,
}

/// Whose a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An authority's, with this key.
    Authority(PublicKey),
    /// A node's.
    Node(Certified),
}

impl Certificate {
    /// Reads a certificate without asking who has signed it, or when it is valid.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        parse(der).and_then(|certificate| content(&certificate))
    }
}

/// Who certifies the nodes of a mesh, known by its own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    key: PublicKey,
    /// Its name, in DER.
    subject: Vec<u8>,
    validity: Validity,
}

impl Authority {
    /// The authority whose certificate this is.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse(der)?;
        let Certificate { validity, holder, .. } = content(&certificate)?;
        let Holder::Authority(key) = holder else { return Err(CertificateError::OfNode) };
        let authority = Self { key, subject: certificate.subject().as_raw().to_vec(), validity };
        authority.check_signature(&certificate)?;
        Ok(authority)
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// When its certificate is valid.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// What a certificate that this authority has issued says of its node; if a
    /// time is given, in seconds since 1970-01-01 UTC, only if it is valid then.
    pub fn certified(&self, der: &[u8], now: Option<u64>) -> Result<Certified, CertificateError> {
        let certificate = parse(der)?;
        self.check_signature(&certificate)?;
        let Certificate { validity, holder, .. } = content(&certificate)?;
        let Holder::Node(node) = holder else { return Err(CertificateError::OfAuthority) };
        match now {
            Some(now) if now < validity.from => Err(CertificateError::NotYet),
            Some(now) if now > validity.until => Err(CertificateError::Expired),
            _ => Ok(node),
        }
    }

    fn check_signature(&self, certificate: &X509Certificate) -> Result<(), CertificateError> {
        let bits = &certificate.signature_value;
        let signature = Signature::from_bytes(&bits.data);
        let is_ours = certificate.issuer().as_raw() == self.subject
            && signature
                .is_some_and(|it| is_signed(&self.key, certificate.tbs_certificate.as_ref(), &it));
        if is_ours { Ok(()) } else { Err(CertificateError::Foreign) }
    }
}

/// A certificate as PEM.
#[must_use]
pub fn to_pem(der: &[u8]) -> String {
    pem::encode_string(PEM_LABEL, pem::LineEnding::LF, der).expect("the label is one")
}

/// The DER of the one certificate that a PEM file has.
pub fn from_pem(text: &str) -> Result<Vec<u8>, CertificateError> {
    match pem::decode_vec(text.as_bytes()) {
        Ok((PEM_LABEL, der)) => Ok(der),
        _ => Err(CertificateError::Malformed),
    }
}

/// A certificate of the form that is written here, and nothing behind it.
fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > MAX_DER {
        return Err(CertificateError::TooLong(der.len()));
    }
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    let has_form = rest.is_empty()
        && certificate.version() == X509Version::V3
        && has_end(der)
        && is_ed25519(&certificate.signature)
        && is_ed25519(&certificate.public_key().algorithm)
        // Who does not know what is critical must not go on (RFC 5280, 4.2).
        && certificate.iter_extensions().all(|it| !it.critical || is_known(it.parsed_extension()));
    if has_form { Ok(certificate) } else { Err(CertificateError::Malformed) }
}

/// Whether a certificate ends as all of Ed25519 do: behind what is signed, and
/// so by no signature kept from being written in another way.
fn has_end(der: &[u8]) -> bool {
    // The algorithm (RFC 8410, section 3), and a BIT STRING of 64 whole bytes.
    const END: [u8; 10] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 65, 0];
    let end = der.len().checked_sub(SIGNATURE_LENGTH);
    end.is_some_and(|end| der[..end].ends_with(&END))
}

fn is_ed25519(algorithm: &AlgorithmIdentifier) -> bool {
    algorithm.algorithm == OID_SIG_ED25519 && algorithm.parameters.is_none()
}

const fn is_known(extension: &ParsedExtension) -> bool {
    matches!(
        extension,
        ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectAlternativeName(_)
    )
}

fn content(certificate: &X509Certificate) -> Result<Certificate, CertificateError> {
    let malformed = |_| CertificateError::Malformed;
    let key = &certificate.public_key().subject_public_key;
    let key: [u8; 32] = key.data.as_ref().try_into().map_err(|_| CertificateError::Malformed)?;
    let key = PublicKey(key);
    let is_authority = certificate
        .basic_constraints()
        .map_err(malformed)?
        .is_some_and(|constraints| constraints.value.ca);
    let usage = certificate.key_usage().map_err(malformed)?;
    let may = usage.is_some_and(|usage| {
        usage.value.digital_signature() && usage.value.key_cert_sign() == is_authority
    });
    if !may {
        return Err(CertificateError::Malformed);
    }
    let seconds = |time: i64| match u64::try_from(time) {
        Ok(seconds @ ..=LAST_SECOND) => Ok(seconds),
        _ => Err(CertificateError::Times),
    };
    let validity = Validity {
        from: seconds(certificate.validity().not_before.timestamp())?,
        until: seconds(certificate.validity().not_after.timestamp())?,
    };
    let issuer = certificate.iter_extensions().find_map(|it| match it.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(issuer) => {
            issuer.key_identifier.as_ref()?.0.try_into().ok().map(NodeId)
        }
        _ => None,
    });
    let holder = if is_authority {
        Holder::Authority(key)
    } else {
        let names = certificate.subject_alternative_name().map_err(malformed)?;
        let names = names.map(|names| &names.value.general_names[..]).unwrap_or_default();
        if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
            return Err(CertificateError::Malformed);
        }
        Holder::Node(names::read(
            key,
            names.iter().filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            }),
        )?)
    };
    Ok(Certificate { serial: certificate.serial.to_str_radix(16), validity, issuer, holder })
}

#[cfg(test)]
mod tests;
