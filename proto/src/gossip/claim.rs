//! Who holds an identifier: what owners say of it, and by what right.
//!
//! An identifier lies in the range that the certificate of one node names, its
//! *home*. The home may hold it, hand it over, and whoever it was handed to may
//! hand it on: each such step raises the epoch by one and is signed by who gave
//! it away. The home can say anew that it has it, at any epoch, which is how a
//! chain of steps that has become long ends. The authority can grant it to
//! anybody. Whoever claims it by no such right has it only as long as nobody
//! else does.

use serde::{Deserialize, Serialize};

use super::{Key, NodeId, Signature, TooLong, Value, wire};
use crate::addr::{Identifier, SirPrefix};

/// The kind of entry that claims are.
pub const KIND: u8 = 1;

/// How often an identifier can be handed on until its home or the authority
/// has to say where it is.
pub const MAX_STEPS: usize = 16;

/// An identifier in its SIR prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// [`SirPrefix::bits`].
    pub sir_prefix: u64,
    /// [`Identifier::bits`].
    pub identifier: u64,
}

impl Subject {
    /// The subject of these parts.
    #[must_use]
    pub const fn new(sir_prefix: SirPrefix, identifier: Identifier) -> Self {
        Self { sir_prefix: sir_prefix.bits(), identifier: identifier.bits() }
    }

    /// The key of a claim to it by an owner that has the SIR prefix at `domain`
    /// among those of its certificate.
    pub fn key(self, domain: u8) -> Result<Key, TooLong> {
        let mut bytes = [domain; 9];
        bytes[1..].copy_from_slice(&self.identifier.to_be_bytes());
        Key::new(KIND, &bytes)
    }
}

/// That an owner holds an identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// By what right; none for its home, unless that says so anew.
    pub grant: Option<Grant>,
    /// Who has handed it on since, the first one first.
    pub steps: Vec<HandOver>,
}

/// The authority's word that a node holds an identifier, or the home's that it
/// does so itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// To whom.
    pub to: NodeId,
    /// Higher than that of what came before.
    pub epoch: u32,
    /// The authority's or the home's, over [`Grant::statement`].
    pub signature: Signature,
}

/// The word of who holds an identifier that another node does from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// By whom.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// The giver's, over [`HandOver::statement`].
    pub signature: Signature,
}

impl Grant {
    /// The bytes that are signed.
    #[must_use]
    pub fn statement(subject: Subject, to: NodeId, epoch: u32) -> Vec<u8> {
        statement(*b"ila-gr1\0", subject, epoch, &[to])
    }
}

impl HandOver {
    /// The bytes that the giver signs: `epoch` is that of the claim which comes
    /// of it.
    #[must_use]
    pub fn statement(subject: Subject, epoch: u32, from: NodeId, to: NodeId) -> Vec<u8> {
        statement(*b"ila-ho1\0", subject, epoch, &[from, to])
    }
}

fn statement(what: [u8; 8], subject: Subject, epoch: u32, nodes: &[NodeId]) -> Vec<u8> {
    let mut bytes = what.to_vec();
    bytes.extend(subject.sir_prefix.to_be_bytes());
    bytes.extend(subject.identifier.to_be_bytes());
    bytes.extend(epoch.to_be_bytes());
    bytes.extend(nodes.iter().flat_map(|node| node.0));
    bytes
}

/// How good a claim is: of two the greater one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    /// By what right.
    pub right: Right,
    /// How often it has changed hands.
    pub epoch: u32,
}

/// By what right an identifier is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// By none.
    None,
    /// Its home's.
    Home,
    /// The authority's.
    Granted,
}

/// What has to be known to judge a claim.
pub trait Court {
    /// Whether the certificate of a node names the range that an identifier
    /// lies in.
    fn is_home(&mut self, node: NodeId, subject: Subject) -> bool;
    /// Whether a node has signed that.
    fn has_signed(&mut self, node: NodeId, statement: &[u8], signature: &Signature) -> bool;
    /// Whether the authority has.
    fn has_granted(&mut self, statement: &[u8], signature: &Signature) -> bool;
}

impl Claim {
    /// How good it is, as a claim of `owner` to `subject`.
    pub fn standing(&self, owner: NodeId, subject: Subject, court: &mut impl Court) -> Standing {
        const WITHOUT: Standing = Standing { right: Right::None, epoch: 0 };
        if self.steps.len() > MAX_STEPS {
            return WITHOUT;
        }
        let (right, mut holder, mut epoch) = if let Some(grant) = &self.grant {
            let Grant { to, epoch, signature } = grant;
            let statement = Grant::statement(subject, *to, *epoch);
            let right = if court.has_granted(&statement, signature) {
                Right::Granted
            } else if court.is_home(*to, subject) && court.has_signed(*to, &statement, signature) {
                Right::Home
            } else {
                return WITHOUT;
            };
            (right, *to, *epoch)
        } else {
            let first = self.steps.first().map_or(owner, |step| step.from);
            if !court.is_home(first, subject) {
                return WITHOUT;
            }
            (Right::Home, first, 0)
        };
        for HandOver { from, to, signature } in &self.steps {
            epoch = epoch.saturating_add(1);
            let statement = HandOver::statement(subject, epoch, *from, *to);
            if *from != holder || !court.has_signed(*from, &statement, signature) {
                return WITHOUT;
            }
            holder = *to;
        }
        if holder == owner { Standing { right, epoch } } else { WITHOUT }
    }

    /// The claim as it is stored.
    pub fn value(&self) -> Result<Value, wire::Malformed> {
        // The most common one takes no byte.
        if *self == Self::default() {
            return Value::new(&[]).map_err(|_| wire::Malformed);
        }
        Value::new(&wire::encode(self)?).map_err(|_| wire::Malformed)
    }

    /// The claim that was stored.
    pub fn read(value: &[u8]) -> Result<Self, wire::Malformed> {
        match value {
            [] => Ok(Self::default()),
            bytes => wire::decode(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
