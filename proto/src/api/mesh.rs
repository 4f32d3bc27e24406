//! What an agent knows of the mesh.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Domain, Mapping, NodeName};

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// This one.
    This,
    /// Most of its neighbours reach it, or none has said otherwise.
    Alive,
    /// Most of its neighbours do not. Its mappings are still in use.
    Down,
    /// It has been so for long: its mappings are not in use until it is back.
    Hidden,
}

/// A node of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// The digest of its key, which tells it from others of that name.
    pub id: String,
    /// How it is.
    pub state: NodeState,
    /// How long an answer took when the connection to it was made, in
    /// microseconds; none if there is no connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_micros: Option<u64>,
    /// The version of the protocol that is spoken by that connection; none if
    /// there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// How long ago something came that it has signed, in milliseconds.
    pub heard_millis: u64,
    /// How many identifiers it says it has.
    pub mappings: usize,
    /// The version of its agent.
    pub version: String,
    /// Its locators.
    pub domains: Vec<Domain>,
    /// Where its agent can be reached.
    pub addresses: Vec<SocketAddr>,
}

/// All nodes that are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeList {
    /// In the order of their names.
    pub nodes: Vec<Node>,
}

/// How the mesh is, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MeshStatus {
    /// Whether a neighbour has known just what this node does, and the kernel's
    /// tables hold it.
    pub converged: bool,
    /// Nodes that are known, this one included.
    pub nodes: usize,
    /// Those of them that are down.
    pub down: usize,
    /// Nodes that there is a connection to.
    pub links: usize,
    /// Why the kernel's tables do not hold what is known; none if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What others have said that was news.
    pub taken: u64,
    /// What came more than once.
    pub duplicates: u64,
    /// What had to be asked for.
    pub repairs: u64,
    /// What was not taken, and who was not let in, by reason.
    pub rejected: Vec<Rejected>,
    /// Bytes of messages sent to others, without headers of packets.
    pub sent_bytes: u64,
    /// Bytes of messages received from them.
    pub received_bytes: u64,
    /// How it stands with this node's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
    /// What people should know of, of the latest 32 kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<AlarmReport>,
}

/// Something that people should know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlarmReport {
    /// What: `set-back`, `cloned`, `not-stored`, `full`, `equivocation`, `lost` or `restless`.
    pub alarm: String,
    /// What that means and what to do.
    pub about: String,
    /// How often.
    pub count: u64,
    /// How long ago the last time, in seconds.
    pub seconds_ago: u64,
}

/// How it stands with a node's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateStatus {
    /// The last second in which it is valid.
    pub valid_until: String,
    /// Why it could not be renewed the last time, if it is time to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_failed: Option<String>,
    /// Whether it is not valid by the clock here, which may be what is wrong:
    /// when others' are valid is not looked at then.
    pub untimely: bool,
}

/// What was not taken for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// The reason.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// How a mapping has come about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MappingOrigin {
    /// What the kernel's table was given; none if nobody has the identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
    /// The node that says it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Node>,
    /// By what right: `home`, `granted` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<String>,
    /// The neighbour by which its news come; none if there is none for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<NodeName>,
    /// Who says the same with less right.
    pub disputed_by: Vec<NodeName>,
    /// How long ago the kernel's table was given it, in milliseconds, if that is
    /// among the latest changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed_millis: Option<u64>,
}
