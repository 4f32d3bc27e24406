//! The configuration: one TOML file, checked as a whole before anything is
//! done. An error names the line, the key and the reason.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use ila_proto::{
    abi::{
        MAX_DOMAINS, MAX_INTERFACES, MAX_LOCATOR_SPACES, MAX_LOCATORS, MAX_MAPPINGS, MAX_UPLINKS,
    },
    addr::{Identifier, Locator, SirPrefix},
    api::{
        DEFAULT_BPF_DIR, DEFAULT_RUNTIME_DIR, DEFAULT_STATE_DIR, Domain, Hook, InterfaceName,
        NodeName, SOCKET_NAME,
    },
    forward,
    translate::ChecksumMode,
};
use ipnet::Ipv6Net;
use serde::Deserialize;
use toml::Spanned;

mod mesh;
pub use mesh::{DEFAULT_LISTEN, MeshConfig};

/// How many mappings there can be. The table has room for as many containers
/// besides as a host can have.
const MAX_STATED: u32 = MAX_MAPPINGS - MAX_INTERFACES;

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
    /// The SIR prefixes that this host serves, each with its locator there; at
    /// least one.
    pub domains: Vec<Domain>,
    /// The underlay interfaces, at least one.
    pub uplinks: Vec<InterfaceName>,
    /// Where the locators of all hosts are taken from. A locator that no mapping
    /// names, and no node of the mesh has, is known as one by this only.
    pub locator_spaces: Vec<Ipv6Net>,
    /// How checksums are kept right.
    pub checksum_mode: ChecksumMode,
    /// What becomes of the sources of containers' packets.
    pub source: forward::SourceMode,
    /// The way of translated packets through the host.
    pub path: forward::Path,
    /// How programs are attached; `None` leaves it to the kernel's version.
    pub hook: Option<Hook>,
    /// Where socket, lock and container records are.
    pub runtime_dir: PathBuf,
    /// Where programs, tables and links are pinned.
    pub bpf_dir: PathBuf,
    /// What has to outlive a boot.
    pub state_dir: PathBuf,
    /// How this host takes part in a mesh, if it does.
    pub mesh: Option<MeshConfig>,
    /// Mappings that are written by hand, by domain and identifier.
    pub mappings: BTreeMap<(u32, Identifier), Locator>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    node: NodeName,
    sir_prefix: Spanned<SirPrefix>,
    locator: Spanned<Locator>,
    uplinks: Spanned<Vec<Spanned<InterfaceName>>>,
    locator_spaces: Option<Vec<Spanned<Ipv6Net>>>,
    #[serde(default)]
    checksum_mode: ChecksumMode,
    #[serde(default)]
    source: forward::SourceMode,
    #[serde(default)]
    path: forward::Path,
    #[serde(default)]
    hook: HookChoice,
    #[serde(default = "default_runtime_dir")]
    runtime_dir: Spanned<PathBuf>,
    #[serde(default = "default_bpf_dir")]
    bpf_dir: Spanned<PathBuf>,
    #[serde(default = "default_state_dir")]
    state_dir: Spanned<PathBuf>,
    mesh: Option<mesh::Mesh>,
    #[serde(default)]
    domain: Vec<AnotherDomain>,
    #[serde(default)]
    mapping: Vec<Mapping>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnotherDomain {
    sir_prefix: Spanned<SirPrefix>,
    locator: Spanned<Locator>,
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
    sir_prefix: Option<Spanned<SirPrefix>>,
    identifier: Spanned<Identifier>,
    locator: Spanned<Locator>,
}

fn default_runtime_dir() -> Spanned<PathBuf> {
    Spanned::new(0..0, PathBuf::from(DEFAULT_RUNTIME_DIR))
}

fn default_bpf_dir() -> Spanned<PathBuf> {
    Spanned::new(0..0, PathBuf::from(DEFAULT_BPF_DIR))
}

