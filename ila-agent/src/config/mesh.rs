//! The part of the configuration that is about the mesh.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ila_proto::gossip::frame::Version;
use serde::Deserialize;
use toml::Spanned;

use super::Problem;

/// Where nodes listen of which nothing else is said.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 7741);

/// How long others go on sending to a node that is down, where nothing else is
/// said: an agent that is upgraded, or has to be started by hand, is down, and
/// its containers are not. Of a host that is gone routers tell whoever sends
/// there, so that nobody waits for so long in vain.
const DEFAULT_GRACE: u32 = 600;

/// How this host takes part in a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    /// The folder with `node.key`, `node.pem` and `ca.pem`.
    pub identity: PathBuf,
    /// Where the agent listens, UDP.
    pub listen: SocketAddr,
    /// Where others reach it; none if that is its address in the underlay.
    pub addresses: Vec<SocketAddr>,
    /// Others, to find the mesh by.
    pub seeds: Vec<SocketAddr>,
    /// How long mappings to a node that is down stay.
    pub grace: Duration,
    /// The latest version of the protocol that is spoken with others.
    pub max_protocol: Version,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mesh {
    identity: Spanned<PathBuf>,
    #[serde(default = "default_listen")]
    listen: SocketAddr,
    #[serde(default)]
    addresses: Vec<Spanned<SocketAddr>>,
    #[serde(default)]
    seeds: Vec<Spanned<SocketAddr>>,
    #[serde(default = "default_grace")]
    grace_seconds: u32,
    max_protocol: Option<Spanned<i64>>,
}

const fn default_listen() -> SocketAddr {
    DEFAULT_LISTEN
}

const fn default_grace() -> u32 {
    DEFAULT_GRACE
}

impl Mesh {
    pub fn check(self) -> Result<MeshConfig, Problem> {
        if !self.identity.get_ref().is_absolute() {
            return Err(Problem::new(&self.identity, "identity", "must be an absolute path"));
        }
        Ok(MeshConfig {
            identity: self.identity.into_inner(),
            listen: self.listen,
            addresses: check_addresses("addresses", self.addresses)?,
            seeds: check_addresses("seeds", self.seeds)?,
            grace: Duration::from_secs(self.grace_seconds.into()),
            max_protocol: self.max_protocol.as_ref().map_or(Ok(Version::LATEST), check_protocol)?,
        })
    }
}

/// A version that this agent speaks.
fn check_protocol(stated: &Spanned<i64>) -> Result<Version, Problem> {
    let number = *stated.get_ref();
    let spoken = Version::ALL.into_iter().find(|it| i64::from(it.number()) == number);
    spoken.ok_or_else(|| {
        let latest = Version::LATEST.number();
        let reason = format!("this agent speaks the versions 1 to {latest}, not {number}");
        Problem::new(stated, "max_protocol", reason)
    })
}

/// What somebody can connect to.
fn check_addresses(
    key: &'static str,
    stated: Vec<Spanned<SocketAddr>>,
) -> Result<Vec<SocketAddr>, Problem> {
    for address in &stated {
        let it = address.get_ref();
        if it.ip().is_unspecified() || it.ip().is_multicast() || it.port() == 0 {
            return Err(Problem::new(address, key, format!("nobody can connect to {it}")));
        }
    }
    Ok(stated.into_iter().map(Spanned::into_inner).collect())
}
