//! Runs scenarios of the simulated mesh; `cargo xtask sim` calls it.

use std::{env, process::ExitCode, time::Instant};

use ila_proto::gossip::{
    mesh::Settings,
    sim::{
        measure::{Load, measure},
        net::Distances,
        scenario::{ALL, Report, Scenario},
    },
};

/// What is asked for: `--list`, or one scenario.
struct Asked {
    scenario: Scenario,
    seed: u64,
    seeds: u64,
    nodes: usize,
    is_json: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        for Scenario { name, nodes, about, .. } in ALL {
            println!("{name:10} {nodes:3} nodes  {about}");
        }
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--storm") {
        return storm(&args).unwrap_or_else(|error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        });
    }
    match asked(&args) {
        Ok(asked) => run(&asked),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What stands behind an argument.
fn value<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let at = args.iter().position(|arg| arg == name)?;
    args.get(at + 1).map(String::as_str)
}

fn number(args: &[String], name: &str) -> Result<Option<u64>, String> {
    let parsed = value(args, name).map(str::parse::<u64>).transpose();
    parsed.map_err(|error| format!("{name}: {error}"))
}

/// Bytes of a signed update, by which the goal for what a node sends is set: one and
/// a half times what it says itself and hands on.
const UPDATE: u64 = 128;

/// Measures how long news take and what they cost, beside the goals.
fn storm(args: &[String]) -> Result<ExitCode, String> {
    let number = |name, or| number(args, name).map(|it| it.unwrap_or(or));
    let nodes = number("--nodes", 1000)?;
    let (rate, updates) = (number("--rate", 500)?, number("--updates", 2000)?);
    let is_wan = value(args, "--network") == Some("wan");
    let mut distances = if is_wan { Distances::WAN } else { Distances::LAN };
    distances.loss = number("--loss", 10_000)?;
    let load = Load {
        nodes: usize::try_from(nodes).map_err(|error| error.to_string())?,
        rate: u32::try_from(rate).map_err(|error| error.to_string())?,
        updates: u32::try_from(updates).map_err(|error| error.to_string())?,
        distances,
        settings: Settings::default(),
    };
    let started = Instant::now();
    let measured = measure(&load, number("--seed", 0)?);
    let goal = match (nodes, is_wan) {
        (0..=1000, false) => 50,
        (0..=1000, true) => 250,
        _ => 500,
    };
    let heard = measured.latencies.len() as u64;
    let all = updates * (nodes - 1);
    let network = if is_wan { "WAN" } else { "LAN" };
    println!(
        "{nodes} nodes, {rate} updates/s, {network}: p50 {:?}, p99 {:?} (goal {goal} ms), longest \
         {:?}, heard {heard} of {all}; {} B/s a node (goal {}), idle {} B/s (goal 1000)",
        measured.percentile(50),
        measured.percentile(99),
        measured.percentile(100),
        measured.bytes,
        rate * UPDATE * 3 / 2,
        measured.idle,
    );
    eprintln!("took {:?}", started.elapsed());
    Ok(if heard == all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn asked(args: &[String]) -> Result<Asked, String> {
    let (value, number) = (|name| value(args, name), |name| number(args, name));
    let name = value("--scenario").ok_or("which scenario? --list names them")?;
    let scenario = Scenario::named(name).ok_or(format!("there is no scenario {name}"))?;
    let nodes = number("--nodes")?.map(usize::try_from).transpose();
    Ok(Asked {
        scenario,
        seed: number("--seed")?.unwrap_or_default(),
        seeds: number("--seeds")?.unwrap_or(1),
        nodes: nodes.map_err(|error| error.to_string())?.unwrap_or(scenario.nodes),
        is_json: value("--output") == Some("json"),
    })
}

fn run(asked: &Asked) -> ExitCode {
    let mut is_well = true;
    for seed in asked.seed..asked.seed.saturating_add(asked.seeds) {
        let started = Instant::now();
        let report = asked.scenario.run(seed, asked.nodes);
        is_well &= report.broken.is_empty();
        if asked.is_json {
            println!("{}", json(&report));
        } else {
            print(&report, asked.seeds == 1);
            eprintln!("took {:?}", started.elapsed());
        }
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(report: &Report, with_counts: bool) {
    let Report { name, seed, nodes, agreed, broken, bytes, time, trace, .. } = report;
    let agreed = agreed.map_or("never".to_owned(), |time| format!("{time:?}"));
    let verdict = if broken.is_empty() { "well" } else { "BROKEN" };
    println!(
        "{name} seed {seed}, {nodes} nodes: {verdict}; agreed after {agreed}, {bytes} bytes, \
         {time:?} of virtual time, trace {trace:016x}"
    );
    for broken in broken {
        println!("  {broken}");
    }
    if with_counts {
        let faults = report.faults.iter().map(|(what, count)| (count, (*what).to_owned()));
        let looked = report.looked.iter();
        let looked = looked.map(|(checker, count)| (count, format!("looks of {checker:?}")));
        let frames = report.frames.iter();
        let frames = frames.map(|(kind, (n, size))| (n, format!("{kind} frames of {size} bytes")));
        for (count, what) in faults.chain(looked).chain(frames) {
            println!("  {count:8} {what}");
        }
    }
}

fn json(report: &Report) -> serde_json::Value {
    let looked = report.looked.iter().map(|(checker, count)| (format!("{checker:?}"), *count));
    serde_json::json!({
        "scenario": report.name,
        "seed": report.seed,
        "nodes": report.nodes,
        "is_well": report.broken.is_empty(),
        "broken": report.broken,
        "agreed_ms": report.agreed.map(|time| u64::try_from(time.as_millis()).ok()),
        "bytes": report.bytes,
        "virtual_ms": u64::try_from(report.time.as_millis()).ok(),
        "trace": format!("{:016x}", report.trace),
        "faults": report.faults,
        "frames": report.frames,
        "looked": looked.collect::<std::collections::BTreeMap<_, _>>(),
    })
}
