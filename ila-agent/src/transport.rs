//! Connections between agents: QUIC, with certificates on both sides. The only
//! user of quinn.
//!
//! A connection has one stream each way, for as long as it lasts, of the frames
//! of the mesh. Whoever reads slowly is sent less and later: nothing is queued
//! here but what is being written.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use ila_proto::{
    gossip::{
        Certified,
        frame::{Frame, Read},
        wire,
    },
    identity::{Authority, CertificateError, SERVER_NAME},
};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, VarInt, rustls};
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

/// The protocol, by its name in the TLS handshake. Another version has another.
const ALPN: &[u8] = b"ila-mesh/1";
/// How often a connection shows that it stands …
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// … and how long it may not until it is taken for gone.
const IDLE: Duration = Duration::from_secs(7);
/// Bytes that may be on their way in a stream.
const WINDOW: u32 = 1 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// What a node shows and what it trusts.
#[derive(Debug)]
pub struct Identity {
    /// The node's certificate, in DER.
    pub certificate: Vec<u8>,
    /// The key of it, as PKCS#8 in DER.
    pub key: Vec<u8>,
    /// The authority's certificate, in DER.
    pub authority: Vec<u8>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The port is taken, or not allowed.
    #[error("cannot use UDP port {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The node's certificate, its key and the authority's do not go together.
    #[error("the certificate cannot be used: {0}")]
    Identity(#[from] rustls::Error),
    /// Certificates of this authority cannot be checked.
    #[error("the authority's certificate cannot be used: {0}")]
    Authority(#[from] rustls::server::VerifierBuilderError),
    /// A certificate is not as ours are.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The other side could not be asked.
    #[error("cannot connect: {0}")]
    Connect(#[from] quinn::ConnectError),
    /// It did not answer, or would not.
    #[error("no connection: {0}")]
    Connection(#[from] ConnectionError),
    /// The other side ended the stream.
    #[error("the other side has ended the stream")]
    Ended,
    /// Reading failed.
    #[error("cannot read: {0}")]
    Read(#[from] quinn::ReadError),
    /// Writing failed.
    #[error("cannot write: {0}")]
    Write(#[from] quinn::WriteError),
    /// What came is no frame.
    #[error("not a frame of the mesh")]
    Frame(#[from] wire::Malformed),
}

/// Where connections come in and go out.
#[derive(Clone, Debug)]
pub struct Transport {
    endpoint: Endpoint,
    authority: Authority,
}

/// A connection to a node that has shown who it is.
#[derive(Debug)]
pub struct Peer {
    /// What its certificate says.
    pub node: Certified,
    connection: Connection,
}

/// What is read from a peer.
#[derive(Debug)]
pub struct Reader {
    stream: RecvStream,
    unread: Vec<u8>,
}

/// What is written to one.
#[derive(Debug)]
pub struct Writer {
    stream: SendStream,
}

impl Transport {
    /// Listens at an address.
    pub fn listen(identity: &Identity, address: SocketAddr) -> Result<Self, TransportError> {
        let authority = Authority::read(&identity.authority)?;
        let (server, client) = configure(identity)?;
        let mut endpoint = Endpoint::server(server, address)
            .map_err(|source| TransportError::Bind { address, source })?;
        endpoint.set_default_client_config(client);
        Ok(Self { endpoint, authority })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Connects to whoever is at an address.
    pub async fn connect(&self, address: SocketAddr) -> Result<Peer, TransportError> {
        let connection = self.endpoint.connect(address, SERVER_NAME)?.await?;
        self.peer(connection)
    }

    /// Waits until somebody wants to connect; none once this is closed. What
    /// is returned ends with the handshake, which others need not wait for.
    pub async fn accept(
        &self,
    ) -> Option<impl Future<Output = Result<Peer, TransportError>> + use<>> {
        let incoming = self.endpoint.accept().await?;
        let transport = self.clone();
        Some(async move {
            // Whoever does not have the address that it states is not answered
            // with more than it sent.
            if !incoming.remote_address_validated() && incoming.may_retry() {
                let _ = incoming.retry();
                return Err(ConnectionError::Reset.into());
            }
            transport.peer(incoming.await?)
        })
    }

    /// Ends all connections.
    pub fn close(&self) {
        self.endpoint.close(VarInt::from_u32(0), b"");
    }

    fn peer(&self, connection: Connection) -> Result<Peer, TransportError> {
        let shown = connection.peer_identity();
        let shown = shown.and_then(|it| it.downcast::<Vec<CertificateDer<'static>>>().ok());
        let der = shown.as_deref().and_then(|chain| chain.first());
        // The handshake has checked it, and when it is valid.
        let der = der.ok_or(CertificateError::Malformed)?;
        Ok(Peer { node: self.authority.certified(der, None)?, connection })
    }
}

impl Peer {
    /// How long an answer takes.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.connection.rtt()
    }

    /// The streams to both sides. The other side learns of its one with the
    /// first frame.
    pub async fn writer(&self) -> Result<Writer, TransportError> {
        Ok(Writer { stream: self.connection.open_uni().await? })
    }

    /// The stream of what the other side says, once it does.
    pub async fn reader(&self) -> Result<Reader, TransportError> {
        Ok(Reader { stream: self.connection.accept_uni().await?, unread: Vec::new() })
    }

    /// Ends the connection.
    pub fn close(&self, code: u32) {
        self.connection.close(VarInt::from_u32(code), b"");
    }

    /// Waits until it has ended.
    pub async fn closed(&self) {
        self.connection.closed().await;
    }
}

impl Reader {
    /// The next frame that this version knows.
    pub async fn read(&mut self) -> Result<Frame, TransportError> {
        loop {
            match Frame::read(&self.unread)? {
                Read::Frame(frame, taken) => {
                    self.unread.drain(..taken);
                    return Ok(frame);
                }
                Read::Unknown(_, taken) => drop(self.unread.drain(..taken)),
                Read::Part => {
                    let chunk = self.stream.read_chunk(CHUNK, true).await?;
                    self.unread.extend_from_slice(&chunk.ok_or(TransportError::Ended)?.bytes);
                }
            }
        }
    }
}

impl Writer {
    /// Writes a frame, as soon as the other side takes it.
    pub async fn write(&mut self, frame: &Frame) -> Result<(), TransportError> {
        Ok(self.stream.write_all(&frame.write()?).await?)
    }
}

fn configure(
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

#[cfg(test)]
mod tests;
