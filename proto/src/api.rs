//! The local API: HTTP with JSON bodies over the agent's unix socket.
//!
//! | method and path | request | reply |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `GET /v1/containers` | | [`ContainerList`] |
//! | `POST /v1/containers` | [`AddContainer`] | [`Container`] |
//! | `GET /v1/containers/NAME` | | [`Container`] |
//! | `DELETE /v1/containers/NAME` | | [`Container`], as it was |
//! | `GET /v1/mappings` | | [`MappingList`] |
//! | `GET /v1/mappings/IDENTIFIER` | | [`Mapping`] |
//! | `GET /v1/mappings/IDENTIFIER/origin` | | [`MappingOrigin`] |
//! | `GET /v1/mapping-changes` | | a [`MappingChange`] a line, for as long as the client reads |
//! | `GET /v1/nodes` | | [`NodeList`] |
//! | `GET /v1/counters` | | [`CounterList`] |
//! | `GET /v1/drops` | | a [`DroppedPacket`] a line, for as long as the client reads |
//!
//! A reply that is not 2xx carries an [`ErrorReply`], unless the request was no
//! HTTP that could be read. Every reply says its
//! version as `"v": 1`; fields may be added within a version, never changed.

use std::{collections::BTreeMap, net::Ipv6Addr, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    addr::{Identifier, Locator, SirPrefix},
    forward::{Path, SourceMode},
    translate::ChecksumMode,
};

mod mesh;
mod name;
pub use mesh::{
    AlarmReport, CertificateStatus, MappingOrigin, MeshStatus, Node, NodeList, NodeState, Rejected,
};
pub use name::{ContainerName, InterfaceName, NameError, NodeName};

/// The version that every reply carries.
pub const VERSION: u32 = 1;

/// Bytes of a request body that the agent reads at most.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// The file name of the socket in the agent's runtime directory.
pub const SOCKET_NAME: &str = "agent.sock";

/// Where an agent runs that was told nothing else.
pub const DEFAULT_RUNTIME_DIR: &str = "/run/ila";

/// Where an agent pins its programs that was told nothing else.
pub const DEFAULT_BPF_DIR: &str = "/sys/fs/bpf/ila";

/// Where an agent keeps what has to outlive a boot that was told nothing else.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/ila";

/// The agent's configuration where nothing else is said.
pub const DEFAULT_CONFIG: &str = "/etc/ila/agent.toml";

/// A reply with its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Versioned<T> {
    /// [`VERSION`].
    pub v: u32,
    /// The reply itself, its fields beside the version.
    #[serde(flatten)]
    pub reply: T,
}

impl<T> Versioned<T> {
    /// `reply` in the version of this crate.
    pub const fn new(reply: T) -> Self {
        Self { v: VERSION, reply }
    }
}

/// A SIR prefix that a host serves, and the host's locator in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Domain {
    /// The SIR prefix.
    pub sir_prefix: SirPrefix,
    /// The host's locator.
    pub locator: Locator,
}

/// What a container is to be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddContainer {
    /// The name under which it is known on this host.
    pub name: ContainerName,
    /// Its network namespace, as an absolute path: `/run/netns/…`,
    /// `/proc/PID/ns/net`.
    pub netns: PathBuf,
    /// What its interface is called inside.
    #[serde(default)]
    pub interface: InterfaceName,
    /// The SIR prefix of its address; without one the first that the host serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sir_prefix: Option<SirPrefix>,
    /// The identifier it must have; without one the agent picks at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Identifier>,
    /// Whatever the caller wants to remember.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A container that is registered on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// The name under which it is known on this host.
    pub name: ContainerName,
    /// Its identifier.
    pub identifier: Identifier,
    /// Its SIR address, which it keeps for life.
    pub address: Ipv6Addr,
    /// Its network namespace.
    pub netns: PathBuf,
    /// Its interface inside the namespace.
    pub interface: InterfaceName,
    /// The host's end of it.
    pub host_interface: InterfaceName,
    /// The largest packet on both, in bytes.
    pub mtu: u32,
    /// Whatever the caller wanted to remember.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// All containers of this host, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerList {
    /// In the order of their names.
    pub containers: Vec<Container>,
}

/// Where a mapping comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MappingSource {
    /// A container of this host.
    Local,
    /// The configuration.
    Static,
    /// Another node, by the mesh.
    Mesh,
}

/// Where an identifier lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mapping {
    /// Who is meant.
    pub identifier: Identifier,
    /// Its SIR address: what containers use.
    pub address: Ipv6Addr,
    /// The host that holds it.
    pub locator: Locator,
    /// Its ILA address: what the underlay carries.
    pub ila_address: Ipv6Addr,
    /// Who says so.
    pub source: MappingSource,
    /// The node that has it, if that is known by the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// How often it has changed hands, as far as that is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// For how long this node knows it so, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
}

/// A mapping that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MappingChange {
    /// Who is meant.
    pub identifier: Identifier,
    /// Its SIR address.
    pub address: Ipv6Addr,
    /// Where it is now; none if nobody has it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
}

/// All mappings that the kernel programs were given, by identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MappingList {
    /// In the order of their identifiers.
    pub mappings: Vec<Mapping>,
}

