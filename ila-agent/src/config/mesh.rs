//! The table `[mesh]`: how this host takes part in the mesh.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use serde::Deserialize;

/// Where nodes listen of which nothing else is said.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 7741);

/// How this host takes part in the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mesh {
    /// The folder with `node.key`, `node.pem` and `ca.pem`.
    pub identity: PathBuf,
    /// Where it listens.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// How others reach it; if there are none, by the uplink's address.
    #[serde(default)]
    pub addresses: Vec<SocketAddr>,
    /// Where it finds others.
    #[serde(default)]
    pub seeds: Vec<SocketAddr>,
}

fn default_listen() -> SocketAddr {
    DEFAULT_LISTEN
}
