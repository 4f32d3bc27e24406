//! What can be typed.

use std::ffi::OsString;

use clap::{Parser, Subcommand, ValueEnum};

use crate::bench::BenchArgs;

/// Labs of the overlay on this machine: hosts, containers and a router, each a
/// network namespace
#[derive(Parser)]
#[command(name = "ila-lab", version)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Bring up a lab
    Up {
        /// A topology: the path of a file, two-hosts or three-hosts
        topology: String,
        /// What the lab is called [default: the topology's name]
        #[arg(long, value_name = "LAB")]
        name: Option<String>,
        /// Leave the containers for you to register with ila-ctl
        #[arg(long)]
        no_register: bool,
    },
    /// Take down a lab, with every process in it
    Down {
        /// The lab
        lab: String,
    },
    /// List the labs of this machine
    Ls {
        /// How
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Format,
    },
    /// Run a command in a host, a container or the router `rt`
    Exec {
        /// The lab
        lab: String,
        /// A host, a container or `rt`
        node: String,
        /// The command, whose exit code becomes that of ila-lab
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Show a packet's way between two hosts, step by step, on real packets
    Demo {
        /// What the demo's lab is called
        #[arg(long, value_name = "LAB", default_value = "demo")]
        name: String,
    },
    /// Measure the overlay beside plain routing between the same containers
    Bench(BenchArgs),
    /// Check a topology, touching nothing
    Validate {
        /// A topology: the path of a file, two-hosts or three-hosts
        topology: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}
