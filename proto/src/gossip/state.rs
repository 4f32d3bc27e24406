//! What an owner says, all of it at one position: entries under keys, packed by
//! key, so that the digest of the bytes is the digest of what holds.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Digest, wire};

/// Bytes of a key at most.
pub const MAX_KEY: usize = 22;
/// Bytes of a value at most.
pub const MAX_VALUE: usize = 4096;

/// What an entry is about.
///
/// ```text
///  kind  bytes                           value
///  0     none                            the node's record
///  1     domain (1) | identifier (8)     a claim
///  2     node (16)                       none: the owner sees that node down
/// ```
///
/// Entries of other kinds are kept and handed on as they are: a later version
/// understands them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    kind: u8,
    length: u8,
    bytes: [u8; MAX_KEY],
}

/// A value; short ones, which almost all are, without memory of their own.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Stored);

#[derive(Clone, PartialEq, Eq)]
enum Stored {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

const SHORT: usize = 22;

/// A change of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it is about.
    pub key: Key,
    /// What holds from now on; none if nothing does.
    pub value: Option<Value>,
}

impl Change {
    /// About how many bytes it has, written.
    pub(super) fn about_bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.bytes().len()) + self.key.bytes().len() + 4
    }
}

/// A key or value that is longer than any can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are too many")]
pub struct TooLong(pub usize);

impl Key {
    /// The key of the owner's record.
    pub const RECORD: Self = Self { kind: 0, length: 0, bytes: [0; MAX_KEY] };

    /// The key of an entry of `kind`.
    pub fn new(kind: u8, key: &[u8]) -> Result<Self, TooLong> {
        let mut bytes = [0; MAX_KEY];
        let place = bytes.get_mut(..key.len()).ok_or(TooLong(key.len()))?;
        place.copy_from_slice(key);
        let length = u8::try_from(key.len()).map_err(|_| TooLong(key.len()))?;
        Ok(Self { kind, length, bytes })
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Value {
    /// The value that `bytes` are.
    pub fn new(bytes: &[u8]) -> Result<Self, TooLong> {
        if bytes.len() > MAX_VALUE {
            return Err(TooLong(bytes.len()));
        }
        let mut short = [0; SHORT];
        Ok(Self(match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(bytes);
                Stored::Short { length, bytes: short }
            }
            _ => Stored::Long(bytes.into()),
        }))
    }

    /// One that is kept in a state, and so no longer than it may be.
    fn of(bytes: &[u8]) -> Self {
        Self::new(bytes).expect("it was taken from a value")
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Stored::Short { length, bytes } => &bytes[..usize::from(*length)],
            Stored::Long(bytes) => bytes,
        }
    }
}

/// All that an owner says, packed: a node knows a million entries.
///
/// ```text
///  0      1            2     n               n + 2
///  | kind | length (1) | key | length (2) | value |  … the next entry, by key
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct State {
    bytes: Box<[u8]>,
    /// Where each entry starts.
    starts: Box<[u32]>,
}

/// Bytes of a state at most, so that a message holds it, with an owner's name,
/// positions and signature.
pub const MAX_STATE: usize = wire::MAX_BYTES - 1024;

