//! What a lab is going to consist of, written down before any of it is made.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{Error, Topology, error::Doing as _, lab_dir::LabDir, netns_dir::NETNS_DIR};

/// The name of the router in every lab.
pub const ROUTER: &str = "rt";

const VERSION: u32 = 1;
const FILE: &str = "lab.json";
const NEW_FILE: &str = "lab.json.new";

/// The name of a lab: 1 to 32 of a-z, 0-9 and `-`, the first no `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabName(String);

impl LabName {
    pub(crate) const MAX: usize = 32;

    /// The name as it is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let valid = (1..=Self::MAX).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(Error::BadName(text.to_owned())) }
    }
}

impl TryFrom<String> for LabName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<LabName> for String {
    fn from(name: LabName) -> Self {
        name.0
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// The router between the hosts.
    Router,
    /// A host with an agent.
    Host,
    /// A container.
    Container,
}

/// A node and the namespace that is made for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedNode {
    /// Its name in the topology.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// What its namespace is called.
    pub netns: String,
}

impl PlannedNode {
    /// Where its namespace is published.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.netns)
    }
}

/// The plan of a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    v: u32,
    /// The lab.
    pub lab: LabName,
    /// Whether all of it has been made.
    pub ready: bool,
    /// What it is made from.
    pub topology: Topology,
    /// All nodes. Written out, so that another version, which may derive
    /// other names, still takes down what this one made.
    pub nodes: Vec<PlannedNode>,
}

impl Plan {
    /// The plan of a lab that is still to be made.
    pub fn new(lab: LabName, topology: Topology) -> Self {
        let hosts = topology.hosts.iter().map(|host| (NodeKind::Host, &host.name));
        let containers = topology.containers().map(|(_, it)| (NodeKind::Container, &it.name));
        let nodes = [(NodeKind::Router, &ROUTER.to_owned())]
            .into_iter()
            .chain(hosts)
            .chain(containers)
            .map(|(kind, name)| PlannedNode {
                name: name.clone(),
                kind,
                netns: format!("ila-{lab}-{name}"),
            })
            .collect();
        Self { v: VERSION, lab, ready: false, topology, nodes }
    }

    /// What marks a namespace as made for this lab.
    pub fn mark(&self) -> String {
        format!("ila-lab:{}", self.lab)
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&PlannedNode> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The nodes of one kind.
    pub fn nodes_of(&self, kind: NodeKind) -> impl Iterator<Item = &PlannedNode> {
        self.nodes.iter().filter(move |node| node.kind == kind)
    }

    /// Writes it into the lab's directory, as a whole or not at all.
    pub fn write(&self, dir: &LabDir) -> Result<(), Error> {
        let (new, path) = (dir.path().join(NEW_FILE), dir.path().join(FILE));
        let json = serde_json::to_string_pretty(self).expect("a plan has no keys but strings");
        fs::write(&new, json)
            .and_then(|()| fs::rename(&new, &path))
            .doing(|| format!("write {}", path.display()))
    }

    /// Reads the plan in a lab's directory, if there is one.
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.doing(|| format!("read {}", path.display()))?,
        };
        match serde_json::from_str::<Self>(&text) {
            Ok(plan) if plan.v == VERSION => Ok(Some(plan)),
            Ok(plan) => Err(Error::Plan { path, reason: format!("it has version {}", plan.v) }),
            Err(error) => Err(Error::Plan { path, reason: error.to_string() }),
        }
    }

    /// Removes what [`Plan::write`] leaves in a lab's directory, however far
    /// it got.
    pub fn remove(dir: &LabDir) -> Result<(), Error> {
        for path in [dir.path().join(NEW_FILE), dir.path().join(FILE)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.doing(|| format!("remove {}", path.display()))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_namespace() {
        let topology = Topology::builtin("two-hosts").unwrap();
        let plan = Plan::new("try".parse().unwrap(), topology);
        let names: Vec<_> = plan.nodes.iter().map(|node| node.netns.as_str()).collect();
        assert_eq!(
            names,
            [
                "ila-try-rt",
                "ila-try-h1",
                "ila-try-h2",
                "ila-try-a1",
                "ila-try-a2",
                "ila-try-b1",
                "ila-try-b2"
            ]
        );
        assert_eq!(plan.mark(), "ila-lab:try");
    }

    #[test]
    fn a_plan_of_another_version_is_not_guessed_at() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Plan::read(dir.path()).unwrap().is_none());
        let topology = Topology::builtin("two-hosts").unwrap();
        let mut plan = Plan::new("try".parse().unwrap(), topology);
        plan.v = 2;
        fs::write(dir.path().join(FILE), serde_json::to_string(&plan).unwrap()).unwrap();
        let error = Plan::read(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("can read: it has version 2"), "{error}");
    }

    #[test]
    fn names_of_labs_are_checked() {
        for good in ["a", "two-hosts", "0", "a-234567890123456789012345678901"] {
            assert_eq!(good.parse::<LabName>().expect(good).as_str(), good);
        }
        for bad in ["", "-a", "A", "a b", "a/b", "..", "a-2345678901234567890123456789012"] {
            assert!(matches!(bad.parse::<LabName>(), Err(Error::BadName(_))), "{bad}");
        }
    }
}
