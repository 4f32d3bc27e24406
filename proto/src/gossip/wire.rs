//! How values are written for other nodes: bincode, in this module only, never
//! more than it takes.

use serde::{Serialize, de::DeserializeOwned};

/// Bytes of a value at most, when it is read and when it is written.
pub const MAX_BYTES: usize = 1 << 20;

/// Bytes that are not what they should be: too many, too few, or not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no such value")]
pub struct Malformed;

const fn format() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_BYTES>()
}

/// The value that all of `bytes` are.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    match bincode::serde::decode_from_slice(bytes, format()) {
        Ok((value, length)) if length == bytes.len() => Ok(value),
        _ => Err(Malformed),
    }
}

/// The bytes of a value; none if it takes more than there may be.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Malformed> {
    bincode::serde::encode_to_vec(value, format()).map_err(|_| Malformed)
}
