//! What is compared: ways to connect the containers of the same hosts.

use std::{
    io::Write as _,
    net::Ipv6Addr,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use ila_labs::{Container, Host, Lab, Node, Options, PathMode, SourceMode, Topology};

/// A way to connect containers, and how it is brought up under a lab's name.
pub struct Variant {
    pub name: &'static str,
    pub what: &'static str,
    up: fn(&Topology, &str, &Options) -> Result<Subject>,
}

/// All of them. The first is what the others are compared with; the second is
/// the same once more, which says by how much equals differ.
pub const VARIANTS: [Variant; 5] = [
    Variant { name: "routing", what: "plain IPv6 routing: no agent, no program", up: routing },
    Variant { name: "routing-again", what: "the same in a lab of its own", up: routing },
    Variant { name: "fast", what: "the overlay as it is by default", up: fast },
    Variant { name: "slow", what: "the overlay with path = \"slow\"", up: slow },
    Variant { name: "locator", what: "the overlay with source = \"locator\"", up: locator },
];

/// A variant that is up.
pub struct Subject {
    lab: Lab,
    address: fn(&Topology, &Host, &Container) -> Ipv6Addr,
}

impl Subject {
    /// Any node.
    pub fn node(&self, name: &str) -> Result<Node> {
        Ok(self.lab.node(name)?)
    }

    /// Takes it down.
    pub fn down(self) -> Result<()> {
        Ok(self.lab.down()?)
    }

    /// The address by which others reach a container.
    pub fn address(&self, container: &str) -> Result<Ipv6Addr> {
        let topology = self.lab.topology();
        let (host, container) = topology
            .containers()
            .find(|(_, it)| it.name == container)
            .with_context(|| format!("there is no container {container}"))?;
        Ok((self.address)(topology, host, container))
    }
}

impl Variant {
    /// Brings it up in a lab whose name begins with `prefix`.
    pub fn up(&self, prefix: &str, options: &Options) -> Result<Subject> {
        let topology = Topology::builtin("two-hosts")?;
        (self.up)(&topology, &format!("{prefix}-{}", self.name), options)
            .with_context(|| format!("cannot bring up {}", self.name))
    }
}

fn fast(topology: &Topology, lab: &str, options: &Options) -> Result<Subject> {
    let lab = Lab::up(topology, lab, options)?;
    Ok(Subject { lab, address: |topology, _, container| topology.address(container) })
}

fn slow(topology: &Topology, lab: &str, options: &Options) -> Result<Subject> {
    fast(&Topology { path: Some(PathMode::Slow), ..topology.clone() }, lab, options)
}

fn locator(topology: &Topology, lab: &str, options: &Options) -> Result<Subject> {
    fast(&Topology { source: Some(SourceMode::Locator), ..topology.clone() }, lab, options)
}

/// Each container has an address under its host's locator, which the router
/// knows the way to already, and a link as an agent makes it. Neighbours are
/// fixed, so that none is ever solicited.
fn routing(topology: &Topology, lab: &str, options: &Options) -> Result<Subject> {
    let options = Options { no_agents: true, ..options.clone() };
    let lab = Lab::up(topology, lab, &options)?;
    let address = |_: &Topology, host: &Host, it: &Container| host.locator.address(it.identifier);
    for (number, (host, container)) in topology.containers().enumerate() {
        let (address, name) = (address(topology, host, container), &container.name);
        let (mac, mtu) = (format!("06:00:00:00:00:{number:02x}"), topology.mtu);
        let inside = lab.node(name)?;
        ip(
            &lab.node(&host.name)?,
            &format!(
                "link add to-{name} address {GATEWAY_MAC} mtu {mtu} type veth \
                 peer name eth0 address {mac} mtu {mtu} netns {netns}\n\
                 link set to-{name} addrgenmode none\n\
                 link set to-{name} up\n\
                 neighbour add {address} lladdr {mac} dev to-{name} nud permanent\n\
                 route add {address}/128 dev to-{name}\n",
                netns = inside.netns().display(),
            ),
        )?;
        ip(
            &inside,
            &format!(
                "link set eth0 up\n\
                 address add {address}/128 dev eth0 nodad\n\
                 neighbour add {GATEWAY} lladdr {GATEWAY_MAC} dev eth0 nud permanent\n\
                 route add default via {GATEWAY} dev eth0\n"
            ),
        )?;
    }
    Ok(Subject { lab, address })
}

/// The router that a container sees.
const GATEWAY: &str = "fe80::1";
const GATEWAY_MAC: &str = "02:00:00:00:00:01";

/// Runs a script of `ip` inside a node.
fn ip(node: &Node, script: &str) -> Result<()> {
    let mut command = node.command("ip");
    // In a group of its own, out of the reach of Ctrl-C, which asks to stop in order.
    command.args(["-6", "-batch", "-"]).process_group(0).stdin(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().context("cannot run ip")?;
    let mut stdin = child.stdin.take().context("it is piped")?;
    stdin.write_all(script.as_bytes()).context("cannot write to ip")?;
    drop(stdin);
    let output = child.wait_with_output().context("cannot run ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip: {}", said.trim());
    Ok(())
}

/// Has a container's interface send and take packets as they are on the wire:
/// none larger than its link takes, each with its checksum.
pub fn without_offloads(container: &Node) -> Result<()> {
    let mut ethtool: Command = container.command("ethtool");
    ethtool.args(["-K", "eth0", "tso", "off", "gso", "off", "gro", "off", "tx", "off"]);
    let output = ethtool.process_group(0).output().context("cannot run ethtool")?;
    if !output.status.success() {
        bail!("ethtool: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
