//! Benchmarks; that of the kernel programs runs as root.

use anyhow::Result;
use clap::{ArgGroup, Args};

use crate::{parts, setup, step};

mod mesh;

/// The seconds of a comparison that is over within a minute, once all is built;
/// without this it takes five.
const QUICK: &str = "48";

#[expect(clippy::struct_excessive_bools, reason = "each is a flag that can be typed")]
#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).args(["kernel", "routing", "mesh"]))]
pub struct BenchArgs {
    /// What the kernel programs cost, run on made-up packets
    #[arg(long)]
    kernel: bool,
    /// How the overlay compares with plain routing between the same containers
    #[arg(long)]
    routing: bool,
    /// What news cost in the mesh and how long they take, in virtual time, and what
    /// it costs an agent to know all, of up to so many nodes, at most 10,000
    #[arg(long, value_name = "NODES", num_args = 0..=1, default_missing_value = "1000")]
    mesh: Option<usize>,
    /// In less than a minute instead of five, and less exactly
    #[arg(long, requires = "routing")]
    quick: bool,
    /// Compare layouts of the table of mappings instead
    #[arg(long, requires = "kernel")]
    layouts: bool,
    /// How to print: table or json
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table",
        value_parser = ["table", "json"])]
    output: String,
}

/// Builds and runs the benchmark that was asked for.
pub fn run(args: &BenchArgs) -> Result<()> {
    if let Some(nodes) = args.mesh {
        return mesh::run(nodes);
    }
    setup::run()?;
    step::require_root("the benchmark loads kernel programs and makes network namespaces")?;
    if args.routing { routing(args) } else { kernel(args) }
}

fn routing(args: &BenchArgs) -> Result<()> {
    parts::build_binaries()?;
    let mut command = step::privileged(parts::binaries()?.join("ila-lab"));
    command.arg("bench");
    if args.quick {
        command.args(["--seconds", QUICK]);
    }
    step::shown(command.args(["--output", &args.output]))
}

fn kernel(args: &BenchArgs) -> Result<()> {
    step::long(
        "bench",
        "Building ila-bench",
        step::cargo()
            // The kernel programs are always optimised; the rest only waits for them.
            .args(["build", "-p", "ila-agent", "--features", "bench"])
            .args(["--bin", "ila-bench"]),
    )?;
    let mut command = step::privileged(parts::binaries()?.join("ila-bench"));
    if args.layouts {
        command.arg("--layouts");
    }
    step::shown(command.args(["--output", &args.output]))
}
