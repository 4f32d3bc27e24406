//! What a node is certified to be, as URIs.

use std::{collections::HashSet, fmt, str::FromStr};

use super::{CertificateError, RangeError};
use crate::{
    addr::PrefixError,
    api::{Domain, NameError, NodeName},
    gossip::{Certified, IdentifierRange, PublicKey},
};

const NODE: &str = "ila:node:";
const LOCATOR: &str = "ila:locator:";
const HOME: &str = "ila:home:";

/// What is wrong with a URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// The node cannot be called so.
    #[error(transparent)]
    Node(#[from] NameError),
    /// There is no `@`.
    #[error("`{0}` is not written SIR_PREFIX@LOCATOR, such as fd00:db8:0:1::/64@2001:db8:a:1::/64")]
    Domain(String),
    /// One side of the `@` is wrong.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// The range is none.
    #[error(transparent)]
    Range(#[from] RangeError),
}

/// The URIs that say what a node is.
pub fn write(node: &Certified) -> Vec<String> {
    let locators = node
        .locators
        .iter()
        .map(|&(sir_prefix, locator)| format!("{LOCATOR}{}", Domain { sir_prefix, locator }));
    let home = node.home.iter().map(|range| format!("{HOME}{range}"));
    std::iter::once(format!("{NODE}{}", node.name)).chain(locators).chain(home).collect()
}

/// What URIs say of the node that has the key.
pub fn read<'a>(
    key: PublicKey,
    uris: impl Iterator<Item = &'a str>,
) -> Result<Certified, CertificateError> {
    let mut names: Vec<NodeName> = Vec::new();
    let mut locators = Vec::new();
    let mut home: Vec<IdentifierRange> = Vec::new();
    for uri in uris {
        let value = |start| uri.strip_prefix(start);
        let read = if let Some(name) = value(NODE) {
            name.parse().map(|name| names.push(name)).map_err(UriError::from)
        } else if let Some(domain) = value(LOCATOR) {
            domain.parse().map(|it: Domain| locators.push((it.sir_prefix, it.locator)))
        } else if let Some(range) = value(HOME) {
            range.parse().map(|range| home.push(range)).map_err(UriError::from)
        } else {
            Ok(())
        };
        // What is refused is shown to people.
        let is_printable = uri.bytes().all(|byte| byte.is_ascii_graphic());
        read.map_err(|reason| {
            let uri = is_printable.then(|| uri.to_owned());
            uri.map_or(CertificateError::Malformed, |uri| CertificateError::Uri { uri, reason })
        })?;
    }
    let name = names.pop().ok_or(CertificateError::Nameless)?;
    if !names.is_empty() {
        return Err(CertificateError::TwoNames);
    }
    let mut seen = HashSet::new();
    for &(sir_prefix, _) in &locators {
        if !seen.insert(sir_prefix.bits()) {
            return Err(CertificateError::TwoLocators(sir_prefix));
        }
    }
    let sir_prefixes = std::mem::take(&mut seen);
    for &(_, locator) in &locators {
        if sir_prefixes.contains(&locator.bits()) {
            return Err(CertificateError::LocatorIsSirPrefix(locator));
        }
        if !seen.insert(locator.bits()) {
            return Err(CertificateError::TwoSirPrefixes(locator));
        }
    }
    for (at, range) in home.iter().enumerate() {
        if home[..at].contains(range) {
            return Err(CertificateError::Twice(format!("{HOME}{range}")));
        }
    }
    Ok(Certified { key, name, locators, home })
}

/// As `SIR_PREFIX@LOCATOR`.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.sir_prefix, self.locator)
    }
}

impl FromStr for Domain {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let domain = || UriError::Domain(text.to_owned());
        let (sir_prefix, locator) = text.split_once('@').ok_or_else(domain)?;
        Ok(Self { sir_prefix: sir_prefix.parse()?, locator: locator.parse()? })
    }
}

#[cfg(test)]
mod tests;
