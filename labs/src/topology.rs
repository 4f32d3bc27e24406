//! Topologies: which hosts and containers a lab has.

use std::{fs, io, path::Path};

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
    /// The SIR prefix of all containers.
    pub sir_prefix: Prefix,
    /// How agents keep checksums right; without it they decide.
    pub checksum_mode: Option<ChecksumMode>,
    /// By which hook agents attach their programs; without it they decide.
    pub hook: Option<Hook>,
    /// The largest packet on the links between hosts and router, in bytes.
    pub mtu: u16,
    /// The hosts, in the order of the file.
    pub hosts: Vec<Host>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, which no other host or container of the topology has.
    pub name: String,
    /// Its locator.
    pub locator: Prefix,
    /// The containers that start on it, in the order of the file.
    pub containers: Vec<Container>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name, which no other host or container of the topology has.
    pub name: String,
    /// Its identifier.
    pub identifier: Identifier,
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
}

#[cfg(test)]
mod tests;
