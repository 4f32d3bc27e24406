//! What is found out about this host, and what is written there.

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, SocketAddrV6},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use ila_authority::files::{self, OPEN};
use ila_proto::{
    addr::Address,
    api::{Domain, InterfaceName, NodeName},
    enrol::Settings,
    forward::SourceMode,
    translate::ChecksumMode,
};
use ipnet::Ipv6Net;
use serde::Serialize;

use super::cli::HostArgs;
use crate::{config::Config, desired, netlink::Links};

/// Where the files of a host are.
#[derive(Debug)]
pub struct Places {
    /// The configuration.
    pub config: PathBuf,
    /// The folder with key and certificate.
    pub identity: PathBuf,
}

impl Places {
    /// Those that were typed, and absolute: the agent has another working
    /// directory.
    pub fn of(host: &HostArgs) -> Result<Self> {
        let config = std::path::absolute(&host.config)?;
        let beside = config.with_file_name("identity");
        let identity = std::path::absolute(host.identity.as_ref().unwrap_or(&beside))?;
        Ok(Self { config, identity })
    }

    /// The folder of the authority, on the host where the mesh was made.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        authority_beside(&self.identity)
    }
}

/// The folder of the authority, if it is on this host: `authority` beside the
/// identity's.
#[must_use]
pub fn authority_beside(identity: &Path) -> PathBuf {
    identity.with_file_name("authority")
}

/// The name of this host, if none is given.
pub fn name(given: Option<&NodeName>) -> Result<NodeName> {
    if let Some(name) = given {
        return Ok(name.clone());
    }
    let name = fs::read_to_string("/proc/sys/kernel/hostname").context("the host has no name")?;
    let name = name.trim();
    name.parse().with_context(|| format!("the host's name is `{name}`; name the node with --node"))
}

/// The underlay interfaces: those that are given, or those of the default route.
pub async fn uplinks(links: &Links, given: &[InterfaceName]) -> Result<Vec<InterfaceName>> {
    let uplinks = match given {
        [] => links.default_uplinks().await?,
        given => given.to_vec(),
    };
    if uplinks.is_empty() {
        bail!(
            "the host has no default route for IPv6 that shows its uplink; name it with --uplink"
        );
    }
    for uplink in &uplinks {
        let interface = links.interface(uplink).await?;
        if !interface.ethernet {
            bail!("{uplink} is no Ethernet interface; name another one with --uplink");
        }
    }
    Ok(uplinks)
}

/// How others reach this host: as given, or at the first address of an uplink
/// that is no container's, with the port where it listens.
pub async fn addresses(
    links: &Links,
    uplinks: &[InterfaceName],
    domains: &[Domain],
    listen: SocketAddr,
    given: &[SocketAddr],
) -> Result<Vec<SocketAddr>> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    if !listen.ip().is_unspecified() {
        return Ok(vec![listen]);
    }
    for uplink in uplinks {
        let index = links.interface(uplink).await?.index;
        for address in links.global_addresses(index).await? {
            if !desired::is_ila(domains, Address::from(address)) {
                return Ok(vec![SocketAddr::new(address.into(), listen.port())]);
            }
        }
    }
    bail!("no uplink has a global address by which others reach this host; name one with --address")
}

/// Those that tokens can have.
#[must_use]
pub fn of_ipv6(addresses: &[SocketAddr]) -> Vec<SocketAddrV6> {
    let v6 = addresses.iter().map(|address| match address {
        SocketAddr::V6(address) => SocketAddrV6::new(*address.ip(), address.port(), 0, 0),
        SocketAddr::V4(address) => {
            SocketAddrV6::new(address.ip().to_ipv6_mapped(), address.port(), 0, 0)
        }
    });
    v6.collect()
}

