//! Who says something, and how that is known.

use std::{fmt, net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Owner, Position};
use crate::{
    addr::{Identifier, Locator, SirPrefix},
    api::NodeName,
};

/// A node for as long as it has its key: the first half of the key's digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub [u8; 16]);

impl NodeId {
    /// Its first eight bytes as a number.
    #[must_use]
    pub fn start(self) -> u64 {
        self.0[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// The public half of a node's Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The node that has this key.
    #[must_use]
    pub fn node(&self) -> NodeId {
        let digest = blake3::derive_key("ila 2026 node", &self.0);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        NodeId(id)
    }
}

impl Digest {
    /// Its first eight bytes as a number.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.0[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// The digest of an owner's state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

/// An Ed25519 signature (RFC 8032, section 5.1.6).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The point.
    pub r: [u8; 32],
    /// The number.
    pub s: [u8; 32],
}

/// What a certificate says of the node that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Its key.
    pub key: PublicKey,
    /// Its name, for people.
    pub name: NodeName,
    /// Its locator in each SIR prefix that it serves, at most 256.
    pub locators: Vec<(SirPrefix, Locator)>,
    /// The identifiers that it is the home of, in each SIR prefix.
    pub home: Vec<IdentifierRange>,
}

/// Identifiers that start with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentifierRange {
    /// Those bits, zeroes behind them.
    pub bits: u64,
    /// How many they are, at most 64.
    pub length: u8,
}

impl Certified {
    /// Whether the node is the home of an identifier.
    #[must_use]
    pub fn is_home(&self, identifier: Identifier) -> bool {
        self.home.iter().any(|range| {
            let differs = range.bits ^ identifier.bits();
            differs.leading_zeros() >= u32::from(range.length)
        })
    }
}

/// The kind of entry that says that an owner sees another node down.
pub const SEEN_DOWN: u8 = 2;

/// What a node says of itself: the first entry of its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The certificate, as its authority made it.
    pub certificate: Vec<u8>,
    /// Where its agent can be reached.
    pub addresses: Vec<SocketAddr>,
    /// The version of its agent, for people.
    pub version: String,
}

/// What the mesh needs of its surroundings: to know whom to believe, and to be
/// unpredictable.
pub trait Surroundings {
    /// What a certificate says, if its authority is ours.
    fn certified(&mut self, certificate: &[u8]) -> Option<Certified>;
    /// Whether a signature is that of the key over the message.
    fn is_signed(&mut self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool;
    /// Whether a signature is that of the authority over the message.
    fn is_granted(&mut self, message: &[u8], signature: &Signature) -> bool;
    /// What was found to be true already: for simulations, in which a thousand
    /// nodes would find the same.
    fn known(&self, _owner: NodeId, _at: Position, _by: &Signature) -> Option<Arc<Owner>> {
        None
    }
    /// Remembers it.
    fn learned(&mut self, _owner: &Arc<Owner>) {}
    /// This node's signature.
    fn sign(&mut self, message: &[u8]) -> Signature;
    /// Any number.
    fn random(&mut self) -> u64;
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0[..4])
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0[..4])
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.r[..4])
    }
}
