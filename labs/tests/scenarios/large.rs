//! An agent in a mesh that is larger than this machine could run: what others
//! have said is made up, certified by the lab's own authority.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use ila_labs::wait_until;
use nix::sys::signal::Signal;

use crate::{
    common::ok,
    mesh::{json, mesh_of},
    overlay::{Agent, Overlay, bin_dir},
};

const LONG: Duration = Duration::from_secs(120);

/// How many nodes and identifiers are made up; `ILA_CROWD=10000x1000000` has more.
fn size() -> (u64, u64) {
    let Ok(wanted) = std::env::var("ILA_CROWD") else { return (200, 4000) };
    let parts = wanted.split_once('x').expect("it is NODESxIDENTIFIERS");
    let number = |text: &str| text.parse().expect("it is a number");
    (number(parts.0), number(parts.1))
}

/// Has an agent that does not run have heard of a crowd before.
fn hear(overlay: &Overlay, host: &str, (nodes, identifiers): (u64, u64)) {
    let dir = overlay.lab.runtime_dir(host).expect("the host is there");
    let lab = dir.parent().expect("it is in the lab's");
    let mut crowd = Command::new(bin_dir().join("ila-crowd"));
    crowd.args(["--sir-prefix", "fd00:db8:0:1::/64", "--authority"]).arg(lab.join("ca"));
    crowd.args(["--nodes", &nodes.to_string(), "--identifiers", &identifiers.to_string()]);
    ok(crowd.arg("--out").arg(dir.join("state/heard")));
}

/// Starts an agent, and returns how long it takes until it has so many mappings.
fn start(overlay: &Overlay, host: &str, mappings: u64) -> (Agent, Duration) {
    let started = Instant::now();
    let mut command = overlay.node(host).command(bin_dir().join("ila-agent"));
    let agent = Agent(
        command.arg("--config").arg(overlay.config(host)).spawn().expect("the agent can be run"),
    );
    let has_all = || {
        let status = json(overlay, host, &["status"])?;
        (status["mappings"].as_u64()? >= mappings).then(|| started.elapsed())
    };
    let took = wait_until(LONG, "all mappings", has_all);
    (agent, took.unwrap_or_else(|error| panic!("{error}\n{}", overlay.log(host))))
}

/// What an agent has taken of the processors, whatever else the machine does.
fn processor(agent: &Agent) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.0.id())).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("its name is in there");
    // Of what follows the name, those of proc(5) that are numbered 14 and 15.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|it| it.parse::<u64>().expect("it is a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// Megabytes that an agent has in memory, its kernel tables not counted.
fn memory(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.0.id())).expect("it runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|it| it.trim().strip_suffix(" kB")?.trim().parse().ok());
    kilobytes.map_or(0, |it: u64| it / 1000)
}

fn boot(overlay: &Overlay, host: &str) {
    overlay.end_agent(host, Signal::SIGKILL);
    ok(&mut overlay.detach(host));
}

/// Prints what it takes.
#[test]
fn a_large_mesh_is_known_again_after_a_boot_and_told_to_who_joins() {
    let (nodes, identifiers) = size();
    let overlay = mesh_of("large", 2);
    boot(&overlay, "h1");
    hear(&overlay, "h1", (nodes, identifiers));
    // Its own container, and that of h2.
    let all = identifiers + 1;
    let (mut one, booted) = start(&overlay, "h1", all);
    println!("{nodes} nodes, {identifiers} identifiers:");
    let told = |what: &str, took: Duration, agent: &Agent| {
        println!("{what} {took:.2?}, of processors {:?}; {} MB", processor(agent), memory(agent));
    };
    told("after a boot, until all are mapped:", booted, &one);

    one.0.kill().expect("it runs");
    one.0.wait().expect("it was killed");
    let (one, restarted) = start(&overlay, "h1", all);
    told("killed, until the next one answers:", restarted, &one);

    boot(&overlay, "h2");
    let state = overlay.lab.runtime_dir("h2").expect("the host is there").join("state/heard");
    let _ = fs::remove_file(state);
    let (two, joined) = start(&overlay, "h2", all);
    told("a host that knows nobody, until all are mapped:", joined, &two);
    println!("goals: restart 200 ms with 100000, join 3 s and 150 MB with a million");
    let why = json(&overlay, "h2", &["mapping", "why", "2000:10:0:1"]);
    let why = why.expect("the first node has it");
    assert_eq!(why["mapping"]["locator"], "2001:db8:c000::/64", "{why}");
    assert_eq!(why["right"], "home", "{why}");
    assert!(overlay.pings("c1", "c2"));
    drop((one, two));
}
