//! Asks a host that admits: to be let in, or for a certificate anew.

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use ila_proto::{
    enrol::{Admitted, Answer, Ask, Fingerprint, Greeting, Refused, Request},
    gossip::Certified,
    identity::{self, Authority, Certificate, CertificateError, KeyPair, SERVER_NAME},
};
use quinn::{Connection, ConnectionError, Endpoint, VarInt, rustls::pki_types::CertificateDer};
use tokio::time::timeout;

use super::{
    tls,
    wire::{self, WireError},
};
use crate::transport::TransportError;

/// For how long others are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a handshake may take …
    pub handshake: Duration,
    /// … and then each message.
    pub message: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(5), message: Duration::from_secs(15) }
    }
}

/// Alerts of TLS (RFC 8446, section 6).
const UNKNOWN_CA: u8 = 48;
const EXPIRED: u8 = 45;
const NO_PROTOCOL: u8 = 120;

/// Why a host was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No port could be had.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Nobody was reached who admits. Nothing was said to anybody.
    #[error("no host that admits was reached: {}", why(.0))]
    Unreached(Vec<String>),
    /// The mesh has said no.
    #[error("{0}")]
    Refused(Refused),
    /// The answer did not come; the mesh may have let this host in.
    #[error("the answer of {address} did not come: {reason}")]
    Lost {
        /// Who was to answer.
        address: SocketAddr,
        /// What happened instead.
        reason: String,
    },
    /// The answer came, and was not what was asked for.
    #[error("{address} has answered with something else than was asked for: {reason}")]
    Wrong {
        /// Who has.
        address: SocketAddr,
        /// What is wrong.
        reason: String,
    },
}

/// What a host was given, and checked.
#[derive(Debug)]
pub struct Given {
    /// All of it.
    pub admitted: Admitted,
    /// What the certificate says.
    pub node: Certified,
    /// The certificate.
    pub certificate: Certificate,
}

/// What is asked for, of whom, by whom.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// By which certificate the authority is known.
    pub authority: Fingerprint,
    /// The key of this host.
    pub key: &'a KeyPair,
    /// What it asks for.
    pub what: &'a Ask,
    /// For how long others are waited for.
    pub patience: Patience,
}

/// Both directions of what there is to say.
type Streams = (quinn::SendStream, quinn::RecvStream);

