//! The halves of addresses, as a topology spells them.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// The first 64 bits of an address: a SIR prefix or a locator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(u64);

/// The last 64 bits of a container's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identifier(u64);

/// Why a text is no SIR prefix and no locator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an IPv6 prefix at all.
    #[error("`{0}` is not an IPv6 prefix such as 2001:db8:a:1::/64")]
    Syntax(String),
    /// Another length than 64.
    #[error("`{0}` is not 64 bits long, as SIR prefixes and locators are")]
    Length(String),
    /// Bits are set behind the prefix.
    #[error("`{0}` has bits set behind its first 64; did you mean {1}?")]
    HostBits(String, Prefix),
    /// Loopback, link-local, multicast or unspecified.
    #[error("`{0}` is not a prefix that a router would route")]
    NotRoutable(String),
}

/// Why a text is no container's identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Not four groups.
    #[error("`{0}` is not an identifier such as 2000:0:0:a1, four groups of hexadecimal digits")]
    Syntax(String),
    /// Not locally unique, or with the C-bit set.
    #[error("`{0}` is not for containers: the first group of their identifiers is 2000 to 2fff")]
    Type(String),
    /// The last group is one of the two zeroes of one's complement.
    #[error("`{0}` ends in 0 or ffff, which checksum-neutral translation cannot tell apart")]
    LowWord(String),
}

impl Prefix {
    /// The address of `identifier` under this prefix.
    #[must_use]
    pub fn address(self, identifier: Identifier) -> Ipv6Addr {
        Ipv6Addr::from_bits(u128::from(self.0) << 64 | u128::from(identifier.0))
    }

    /// Whether this prefix lies in the one that the first `length` bits of
    /// `address` spell.
    pub(crate) fn is_in(self, address: Ipv6Addr, length: u32) -> bool {
        (self.network().to_bits() ^ address.to_bits()) >> (128 - length) == 0
    }

    fn network(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(u128::from(self.0) << 64)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let syntax = || PrefixError::Syntax(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv6Addr = address.parse().map_err(|_| syntax())?;
        let length: u8 = length.parse().map_err(|_| syntax())?;
        if length > 128 {
            return Err(syntax());
        }
        if length != 64 {
            return Err(PrefixError::Length(text.to_owned()));
        }
        #[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
        let (high, low) = ((address.to_bits() >> 64) as u64, address.to_bits() as u64);
        if low != 0 {
            return Err(PrefixError::HostBits(text.to_owned(), Self(high)));
        }
        if high == 0 || address.is_multicast() || address.is_unicast_link_local() {
            return Err(PrefixError::NotRoutable(text.to_owned()));
        }
        Ok(Self(high))
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let groups: Option<Vec<u64>> = text.split(':').map(parse_group).collect();
        let groups = groups
            .filter(|groups| groups.len() == 4)
            .ok_or_else(|| IdentifierError::Syntax(text.to_owned()))?;
        if !(0x2000..=0x2fff).contains(&groups[0]) {
            return Err(IdentifierError::Type(text.to_owned()));
        }
        if matches!(groups[3], 0 | 0xffff) {
            return Err(IdentifierError::LowWord(text.to_owned()));
        }
        Ok(Self(groups.iter().fold(0, |bits, group| bits << 16 | group)))
    }
}

fn parse_group(group: &str) -> Option<u64> {
    // from_str_radix alone would also take a sign.
    let digits = group.len() <= 4 && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(group, 16).ok())?
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/64", self.network())
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = [48, 32, 16, 0].map(|shift| self.0 >> shift & 0xffff);
        write!(f, "{a:x}:{b:x}:{c:x}:{d:x}")
    }
}

macro_rules! as_text {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = <$type as FromStr>::Err;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

as_text!(Prefix);
as_text!(Identifier);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_read_as_they_are_written() {
        for text in ["fd00:db8:0:1::/64", "2001:db8:a:1::/64", "2001:db8::/64"] {
            assert_eq!(text.parse::<Prefix>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        let text = String::from;
        let table = [
            ("", PrefixError::Syntax(text(""))),
            ("2001:db8::", PrefixError::Syntax(text("2001:db8::"))),
            ("2001:db8::/x", PrefixError::Syntax(text("2001:db8::/x"))),
            ("2001:db8::/129", PrefixError::Syntax(text("2001:db8::/129"))),
            ("10.0.0.0/64", PrefixError::Syntax(text("10.0.0.0/64"))),
            ("2001:db8::/48", PrefixError::Length(text("2001:db8::/48"))),
            (
                "2001:db8::1/64",
                PrefixError::HostBits(text("2001:db8::1/64"), "2001:db8::/64".parse().unwrap()),
            ),
            ("::/64", PrefixError::NotRoutable(text("::/64"))),
            ("fe80::/64", PrefixError::NotRoutable(text("fe80::/64"))),
            ("ff02::/64", PrefixError::NotRoutable(text("ff02::/64"))),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<Prefix>(), Err(error));
        }
    }

    #[test]
    fn identifiers_read_as_they_are_written() {
        for text in ["2000:0:0:a1", "2fff:ffff:ffff:fffe", "2000:0:0:1"] {
            assert_eq!(text.parse::<Identifier>().expect(text).to_string(), text);
        }
        assert_eq!("2000:0000:0:00A1".parse::<Identifier>(), "2000:0:0:a1".parse());
    }

    #[test]
    fn what_is_no_identifier_is_refused() {
        let refusal = |text: &str| text.parse::<Identifier>().expect_err(text);
        for text in ["", "2000:0:0", "2000:0:0:1:2", "2000::1", "2000:0:0:+1", "2000:0:0:00001"] {
            assert_eq!(refusal(text), IdentifierError::Syntax(text.to_owned()));
        }
        for text in ["1fff:0:0:1", "3000:0:0:1"] {
            assert_eq!(refusal(text), IdentifierError::Type(text.to_owned()));
        }
        for text in ["2000:0:0:0", "2000:0:0:ffff"] {
            assert_eq!(refusal(text), IdentifierError::LowWord(text.to_owned()));
        }
    }

    #[test]
    fn an_address_is_prefix_and_identifier() {
        let prefix: Prefix = "fd00:db8:0:1::/64".parse().unwrap();
        let address = prefix.address("2000:0:0:a1".parse().unwrap());
        assert_eq!(address, "fd00:db8:0:1:2000:0:0:a1".parse::<Ipv6Addr>().unwrap());
        assert!(prefix.is_in("fd00:db8::".parse().unwrap(), 48));
        assert!(!prefix.is_in("fd00:db9::".parse().unwrap(), 48));
    }
}