impl State {
    /// The state of these entries; of several under one key the last counts.
    #[must_use]
    pub fn of(entries: impl IntoIterator<Item = (Key, Value)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| Change { key, value: Some(value) });
        let mut state = Self::default();
        state.apply(&entries.collect::<Vec<_>>());
        state
    }

    /// Changes it, and returns what undoes that. Of several changes under one key
    /// the last counts; one to what holds already is none.
    pub fn apply(&mut self, changes: &[Change]) -> Vec<Change> {
        let last: BTreeMap<_, _> = changes.iter().map(|it| (it.key, it.value.as_ref())).collect();
        let added = last.iter().filter_map(|(key, value)| Some((key, (*value)?)));
        let added: usize = added.map(|(key, value)| packed_length(key, value.bytes())).sum();
        let mut bytes = Vec::with_capacity(self.bytes.len() + added);
        let mut starts = Vec::with_capacity(self.starts.len() + last.len());
        let (mut undo, mut next) = (Vec::with_capacity(last.len()), 0);
        for (key, value) in last {
            let (at, former) = match self.find(&key) {
                Ok(at) => (at, Some(self.entry(at).1)),
                Err(at) => (at, None),
            };
            self.copy(next..at, &mut bytes, &mut starts);
            next = at + usize::from(former.is_some());
            undo.push(Change { key, value: former.map(Value::of) });
            if let Some(value) = value {
                starts.push(place(bytes.len()));
                pack(&key, value.bytes(), &mut bytes);
            }
        }
        self.copy(next..self.starts.len(), &mut bytes, &mut starts);
        (self.bytes, self.starts) = (bytes.into(), starts.into());
        undo
    }

    /// What holds under `key`.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&[u8]> {
        self.find(key).ok().map(|at| self.entry(at).1)
    }

    /// All entries, by key.
    #[must_use]
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (Key, &[u8])> {
        (0..self.starts.len()).map(|at| self.entry(at))
    }

    /// The changes that lead to it from nothing.
    #[must_use]
    pub fn whole(&self) -> Vec<Change> {
        let entries = self.entries();
        entries.map(|(key, value)| Change { key, value: Some(Value::of(value)) }).collect()
    }

    /// The entries of one kind, by key.
    pub fn of_kind(&self, kind: u8) -> impl Iterator<Item = (Key, &[u8])> {
        let first = Key { kind, length: 0, bytes: [0; MAX_KEY] };
        let (Ok(at) | Err(at)) = self.find(&first);
        let entries = (at..self.starts.len()).map(|at| self.entry(at));
        entries.take_while(move |(key, _)| key.kind == kind)
    }

    /// Its digest, which no other state has.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("ila 2026 packed state");
        Digest(hasher.update(&self.bytes).finalize().into())
    }

    /// How many bytes it is, packed.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Where the entry of a key is, or where it would be.
    fn find(&self, key: &Key) -> Result<usize, usize> {
        self.starts.binary_search_by(|start| self.entry_from(*start).0.cmp(key))
    }

    fn entry(&self, at: usize) -> (Key, &[u8]) {
        self.entry_from(self.starts[at])
    }

    fn entry_from(&self, start: u32) -> (Key, &[u8]) {
        let [kind, length, rest @ ..] = &self.bytes[start as usize..] else { unreachable!() };
        let (bytes, rest) = rest.split_at(usize::from(*length));
        let mut key = Key { kind: *kind, length: *length, bytes: [0; MAX_KEY] };
        key.bytes[..bytes.len()].copy_from_slice(bytes);
        let (value, rest) = rest.split_at(2);
        let length = u16::from_be_bytes([value[0], value[1]]);
        (key, &rest[..usize::from(length)])
    }

    /// Copies some of the entries behind others.
    fn copy(&self, entries: std::ops::Range<usize>, bytes: &mut Vec<u8>, starts: &mut Vec<u32>) {
        let start = |at: usize| self.starts.get(at).map_or(self.bytes.len(), |it| *it as usize);
        let (from, to) = (start(entries.start), start(entries.end));
        let moved = self.starts[entries].iter();
        starts.extend(moved.map(|start| place(*start as usize - from + bytes.len())));
        bytes.extend_from_slice(&self.bytes[from..to]);
    }
}

fn packed_length(key: &Key, value: &[u8]) -> usize {
    2 + usize::from(key.length) + 2 + value.len()
}

fn pack(key: &Key, value: &[u8], bytes: &mut Vec<u8>) {
    let length = u16::try_from(value.len()).expect("a value is no longer than MAX_VALUE");
    bytes.extend_from_slice(&[key.kind, key.length]);
    bytes.extend_from_slice(key.bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("a state is no larger than MAX_STATE and one message")
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries()).finish()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:02x?}", self.kind, self.bytes())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", self.bytes())
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.kind, self.bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (kind, bytes) = <(u8, Vec<u8>)>::deserialize(deserializer)?;
        Self::new(kind, &bytes).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        Self::new(&bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
