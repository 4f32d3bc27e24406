//! Names that come from outside, checked where they come in.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Why a text cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A container's name.
    #[error(
        "`{0}` cannot be a container's name: 1 to 128 letters, digits, `_`, `.` or `-`, \
         the first a letter or digit"
    )]
    Container(String),
    /// An interface's name.
    #[error(
        "`{0}` cannot be an interface's name: 1 to 15 bytes, not `.` or `..`, \
         without `/`, `:` and white space"
    )]
    Interface(String),
}

/// A container's name on its host: 1 to 128 ASCII letters, digits, `_`, `.` or
/// `-`, the first a letter or digit. That admits what runtimes use, and is
/// safe as a file's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ContainerName(String);

/// An interface's name by the kernel's rules: 1 to 15 bytes, not `.` or `..`,
/// without `/`, `:` and white space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct InterfaceName(String);

impl ContainerName {
    const MAX_LENGTH: usize = 128;
}

impl InterfaceName {
    const MAX_LENGTH: usize = 15;
}

/// `eth0`, which is what containers expect.
impl Default for InterfaceName {
    fn default() -> Self {
        Self("eth0".to_owned())
    }
}

impl FromStr for ContainerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let valid = text.len() <= Self::MAX_LENGTH
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if valid { Ok(Self(text.to_owned())) } else { Err(NameError::Container(text.to_owned())) }
    }
}

impl FromStr for InterfaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let valid = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text != "."
            && text != ".."
            && !text.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace());
        if valid { Ok(Self(text.to_owned())) } else { Err(NameError::Interface(text.to_owned())) }
    }
}

macro_rules! name {
    ($type:ident, $pattern:literal) => {
        impl $type {
            /// The name as it is.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

name!(ContainerName, "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$");
name!(InterfaceName, "^[^/:\\s]{1,15}$");
