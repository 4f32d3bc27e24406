//! What a certificate says, as text.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use ila_proto::{
    api::{Domain, NodeName},
    gossip::{IdentifierRange, NodeId},
    identity::{Certificate, CertificateError, Holder, RangeError},
};
use serde::{Deserialize, Serialize};

/// What a certificate says, as it is shown and as it is recorded. Fields are
/// added, never changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The node's name; none for an authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The digest of its key, by which others know it.
    pub id: String,
    /// Its locators.
    pub domains: Vec<Domain>,
    /// The identifiers that it is the home of.
    pub home: Vec<Range>,
    /// The first second in which it is valid.
    pub valid_from: String,
    /// The last.
    pub valid_until: String,
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// The digest of the key of the authority that has issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

impl Summary {
    /// What the certificate says that these bytes are, whoever has issued it.
    pub fn of(der: &[u8]) -> Result<Self, CertificateError> {
        let Certificate { serial, validity, issuer, holder } = Certificate::read(der)?;
        let (key, node) = match holder {
            Holder::Authority(key) => (key, None),
            Holder::Node(node) => (node.key, Some(node)),
        };
        let domains = node.iter().flat_map(|node| &node.locators);
        let home = node.iter().flat_map(|node| &node.home);
        Ok(Self {
            id: key.node().to_string(),
            domains: domains.map(|&(sir_prefix, locator)| Domain { sir_prefix, locator }).collect(),
            home: home.copied().map(Range).collect(),
            valid_from: date(validity.from),
            valid_until: date(validity.until),
            serial,
            authority: issuer.as_ref().map(NodeId::to_string),
            node: node.map(|node| node.name),
        })
    }
}

/// A range as its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range(pub IdentifierRange);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for Range {
    type Error = RangeError;

    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse().map(Self)
    }
}

/// A time as RFC 3339 writes it.
#[must_use]
pub fn date(seconds: u64) -> String {
    // No certificate is valid behind the year 9999, where this would end.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}
