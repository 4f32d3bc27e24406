//! Topologies: which hosts and containers a lab has.

use std::{collections::BTreeSet, fs, io, net::Ipv6Addr, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Identifier, Prefix};

mod parse;

/// The topologies that the program brings along.
const BUILT_IN: [(&str, &str); 2] = [
    ("two-hosts", include_str!("../topologies/two-hosts.toml")),
    ("three-hosts", include_str!("../topologies/three-hosts.toml")),
];

/// Which hosts and containers a lab has, checked as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The name of the file without its ending; what a lab of it is called
    /// that was given no other name.
    pub name: String,
    /// The SIR prefix that all hosts serve, and of all containers that have no
    /// other.
    pub sir_prefix: Prefix,
    /// How agents keep checksums right; without it they decide.
    pub checksum_mode: Option<ChecksumMode>,
    /// How agents know of the containers of other hosts.
    #[serde(default)]
    pub mappings: Mappings,
    /// By which hook agents attach their programs; without it they decide.
    pub hook: Option<Hook>,
    /// By which path agents send packets on; without it they decide.
    pub path: Option<PathMode>,
    /// Which source packets have on the underlay; without it agents decide.
    pub source: Option<SourceMode>,
    /// The largest packet on the links between hosts and router, in bytes.
    pub mtu: u16,
    /// What is special about the router.
    #[serde(default)]
    pub router: Router,
    /// The hosts, in the order of the file.
    pub hosts: Vec<Host>,
}

/// What is special about the router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// It drops packets from a source that it would not reach by the link
    /// which they come from.
    pub strict_sources: bool,
    /// It reaches the SIR prefix by this host.
    pub sir_via: Option<String>,
    /// It takes each locator for a prefix on the link to its host, and solicits
    /// the addresses one by one.
    pub on_link_locators: bool,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, which no other host or container of the topology has.
    pub name: String,
    /// Its locator.
    pub locator: Prefix,
    /// How many links it has to the router.
    #[serde(default = "one")]
    pub uplinks: u8,
    /// The VLAN that its links carry the underlay in; without it there is none.
    pub vlan: Option<u16>,
    /// The largest packet on its links, in bytes; without it that of the
    /// topology.
    pub mtu: Option<u16>,
    /// The SIR prefixes that it serves beside that of the topology.
    #[serde(default)]
    pub domains: Vec<Domain>,
    /// The containers that start on it, in the order of the file.
    pub containers: Vec<Container>,
}

/// A SIR prefix and the locator of a host in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The SIR prefix.
    pub sir_prefix: Prefix,
    /// The locator.
    pub locator: Prefix,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name, which no other host or container of the topology has.
    pub name: String,
    /// Its identifier.
    pub identifier: Identifier,
    /// Its SIR prefix; without one it has that of the topology.
    pub sir_prefix: Option<Prefix>,
}

/// How agents know of the containers of other hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mappings {
    /// They tell each other.
    #[default]
    Mesh,
    /// It stands in their configurations.
    Static,
}

/// How checksums are kept right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChecksumMode {
    /// The low word of the identifier is adjusted, and the C-bit says so.
    NeutralMap,
    /// The low word is adjusted, and both ends know.
    NeutralMapAuto,
    /// Nothing is adjusted.
    NoAction,
}

/// By which path an agent sends packets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathMode {
    /// Past the host's stack.
    Fast,
    /// Through the host's stack.
    Slow,
}

/// Which source packets have on the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceMode {
    /// The sender's SIR address.
    Sir,
    /// That address under the locator of the sender's host.
    Locator,
}

/// By which hook an agent attaches its programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// The best that the kernel has.
    Auto,
    /// TCX.
    Tcx,
    /// The `clsact` queueing discipline.
    Clsact,
}

/// Why there is no topology to make a lab of.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The file cannot be read.
    #[error("cannot read the topology {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// Neither a file nor built in.
    #[error(
        "no built-in topology is called `{name}`, only {known}; \
         for a file give a path with a `/` or the ending .toml"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file says something that no lab can be made of.
    #[error("{path}: line {line}: `{key}`: {reason}")]
    Invalid {
        /// The file, or the name of the built-in topology.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The key or table on that line.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Topology {
    /// The built-in topology of that name.
    pub fn builtin(name: &str) -> Result<Self, TopologyError> {
        let text = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| text);
        let text = text.ok_or_else(|| TopologyError::Unknown {
            name: name.to_owned(),
            known: BUILT_IN.map(|(name, _)| name).join(" and "),
        })?;
        Self::parse(name, text)
    }

    /// What a user means: a file if it is a path with a `/` or ends in
    /// `.toml`, else a built-in topology.
    pub fn load(argument: &str) -> Result<Self, TopologyError> {
        if !argument.contains('/') && Path::new(argument).extension().is_none_or(|it| it != "toml")
        {
            return Self::builtin(argument);
        }
        let text = fs::read_to_string(argument)
            .map_err(|source| TopologyError::Read { path: argument.to_owned(), source })?;
        Self::parse(argument, &text)
    }

    /// Reads and checks `text`. Errors call it `path`, and the topology is
    /// called as the last part of that without its ending.
    pub fn parse(path: &str, text: &str) -> Result<Self, TopologyError> {
        parse::topology(path, text)
    }

    /// Every container with its host.
    pub fn containers(&self) -> impl Iterator<Item = (&Host, &Container)> {
        self.hosts.iter().flat_map(|host| host.containers.iter().map(move |it| (host, it)))
    }

    /// The SIR address of a container.
    #[must_use]
    pub fn address(&self, container: &Container) -> Ipv6Addr {
        container.sir_prefix.unwrap_or(self.sir_prefix).address(container.identifier)
    }

    /// All SIR prefixes that a host serves, that of the topology first.
    pub fn domains(&self, host: &Host) -> impl Iterator<Item = Domain> {
        let first = Domain { sir_prefix: self.sir_prefix, locator: host.locator };
        std::iter::once(first).chain(host.domains.iter().copied())
    }

    /// The SIR prefix of a container of `host`, and the locator that leads
    /// there.
    #[must_use]
    pub fn domain_of(&self, host: &Host, container: &Container) -> Domain {
        let wanted = container.sir_prefix.unwrap_or(self.sir_prefix);
        self.domains(host).find(|it| it.sir_prefix == wanted).expect("it is checked")
    }

    /// All SIR prefixes.
    #[must_use]
    pub fn sir_prefixes(&self) -> BTreeSet<Prefix> {
        let domains = self.hosts.iter().flat_map(|host| &host.domains);
        domains.map(|it| it.sir_prefix).chain([self.sir_prefix]).collect()
    }
}

fn one() -> u8 {
    1
}

#[cfg(test)]
mod tests;