fn default_state_dir() -> Spanned<PathBuf> {
    Spanned::new(0..0, PathBuf::from(DEFAULT_STATE_DIR))
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

    /// The index of a SIR prefix among those that this host serves.
    #[must_use]
    pub fn domain_of(&self, prefix: SirPrefix) -> Option<u32> {
        domain_of(&self.domains, prefix)
    }
}

fn domain_of(domains: &[Domain], prefix: SirPrefix) -> Option<u32> {
    (0..).zip(domains).find(|(_, it)| it.sir_prefix == prefix).map(|(index, _)| index)
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
        let domains = check_domains(
            std::iter::once((self.sir_prefix, self.locator))
                .chain(self.domain.into_iter().map(|it| (it.sir_prefix, it.locator))),
        )?;
        if !self.runtime_dir.get_ref().is_absolute() {
            return Err(Problem::new(&self.runtime_dir, "runtime_dir", "must be an absolute path"));
        }
        if self.runtime_dir.get_ref().join(SOCKET_NAME).as_os_str().len() > MAX_SOCKET_PATH {
            let reason =
                format!("is too long: with /{SOCKET_NAME} it may have {MAX_SOCKET_PATH} bytes");
            return Err(Problem::new(&self.runtime_dir, "runtime_dir", reason));
        }
        for (path, key) in [(&self.bpf_dir, "bpf_dir"), (&self.state_dir, "state_dir")] {
            if !path.get_ref().is_absolute() {
                return Err(Problem::new(path, key, "must be an absolute path"));
            }
        }
        let mappings = check_mappings(&domains, self.mapping)?;
        Ok(Config {
            node: self.node,
            domains,
            uplinks: check_uplinks(self.uplinks)?,
            locator_spaces: check_locator_spaces(self.locator_spaces, self.mesh.is_some())?,
            checksum_mode: self.checksum_mode,
            source: self.source,
            path: self.path,
            hook: match self.hook {
                HookChoice::Auto => None,
                HookChoice::Tcx => Some(Hook::Tcx),
                HookChoice::Clsact => Some(Hook::Clsact),
            },
            runtime_dir: self.runtime_dir.into_inner(),
            bpf_dir: self.bpf_dir.into_inner(),
            state_dir: self.state_dir.into_inner(),
            mesh: self.mesh.map(mesh::Mesh::check).transpose()?,
            mappings,
        })
    }
}

fn check_domains(
    stated: impl Iterator<Item = (Spanned<SirPrefix>, Spanned<Locator>)>,
) -> Result<Vec<Domain>, Problem> {
    let stated: Vec<_> = stated.collect();
    let mut domains: Vec<Domain> = Vec::new();
    for (sir_prefix, locator) in &stated {
        if domains.len() == MAX_DOMAINS {
            let reason = format!("a host serves at most {MAX_DOMAINS} SIR prefixes");
            return Err(Problem::new(sir_prefix, "sir_prefix", reason));
        }
        let domain = Domain { sir_prefix: *sir_prefix.get_ref(), locator: *locator.get_ref() };
        if sir_prefix.get_ref().bits() == 0 {
            return Err(Problem::new(
                sir_prefix,
                "sir_prefix",
                "is no prefix of unicast addresses",
            ));
        }
        if domain_of(&domains, domain.sir_prefix).is_some() {
            return Err(Problem::new(sir_prefix, "sir_prefix", "is stated twice"));
        }
        // The receiver could not know which prefix to put back.
        if domains.iter().any(|it| it.locator == domain.locator) {
            let reason = "is that of another SIR prefix; each needs one of its own";
            return Err(Problem::new(locator, "locator", reason));
        }
        domains.push(domain);
    }
    for (_, locator) in &stated {
        check_locator(&domains, locator)?;
    }
    Ok(domains)
}

