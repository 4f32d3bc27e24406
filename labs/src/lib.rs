//! Labs: a whole overlay on one machine, in network namespaces.
//!
//! A [`Topology`] says which hosts and containers there are; [`Lab::up`] makes
//! a namespace for each of them and for the router between the hosts, starts
//! an agent on every host and registers the containers. All that is known of
//! the overlay is how its programs are called, so that a lab tests what users
//! run.
//!
//! ```no_run
//! use ila_labs::{Lab, Options, Topology};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lab = Lab::up(&Topology::builtin("two-hosts")?, "try", &Options::default())?;
//! let b1 = lab.address("b1")?.to_string();
//! let ping = lab.node("a1")?.command("ping").args(["-c1", &b1]).status()?;
//! assert!(ping.success());
//! # Ok(())
//! # }
//! ```
//!
//! A [`Stream`] of numbered datagrams between two nodes says what became of
//! each of them; a load between the two [`Ends`] says how long packets took.
//!
//! # What a lab leaves behind: nothing
//!
//! However a lab ends, [`take_down()`] finds all of it and nothing else:
//!
//! * The plan, with the name of every namespace, is on disk before the first
//!   namespace is made.
//! * A namespace is made in private, by a thread that it dies with. Before it
//!   gets a name it carries the lab's mark, as the alias of its loopback
//!   interface, and so does the file which it is mounted on.
//! * Links are made directly between namespaces and die with them. Programs
//!   are in their namespace before they run, and are found by it.
//! * What agents pin, so that it outlives them, is below a directory of the
//!   lab's own in the BPF file system.
//! * The lock on the lab's directory is inherited by helpers, so that nobody
//!   takes a lab down while a helper of a killed `up` still works at it.

mod address;
mod agent;
mod bpf_dir;
mod capture;
mod error;
mod helper;
mod identity;
mod initrd;
mod ip;
mod lab;
mod lab_dir;
mod load;
mod mounts;
mod netns;
mod netns_dir;
mod network;
mod nft;
mod plan;
mod process;
mod programs;
mod stream;
mod take_down;
mod topology;
mod vm;
mod wait;

pub use address::{Identifier, IdentifierError, Prefix, PrefixError};
pub use agent::AgentError;
pub use capture::{Capture, Packet};
pub use error::Error;
pub use lab::{Lab, Node, Options, State, Summary, list};
pub use load::{Carrier, Ends, Exchanges, Transfer};
pub use plan::{LabName, NodeKind, ROUTER};
pub use stream::{Report, Stream};
pub use take_down::take_down;
pub use topology::{
    ChecksumMode, Container, Domain, Hook, Host, Mappings, PathMode, Router, SourceMode, Topology,
    TopologyError,
};
pub use vm::{Answer, Vm, VmError, quote};
pub use wait::wait_until;
