//! What users do: ping, transfers, many connections, large datagrams.

use std::process::Stdio;

use crate::{
    common::ok,
    overlay::{Overlay, UdpEcho, tcp_exchange, with_static},
};

const IPERF_PORT: u16 = 5201;

#[test]
fn every_container_reaches_every_other() {
    for (mappings, change) in
        [("mesh", str::to_owned as fn(&str) -> String), ("static", with_static)]
    {
        let overlay = Overlay::up("all-pairs", "three-hosts", change);
        let containers = ["a1", "a2", "b1", "b2", "c1", "c2"];
        for from in containers {
            for to in containers.into_iter().filter(|to| *to != from) {
                assert!(overlay.pings(from, to), "{mappings}: {from} does not reach {to}");
            }
        }
        for host in ["h1", "h2", "h3"] {
            // Two containers, four others each, a request and a reply.
            assert_eq!(overlay.count(host, "egress-translated"), 2 * 4 * 2, "{mappings}: {host}");
            assert_eq!(overlay.count(host, "ingress-restored"), 2 * 4 * 2, "{mappings}: {host}");
            assert_eq!(overlay.count(host, "egress-local"), 2 * 2, "{mappings}: {host}");
            let list = ok(&mut overlay.ctl(host, &["mapping", "ls", "-o", "json"]));
            let source = format!("\"source\": \"{mappings}\"");
            assert_eq!(list.matches(&source).count(), 4, "{list}");
        }
    }
}

#[test]
fn a_gigabyte_by_tcp_arrives() {
    const BYTES: u64 = 1_000_000_000;
    // The receiver stops counting when the sender says that it is done, with
    // some of it still on the way.
    const SENT: u64 = BYTES + (64 << 20);
    let overlay = Overlay::of("gigabyte", "two-hosts");
    let mut server = overlay
        .node("b1")
        .command("iperf3")
        .args(["--server", "--one-off"])
        .stdout(Stdio::null())
        .spawn()
        .expect("iperf3 can be run");
    overlay.node("b1").wait_for_listener(IPERF_PORT).expect("iperf3 listens");
    let to = overlay.address("b1").to_string();
    let mut client = overlay.node("a1").command("iperf3");
    let report = ok(client.args(["-c", &to, "-n", &SENT.to_string(), "--json"]));
    assert!(server.wait().expect("it has ended").success());
    let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
    assert!(report["error"].is_null(), "{report}");
    let received = report["end"]["sum_received"]["bytes"].as_u64().expect("bytes are counted");
    assert!(received >= BYTES, "{received} bytes");
}

#[test]
fn datagrams_of_every_size_arrive_across_hosts_and_within_one() {
    let overlay = Overlay::of("datagrams", "two-hosts");
    for to in ["b1", "a2"] {
        let echo = UdpEcho::start(&overlay.node(to), overlay.address(to));
        // Up to what fits, just above it, and the largest there is.
        echo.exchange(&overlay.node("a1"), &[1, 1400, 1452, 1453, 3000, 9000, 65_000]);
        echo.end(&overlay.node("a1"));
    }
}

#[test]
fn sixty_four_connections_at_once() {
    let overlay = Overlay::of("parallel", "two-hosts");
    for to in ["b1", "a2"] {
        tcp_exchange(&overlay.node("a1"), &overlay.node(to), overlay.address(to), 64, 200_000);
    }
}

/// A container that takes the whole SIR prefix for its own link asks for each
/// address; the program answers for those that it knows.
#[test]
fn a_container_with_the_prefix_on_its_link_reaches_others() {
    let overlay = Overlay::of("on-link", "two-hosts");
    let a1 = overlay.node("a1");
    ok(a1.command("ip").args(["-6", "route", "del", "default"]));
    ok(a1.command("ip").args(["-6", "route", "add", "fd00:db8:0:1::/64", "dev", "eth0"]));
    assert!(overlay.pings("a1", "b1"), "another host's");
    assert!(overlay.pings("a1", "a2"), "the same host's");
    let unknown = a1.command("ping").args(["-c1", "-W1", "fd00:db8:0:1:2000::99"]).output();
    assert!(!unknown.expect("ping can be run").status.success());
    assert!(overlay.count("h1", "ndp-unknown-target") > 0);
}

#[test]
fn containers_have_the_underlays_packet_size() {
    let overlay = Overlay::up("mtu", "two-hosts", |text| format!("mtu = 1400\n{text}"));
    let link = ok(overlay.node("a1").command("cat").arg("/proc/net/if_inet6"));
    assert!(link.contains("eth0"), "{link}");
    let link = ok(overlay.node("a1").command("ip").args(["link", "show", "eth0"]));
    assert!(link.contains("mtu 1400"), "{link}");
    let echo = UdpEcho::start(&overlay.node("b1"), overlay.address("b1"));
    echo.exchange(&overlay.node("a1"), &[1352, 1353, 4000]);
    echo.end(&overlay.node("a1"));
}

/// Nothing but what a container sends passes the host's end of its link.
#[test]
fn the_fast_path_ends_in_the_container_and_the_slow_one_at_the_hosts_end() {
    const PINGS: u64 = 200;
    for path in ["fast", "slow"] {
        let overlay = Overlay::up(&format!("past-{path}"), "two-hosts", |text| {
            format!("path = \"{path}\"\n{text}")
        });
        assert!(overlay.pings("a1", "b1"));
        let container = ok(&mut overlay.ctl("h2", &["container", "show", "b1", "-o", "json"]));
        let container: serde_json::Value = serde_json::from_str(&container).expect("it is JSON");
        let end = container["host_interface"].as_str().expect("it has one").to_owned();
        let sent = || {
            let link = ok(overlay
                .node("h2")
                .command("ip")
                .args(["-json", "-stats", "link", "show", &end]));
            let link: serde_json::Value = serde_json::from_str(&link).expect("it is JSON");
            link[0]["stats64"]["tx"]["packets"].as_u64().expect("it is counted")
        };
        let before = sent();
        let to = overlay.address("b1").to_string();
        let mut ping = overlay.node("a1").command("ping");
        ok(ping.args(["-q", "-i", "0.002", "-c", &PINGS.to_string(), &to]));
        let passed = sent() - before;
        // A few are answers to the container's neighbour solicitations.
        assert_eq!(passed < PINGS / 10, path == "fast", "{path}: {passed}");
        assert_eq!(passed >= PINGS, path == "slow", "{path}: {passed}");
    }
}
