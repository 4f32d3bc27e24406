//! What the new host and the one that admits it say to each other.

use std::{fmt, net::SocketAddr};

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::Secret;
use crate::{
    api::{Domain, NodeName},
    forward::SourceMode,
    gossip::{PublicKey, Signature},
    identity::{KeyPair, is_signed},
    translate::ChecksumMode,
};

/// Bytes of a message at most.
pub const MAX_MESSAGE: usize = 32 * 1024;

/// Under which label a TLS session exports what is signed.
pub const EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL ila-join/1";

/// What a TLS session exports: the same on both sides of one connection, and
/// never again.
pub type Exporter = [u8; 32];

/// The first that is said: by the host that admits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    proof: Signature,
}

impl Greeting {
    /// That of the authority with this key.
    #[must_use]
    pub fn new(authority: &KeyPair, exporter: &Exporter) -> Self {
        Self { proof: authority.sign(&statement(*b"ila-ja1\0", exporter)) }
    }

    /// Whether it comes from the authority with this key, over this connection.
    #[must_use]
    pub fn is_of(&self, authority: &PublicKey, exporter: &Exporter) -> bool {
        is_signed(authority, &statement(*b"ila-ja1\0", exporter), &self.proof)
    }
}

/// What the new host asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its key.
    pub key: PublicKey,
    proof: Signature,
    /// What it asks for.
    pub ask: Ask,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// To be let in.
    Join {
        /// What lets it in.
        secret: Secret,
        /// How it is to be called.
        node: NodeName,
        /// Its locators, in the order in which they are to be numbered; none if
        /// the token was made for certain ones.
        locators: Vec<Domain>,
    },
    /// To have a certificate that is still valid replaced by one that is valid
    /// longer, and says the same.
    Renew,
}

impl Request {
    /// What a host asks that has this key.
    #[must_use]
    pub fn new(key: &KeyPair, exporter: &Exporter, ask: Ask) -> Self {
        Self { key: key.public(), proof: key.sign(&statement(*b"ila-jh1\0", exporter)), ask }
    }

    /// Whether whoever asks has the key, and asks over this connection.
    #[must_use]
    pub fn is_proven(&self, exporter: &Exporter) -> bool {
        is_signed(&self.key, &statement(*b"ila-jh1\0", exporter), &self.proof)
    }
}

/// What is signed: who says it, and where.
fn statement(who: [u8; 8], exporter: &Exporter) -> Vec<u8> {
    [&who[..], exporter].concat()
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The host is in the mesh.
    Admitted(Admitted),
    /// It is not.
    Refused(Refused),
}

/// All that a host needs that is let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// Its certificate, in PEM.
    pub certificate: String,
    /// The authority's, in PEM.
    pub authority: String,
    /// Where to find the mesh from now on.
    pub seeds: Vec<SocketAddr>,
    /// How the mesh is run.
    pub settings: Settings,
}

/// What has to be the same on all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How checksums are kept right.
    #[serde(default)]
    pub checksum_mode: ChecksumMode,
    /// What becomes of the sources of containers' packets.
    #[serde(default)]
    pub source: SourceMode,
    /// Where the locators of all hosts are taken from, if that is known.
    #[serde(default)]
    pub locator_spaces: Vec<Ipv6Net>,
}

/// Why a host is not let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// For programs.
    pub why: Refusal,
    /// For people.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever says so may be anybody: nothing that moves a terminal.
        let shown = |c: &char| !c.is_control();
        self.message.chars().filter(shown).take(500).try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

/// Why a host is not let in, and with that what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Nothing is wrong with the request; it may be made again later.
    Busy,
    /// The secret is none, or one that has ended or was used.
    Secret,
    /// Something asked for is another node's.
    Taken,
    /// It cannot be had by anybody: a locator for a SIR prefix that is not of
    /// this mesh.
    Wrong,
    /// The key has no certificate that is valid, or nobody knows it any more.
    Unknown,
    /// The authority cannot issue now.
    Authority,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests;
