//! Agents that end and come back while datagrams flow.

use nix::sys::signal::Signal;

use crate::{
    common::ok,
    overlay::{Overlay, flows_on, with_static},
    stream::{RATE, expect_perfect},
};

/// What flows between two events.
const BETWEEN: u64 = RATE as u64 / 4;

const HOSTS: [&str; 2] = ["h1", "h2"];

/// The kernel does the work; an agent only tells it what to do.
#[test]
fn a_stream_does_not_notice_that_the_agents_of_both_ends_end_and_come_back() {
    for (hook, mappings) in [("tcx", "mesh"), ("clsact", "mesh"), ("tcx", "static")] {
        let overlay = Overlay::up(&format!("killed-{hook}"), "two-hosts", |text| {
            format!("hook = \"{hook}\"\nmappings = \"{mappings}\"\n{text}")
        });
        let stream = overlay.stream("a1", "b1", RATE);
        let mut agents = Vec::new();
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            for host in HOSTS {
                overlay.end_agent(host, signal);
                flows_on(&stream, BETWEEN);
            }
            for host in HOSTS {
                agents.push(overlay.start_agent_alone(host));
                flows_on(&stream, BETWEEN);
            }
            for host in HOSTS {
                ok(&mut overlay.ctl(host, &["status", "--wait", "20s"]));
            }
        }
        println!("{hook}, {mappings}");
        expect_perfect(stream);
        assert!(overlay.pings("a1", "b1") && overlay.pings("b2", "a2"), "{hook}, {mappings}");
    }
}

/// h2 is told that b1, which it holds, is at h1: sent there until b1 is adopted,
/// its packets would come back and be lost with their hop limit, or be late.
#[test]
fn a_stream_does_not_notice_that_the_configuration_has_its_container_elsewhere() {
    for change in [with_static, str::to_owned] {
        let overlay = Overlay::up("elsewhere", "two-hosts", change);
        overlay.configure("h2", |text| {
            let mapping = "identifier = \"2000:0:0:b1\"\nlocator = \"2001:db8:a:1::/64\"";
            format!("{text}\n[[mapping]]\n{mapping}\n")
        });
        let stream = overlay.stream("a1", "b1", RATE);
        let mut agents = Vec::new();
        for _ in 0..4 {
            overlay.end_agent("h2", Signal::SIGKILL);
            agents.push(overlay.start_agent("h2"));
            flows_on(&stream, BETWEEN);
        }
        expect_perfect(stream);
        assert_eq!(overlay.count("h2", "ingress-forwarded"), 0);
    }
}
