//! The parts of the test run.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{checks, second_kernel, setup, step, tally::Tally};

/// Where cargo puts the binaries that labs and demo run: where it has put this
/// one, whatever target directory it was told.
pub fn binaries() -> Result<PathBuf> {
    let own = env::current_exe()?;
    Ok(own.parent().context("a program lies in a folder")?.to_owned())
}

/// The scenarios that boot the second kernel.
const ON_SECOND_KERNEL: &str = "kernel_ila::";

/// A part of the test run.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Format, lints, who knows whom, licences
    Checks,
    /// Unit and property tests of everything that runs without privilege
    Unit,
    /// The kernel programs under `PROG_TEST_RUN`
    Kernel,
    /// Hosts and containers in network namespaces, with the real binaries
    Lab,
    /// Linux 6.1 in qemu: the kernel programs on it, uplinks in a VLAN, and its
    /// own ILA as the peer
    SecondKernel,
}

impl Part {
    /// Prints the parts, a line each.
    pub fn print_all() {
        for part in Self::value_variants() {
            let value = part.to_possible_value().expect("no part is hidden");
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            println!("{:13} {help}", value.get_name());
        }
    }

    const fn needs_root(self) -> bool {
        matches!(self, Self::Kernel | Self::Lab | Self::SecondKernel)
    }

    fn run(self, tally: &mut Tally) -> Result<()> {
        match self {
            Self::Checks => {
                checks::run(tally);
                Ok(())
            }
            Self::Unit => {
                tally.cargo_test(cargo_test().args([
                    "-p",
                    "ila-proto",
                    "-p",
                    "ila-authority",
                    "-p",
                    "ila-ctl",
                    "-p",
                    "xtask",
                ]))?;
                tally.cargo_test(cargo_test().args([
                    "-p",
                    "ila-agent",
                    "-p",
                    "ila-labs",
                    "--lib",
                    "--bins",
                ]))
            }
            Self::Kernel => {
                let tests = ["-p", "ila-agent", "--features", "bench", "--test", "*"];
                tally.cargo_test(as_root(cargo_test().args(tests)))
            }
            Self::Lab => {
                build_binaries()?;
                let labs = ["-p", "ila-labs", "--test", "*", "--", "--skip", ON_SECOND_KERNEL];
                tally.cargo_test(as_root(cargo_test().args(labs)))
            }
            Self::SecondKernel => {
                if let Err(reason) = second_kernel::set_up() {
                    let reason = format!("{reason:#}");
                    tally.skip("the kernel programs on Linux 6.1", &reason);
                    tally.skip("uplinks in a VLAN", &reason);
                    tally.skip("Linux's own ILA as the peer", &reason);
                    return Ok(());
                }
                build_binaries()?;
                let runner = [binaries()?.join("ila-vm").display().to_string()];
                tally.cargo_test(run_by(
                    cargo_test().args(["-p", "ila-agent", "--test", "kernel"]),
                    &runner,
                ))?;
                let labs = ["-p", "ila-labs", "--test", "scenarios", "--", ON_SECOND_KERNEL];
                tally.cargo_test(as_root(cargo_test().args(labs)))
            }
        }
    }
}

/// Runs the parts that `only` names, or all; returns whether all is well.
pub fn run(only: &[Part]) -> Result<bool> {
    setup::run()?;
    let wanted = |part: &Part| only.is_empty() || only.contains(part);
    let parts: Vec<_> = Part::value_variants().iter().copied().filter(wanted).collect();
    if parts.iter().any(|part| part.needs_root()) {
        step::require_root("the kernel and lab tests load programs and make network namespaces")?;
    }
    let mut tally = Tally::default();
    for part in parts {
        let name = part.to_possible_value().expect("no part is hidden");
        println!("\n== {} ==", name.get_name());
        part.run(&mut tally)?;
    }
    tally.print();
    Ok(tally.is_good())
}

/// Builds what labs and demo run.
pub fn build_binaries() -> Result<()> {
    step::long(
        "build",
        "Building ila-agent, ila-ctl and ila-lab",
        step::cargo().args([
            "build",
            "-p",
            "ila-agent",
            "-p",
            "ila-ctl",
            "-p",
            "ila-labs",
            "--bins",
        ]),
    )?;
    step::long(
        "build-crowd",
        "Building ila-crowd",
        step::cargo()
            .args(["build", "-p", "ila-agent", "--features", "bench"])
            .args(["--bin", "ila-crowd"]),
    )
}

/// A test of the kernel part, as root, with `packets` from `seed` on.
pub fn made_up_packets(seed: u64, packets: u64) -> Command {
    let mut command = cargo_test();
    command.args(["-p", "ila-agent", "--test", "kernel"]);
    let variables = [("ILA_SEED", seed.to_string()), ("ILA_PACKETS", packets.to_string())];
    as_root_with(&mut command, &variables);
    command.args(["--", "--nocapture", "made_up_packets"]);
    command
}

/// The lab of a large mesh, as root and optimised, with so many nodes and
/// identifiers.
pub fn large_mesh(nodes: usize, identifiers: usize) -> Result<Command> {
    let build = ["build", "--release", "-p", "ila-agent", "-p", "ila-ctl", "-p", "ila-labs"];
    step::long(
        "build-release",
        "Building ila-agent and ila-ctl, optimised",
        step::cargo().args(build).args(["--bins", "--features", "ila-agent/bench"]),
    )?;
    let mut command = cargo_test();
    command.args(["--release", "--quiet", "-p", "ila-labs", "--test", "scenarios"]);
    as_root_with(&mut command, &[("ILA_CROWD", format!("{nodes}x{identifiers}"))]);
    command.args(["--", "--nocapture", "large::"]);
    Ok(command)
}

/// The tests of decoders, of so many inputs each, from `seed` on.
pub fn decoders(seed: u64, inputs: u64) -> [Command; 3] {
    let tests: [&[&str]; 3] = [
        &["-p", "ila-proto", "--test", "decoders"],
        &["-p", "ila-authority", "--lib", "tests::disk"],
        &["-p", "ila-agent", "--lib", "tests::disk"],
    ];
    tests.map(|words| {
        let variables = [("ILA_FUZZ_SEED", seed), ("ILA_FUZZ_CASES", inputs)];
        let mut command = cargo_test();
        command.args(words).envs(variables.map(|(name, value)| (name, value.to_string())));
        command
    })
}

fn cargo_test() -> Command {
    let mut command = step::cargo();
    command.args(["test", "--no-fail-fast"]);
    command
}

/// Has cargo build as the user and run the tests as root.
fn as_root(command: &mut Command) -> &mut Command {
    let runner = step::as_root();
    if runner.is_empty() {
        return command.env("PATH", step::path());
    }
    run_by(command, &runner)
}

/// The same with variables in the environment of the tests.
fn as_root_with(command: &mut Command, variables: &[(&str, String)]) {
    let mut runner = step::as_root();
    if runner.is_empty() {
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.env("PATH", step::path());
    } else {
        // sudo keeps no variables but those that its command line sets.
        runner.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
        run_by(command, &runner);
    }
}

/// Has cargo run the tests by another program.
fn run_by<'a>(command: &'a mut Command, runner: &[String]) -> &'a mut Command {
    // A list of TOML strings, which Rust's debug form of strings happens to be.
    command.arg("--config").arg(format!("target.'cfg(all())'.runner = {runner:?}"))
}
