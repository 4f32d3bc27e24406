//! What nodes that have a link say to each other.
//!
//! ```text
//!  0      1            5
//!  | kind | length (4) | body …
//! ```
//!
//! A kind that is not known is skipped by its length.

use serde::de::DeserializeOwned;

use super::{Delta, NodeId, Position, wire};

/// Bytes before a body.
pub const HEADER: usize = 5;

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
}

/// What has been read from a stream of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A frame, and how many bytes it took.
    Frame(Frame, usize),
    /// One of a kind that this version does not know, and how many bytes.
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
        }?;
        let length = u32::try_from(body.len()).map_err(|_| wire::Malformed)?;
        Ok([&[self.kind()], &length.to_be_bytes()[..], &body].concat())
    }

    /// The frame that `bytes` start with.
    pub fn read(bytes: &[u8]) -> Result<Read, wire::Malformed> {
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
