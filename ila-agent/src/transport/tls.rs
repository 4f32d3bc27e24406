//! How connections are made: what is shown, what is asked for, and how much may
//! be on its way.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use quinn::{TimeSource, VarInt, rustls};
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    time_provider::TimeProvider,
};
use tokio::time::Instant;

use super::{Identity, Speaks, TransportError, admission::HANDSHAKES, verify::Verifier};

/// The protocol of those who are not in the mesh yet, by its name in the TLS
/// handshake.
pub const JOIN: &[u8] = ila_proto::enrol::ALPN;
/// How often a connection shows that it stands …
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// … and how long it may not until it is taken for gone.
const IDLE: Duration = Duration::from_secs(7);
/// Bytes that may be on their way in a stream.
const WINDOW: u32 = 1 << 20;

/// Those that wait until somebody looks at them, and bytes that each may send
/// until then.
const INCOMING: usize = 2 * HANDSHAKES;
const INCOMING_BYTES: u64 = 16 << 10;

/// What connections are made with, those that come in and those that go out. Both
/// sides name what they speak; whoever is called takes the first of its own that
/// the caller has, which is the latest.
pub fn configure(
    (identity, speaks): (&Identity, Speaks),
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<Verifier>,
    clock: &Arc<dyn TimeProvider>,
) -> Result<(quinn::ServerConfig, quinn::ClientConfig), TransportError> {
    let chain = || vec![CertificateDer::from(identity.certificate.clone())];
    // Who joins has the authority's from nowhere else.
    let shown = [chain(), vec![CertificateDer::from(identity.authority.clone())]].concat();
    let key = || PrivatePkcs8KeyDer::from(identity.key.clone()).into();
    let tls13 = [&rustls::version::TLS13];
    let (provider, clock) = (|| Arc::clone(provider), || Arc::clone(clock));

    let mut server = rustls::ServerConfig::builder_with_details(provider(), clock())
        .with_protocol_versions(&tls13)?
        .with_client_cert_verifier(Arc::clone(verifier) as _)
        .with_single_cert(if speaks.admits { shown } else { chain() }, key())?;
    let versions = || speaks.latest.up_to().map(|it| it.alpn().to_vec());
    server.alpn_protocols = versions().collect();
    server.alpn_protocols.extend(speaks.admits.then(|| JOIN.to_vec()));
    // Whoever comes again shows its certificate again.
    server.send_tls13_tickets = 0;
    let mut client = rustls::ClientConfig::builder_with_details(provider(), clock())
        .with_protocol_versions(&tls13)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as _)
        .with_client_auth_cert(chain(), key())?;
    client.alpn_protocols = versions().collect();
    client.resumption = rustls::client::Resumption::disabled();

    let transport = Arc::new(limits());
    let no_cipher = |_| rustls::Error::General("no cipher for QUIC".to_owned());
    let server = quinn::crypto::rustls::QuicServerConfig::try_from(server).map_err(no_cipher)?;
    let client = quinn::crypto::rustls::QuicClientConfig::try_from(client).map_err(no_cipher)?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
    server
        .transport_config(Arc::clone(&transport))
        .time_source(Arc::new(Monotonic(Instant::now())))
        .max_incoming(INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES * 64);
    let mut client = quinn::ClientConfig::new(Arc::new(client));
    client.transport_config(transport);
    Ok((server, client))
}

/// What time it is for the proofs of addresses: the host's clock may be set.
struct Monotonic(Instant);

impl TimeSource for Monotonic {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.0.elapsed()
    }
}

/// How much a peer may have us keep.
fn limits() -> quinn::TransportConfig {
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
    transport
}