impl Inquiry<'_> {
    /// Asks at one address after the other, until somebody answers.
    pub async fn ask(&self, addresses: &[SocketAddr]) -> Result<Given, AskError> {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        let endpoint = Endpoint::client(any)
            .map_err(|source| TransportError::Bind { address: any, source })?;
        let config = tls::client(self.authority)?;
        let mut unreached = Vec::new();
        for &address in addresses {
            let connected = self.connect(&endpoint, config.clone(), address).await;
            let (connection, streams) = match connected {
                Ok(connected) => connected,
                Err(reason) => {
                    unreached.push(format!("{address}: {reason}"));
                    continue;
                }
            };
            let admitted = self.converse(&connection, streams, address).await;
            connection.close(VarInt::from_u32(0), b"");
            // Or the other side would wait for more.
            let _ = timeout(self.patience.handshake, endpoint.wait_idle()).await;
            let checked = self.check(admitted?);
            return checked.map_err(|reason| AskError::Wrong { address, reason });
        }
        Err(AskError::Unreached(unreached))
    }

    /// Connects to whoever speaks for the authority.
    async fn connect(
        &self,
        endpoint: &Endpoint,
        config: quinn::ClientConfig,
        address: SocketAddr,
    ) -> Result<(Connection, Streams), String> {
        let connecting = endpoint
            .connect_with(config, address, SERVER_NAME)
            .map_err(|error| error.to_string())?;
        let connection = match timeout(self.patience.handshake, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(explain(&error)),
            Err(_) => return Err("it does not answer".to_owned()),
        };
        match self.greeted(&connection).await {
            Ok(streams) => Ok((connection, streams)),
            Err(reason) => {
                connection.close(VarInt::from_u32(0), b"");
                Err(reason)
            }
        }
    }

    /// The stream, once the other side has shown that it speaks for the
    /// authority: before that it is told nothing.
    async fn greeted(&self, connection: &Connection) -> Result<Streams, String> {
        let shown = connection.peer_identity();
        let shown = shown.and_then(|it| it.downcast::<Vec<CertificateDer<'static>>>().ok());
        let chain = shown.unwrap_or_default();
        let der = chain.iter().find(|der| Fingerprint::of(der) == self.authority);
        let known = der.and_then(|der| Authority::read(der).ok()).ok_or("it shows no authority")?;
        let wait = async {
            let exporter = wire::exporter(connection)?;
            let (sender, mut receiver) = connection.accept_bi().await?;
            let greeting: Greeting = wire::receive(&mut receiver).await?;
            Ok::<_, WireError>((greeting.is_of(&known.key(), &exporter), sender, receiver))
        };
        match timeout(self.patience.message, wait).await {
            Ok(Ok((true, sender, receiver))) => Ok((sender, receiver)),
            Ok(Ok((false, ..))) => Err("it does not speak for the authority".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it says nothing".to_owned()),
        }
    }

    async fn converse(
        &self,
        connection: &Connection,
        (mut sender, mut receiver): Streams,
        address: SocketAddr,
    ) -> Result<Admitted, AskError> {
        let talk = async {
            let exporter = wire::exporter(connection)?;
            let request = Request::new(self.key, &exporter, self.what.clone());
            wire::send(&mut sender, &request).await?;
            wire::receive(&mut receiver).await
        };
        let lost = |reason| AskError::Lost { address, reason };
        match timeout(self.patience.message, talk).await {
            Ok(Ok(Answer::Admitted(admitted))) => Ok(admitted),
            Ok(Ok(Answer::Refused(refused))) => Err(AskError::Refused(refused)),
            Ok(Err(error)) => Err(lost(error.to_string())),
            Err(_) => Err(lost("it says nothing".to_owned())),
        }
    }

    /// Whether what was given is what was asked for, of whom it was asked.
    fn check(&self, admitted: Admitted) -> Result<Given, String> {
        let text = |error: CertificateError| error.to_string();
        let ca = identity::from_pem(&admitted.authority).map_err(text)?;
        if Fingerprint::of(&ca) != self.authority {
            return Err("its authority is another one".to_owned());
        }
        let der = identity::from_pem(&admitted.certificate).map_err(text)?;
        let known = Authority::read(&ca).map_err(text)?;
        let node = known.certified(&der, Some(ila_authority::now())).map_err(text)?;
        if node.key != self.key.public() {
            return Err("the certificate is for another key".to_owned());
        }
        if let Ask::Join { node: name, locators, .. } = self.what {
            let asked: Vec<_> = locators.iter().map(|it| (it.sir_prefix, it.locator)).collect();
            if node.name != *name || !(asked.is_empty() || node.locators == asked) {
                return Err("the certificate says something else".to_owned());
            }
        }
        if node.locators.is_empty() {
            return Err("the certificate has no locator".to_owned());
        }
        let certificate = Certificate::read(&der).map_err(text)?;
        Ok(Given { admitted, node, certificate })
    }
}

/// Why nobody was reached.
fn why(reasons: &[String]) -> String {
    if reasons.is_empty() { "none is known".to_owned() } else { reasons.join("; ") }
}

/// What people can do something about.
fn explain(error: &ConnectionError) -> String {
    let crypto = |alert| quinn::TransportErrorCode::crypto(alert);
    let code = match error {
        ConnectionError::TransportError(error) => error.code,
        ConnectionError::ConnectionClosed(close) => close.error_code,
        _ => return error.to_string(),
    };
    if code == crypto(UNKNOWN_CA) {
        "what answers there is not of the mesh that the token is for".to_owned()
    } else if code == crypto(EXPIRED) {
        "its certificate is not valid now; are the clocks of both hosts right?".to_owned()
    } else if code == crypto(NO_PROTOCOL) {
        "it has no authority, and admits nobody".to_owned()
    } else {
        error.to_string()
    }
}