/// What to say to somebody who has not named a locator: it cannot be told which
/// prefix the underlay routes to this host alone.
pub async fn no_locator(links: &Links, uplinks: &[InterfaceName]) -> Result<String> {
    let mut prefixes = Vec::new();
    for uplink in uplinks {
        let index = links.interface(uplink).await?.index;
        for address in links.global_addresses(index).await? {
            let prefix = Ipv6Net::new_assert(address, 64).trunc();
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
    }
    let says = "name this host's locator with --locator: a /64 that the underlay routes to this \
                host and to no other";
    Ok(match &prefixes[..] {
        [prefix] => {
            format!("{says}; if that is true of the prefix on its uplink: --locator {prefix}")
        }
        _ => says.to_owned(),
    })
}

/// What a host's configuration says.
#[derive(Debug)]
pub struct Contents {
    /// The node's name.
    pub node: NodeName,
    /// Its locators, at least one.
    pub domains: Vec<Domain>,
    /// Its underlay interfaces.
    pub uplinks: Vec<InterfaceName>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// How others reach it.
    pub addresses: Vec<SocketAddr>,
    /// Where it finds them.
    pub seeds: Vec<SocketAddr>,
    /// What is the same on all hosts.
    pub settings: Settings,
}

/// The same as it is written.
#[derive(Serialize)]
struct File<'a> {
    node: &'a NodeName,
    sir_prefix: String,
    locator: String,
    uplinks: &'a [InterfaceName],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    locator_spaces: &'a [Ipv6Net],
    checksum_mode: ChecksumMode,
    source: SourceMode,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    domain: &'a [Domain],
    mesh: MeshTable<'a>,
}

#[derive(Serialize)]
struct MeshTable<'a> {
    identity: &'a Path,
    listen: SocketAddr,
    addresses: &'a [SocketAddr],
    seeds: &'a [SocketAddr],
}

impl Contents {
    /// The text of the file, which the agent has found to be right.
    pub fn text(&self, places: &Places) -> Result<String> {
        let [first, others @ ..] = &self.domains[..] else { bail!("there is no locator") };
        let file = File {
            node: &self.node,
            sir_prefix: first.sir_prefix.to_string(),
            locator: first.locator.to_string(),
            uplinks: &self.uplinks,
            locator_spaces: &self.settings.locator_spaces,
            checksum_mode: self.settings.checksum_mode,
            source: self.settings.source,
            domain: others,
            mesh: MeshTable {
                identity: &places.identity,
                listen: self.listen,
                addresses: &self.addresses,
                seeds: &self.seeds,
            },
        };
        let text = toml::to_string(&file).context("the configuration cannot be written")?;
        Config::parse(&places.config, &text)?;
        Ok(text)
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, places: &Places) -> Result<()> {
        Ok(files::write(&places.config, self.text(places)?.as_bytes(), OPEN)?)
    }
}

/// Takes away again what a command has made that has not come to its end.
#[derive(Debug)]
pub struct Undo {
    made: Vec<PathBuf>,
    /// Those that the others lie in, the innermost first.
    folders: Vec<PathBuf>,
}

impl Undo {
    /// Of these, those that are not there yet, and the folders that are missing
    /// for them.
    pub fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let is_missing = |path: &Path| matches!(path.try_exists(), Ok(false));
        let made: Vec<_> = paths.into_iter().filter(|path| is_missing(path)).collect();
        let folders: BTreeSet<_> = made.iter().flat_map(|path| path.ancestors().skip(1)).collect();
        let folders = folders.into_iter().rev().filter(|path| is_missing(path));
        let folders = folders.map(Path::to_owned).collect();
        Self { made, folders }
    }

    /// Leaves a path where it is, and the folders that it lies in.
    pub fn keep(&mut self, kept: &Path) {
        self.made.retain(|path| !kept.starts_with(path));
    }

    /// Leaves everything.
    pub fn done(mut self) {
        self.made.clear();
        self.folders.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for path in &self.made {
            let removed =
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            // Most of it was never made.
            if let Err(error) = removed
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "left behind");
            }
        }
        for folder in &self.folders {
            // What has something in it stays: it was kept, or is somebody else's.
            let _ = fs::remove_dir(folder);
        }
    }
}
