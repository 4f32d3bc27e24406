//! Set-up, demo, tests and checks: `cargo xtask --help`.

mod bench;
mod checks;
mod ebpf_toolchain;
mod fuzz;
mod parts;
mod second_kernel;
mod setup;
mod sim;
mod step;
mod tally;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{bench::BenchArgs, parts::Part, sim::SimArgs};

/// What can be done with this workspace
///
/// Every verb first installs what it needs; a second run finds it there.
/// Installing packages, the kernel and lab tests, benchmarks and the demo need root: run
/// as root, or as a user who may use sudo.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Two containers on two hosts, on this machine, and what their packets look like on the way
    Demo,
    /// Run the tests
    Test {
        /// Only this part; can be repeated
        #[arg(long, value_name = "PART")]
        only: Vec<Part>,
        /// Name the parts and end
        #[arg(long)]
        list: bool,
    },
    /// Measure what the kernel programs cost, or how the overlay compares with plain routing
    Bench(BenchArgs),
    /// Run the kernel programs and their model on made-up packets until they differ
    Fuzz {
        /// Instead, have all that reads what comes from other nodes or from a disk read what
        /// is nearly right
        #[arg(long)]
        decoders: bool,
        /// For how long; one million packets are made up at least, or 10 000 inputs of each
        /// decoder
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// The seed of the first packet or input; without one, those that no run had before
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Have something happen to a simulated mesh, and see whether all is well
    Sim(SimArgs),
    /// Install what building, demo and tests need
    Setup,
}

fn main() -> ExitCode {
    let done = match Args::parse().verb {
        Verb::Setup => set_up().map(|()| true),
        Verb::Demo => demo().map(|()| true),
        Verb::Bench(args) => bench::run(&args).map(|()| true),
        Verb::Sim(args) => sim::run(&args).map(|()| true),
        Verb::Fuzz { decoders: true, minutes, seed } => {
            fuzz::decoders(minutes, seed).map(|()| true)
        }
        Verb::Fuzz { decoders: false, minutes, seed } => fuzz::run(minutes, seed).map(|()| true),
        Verb::Test { list: true, .. } => {
            Part::print_all();
            Ok(true)
        }
        Verb::Test { only, list: false } => parts::run(&only),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn set_up() -> Result<()> {
    setup::run()?;
    // Whoever cannot have it can do everything but run the tests on it.
    if let Err(reason) = second_kernel::set_up() {
        println!("no second kernel: {reason:#}");
    }
    Ok(())
}

fn demo() -> Result<()> {
    setup::run()?;
    step::require_root("the demo makes network namespaces")?;
    parts::build_binaries()?;
    let lab = parts::binaries()?.join("ila-lab");
    step::shown(step::privileged(lab).arg("demo"))
}
