//! The mesh in virtual time: one scenario again, from a seed.

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{parts, step};

#[derive(Args)]
pub struct SimArgs {
    /// What happens to the mesh
    #[arg(long, required_unless_present = "list")]
    scenario: Option<String>,
    /// The seed that everything comes from; the same one gives the same run, to the last byte
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// So many seeds, from that one on
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many nodes; without this as many as the scenario was made for
    #[arg(long)]
    nodes: Option<usize>,
    /// How to print: text or json
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "text",
        value_parser = ["text", "json"])]
    output: String,
    /// Name the scenarios and end
    #[arg(long)]
    list: bool,
}

/// Builds the simulation and runs what was asked for; fails if anything happens
/// in it that must not.
pub fn run(args: &SimArgs) -> Result<()> {
    let mut words: Vec<String> = Vec::new();
    if args.list {
        words.push("--list".to_owned());
    }
    words.extend(args.scenario.iter().flat_map(|it| ["--scenario".to_owned(), it.clone()]));
    words.extend(args.nodes.iter().flat_map(|it| ["--nodes".to_owned(), it.to_string()]));
    for (name, value) in [("--seed", args.seed), ("--seeds", args.seeds)] {
        words.extend([name.to_owned(), value.to_string()]);
    }
    words.extend(["--output".to_owned(), args.output.clone()]);
    simulate(&words)
}

/// Runs the simulation with these arguments, optimised.
pub fn simulate(words: &[String]) -> Result<()> {
    let example = ["--release", "-p", "ila-proto", "--features", "sim", "--example", "ila-sim"];
    step::long("sim", "Building ila-sim", step::cargo().arg("build").args(example))?;
    let profiles = parts::binaries()?;
    let target = profiles.parent().context("a profile lies in the target folder")?;
    step::shown(Command::new(target.join("release/examples/ila-sim")).args(words))
}
