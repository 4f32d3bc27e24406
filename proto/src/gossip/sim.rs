//! A mesh in one process: nodes with keys, an authority that certifies them,
//! and, so that thousands fit, one memory of what is signed for all of them.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet, VecDeque},
    rc::Rc,
    sync::Arc,
};

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{
    Certified, IdentifierRange, NodeId, NodeRecord, Owner, Position, PublicKey, Signature,
    Surroundings, wire,
};
use crate::{
    addr::{Locator, SirPrefix},
    api::NodeName,
};

pub mod check;
pub mod measure;
pub mod net;
pub mod scenario;

/// Numbers from a seed, the same for ever (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // Biased by less than one in 2^40 for what is asked here.
        self.any() % end
    }
}

/// What a certificate here is: what it says, and the authority's signature.
#[derive(Serialize, Deserialize)]
struct Certificate {
    key: PublicKey,
    name: String,
    locators: Vec<(u64, u64)>,
    home: Vec<IdentifierRange>,
    signature: Signature,
}

impl Certificate {
    fn statement(&self) -> Vec<u8> {
        let what = (&self.key, &self.name, &self.locators, &self.home);
        wire::encode(&what).expect("a certificate is short")
    }
}

/// Who certifies nodes.
#[derive(Clone, Debug)]
pub struct Authority {
    key: SigningKey,
    remembered: Rc<RefCell<Remembered>>,
}

/// What has been found out once, which holds for all nodes.
#[derive(Debug, Default)]
struct Remembered {
    signed: HashSet<[u8; 32]>,
    certified: HashMap<Vec<u8>, Option<Certified>>,
    owners: HashMap<NodeId, VecDeque<Arc<Owner>>>,
}

impl Authority {
    /// The authority of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { key: key(seed ^ 0xa0a0), remembered: Rc::default() }
    }

    /// The surroundings and the record of a new node.
    #[must_use]
    pub fn node(
        &self,
        seed: u64,
        name: &str,
        locators: &[(SirPrefix, Locator)],
        home: &[IdentifierRange],
    ) -> (Node, NodeRecord) {
        let key = key(seed);
        let mut certificate = Certificate {
            key: public(&key),
            name: name.to_owned(),
            locators: locators.iter().map(|(sir, at)| (sir.bits(), at.bits())).collect(),
            home: home.to_vec(),
            signature: Signature { r: [0; 32], s: [0; 32] },
        };
        certificate.signature = signature(&self.key, &certificate.statement());
        let record = NodeRecord {
            certificate: wire::encode(&certificate).expect("a certificate is short"),
            addresses: Vec::new(),
            version: "0".to_owned(),
        };
        (Node { key, dice: Dice::new(seed), authority: self.clone() }, record)
    }

    fn certified(&self, bytes: &[u8]) -> Option<Certified> {
        let certificate: Certificate = wire::decode(bytes).ok()?;
        let statement = certificate.statement();
        is_signed(&public(&self.key), &statement, &certificate.signature).then_some(())?;
        let locators = certificate.locators.iter();
        Some(Certified {
            key: certificate.key,
            name: certificate.name.parse::<NodeName>().ok()?,
            locators: locators
                .map(|(sir, at)| (SirPrefix::from_bits(*sir), Locator::from_bits(*at)))
                .collect(),
            home: certificate.home,
        })
    }

    /// Its word on something.
    #[must_use]
    pub fn grant(&self, statement: &[u8]) -> Signature {
        signature(&self.key, statement)
    }
}

/// The surroundings of one node.
#[derive(Clone, Debug)]
pub struct Node {
    key: SigningKey,
    dice: Dice,
    authority: Authority,
}

impl Node {
    /// Has it be unpredictable in another way, as after a start.
    pub const fn reseed(&mut self, seed: u64) {
        self.dice = Dice::new(seed);
    }
}

impl Surroundings for Node {
    fn certified(&mut self, certificate: &[u8]) -> Option<Certified> {
        let mut remembered = self.authority.remembered.borrow_mut();
        if let Some(known) = remembered.certified.get(certificate) {
            return known.clone();
        }
        let certified = self.authority.certified(certificate);
        remembered.certified.insert(certificate.to_vec(), certified.clone());
        certified
    }

    fn is_signed(&mut self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&key.0).update(&signature.r).update(&signature.s).update(message);
        let digest = hasher.finalize().into();
        let mut remembered = self.authority.remembered.borrow_mut();
        remembered.signed.contains(&digest)
            || is_signed(key, message, signature) && remembered.signed.insert(digest)
    }

    fn is_granted(&mut self, message: &[u8], signature: &Signature) -> bool {
        let key = public(&self.authority.key);
        self.is_signed(&key, message, signature)
    }

    fn known(&self, owner: NodeId, at: Position, by: &Signature) -> Option<Arc<Owner>> {
        let remembered = self.authority.remembered.borrow();
        let known = remembered.owners.get(&owner)?;
        let is_it =
            |known: &&Arc<Owner>| (known.head().position, known.head().signature) == (at, *by);
        known.iter().rev().find(is_it).cloned()
    }

    fn learned(&mut self, owner: &Arc<Owner>) {
        const LATEST: usize = 64;
        let mut remembered = self.authority.remembered.borrow_mut();
        let known = remembered.owners.entry(owner.id()).or_default();
        if known.iter().rev().all(|it| it.head() != owner.head()) {
            known.push_back(Arc::clone(owner));
            if known.len() > LATEST {
                known.pop_front();
            }
        }
    }

    fn sign(&mut self, message: &[u8]) -> Signature {
        signature(&self.key, message)
    }

    fn random(&mut self) -> u64 {
        self.dice.any()
    }
}

fn key(seed: u64) -> SigningKey {
    SigningKey::from_bytes(&blake3::derive_key("ila 2026 simulated key", &seed.to_be_bytes()))
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

fn signature(key: &SigningKey, message: &[u8]) -> Signature {
    let signature = key.sign(message);
    Signature { r: *signature.r_bytes(), s: *signature.s_bytes() }
}

fn is_signed(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_components(signature.r, signature.s);
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}