/// How many packets met one fate on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counter {
    /// The number of the fate, which never changes.
    pub number: u32,
    /// Its name, which never changes.
    pub name: String,
    /// `passed`, `answered` or `dropped`.
    pub outcome: String,
    /// Packets; an aggregated one counts once.
    pub packets: u64,
    /// Bytes of these packets, link-layer headers included.
    pub bytes: u64,
    /// One sentence for people.
    pub about: String,
}

/// What the counters stand at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CounterList {
    /// Of the whole host since its tables were made, interfaces that are gone
    /// included, in the order of their numbers.
    pub counters: Vec<Counter>,
    /// Of each interface that has a program, in the order of their names.
    #[serde(default)]
    pub interfaces: Vec<InterfaceCounters>,
}

/// What the counters of one interface stand at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceCounters {
    /// Its name.
    pub interface: InterfaceName,
    /// Whose it is; none for an uplink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerName>,
    /// Those that are not zero, in the order of their numbers.
    pub counters: Vec<Counter>,
}

/// Whom an address of the overlay means, be it a SIR or an ILA address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Party {
    /// The identifier, restored.
    pub identifier: Identifier,
    /// Its SIR address.
    pub address: Ipv6Addr,
    /// The locator that it is mapped to, this host's included; none if no
    /// mapping names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locator: Option<Locator>,
}

/// A packet that was dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DroppedPacket {
    /// The name of its fate.
    pub fate: String,
    /// What that means, for people.
    pub about: String,
    /// The interface whose program dropped it; empty if that is gone.
    pub interface: String,
    /// Whose interface that is; none for an uplink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerName>,
    /// Where it came from; none if it was not IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Ipv6Addr>,
    /// Where it was to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Ipv6Addr>,
    /// Whom the source means; none if nobody of the overlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Party>,
    /// Whom the destination means; none if nobody of the overlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Party>,
    /// The locator that the destination is mapped to; none if to none, or to
    /// this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locator: Option<Locator>,
    /// The number of the header behind the IPv6 header.
    pub next_header: u8,
    /// The hop limit.
    pub hop_limit: u8,
    /// Bytes, the link-layer header included.
    pub length: u32,
    /// Packets that were dropped since the last one told of here, and are not
    /// told of because nobody read fast enough.
    pub missed: u64,
}

/// By which hook the kernel programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// TCX, Linux 6.6 and later.
    Tcx,
    /// The `clsact` queueing discipline, any Linux that we run on.
    Clsact,
}

/// Whether packets can leave by an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UplinkState {
    /// As far as the host can tell.
    Up,
    /// No: nothing is connected to it, or what is there is off.
    NoCarrier,
    /// No: it is set down.
    Down,
    /// No: the host has no such interface any more, or another one by its name.
    Gone,
}

/// How an uplink is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Uplink {
    /// Its name.
    pub interface: InterfaceName,
    /// Its state.
    pub state: UplinkState,
    /// Seconds since the agent has known it to be so.
    pub seconds: u64,
}

/// What the agent is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The name of this node.
    pub node: NodeName,
    /// The first of the SIR prefixes that this host serves.
    pub sir_prefix: SirPrefix,
    /// This host's locator in it.
    pub locator: Locator,
    /// All SIR prefixes that this host serves.
    #[serde(default)]
    pub domains: Vec<Domain>,
    /// How checksums are kept right.
    pub checksum_mode: ChecksumMode,
    /// What becomes of the sources of containers' packets.
    #[serde(default)]
    pub source: SourceMode,
    /// The way of translated packets through the host.
    #[serde(default)]
    pub path: Path,
    /// The underlay interfaces.
    pub uplinks: Vec<InterfaceName>,
    /// How they are, in the same order.
    #[serde(default)]
    pub uplink_states: Vec<Uplink>,
    /// Why the programs ask the kernel for the route of each packet that leaves;
    /// absent if the routes to all locators are known to be plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes_asked: Option<String>,
    /// How the programs are attached to all interfaces.
    pub hook: Hook,
    /// The largest packet that containers may send, in bytes.
    pub mtu: u32,
    /// Containers registered on this host.
    pub containers: usize,
    /// Mappings that the kernel table was given.
    pub mappings: usize,
    /// Seconds since the agent started.
    pub uptime_seconds: u64,
    /// How the mesh is; none if the host is in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<MeshStatus>,
}

/// Why the agent refused, for programs to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The request is not what this API takes: the caller's fault.
    BadRequest,
    /// The request is larger than [`MAX_REQUEST_BYTES`].
    TooLarge,
    /// The request took longer than the agent waits; its work may still be done.
    TooSlow,
    /// No such path.
    UnknownPath,
    /// No container or mapping of that name.
    NotFound,
    /// A container of that name is registered already.
    NameTaken,
    /// Another container has the identifier, here or on another host.
    IdentifierTaken,
    /// The namespace has an interface of that name already.
    InterfaceTaken,
    /// The container is being added or removed by another request.
    Busy,
    /// The path names no network namespace.
    NoNamespace,
    /// The kernel refused; what had been done is undone.
    Kernel,
    /// The agent is about to end.
    ShuttingDown,
}

/// Why the agent refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorReply {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what is wrong and whose fault it is.
    pub message: String,
    /// What to type or do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[cfg(test)]
mod tests;
