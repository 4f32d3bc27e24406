//! What can go wrong with a lab: whose fault it is, what was touched, what to
//! type next.

use std::{io, path::PathBuf, time::Duration};

use crate::{LabName, TopologyError, agent::AgentError};

/// Why something could not be done with a lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user is not root.
    #[error("this needs root: run it with sudo; nothing was touched")]
    NotRoot,
    /// A program is missing.
    #[error("cannot find `{program}`; {hint}; nothing was touched")]
    NoProgram {
        /// Which one.
        program: &'static str,
        /// How to get it.
        hint: &'static str,
    },
    /// The topology is wrong or missing.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A text cannot name a lab.
    #[error(
        "`{0}` cannot be a lab's name: 1 to {max} of a-z, 0-9 and `-`, the first no `-`; \
         give one with --name",
        max = LabName::MAX
    )]
    BadName(String),
    /// The lab is there already, whole or in part.
    #[error("lab `{0}` exists already; take it down first: ila-lab down {0}")]
    Exists(LabName),
    /// Somebody else is working at the lab.
    #[error("lab `{0}` is busy: another `ila-lab up` or `down` is at work on it; try again later")]
    Busy(LabName),
    /// There is no lab of that name.
    #[error("there is no lab `{0}`; see ila-lab ls")]
    NoSuchLab(LabName),
    /// The lab has no such node.
    #[error("lab `{lab}` has no {wanted} `{node}`, only {nodes}")]
    NoSuchNode {
        /// The lab.
        lab: LabName,
        /// What kind of node was wanted.
        wanted: &'static str,
        /// What was asked for.
        node: String,
        /// What there is.
        nodes: String,
    },
    /// Namespaces of names that the lab needs are there already, and are not
    /// the lab's.
    #[error(
        "lab `{lab}` needs names that others have: {names}; \
         choose another name with --name; nothing was touched"
    )]
    Taken {
        /// The lab.
        lab: LabName,
        /// The paths.
        names: String,
    },
    /// There is no BPF file system, and none can be had.
    #[error(
        "cannot mount the BPF file system on /sys/fs/bpf: {0}; \
         in a container, have it mounted there from outside, or the right to mount it"
    )]
    NoBpfFs(nix::Error),
    /// A signal asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A condition did not come true in time.
    #[error("waited {after:?} for {what}, in vain")]
    Deadline {
        /// The condition.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// The kernel refused something.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was to be done.
        doing: String,
        /// Why it could not.
        source: io::Error,
    },
    /// A helper refused something.
    #[error("`{program}` failed in {place}: {output}")]
    Helper {
        /// Which one.
        program: String,
        /// The namespace.
        place: String,
        /// What it printed, or how it ended.
        output: String,
    },
    /// The plan of a lab cannot be read.
    #[error("{path} is not the plan of a lab that this version of ila-lab can read: {reason}")]
    Plan {
        /// The plan.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// An agent did not do what it should.
    #[error(transparent)]
    Agent(#[from] Box<AgentError>),
    /// Processes in the lab outlived SIGKILL.
    #[error("processes {pids} in the lab do not end, not even by SIGKILL; the lab is still there")]
    Stubborn {
        /// Their numbers.
        pids: String,
    },
    /// `up` failed and took everything down again.
    #[error("lab `{lab}` did not come up, and nothing is left of it: {cause}")]
    Undone {
        /// The lab.
        lab: LabName,
        /// What failed.
        cause: Box<Error>,
    },
    /// `up` failed and so did taking down what it had made.
    #[error(
        "lab `{lab}` did not come up: {cause}\n\
         and could not be taken down: {undoing}\n\
         once that is mended, type: ila-lab down {lab}"
    )]
    NotUndone {
        /// The lab.
        lab: LabName,
        /// What failed first.
        cause: Box<Error>,
        /// What failed then.
        undoing: Box<Error>,
    },
}

/// Says what was being done when a system call failed.
pub(crate) trait Doing<T> {
    /// `what` reads on from "cannot".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::System { doing: what(), source: error.into() })
    }
}
