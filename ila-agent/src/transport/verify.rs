//! Whether a certificate is that of a node of ours: one rule for both sides of a
//! connection. `docs/decisions/0010-clocks.md` says which clock counts.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use ila_proto::identity::{self, Authority, Certificate, Validity};
use quinn::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    time_provider::TimeProvider,
};

use super::{Bans, Counts, Reason, TransportError};

/// The host's clock.
#[derive(Debug)]
pub struct HostClock;

impl TimeProvider for HostClock {
    fn current_time(&self) -> Option<UnixTime> {
        // Before 1970 is as wrong as 1970.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Some(UnixTime::since_unix_epoch(since.unwrap_or_default()))
    }
}

/// Who looks at certificates.
#[derive(Debug)]
pub struct Verifier {
    authority: Authority,
    /// When this node's own certificate is valid.
    own: Validity,
    server: Arc<WebPkiServerVerifier>,
    client: Arc<dyn ClientCertVerifier>,
    counts: Arc<Counts>,
    bans: Arc<Bans>,
    /// Whether some come without a certificate.
    admits: bool,
}

impl Verifier {
    /// For a node whose own certificate is valid at these times.
    pub fn new(
        authority: Authority,
        authority_der: &[u8],
        own: Validity,
        provider: &Arc<CryptoProvider>,
        (counts, bans): (Arc<Counts>, Arc<Bans>),
    ) -> Result<Self, TransportError> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority_der))?;
        let (roots, provider) = (Arc::new(roots), || Arc::clone(provider));
        let server =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider()).build()?;
        let client = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
        Ok(Self { authority, own, server, client, counts, bans, admits: false })
    }

    /// The same for a node that admits others.
    #[must_use]
    pub fn admitting(self, admits: bool) -> Self {
        Self { admits, ..self }
    }

    /// Looks at all but what webpki knows better, and returns a time at which
    /// that is to look: when the certificate is valid is judged here.
    fn look(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<UnixTime, Error> {
        let (reason, error) = match self.judge(certificate, now.as_secs()) {
            Ok(from) => return Ok(UnixTime::since_unix_epoch(Duration::from_secs(from))),
            Err(reason) => (
                reason,
                match reason {
                    Reason::Expired => CertificateError::Expired,
                    Reason::NotYetValid => CertificateError::NotValidYet,
                    Reason::OtherAuthority => CertificateError::UnknownIssuer,
                    _ => CertificateError::ApplicationVerificationFailure,
                },
            ),
        };
        self.counts.count(reason);
        Err(Error::InvalidCertificate(error))
    }

    fn judge(&self, certificate: &[u8], now: u64) -> Result<u64, Reason> {
        let node = self.authority.certified(certificate, None).map_err(|error| match error {
            identity::CertificateError::Foreign => Reason::OtherAuthority,
            _ => Reason::NotANode,
        })?;
        if self.bans.has(node.key.node()) {
            return Err(Reason::Banned);
        }
        let theirs = Certificate::read(certificate).map_err(|_| Reason::NotANode)?.validity;
        match untimely(theirs, now) {
            // This one was valid when it was put here: it is the clock that is
            // wrong, or nobody has renewed it, and others will see to that.
            Some(_) if untimely(self.own, now).is_some() => {
                self.counts.count(Reason::TimesIgnored);
                Ok(theirs.from)
            }
            Some(reason) => Err(reason),
            None => Ok(theirs.from),
        }
    }
}

/// Why something is not valid at a time, if it is not.
pub fn untimely(validity: Validity, now: u64) -> Option<Reason> {
    if now < validity.from {
        Some(Reason::NotYetValid)
    } else if now > validity.until {
        Some(Reason::Expired)
    } else {
        None
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let then = self.look(end_entity, now)?;
        let (server, others) = (&self.server, intermediates);
        let verified =
            server.verify_server_cert(end_entity, others, server_name, ocsp_response, then);
        verified.inspect_err(|_| self.counts.count(Reason::NotANode))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.server.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.server.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.server.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    /// Who joins has no certificate yet. A node without one is refused once it
    /// is known what has been come for.
    fn client_auth_mandatory(&self) -> bool {
        !self.admits
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.client.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let then = self.look(end_entity, now)?;
        let verified = self.client.verify_client_cert(end_entity, intermediates, then);
        verified.inspect_err(|_| self.counts.count(Reason::NotANode))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.client.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.client.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.client.supported_verify_schemes()
    }
}
