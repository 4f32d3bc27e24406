//! How a host comes into a mesh and stays in it: the token that lets it in, what
//! it and the host that admits it say to each other, and when a certificate is
//! renewed. Pure: exporters, secrets and times come from outside.
//!
//! ```text
//!  new host                                   admitting host
//!     ── QUIC, ALPN ila-join/1 ──────────────────▶
//!     ◀── certificate, and the authority's: is it the token's? ──
//!     ◀── Greeting: the authority has signed this connection ──
//!     ── Request: key, signature over this connection, secret ──▶
//!     ◀── Answer: certificate, seeds, settings; or why not ──
//! ```
//!
//! A connection is told apart by what its TLS session exports (RFC 8446, section
//! 7.5): what is signed for one is of no use in another, and to nobody between.
//! A message is JSON, in which fields may be added, and its length before it.

mod base32;
mod message;
mod renewal;
mod token;

pub use message::{
    Admitted, Answer, Ask, EXPORTER_LABEL, Exporter, Greeting, MAX_MESSAGE, Refusal, Refused,
    Request, Settings,
};
pub use renewal::{Renewal, pause};
pub use token::{
    Fingerprint, MAX_ADDRESSES, MAX_SIR_PREFIXES, MAX_TEXT, Secret, Token, TokenError,
};

/// The protocol, by its name in the TLS handshake. Another version has another.
pub const ALPN: &[u8] = b"ila-join/1";

/// For how many days a host's certificate is valid that is issued here.
pub const DAYS: u16 = 90;
