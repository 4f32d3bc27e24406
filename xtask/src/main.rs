//! Set-up, demo, tests and checks: `cargo xtask --help`.

mod ebpf_toolchain;
mod setup;
mod step;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Verb {
    /// Install what building, the demo and the tests need (both call it themselves).
    Setup,
}

fn main() -> Result<()> {
    match Verb::parse() {
        Verb::Setup => setup::run(),
    }
}
