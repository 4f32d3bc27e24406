//! What an owner says, all of it at one position: entries under keys, and a
//! digest that follows a change at the cost of that change.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::Digest;

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

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Stored::Short { length, bytes } => &bytes[..usize::from(*length)],
            Stored::Long(bytes) => bytes,
        }
    }
}

/// All that an owner says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    entries: BTreeMap<Key, Value>,
    sum: Box<Sum>,
}

impl State {
    /// The state of these entries.
    #[must_use]
    pub fn of(entries: impl IntoIterator<Item = (Key, Value)>) -> Self {
        let mut state = Self::default();
        for (key, value) in entries {
            state.change(&Change { key, value: Some(value) });
        }
        state
    }

    /// Changes it. A change to what holds already is none.
    pub fn change(&mut self, change: &Change) {
        let Change { key, value } = change;
        let former = match value {
            Some(value) => self.entries.insert(*key, value.clone()),
            None => self.entries.remove(key),
        };
        if let Some(former) = &former {
            self.sum.take(key, former);
        }
        if let Some(value) = value {
            self.sum.add(key, value);
        }
    }

    /// What holds under `key`.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.entries.get(key)
    }

    /// All entries, by key.
    #[must_use]
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&Key, &Value)> {
        self.entries.iter()
    }

    /// The entries of one kind, by key.
    pub fn of_kind(&self, kind: u8) -> impl Iterator<Item = (&Key, &Value)> {
        let first = Key { kind, length: 0, bytes: [0; MAX_KEY] };
        let last = Key { kind, length: u8::MAX, bytes: [u8::MAX; MAX_KEY] };
        self.entries.range(first..=last)
    }

    /// Its digest, which no other state has.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.sum.digest()
    }
}

/// A sum over entries in any order: numbers modulo 2^16, side by side, so many
/// that nobody finds other entries with the same (Lewi, Kim, Maykov and Weis,
/// "Securing Update Propagation with Homomorphic Hashing", section 3).
#[derive(Clone, PartialEq, Eq)]
struct Sum([u16; LANES]);

const LANES: usize = 1024;

impl Sum {
    fn add(&mut self, key: &Key, value: &Value) {
        for (lane, part) in self.0.iter_mut().zip(parts(key, value)) {
            *lane = lane.wrapping_add(part);
        }
    }

    fn take(&mut self, key: &Key, value: &Value) {
        for (lane, part) in self.0.iter_mut().zip(parts(key, value)) {
            *lane = lane.wrapping_sub(part);
        }
    }

    fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("ila 2026 state");
        for lane in self.0 {
            hasher.update(&lane.to_be_bytes());
        }
        Digest(hasher.finalize().into())
    }
}

/// What an entry adds to each lane.
fn parts(key: &Key, value: &Value) -> [u16; LANES] {
    let mut hasher = blake3::Hasher::new_derive_key("ila 2026 entry");
    hasher.update(&[key.kind, key.length]).update(&key.bytes).update(value.bytes());
    let mut bytes = [0; LANES * 2];
    hasher.finalize_xof().fill(&mut bytes);
    let mut parts = [0; LANES];
    for (part, pair) in parts.iter_mut().zip(bytes.chunks_exact(2)) {
        *part = u16::from_be_bytes([pair[0], pair[1]]);
    }
    parts
}

impl Default for Sum {
    fn default() -> Self {
        Self([0; LANES])
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest().fmt(f)
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
