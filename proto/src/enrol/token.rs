//! The token: all that a host needs to find a mesh, to be sure that it is the
//! one, and to be let in.
//!
//! ```text
//!  "ila1" | fingerprint (32) | secret (16) | counts (1)
//!         | addresses (16 + port 2 each) | SIR prefixes (8 each) | check (4)
//! ```
//!
//! All behind the first four characters is base32 of these bytes. The check is
//! the start of a digest of what is before it, against typing errors; it keeps
//! nobody from making tokens.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddrV6},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::base32;
use crate::addr::SirPrefix;

/// Characters of a token at most.
pub const MAX_TEXT: usize = 200;
/// Addresses in it at most.
pub const MAX_ADDRESSES: usize = 2;
/// SIR prefixes in it at most: as many as a host serves.
pub const MAX_SIR_PREFIXES: usize = 4;

const START: &str = "ila1";
const CHECK: usize = 4;

/// The digest of an authority's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of the certificate, in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(blake3::derive_key("ila 2026 authority", der))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fingerprint").field(&base32::write(&self.0)).finish()
    }
}

/// What lets a host in. Never shown but as part of a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 16]);

impl Secret {
    /// What the admitting host remembers of it, in hexadecimal digits: nobody
    /// comes from that to the secret.
    #[must_use]
    pub fn hash(&self) -> String {
        blake3::Hash::from(blake3::derive_key("ila 2026 join secret", &self.0)).to_string()
    }

    /// Whether a hash is this one's, in a time that says nothing about where
    /// they differ.
    #[must_use]
    pub fn is_hashed(&self, hash: &str) -> bool {
        let own = blake3::Hash::from(blake3::derive_key("ila 2026 join secret", &self.0));
        // Compared as its documentation says: in constant time.
        blake3::Hash::from_hex(hash).is_ok_and(|hash| hash == own)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

/// A token as it is meant. As text at most [`MAX_TEXT`] characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// By which certificate the authority is known.
    pub authority: Fingerprint,
    /// What lets a host in.
    pub secret: Secret,
    /// Where hosts are that admit, at least one and at most [`MAX_ADDRESSES`].
    pub addresses: Vec<SocketAddrV6>,
    /// Which SIR prefixes there are, at least one and at most
    /// [`MAX_SIR_PREFIXES`].
    pub sir_prefixes: Vec<SirPrefix>,
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not start as tokens of this version do.
    #[error("a join token starts with {START}")]
    Start,
    /// A character is none of those that tokens have.
    #[error("the token has a wrong character in place {0}")]
    Character(usize),
    /// A character is wrong, missing or too many.
    #[error("the token is damaged: it was not copied whole, or changed on the way")]
    Damaged,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = &self.addresses[..self.addresses.len().min(MAX_ADDRESSES)];
        let prefixes = &self.sir_prefixes[..self.sir_prefixes.len().min(MAX_SIR_PREFIXES)];
        let mut bytes = [&self.authority.0[..], &self.secret.0].concat();
        bytes.push(u8::try_from(addresses.len() << 4 | prefixes.len()).unwrap_or_default());
        for address in addresses {
            bytes.extend(address.ip().octets());
            bytes.extend(address.port().to_be_bytes());
        }
        bytes.extend(prefixes.iter().flat_map(|prefix| prefix.bits().to_be_bytes()));
        bytes.extend(check(&bytes));
        write!(f, "{START}{}", base32::write(&bytes))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digits = text.strip_prefix(START).ok_or(TokenError::Start)?;
        if text.len() > MAX_TEXT {
            return Err(TokenError::Damaged);
        }
        if let Some((place, _)) =
            digits.char_indices().find(|(_, it)| !it.is_ascii_lowercase() && !it.is_ascii_digit())
        {
            return Err(TokenError::Character(START.len() + place + 1));
        }
        let bytes = base32::read(digits).ok_or(TokenError::Damaged)?;
        let (said, sum) = bytes.split_last_chunk::<CHECK>().ok_or(TokenError::Damaged)?;
        if check(said) != *sum {
            return Err(TokenError::Damaged);
        }
        parse(said).ok_or(TokenError::Damaged)
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK] {
    let digest = blake3::derive_key("ila 2026 join token", bytes);
    [digest[0], digest[1], digest[2], digest[3]]
}

fn parse(bytes: &[u8]) -> Option<Token> {
    let (authority, bytes) = bytes.split_first_chunk::<32>()?;
    let (secret, bytes) = bytes.split_first_chunk::<16>()?;
    let (counts, mut bytes) = bytes.split_first()?;
    let (at, of) = (usize::from(counts >> 4), usize::from(counts & 15));
    if !(1..=MAX_ADDRESSES).contains(&at) || !(1..=MAX_SIR_PREFIXES).contains(&of) {
        return None;
    }
    let (mut addresses, mut sir_prefixes) = (Vec::new(), Vec::new());
    for _ in 0..at {
        let (ip, rest) = bytes.split_first_chunk::<16>()?;
        let (port, rest) = rest.split_first_chunk::<2>()?;
        let port = u16::from_be_bytes(*port);
        addresses.push(SocketAddrV6::new(Ipv6Addr::from(*ip), port, 0, 0));
        bytes = rest;
    }
    for _ in 0..of {
        let (bits, rest) = bytes.split_first_chunk::<8>()?;
        let prefix = SirPrefix::from_bits(u64::from_be_bytes(*bits));
        // Only what could be typed: whoever has made the token may be anybody.
        sir_prefixes.push(prefix.to_string().parse().ok()?);
        bytes = rest;
    }
    let (authority, secret) = (Fingerprint(*authority), Secret(*secret));
    bytes.is_empty().then_some(Token { authority, secret, addresses, sir_prefixes })
}

#[cfg(test)]
mod tests;
