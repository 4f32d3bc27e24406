//! Who shows which certificate to whom when a host joins.
//!
//! The host that admits shows its certificate and behind it the authority's; the
//! new one has none to show. It knows the authority by the fingerprint of its
//! certificate, and takes nobody else's word for anything.

use std::{fmt, sync::Arc, time::Duration};

use ila_proto::{
    enrol::{ALPN, Fingerprint},
    identity::{Authority, CertificateError},
};
use quinn::{
    Connection, VarInt,
    crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig},
    rustls::{
        self, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls13_signature},
        pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
        server::WebPkiClientVerifier,
    },
};

use crate::transport::{Identity, TransportError};

/// How often a new host shows that it still waits …
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// … and for how long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(7);
/// Bytes that may be on their way.
const WINDOW: u32 = 64 * 1024;

/// The protocol that both sides have agreed on in the handshake: that of the
/// mesh, or [`ALPN`].
#[must_use]
pub fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

/// What a host that admits listens with, for these protocols. Whoever comes may
/// show a certificate, which is checked, or none: what only nodes may do has to
/// ask for it behind the handshake.
pub fn server(
    identity: &Identity,
    protocols: &[&[u8]],
) -> Result<quinn::ServerConfig, TransportError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity.authority.clone()))?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
    // The authority's own is sent as well: a new host has it from nowhere else.
    let chain = [&identity.certificate, &identity.authority];
    let chain = chain.map(|der| CertificateDer::from(der.clone())).to_vec();
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, PrivatePkcs8KeyDer::from(identity.key.clone()).into())?;
    server.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    server.send_tls13_tickets = 0;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(
        QuicServerConfig::try_from(server).map_err(no_cipher)?,
    ));
    config.transport_config(Arc::new(transport(0)));
    Ok(config)
}

/// What a new host connects with. It opens no streams; the other side opens the
/// one that there is.
pub fn client(authority: Fingerprint) -> Result<quinn::ClientConfig, TransportError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(ByFingerprint { authority, provider: Arc::clone(&provider) });
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = rustls::client::Resumption::disabled();
    let client = QuicClientConfig::try_from(client).map_err(no_cipher)?;
    let mut config = quinn::ClientConfig::new(Arc::new(client));
    config.transport_config(Arc::new(transport(1)));
    Ok(config)
}

fn transport(streams: u8) -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval((streams > 0).then_some(KEEP_ALIVE))
        .max_idle_timeout(IDLE.try_into().ok());
    transport
}

fn no_cipher<E>(_: E) -> rustls::Error {
    rustls::Error::General("no cipher for QUIC".to_owned())
}

/// Believes the nodes of the authority whose certificate has this fingerprint.
struct ByFingerprint {
    authority: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for ByFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByFingerprint").field(&self.authority).finish()
    }
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates.iter().find(|der| Fingerprint::of(der) == self.authority);
        let authority = authority.ok_or(rustls::CertificateError::UnknownIssuer)?;
        Authority::read(authority)
            .and_then(|authority| authority.certified(end_entity, Some(now.as_secs())))
            .map(|_| ServerCertVerified::assertion())
            .map_err(|error| {
                rustls::Error::InvalidCertificate(match error {
                    CertificateError::NotYet => rustls::CertificateError::NotValidYet,
                    CertificateError::Expired => rustls::CertificateError::Expired,
                    _ => rustls::CertificateError::UnknownIssuer,
                })
            })
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
