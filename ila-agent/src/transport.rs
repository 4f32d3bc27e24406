//! Connections between agents: QUIC, with certificates on both sides. The only
//! user of quinn.
//!
//! A connection has one stream each way, for as long as it lasts, of the frames
//! of the mesh. Whoever reads slowly is sent less and later: nothing is queued
//! here but what is being written.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use ila_proto::{
    gossip::{Certified, wire},
    identity::{Authority, CertificateError, SERVER_NAME},
};
use quinn::{
    AsyncUdpSocket, Connection, ConnectionError, Endpoint, EndpointConfig, Runtime, TokioRuntime,
    VarInt, rustls,
};
use rustls::pki_types::CertificateDer;

mod stream;
mod tls;

pub use stream::{Reader, Writer};

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
    /// The socket cannot be used.
    #[error("cannot use the socket")]
    Endpoint(#[source] io::Error),
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

/// What packets go by: the network of the host, or one that is made up.
#[derive(Debug)]
pub struct Underlay {
    /// Where they come in and go out.
    pub socket: Arc<dyn AsyncUdpSocket>,
    /// What time it is for connections, and who runs them.
    pub runtime: Arc<dyn Runtime>,
    /// How identities of connections are drawn.
    pub endpoint: EndpointConfig,
}

impl Underlay {
    /// The host's network, at an address.
    pub fn bind(address: SocketAddr) -> Result<Self, TransportError> {
        let runtime = Arc::new(TokioRuntime);
        let socket = UdpSocket::bind(address).and_then(|it| runtime.wrap_udp_socket(it));
        let socket = socket.map_err(|source| TransportError::Bind { address, source })?;
        Ok(Self { socket, runtime, endpoint: EndpointConfig::default() })
    }
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

impl Transport {
    /// Listens at an address.
    pub fn listen(identity: &Identity, address: SocketAddr) -> Result<Self, TransportError> {
        Self::over(Underlay::bind(address)?, identity)
    }

    /// Listens where an underlay has its socket.
    pub fn over(underlay: Underlay, identity: &Identity) -> Result<Self, TransportError> {
        let authority = Authority::read(&identity.authority)?;
        let (server, client) = tls::configure(identity)?;
        let Underlay { socket, runtime, endpoint } = underlay;
        let endpoint = Endpoint::new_with_abstract_socket(endpoint, Some(server), socket, runtime);
        let mut endpoint = endpoint.map_err(TransportError::Endpoint)?;
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
        Ok(Writer::new(self.connection.open_uni().await?))
    }

    /// The stream of what the other side says, once it does.
    pub async fn reader(&self) -> Result<Reader, TransportError> {
        Ok(Reader::new(self.connection.accept_uni().await?))
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

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
