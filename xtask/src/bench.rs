//! Benchmarks: built as what ships is, run as root.

use anyhow::{Context as _, Result};
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
            .args(["build", "--release", "-p", "ila-agent", "--features", "bench"])
            .args(["--bin", "ila-bench"]),
    )?;
    let target = parts::binaries()?;
    let target = target.parent().context("a profile's folder lies in the target directory")?;
    let mut command = step::privileged(target.join("release/ila-bench"));
    if args.layouts {
        command.arg("--layouts");
    }
    step::shown(command.args(["--output", &args.output]))
}
