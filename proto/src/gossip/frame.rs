//! What nodes that have a link say to each other.
//!
//! ```text
//!  0      1            5
//!  | kind | length (4) | body …
//! ```
//!
//! A kind that is not known is skipped by its length. What has its bytes keeps
//! them for ever: what is added is of a later [`Version`], and said to nobody who
//! does not speak that.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Change, Delta, Incarnation, NodeId, Position, Signature, wire};

/// Bytes before a body.
pub const HEADER: usize = 5;

/// What two nodes speak that have a link: the latest version that both know, so
/// that nodes of several versions are one mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Frames of the kinds 1 to 8.
    One = 1,
    /// Those, and [`Frame::Step`].
    Two = 2,
}

impl Version {
    /// What is spoken if nobody is in the way of it.
    pub const LATEST: Self = Self::Two;
    /// All there are, in the order in which they are preferred.
    pub const ALL: [Self; 2] = [Self::Two, Self::One];

    /// Its number, for people.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name in the TLS handshake.
    #[must_use]
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::One => b"ila-mesh/1",
            Self::Two => b"ila-mesh/2",
        }
    }

    /// This one and those before it, in the order in which they are preferred.
    pub fn up_to(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |it| *it <= self)
    }
}

/// What an owner has said within one life, to who knows of that life: a [`Delta`]
/// without what goes without saying then, which was a quarter of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The start of its owner's identity.
    pub owner: u64,
    /// The sequence from where …
    pub from: u64,
    /// … and where to.
    pub to: u64,
    /// The owner's, as in a [`Delta`].
    pub signature: Signature,
    /// What has changed, as there.
    pub changes: Vec<Change>,
}

impl Step {
    /// What it says if it is about this life of this owner. If it is not, it does
    /// not lead to what that has signed.
    #[must_use]
    pub fn of(self, owner: NodeId, incarnation: Incarnation) -> Delta {
        let Self { from, to, signature, changes, .. } = self;
        let [from, to] = [from, to].map(|sequence| Position { incarnation, sequence });
        Delta { owner, from: Some(from), to, signature, changes }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// What an owner has said.
    Delta(Delta),
    /// Where owners are, for those who may not have heard it on another way: the
    /// start of each identity and the sequence of its position, which is enough
    /// to ask.
    Have(Vec<(u64, u64)>),
    /// Asks for what an owner has said since, and from now on.
    Want(NodeId, Option<Position>),
    /// Of this owner the sender hears on other ways.
    Prune(NodeId),
    /// The digest of where all owners are: says so if the other one's is the
    /// same, else by [`Frame::Summary`] how it comes about.
    Compare(u64),
    /// It is the same.
    Same,
    /// The digests of where owners are, by the first byte of their identity.
    Summary(Vec<u64>),
    /// Where the owners are whose identity starts with this byte, all of them,
    /// with the first eight bytes of the digests of their states.
    Heads(u8, Vec<(NodeId, Position, u64)>),
    /// What an owner has said, in fewer bytes; from version 2 on. The mesh says
    /// it as a delta, [`Self::spoken`] makes one of it.
    Step(Step),
}

/// What has been read from a stream of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A frame, and how many bytes it took.
    Frame(Frame, usize),
    /// One of a kind that the version does not have, and how many bytes.
    Unknown(u8, usize),
    /// There is more to come.
    Part,
}

impl Frame {
    const fn kind(&self) -> u8 {
        match self {
            Self::Delta(_) => 1,
            Self::Have(_) => 2,
            Self::Want(..) => 3,
            Self::Prune(_) => 4,
            Self::Compare(_) => 5,
            Self::Same => 6,
            Self::Summary(_) => 7,
            Self::Heads(..) => 8,
            Self::Step(_) => 9,
        }
    }

    /// Its name, for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Delta(_) => "delta",
            Self::Have(_) => "have",
            Self::Want(..) => "want",
            Self::Prune(_) => "prune",
            Self::Compare(_) => "compare",
            Self::Same => "same",
            Self::Summary(_) => "summary",
            Self::Heads(..) => "heads",
            Self::Step(_) => "step",
        }
    }

    /// The same to somebody who speaks this version, in as few bytes as it has
    /// for it.
    #[must_use]
    pub fn spoken(self, version: Version) -> Self {
        match self {
            Self::Delta(Delta { owner, from: Some(from), to, signature, changes })
                if version >= Version::Two && from.incarnation == to.incarnation =>
            {
                let (owner, from, to) = (owner.start(), from.sequence, to.sequence);
                Self::Step(Step { owner, from, to, signature, changes })
            }
            as_it_is => as_it_is,
        }
    }

    /// About how many bytes it has, without writing it.
    #[must_use]
    pub fn about_bytes(&self) -> usize {
        const FEW: usize = 128;
        match self {
            Self::Delta(Delta { changes, .. }) | Self::Step(Step { changes, .. }) => {
                FEW + changes.iter().map(Change::about_bytes).sum::<usize>()
            }
            Self::Have(heads) => FEW + heads.len() * 16,
            Self::Summary(digests) => FEW + digests.len() * 8,
            Self::Heads(_, heads) => FEW + heads.len() * 40,
            Self::Want(..) | Self::Prune(_) | Self::Compare(_) | Self::Same => FEW,
        }
    }

    /// Its bytes.
    pub fn write(&self) -> Result<Vec<u8>, wire::Malformed> {
        let body = match self {
            Self::Delta(delta) => wire::encode(delta),
            Self::Have(heads) => wire::encode(heads),
            Self::Want(owner, from) => wire::encode(&(owner, from)),
            Self::Prune(owner) => wire::encode(owner),
            Self::Compare(digest) => wire::encode(digest),
            Self::Same => Ok(Vec::new()),
            Self::Summary(digests) => wire::encode(digests),
            Self::Heads(first, heads) => wire::encode(&(first, heads)),
            Self::Step(step) => wire::encode(step),
        }?;
        let length = u32::try_from(body.len()).map_err(|_| wire::Malformed)?;
        Ok([&[self.kind()], &length.to_be_bytes()[..], &body].concat())
    }

    /// The frame that `bytes` start with, of somebody who speaks this version.
    pub fn read(bytes: &[u8], version: Version) -> Result<Read, wire::Malformed> {
        let Some(([kind, length @ ..], rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(Read::Part);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| wire::Malformed)?;
        if length > wire::MAX_BYTES {
            return Err(wire::Malformed);
        }
        let Some(body) = rest.get(..length) else { return Ok(Read::Part) };
        let taken = HEADER + length;
        let frame = match kind {
            1 => Self::Delta(wire::decode(body)?),
            2 => Self::Have(wire::decode(body)?),
            3 => pair(body, Self::Want)?,
            4 => Self::Prune(wire::decode(body)?),
            5 => Self::Compare(wire::decode(body)?),
            6 if body.is_empty() => Self::Same,
            6 => return Err(wire::Malformed),
            7 => Self::Summary(wire::decode(body)?),
            8 => pair(body, Self::Heads)?,
            9 if version >= Version::Two => Self::Step(wire::decode(body)?),
            unknown => return Ok(Read::Unknown(*unknown, taken)),
        };
        Ok(Read::Frame(frame, taken))
    }
}

fn pair<A: DeserializeOwned, B: DeserializeOwned>(
    body: &[u8],
    make: impl Fn(A, B) -> Frame,
) -> Result<Frame, wire::Malformed> {
    let (first, second) = wire::decode(body)?;
    Ok(make(first, second))
}

#[cfg(test)]
mod tests;
