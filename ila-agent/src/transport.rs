//! Connections between agents: QUIC, with certificates on both sides. The only
//! user of quinn.
//!
//! A connection has one stream each way, for as long as it lasts, of the frames
//! of the mesh. Whoever reads slowly is sent less and later: nothing is queued
//! here but what is being written.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use ila_proto::{
    gossip::{Certified, NodeId, frame::Version, wire},
    identity::{Authority, Certificate, CertificateError, SERVER_NAME, Validity},
};
use quinn::{
    AsyncUdpSocket, Connection, ConnectionError, Endpoint, EndpointConfig, Runtime, TokioRuntime,
    VarInt, rustls,
};
use rustls::{
    crypto::{CryptoProvider, ring},
    pki_types::CertificateDer,
    time_provider::TimeProvider,
};
use tokio::time::timeout;

use crate::enrol::tls::protocol;

mod admission;
mod counts;
mod stream;
mod tls;
mod verify;

use admission::{Bans, Handshakes, Verdict};
pub use counts::{Counts, Reason};
pub use stream::{Reader, Writer};
use verify::{HostClock, Verifier, untimely};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

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
    /// The handshake took too long.
    #[error("no connection after {HANDSHAKE:?}")]
    Timeout,
    /// Whoever wanted to come in did not get as far as a handshake.
    #[error("not let in: {0}")]
    NotAdmitted(Reason),
    /// The rest of a frame did not come in time.
    #[error("the rest of a frame does not come")]
    Slow,
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
    /// What time it is for certificates.
    pub clock: Arc<dyn TimeProvider>,
}

impl Underlay {
    /// The host's network, at an address.
    pub fn bind(address: SocketAddr) -> Result<Self, TransportError> {
        let runtime = Arc::new(TokioRuntime);
        let socket = UdpSocket::bind(address).and_then(|it| runtime.wrap_udp_socket(it));
        let socket = socket.map_err(|source| TransportError::Bind { address, source })?;
        let (endpoint, clock) = (EndpointConfig::default(), Arc::new(HostClock));
        Ok(Self { socket, runtime, endpoint, clock })
    }
}

/// Where connections come in and go out.
#[derive(Clone, Debug)]
pub struct Transport {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    authority: Authority,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn TimeProvider>,
    counts: Arc<Counts>,
    bans: Arc<Bans>,
    handshakes: Arc<Handshakes>,
    speaks: Speaks,
    own: RwLock<Own>,
}

/// Which protocols are spoken.
#[derive(Clone, Copy, Debug)]
pub struct Speaks {
    /// The latest version among nodes; those before it as well.
    pub latest: Version,
    /// Whether those who want to join are let in as far as that.
    pub admits: bool,
}

/// What this node shows of itself.
#[derive(Clone, Debug)]
struct Own {
    validity: Validity,
    client: quinn::ClientConfig,
}

/// Who has connected, and what for.
#[derive(Debug)]
pub enum Arrival {
    /// A node.
    Node(Peer),
    /// Somebody who wants to join, or has its certificate renewed.
    Joins(Connection),
}

/// A connection to a node that has shown who it is.
#[derive(Debug)]
pub struct Peer {
    /// What its certificate says.
    pub node: Certified,
    /// What is spoken with it: the latest version that both sides do.
    pub version: Version,
    connection: Connection,
    counts: Arc<Counts>,
}

impl Transport {
    /// Listens at an address.
    pub fn listen(identity: &Identity, address: SocketAddr) -> Result<Self, TransportError> {
        Self::over(Underlay::bind(address)?, identity)
    }

    /// Listens where an underlay has its socket, for nodes only.
    pub fn over(underlay: Underlay, identity: &Identity) -> Result<Self, TransportError> {
        let speaks = Speaks { latest: Version::LATEST, admits: false };
        Self::speaking(underlay, identity, speaks)
    }

