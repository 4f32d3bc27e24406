//! The configuration: one TOML file, checked as a whole before anything is
//! done. An error names the line, the key and the reason.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use ila_proto::{
    abi::HostConfig,
    addr::{Identifier, Locator, SirPrefix},
    api::{DEFAULT_RUNTIME_DIR, Hook, InterfaceName, NodeName, SOCKET_NAME},
    translate::ChecksumMode,
};
use serde::Deserialize;
use toml::Spanned;

/// Bytes in the path of a unix socket, the terminating zero not counted.
const MAX_SOCKET_PATH: usize = 107;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// The file is no text.
    #[error("{path}: line {line}: is not UTF-8")]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file is no TOML, or a value is not what its key takes. The TOML
    /// error shows the line and points at the value.
    #[error("{path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: Box<toml::de::Error>,
    },
    /// Values that are fine by themselves do not go together.
    #[error("{path}: line {line}: `{key}`: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key on that line.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A configuration that has passed all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name of this node.
    pub node: NodeName,
    /// The SIR prefix of the domain.
    pub sir_prefix: SirPrefix,
    /// This host's locator.
    pub locator: Locator,
    /// The underlay interfaces, at least one.
    pub uplinks: Vec<InterfaceName>,
    /// How checksums are kept right.
    pub checksum_mode: ChecksumMode,
    /// How programs are attached; `None` leaves it to the kernel's version.
    pub hook: Option<Hook>,
    /// Where socket, lock and container records are.
    pub runtime_dir: PathBuf,
    /// Mappings that are written by hand.
    pub mappings: BTreeMap<Identifier, Locator>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    node: NodeName,
    sir_prefix: SirPrefix,
    locator: Spanned<Locator>,
    uplinks: Spanned<Vec<Spanned<InterfaceName>>>,
    #[serde(default)]
    checksum_mode: ChecksumMode,
    #[serde(default)]
    hook: HookChoice,
    #[serde(default = "default_runtime_dir")]
    runtime_dir: Spanned<PathBuf>,
    #[serde(default)]
    mapping: Vec<Mapping>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HookChoice {
    #[default]
    Auto,
    Tcx,
    Clsact,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    identifier: Spanned<Identifier>,
    locator: Spanned<Locator>,
}

fn default_runtime_dir() -> Spanned<PathBuf> {
    Spanned::new(0..0, PathBuf::from(DEFAULT_RUNTIME_DIR))
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes =
            fs::read(path).map_err(|reason| ConfigError::Read { path: path.to_owned(), reason })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.split(|&byte| byte == b'\n').count();
            ConfigError::NotText { path: path.to_owned(), line }
        })?;
        Self::parse(path, &text)
    }

    /// Checks `text`, which stands in the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|reason| ConfigError::Parse {
            path: path.to_owned(),
            reason: reason.into(),
        })?;
        file.check().map_err(|Problem { at, key, reason }| ConfigError::Invalid {
            path: path.to_owned(),
            line: text[..at].lines().count().max(1),
            key,
            reason,
        })
    }

    /// The kernel programs' constants.
    #[must_use]
    pub const fn host_config(&self) -> HostConfig {
        HostConfig {
            sir_prefix: self.sir_prefix.bits(),
            locator: self.locator.bits(),
            to_sir: self.checksum_mode.to_sir_delta(self.sir_prefix, self.locator).value(),
            checksum_mode: self.checksum_mode.number(),
            padding: 0,
        }
    }
}

/// What is wrong, and at which byte of the text the offending value starts.
struct Problem {
    at: usize,
    key: &'static str,
    reason: String,
}

impl Problem {
    fn new<T>(at: &Spanned<T>, key: &'static str, reason: impl Into<String>) -> Self {
        // The first byte of the value itself, so that its line counts.
        Self { at: at.span().start + 1, key, reason: reason.into() }
    }
}

impl File {
    fn check(self) -> Result<Config, Problem> {
        let sir = self.sir_prefix;
        let differs = |locator: &Spanned<Locator>| {
            if locator.get_ref().bits() == sir.bits() {
                let reason = "is the SIR prefix; a locator names a host, never the domain";
                return Err(Problem::new(locator, "locator", reason));
            }
            Ok(())
        };
        differs(&self.locator)?;
        if !self.runtime_dir.get_ref().is_absolute() {
            return Err(Problem::new(&self.runtime_dir, "runtime_dir", "must be an absolute path"));
        }
        if self.runtime_dir.get_ref().join(SOCKET_NAME).as_os_str().len() > MAX_SOCKET_PATH {
            let reason =
                format!("is too long: with /{SOCKET_NAME} it may have {MAX_SOCKET_PATH} bytes");
            return Err(Problem::new(&self.runtime_dir, "runtime_dir", reason));
        }
        let mut mappings = BTreeMap::new();
        for Mapping { identifier, locator } in self.mapping {
            differs(&locator)?;
            if mappings.insert(*identifier.get_ref(), locator.into_inner()).is_some() {
                let reason = format!("{} is mapped twice", identifier.get_ref());
                return Err(Problem::new(&identifier, "identifier", reason));
            }
        }
        Ok(Config {
            node: self.node,
            sir_prefix: sir,
            locator: self.locator.into_inner(),
            uplinks: check_uplinks(self.uplinks)?,
            checksum_mode: self.checksum_mode,
            hook: match self.hook {
                HookChoice::Auto => None,
                HookChoice::Tcx => Some(Hook::Tcx),
                HookChoice::Clsact => Some(Hook::Clsact),
            },
            runtime_dir: self.runtime_dir.into_inner(),
            mappings,
        })
    }
}

fn check_uplinks(
    uplinks: Spanned<Vec<Spanned<InterfaceName>>>,
) -> Result<Vec<InterfaceName>, Problem> {
    const KEY: &str = "uplinks";
    if uplinks.get_ref().is_empty() {
        return Err(Problem::new(&uplinks, KEY, "needs at least one interface"));
    }
    let mut names = Vec::new();
    for uplink in uplinks.into_inner() {
        if names.contains(uplink.get_ref()) {
            return Err(Problem::new(&uplink, KEY, format!("{} is named twice", uplink.get_ref())));
        }
        names.push(uplink.into_inner());
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
