//! Names that come from outside, checked where they come in.

use std::{fmt, str::FromStr};

use crate::text::as_text;

/// Why a text cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A container's name.
    #[error(
        "`{0}` cannot be a container's name: 1 to 128 letters, digits, `_`, `.` or `-`, \
         the first a letter or digit"
    )]
    Container(String),
    /// A node's name.
    #[error(
        "`{0}` cannot be a node's name: 1 to 128 letters, digits, `_`, `.` or `-`, \
         the first a letter or digit"
    )]
    Node(String),
    /// An interface's name.
    #[error(
        "`{0}` cannot be an interface's name: 1 to 15 bytes, not `.`, `..`, `all` or `default`, \
         without `/`, `:`, `%`, control characters and white space"
    )]
    Interface(String),
}

/// A container's name on its host: 1 to 128 ASCII letters, digits, `_`, `.` or
/// `-`, the first a letter or digit. That admits what runtimes use, and is
/// safe as a file's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName(String);

/// A node's name; the same rules as a container's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// An interface's name by the kernel's rules: 1 to 15 bytes, not `.` or `..`,
/// without `/`, `:`, white space and `%`, which would make it a template; nor
/// `all` or `default`, which mean something else where interfaces have their
/// settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

/// `eth0`, which is what containers expect.
impl Default for InterfaceName {
    fn default() -> Self {
        Self("eth0".to_owned())
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_interface(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && ![".", "..", "all", "default"].contains(&text)
        && !text.contains(|c: char| "/:%".contains(c) || c.is_whitespace() || c.is_control())
        // White space to the kernel, which reads bytes as Latin-1.
        && !text.as_bytes().contains(&0xa0)
}

macro_rules! name {
    ($type:ident, $is_valid:ident, $error:ident, $what:literal, $pattern:literal) => {
        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let name = text.to_owned();
                if $is_valid(text) { Ok(Self(name)) } else { Err(NameError::$error(name)) }
            }
        }

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

        as_text!($type, $what, $pattern);
    };
}

name!(
    ContainerName,
    is_plain,
    Container,
    "a container's name",
    "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
);
name!(NodeName, is_plain, Node, "a node's name", "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$");
name!(InterfaceName, is_interface, Interface, "an interface's name", "^[^/:%\\s]{1,15}$");
