//! How addresses are written and read: by people, in configuration and JSON.
//! What is read here is checked here, so that the rest can trust it.

use core::{fmt, net::Ipv6Addr, str::FromStr};
use ipnet::Ipv6Net;

use crate::text::as_text;

use super::{Address, Identifier, IdentifierError, IlaAddr, Locator, SirAddr, SirPrefix};

/// Why a text is no SIR prefix or locator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an IPv6 prefix at all.
    #[error("`{0}` is not an IPv6 prefix such as 2001:db8:a:1::/64")]
    Syntax(String),
    /// Another length than 64.
    #[error("`{0}` is a /{length}; SIR prefixes and locators are 64 bits long", length = .0.prefix_len())]
    Length(Ipv6Net),
    /// Bits are set behind the prefix.
    #[error("`{0}` has bits set behind its first 64; did you mean {trunc}?", trunc = .0.trunc())]
    HostBits(Ipv6Net),
    /// Loopback, link-local, multicast or unspecified: nothing routes these.
    #[error("`{0}` is not a prefix that the underlay could route")]
    NotRoutable(Ipv6Net),
}

/// Why a text is no container's identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdentifierError {
    /// Neither four groups nor hexadecimal digits.
    #[error("`{0}` is not an identifier such as 2000:0:0:1 or 2000000000000001")]
    Syntax(String),
    /// No container can have it.
    #[error("identifier `{0}` cannot be used: {1}")]
    Unusable(String, #[source] IdentifierError),
}

fn parse_prefix(text: &str) -> Result<u64, PrefixError> {
    let net: Ipv6Net = text.parse().map_err(|_| PrefixError::Syntax(text.to_owned()))?;
    if net.prefix_len() != 64 {
        return Err(PrefixError::Length(net));
    }
    if net.trunc() != net {
        return Err(PrefixError::HostBits(net));
    }
    let address = net.addr();
    if address.is_multicast()
        || address.is_unicast_link_local()
        || address.segments()[..4] == [0; 4]
    {
        return Err(PrefixError::NotRoutable(net));
    }
    Ok(Address::from(address).high)
}

fn fmt_prefix(bits: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}/64", Ipv6Addr::from(Address { high: bits, low: 0 }))
}

impl FromStr for SirPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        parse_prefix(text).map(Self)
    }
}

impl FromStr for Locator {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        parse_prefix(text).map(Self)
    }
}

/// Reads `2000:0:0:1` or `2000000000000001`, with or without `0x`, and accepts
/// what a container may have.
impl FromStr for Identifier {
    type Err = ParseIdentifierError;

    fn from_str(text: &str) -> Result<Self, ParseIdentifierError> {
        let bits = parse_bits(text).ok_or_else(|| ParseIdentifierError::Syntax(text.to_owned()))?;
        Self(bits)
            .check_container()
            .map_err(|error| ParseIdentifierError::Unusable(text.to_owned(), error))
    }
}

/// The bits of any identifier, whether a container may have it or not.
pub(crate) fn parse_bits(text: &str) -> Option<u64> {
    // from_str_radix would also take a sign.
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if !text.contains(':') {
        let text = text.strip_prefix("0x").unwrap_or(text);
        return digits(text, 16).then(|| u64::from_str_radix(text, 16).ok())?;
    }
    let mut groups = text.split(':');
    let mut bits = 0;
    for _ in 0..4 {
        let group = groups.next().filter(|group| digits(group, 4))?;
        bits = bits << 16 | u64::from_str_radix(group, 16).ok()?;
    }
    groups.next().is_none().then_some(bits)
}

impl fmt::Display for SirPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_prefix(self.0, f)
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_prefix(self.0, f)
    }
}

/// As the last four groups of an address, none left out: `2000:0:0:1`.
impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = [48, 32, 16, 0].map(|shift| self.0 >> shift & 0xffff);
        write!(f, "{a:x}:{b:x}:{c:x}:{d:x}")
    }
}

impl fmt::Display for SirAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv6Addr::from(Address::from(*self)).fmt(f)
    }
}

impl fmt::Display for IlaAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv6Addr::from(Address::from(*self)).fmt(f)
    }
}

as_text!(SirPrefix, "SIR prefix, 64 bits long", "^[0-9a-f:]+::/64$");
as_text!(Locator, "locator, 64 bits long", "^[0-9a-f:]+::/64$");
as_text!(Identifier, "identifier, four groups", "^[0-9a-f]{1,4}(:[0-9a-f]{1,4}){3}$");
