//! The benchmark runs and tells of all that it measures. How long anything took
//! is not looked at. Needs root.

use std::process::Command;

use serde_json::Value;

fn report(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_ila-bench"))
        .args(["--repeat", "10", "--rounds", "1", "--mappings", "70000", "-o", "json"])
        .args(arguments)
        .output()
        .expect("it can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["v"], 1);
    assert!(report["empty"].is_f64() && report["resolution"].is_f64());
    report
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn every_way_of_a_packet_is_measured() {
    let report = report(&[]);
    let ways = list(&report, "programs");
    // Six with 1, 1024, 65536 and all keys, and the solicitation.
    assert_eq!(ways.len(), 6 * 4 + 1);
    for cost in ways {
        for number in ["run", "reset", "gross"] {
            assert!(cost[number].is_f64(), "{number} of {cost}");
        }
    }
    for number in ["load_seconds", "list_seconds", "remove_seconds", "memory_bytes"] {
        assert!(report["table"][number].is_f64(), "{number}");
    }
}

#[test]
fn every_layout_is_measured() {
    let report = report(&["--layouts"]);
    let layouts = list(&report, "layouts");
    assert_eq!(layouts.len(), 5);
    for layout in layouts {
        assert_eq!(list(layout, "look_ups").len(), 4);
        assert!(layout["memory_bytes"].as_u64() > Some(0), "{layout}");
    }
}