    /// The same, for whoever speaks one of these protocols.
    pub fn speaking(
        underlay: Underlay,
        identity: &Identity,
        speaks: Speaks,
    ) -> Result<Self, TransportError> {
        let Underlay { socket, runtime, endpoint, clock } = underlay;
        let authority = Authority::read(&identity.authority)?;
        let provider = Arc::new(ring::default_provider());
        let (counts, bans) = (Arc::default(), Arc::default());
        let made = own(&authority, (identity, speaks), &provider, &clock, (&counts, &bans))?;
        let (server, own) = made;
        let endpoint = Endpoint::new_with_abstract_socket(endpoint, Some(server), socket, runtime);
        let endpoint = endpoint.map_err(TransportError::Endpoint)?;
        let (handshakes, own) = (Arc::default(), RwLock::new(own));
        let shared = Shared { authority, provider, clock, counts, bans, handshakes, speaks, own };
        let transport = Self { endpoint, shared: Arc::new(shared) };
        if transport.is_untimely() {
            tracing::error!(
                "by the clock here the certificate of this node is not valid; \
                 when those of others are is not looked at"
            );
        }
        Ok(transport)
    }

    /// Shows another certificate from now on, of the same authority. Connections
    /// that stand go on.
    pub fn renew(&self, identity: &Identity) -> Result<(), TransportError> {
        let Shared { authority, provider, clock, counts, bans, speaks, .. } = &*self.shared;
        if Authority::read(&identity.authority)? != *authority {
            return Err(CertificateError::Foreign.into());
        }
        let (server, own) = own(authority, (identity, *speaks), provider, clock, (counts, bans))?;
        self.endpoint.set_server_config(Some(server));
        *self.shared.own.write().unwrap_or_else(PoisonError::into_inner) = own;
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Connects to whoever is at an address.
    pub async fn connect(&self, address: SocketAddr) -> Result<Peer, TransportError> {
        let connecting = self.endpoint.connect_with(self.own().client, address, SERVER_NAME)?;
        let connection = self.finish(connecting).await?;
        self.peer(connection)
    }

    /// Waits until somebody wants to connect; none once this is closed. What
    /// is returned ends with the handshake, which others need not wait for.
    pub async fn accept(
        &self,
    ) -> Option<impl Future<Output = Result<Arrival, TransportError>> + use<>> {
        let incoming = self.endpoint.accept().await?;
        let is_proven = incoming.remote_address_validated() || !incoming.may_retry();
        let from = incoming.remote_address().ip();
        let verdict = self.shared.handshakes.enter(from, is_proven);
        let transport = self.clone();
        Some(async move {
            let _under_way = match verdict {
                Verdict::Enters(entry) => entry,
                // Whoever does not have the address that it states is answered
                // with less than it sent.
                Verdict::Proves => {
                    let _ = incoming.retry();
                    return transport.not_admitted(Reason::AddressUnproven);
                }
                Verdict::Leaves(reason) => {
                    incoming.refuse();
                    return transport.not_admitted(reason);
                }
            };
            let finished = transport.finish(async { incoming.accept()?.await }).await;
            // Of whoever is asked from here it may just be that nobody is there.
            let connection = finished.inspect_err(|error| {
                if matches!(error, TransportError::Timeout) {
                    transport.counts().count(Reason::HandshakeTimeout);
                }
            })?;
            if protocol(&connection).as_deref() == Some(tls::JOIN) {
                return Ok(Arrival::Joins(connection));
            }
            transport.peer(connection).map(Arrival::Node)
        })
    }

    /// How often somebody was not let in, was sent away, or not listened to.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Whether this node's certificate is not valid by the clock here: either
    /// the clock is wrong, or the certificate was not renewed. Until it is, when
    /// others' are valid is not looked at.
    #[must_use]
    pub fn is_untimely(&self) -> bool {
        let now = self.shared.clock.current_time().map_or(0, |now| now.as_secs());
        untimely(self.own().validity, now).is_some()
    }

    /// Does not connect to a node for a while, which has lied.
    pub fn ban(&self, node: NodeId) {
        let lasts = self.shared.bans.ban(node);
        tracing::warn!(%node, ?lasts, "a node hands on what is not true; it is kept out");
    }

    /// Whether that is so.
    #[must_use]
    pub fn has_banned(&self, node: NodeId) -> bool {
        self.shared.bans.has(node)
    }

    /// Ends all connections.
    pub fn close(&self) {
        self.endpoint.close(VarInt::from_u32(0), b"");
    }

    fn own(&self) -> Own {
        self.shared.own.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn not_admitted<T>(&self, reason: Reason) -> Result<T, TransportError> {
        self.counts().count(reason);
        Err(TransportError::NotAdmitted(reason))
    }

    async fn finish(
        &self,
        handshake: impl Future<Output = Result<Connection, ConnectionError>>,
    ) -> Result<Connection, TransportError> {
        let connected = timeout(HANDSHAKE, handshake).await.map_err(|_| TransportError::Timeout)?;
        Ok(connected.inspect_err(|error| {
            counts::of_handshake(error).inspect(|reason| self.counts().count(*reason));
        })?)
    }

    /// The node at the other end, which has shown a certificate.
    fn peer(&self, connection: Connection) -> Result<Peer, TransportError> {
        let shown = connection.peer_identity();
        let shown = shown.and_then(|it| it.downcast::<Vec<CertificateDer<'static>>>().ok());
        let der = shown.as_deref().and_then(|chain| chain.first());
        // The handshake has checked it, and when it is valid.
        let der = der.ok_or(CertificateError::Malformed);
        let der = der.inspect_err(|_| self.counts().count(Reason::NotANode))?;
        let node = self.shared.authority.certified(der, None)?;
        let agreed = protocol(&connection);
        let version = Version::ALL.into_iter().find(|it| agreed.as_deref() == Some(it.alpn()));
        let Some(version) = version else { return self.not_admitted(Reason::OtherProtocol) };
        Ok(Peer { node, version, connection, counts: Arc::clone(&self.shared.counts) })
    }
}

/// What connections are made with that show this identity.
fn own(
    authority: &Authority,
    (identity, speaks): (&Identity, Speaks),
    provider: &Arc<CryptoProvider>,
    clock: &Arc<dyn TimeProvider>,
    (counts, bans): (&Arc<Counts>, &Arc<Bans>),
) -> Result<(quinn::ServerConfig, Own), TransportError> {
    authority.certified(&identity.certificate, None)?;
    let Certificate { validity, .. } = Certificate::read(&identity.certificate)?;
    let shared = (Arc::clone(counts), Arc::clone(bans));
    let verifier =
        Verifier::new(authority.clone(), &identity.authority, validity, provider, shared)?;
    let verifier = Arc::new(verifier.admitting(speaks.admits));
    let (server, client) = tls::configure((identity, speaks), provider, &verifier, clock)?;
    Ok((server, Own { validity, client }))
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
        let stream = self.connection.open_uni().await?;
        Ok(Writer::new(stream, self.version, Arc::clone(&self.counts)))
    }

    /// The stream of what the other side says, once it does.
    pub async fn reader(&self) -> Result<Reader, TransportError> {
        let stream = self.connection.accept_uni().await?;
        Ok(Reader::new(stream, self.version, Arc::clone(&self.counts)))
    }

    /// Ends the connection; if it has ended for a reason that is worth it, counts
    /// that.
    pub fn close(&self, code: u32) {
        let ended = self.connection.close_reason();
        ended.as_ref().and_then(counts::of_end).inspect(|reason| self.counts.count(*reason));
        self.connection.close(VarInt::from_u32(code), b"");
    }

    /// Waits until it has ended.
    pub async fn closed(&self) {
        self.connection.closed().await;
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
