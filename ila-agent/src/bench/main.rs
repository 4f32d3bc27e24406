//! Measures the kernel programs under `PROG_TEST_RUN`: what
//! `cargo xtask bench --kernel` builds and runs.

mod clock;
mod layouts;
#[path = "../../tests/kernel/network.rs"]
#[expect(dead_code, reason = "tests change it, for which there is no need here")]
mod network;
mod output;
mod packet;
mod programs;
mod table;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use ila_proto::abi::MAX_MAPPINGS;
use serde::Serialize;

use crate::{
    clock::Bench, layouts::Layout, network::Network, output::Print as _, programs::Cost,
    table::Table,
};

/// What the link carries that packets are made to leave by.
const MTU: u32 = 1500;

/// The fixed mappings that the table has room for beside the random ones.
const FIXED: u32 = 16;

/// Measures the kernel programs, run by the kernel on made-up packets
#[derive(Parser)]
struct Args {
    /// Compare layouts of the mapping table instead
    #[arg(long)]
    layouts: bool,
    /// How often a program runs each time
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// How often everything is run; each number is the median
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many mappings there are
    #[arg(long, default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_MAPPINGS - FIXED)))]
    mappings: u32,
    /// How to print
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// For people
    Table,
    /// For programs; versioned, fields are added and never changed
    Json,
}

/// Where and how it was measured, and what.
#[derive(Serialize)]
struct Report {
    /// Linux's release.
    kernel: String,
    /// The processor's name.
    processor: String,
    /// How often a program ran each time.
    repeat: u32,
    /// How often everything was run.
    rounds: u32,
    /// Nanoseconds of a program that does nothing.
    empty: f64,
    /// By how many nanoseconds two measurements of it differed, in the median.
    resolution: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    programs: Vec<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<Table>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layouts: Vec<Layout>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let _network = Network::enter(MTU).context("no network of its own: is it run as root?")?;
    let bench = Bench::new(args.repeat, args.rounds)?;
    let mut report = Report {
        kernel: clock::line_of("/proc/sys/kernel/osrelease", "")?,
        processor: clock::line_of("/proc/cpuinfo", "model name")?,
        repeat: args.repeat,
        rounds: args.rounds,
        empty: 0.0,
        resolution: 0.0,
        programs: Vec::new(),
        table: None,
        layouts: Vec::new(),
    };
    if args.layouts {
        layouts::measure(&bench, args.mappings, &mut report)?;
    } else {
        programs::measure(&bench, args.mappings, &mut report)?;
    }
    report.print(args.format)
}