fn check_locator(domains: &[Domain], locator: &Spanned<Locator>) -> Result<(), Problem> {
    let bits = locator.get_ref().bits();
    if bits == 0 {
        return Err(Problem::new(locator, "locator", "is no prefix of unicast addresses"));
    }
    if domains.iter().any(|it| it.sir_prefix.bits() == bits) {
        let reason = "is a SIR prefix; a locator names a host, never a domain";
        return Err(Problem::new(locator, "locator", reason));
    }
    Ok(())
}

/// In a mesh all locators are known. Otherwise somebody has to say where they
/// are, or containers could address hosts past the overlay.
fn check_locator_spaces(
    stated: Option<Vec<Spanned<Ipv6Net>>>,
    is_in_mesh: bool,
) -> Result<Vec<Ipv6Net>, Problem> {
    const KEY: &str = "locator_spaces";
    let Some(stated) = stated.or_else(|| is_in_mesh.then(Vec::new)) else {
        let reason = "is missing, and there is no `mesh`: name the prefixes that the locators of \
                      all hosts are taken from, as in [\"2001:db8:a::/48\"]; with [] containers \
                      can address every locator that no mapping names";
        return Err(Problem { at: 0, key: KEY, reason: reason.to_owned() });
    };
    for (index, space) in stated.iter().enumerate() {
        let net = space.get_ref();
        if index == MAX_LOCATOR_SPACES {
            return Err(Problem::new(space, KEY, format!("has at most {MAX_LOCATOR_SPACES}")));
        }
        if !(1..=64).contains(&net.prefix_len()) {
            let reason = format!("{net} is no prefix of locators, which are 64 bits long");
            return Err(Problem::new(space, KEY, reason));
        }
        if net.trunc() != *net {
            let reason = format!("{net} has bits set behind its end; use {}", net.trunc());
            return Err(Problem::new(space, KEY, reason));
        }
    }
    Ok(stated.into_iter().map(Spanned::into_inner).collect())
}

fn check_mappings(
    domains: &[Domain],
    stated: Vec<Mapping>,
) -> Result<BTreeMap<(u32, Identifier), Locator>, Problem> {
    let mut mappings = BTreeMap::new();
    let mut owners = BTreeMap::new();
    for (index, domain) in (0..).zip(domains) {
        owners.insert(domain.locator, index);
    }
    for Mapping { sir_prefix, identifier, locator } in stated {
        check_locator(domains, &locator)?;
        let domain = match sir_prefix {
            None => 0,
            Some(prefix) => domain_of(domains, *prefix.get_ref()).ok_or_else(|| {
                Problem::new(&prefix, "sir_prefix", "is none that this host serves")
            })?,
        };
        if *owners.entry(*locator.get_ref()).or_insert(domain) != domain {
            let reason = "is that of another SIR prefix; a locator belongs to one";
            return Err(Problem::new(&locator, "locator", reason));
        }
        if owners.len() > MAX_LOCATORS as usize {
            let reason = format!("is one more than the {MAX_LOCATORS} that there can be");
            return Err(Problem::new(&locator, "locator", reason));
        }
        let key = (domain, *identifier.get_ref());
        if mappings.insert(key, locator.into_inner()).is_some() {
            let reason = format!("{} is mapped twice", identifier.get_ref());
            return Err(Problem::new(&identifier, "identifier", reason));
        }
        if mappings.len() > MAX_STATED as usize {
            let reason = format!("is one more than the {MAX_STATED} that can be mapped");
            return Err(Problem::new(&identifier, "identifier", reason));
        }
    }
    Ok(mappings)
}

fn check_uplinks(
    uplinks: Spanned<Vec<Spanned<InterfaceName>>>,
) -> Result<Vec<InterfaceName>, Problem> {
    const KEY: &str = "uplinks";
    if uplinks.get_ref().is_empty() {
        return Err(Problem::new(&uplinks, KEY, "needs at least one interface"));
    }
    if uplinks.get_ref().len() > MAX_UPLINKS {
        return Err(Problem::new(&uplinks, KEY, format!("has at most {MAX_UPLINKS} interfaces")));
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
