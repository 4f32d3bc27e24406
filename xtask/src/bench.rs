//! Benchmarks, run as root.

use anyhow::Result;
use clap::Args;

use crate::{parts, setup, step};

#[derive(Args)]
pub struct BenchArgs {
    /// What the kernel programs cost, run on made-up packets
    #[arg(long, required = true)]
    kernel: bool,
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
    setup::run()?;
    step::require_root("the benchmark loads kernel programs")?;
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
