//! The benchmark measures all that it names and leaves nothing. How long
//! anything took is not looked at.

use std::{path::Path, process::Stdio};

use ila_labs::wait_until;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    common::{Mounts, TestLab, World, ila_lab, ok},
    overlay::PATIENCE,
};

const VARIANTS: [&str; 5] = ["routing", "routing-again", "fast", "slow", "locator"];
const EXCHANGES: [&str; 3] = ["p50", "mean", "cpu"];
const STREAM: [&str; 2] = ["rate", "cpu"];
const MEASURES: [(&str, &[&str]); 6] = [
    ("udp-rr", &EXCHANGES),
    ("tcp-rr", &EXCHANGES),
    ("udp-rr-apart", &EXCHANGES),
    ("tcp-rr-apart", &EXCHANGES),
    ("tcp-stream", &STREAM),
    ("tcp-stream-plain", &STREAM),
];

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn names(values: &[Value]) -> Vec<&str> {
    values.iter().map(|it| it["name"].as_str().expect("each has a name")).collect()
}

#[test]
fn everything_is_measured_of_every_variant() {
    let world = World::enter(Mounts::Private);
    let before = world.look();
    let lab = TestLab::new("bench");
    let said = ok(&mut ila_lab(&[
        "bench",
        "--name",
        &lab.name,
        "--seconds",
        "0",
        "--slice",
        "5",
        "--seed",
        "7",
        // Whatever else this machine or its host does.
        "--steal-limit",
        "100",
        "-o",
        "json",
    ]));
    before.assert_same(&world.look(), "a benchmark");

    let report: Value = serde_json::from_str(&said).expect("it is JSON");
    assert_eq!(report["v"], 1);
    assert_eq!((&report["rounds"], &report["rounds_discarded"]), (&1.into(), &0.into()));
    assert_eq!(report["seed"], 7);
    assert_eq!(names(list(&report, "variants")), VARIANTS);
    let measures = list(&report, "measures");
    assert_eq!(names(measures), MEASURES.map(|(name, _)| name));
    for (measure, (_, values)) in measures.iter().zip(MEASURES) {
        let variants = list(measure, "variants");
        assert_eq!(names(variants), VARIANTS);
        for variant in variants {
            assert!(variant["count"].as_u64() > Some(0), "{variant}");
            assert_eq!(names(list(variant, "values")), values);
            for value in list(variant, "values") {
                assert!(value["median"].as_f64() > Some(0.0), "{value}");
                let compared = &value["against"];
                assert_eq!(compared.is_null(), variant["name"] == VARIANTS[0], "{value}");
                if !compared.is_null() {
                    let [low, median, high] = ["low", "median", "high"].map(|it| {
                        compared[it].as_f64().unwrap_or_else(|| panic!("no {it} in {value}"))
                    });
                    assert!(0.0 < low && low <= median && median <= high, "{value}");
                }
            }
        }
    }
}

#[test]
fn an_interrupted_benchmark_leaves_nothing() {
    let world = World::enter(Mounts::Private);
    let before = world.look();
    let lab = TestLab::new("bench-int");
    let mut bench = ila_lab(&["bench", "--name", &lab.name, "--seconds", "3600"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let last = format!("/run/netns/ila-{}-locator-b2", lab.name);
    let up = wait_until(PATIENCE, "the last variant", || Path::new(&last).exists().then_some(()));
    let pid = Pid::from_raw(i32::try_from(bench.id()).expect("it is a process"));
    kill(pid, Signal::SIGINT).expect("it runs");
    let ended = wait_until(PATIENCE, "the end of the benchmark", || {
        bench.try_wait().expect("it is a child")
    });
    if ended.is_err() {
        bench.kill().expect("it runs");
    }
    let output = bench.wait_with_output().expect("it ends");
    up.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"), "{output:?}");
    before.assert_same(&world.look(), "an interrupted benchmark");
}
