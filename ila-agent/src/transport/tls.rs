//! How connections are made: what is shown, what is asked for, and how much may
//! be on its way.

use std::{sync::Arc, time::Duration};

use quinn::{VarInt, rustls};
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use super::{Identity, TransportError};

/// The protocol, by its name in the TLS handshake. Another version has another.
const ALPN: &[u8] = b"ila-mesh/1";
/// How often a connection shows that it stands …
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// … and how long it may not until it is taken for gone.
const IDLE: Duration = Duration::from_secs(7);
/// Bytes that may be on their way in a stream.
const WINDOW: u32 = 1 << 20;

/// What connections are made with, those that come in and those that go out.
pub fn configure(
    identity: &Identity,
) -> Result<(quinn::ServerConfig, quinn::ClientConfig), TransportError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity.authority.clone()))?;
    let roots = Arc::new(roots);
    let chain = || vec![CertificateDer::from(identity.certificate.clone())];
    let key = || PrivatePkcs8KeyDer::from(identity.key.clone()).into();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let tls13 = [&rustls::version::TLS13];

    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&tls13)?
        .with_client_cert_verifier(verifier.build()?)
        .with_single_cert(chain(), key())?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    // Whoever comes again shows its certificate again.
    server.send_tls13_tickets = 0;
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&tls13)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain(), key())?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = rustls::client::Resumption::disabled();

    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(WINDOW.into())
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(IDLE.try_into().ok());
    let transport = Arc::new(transport);
    let no_cipher = |_| rustls::Error::General("no cipher for QUIC".to_owned());
    let server = quinn::crypto::rustls::QuicServerConfig::try_from(server).map_err(no_cipher)?;
    let client = quinn::crypto::rustls::QuicClientConfig::try_from(client).map_err(no_cipher)?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(Arc::clone(&transport));
    let mut client = quinn::ClientConfig::new(Arc::new(client));
    client.transport_config(transport);
    Ok((server, client))
}
