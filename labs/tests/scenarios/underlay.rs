//! Underlays of other shapes.

use std::{
    io::{BufRead as _, BufReader, ErrorKind},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use ila_labs::{Capture, wait_until};

use crate::{
    common::{Mounts, TestLab, World, ok, refused},
    monitor::Monitor,
    overlay::{Overlay, PATIENCE, UdpEcho, tcp_exchange, with_host, with_router},
};

/// Flows that each take one link or the other, by chance.
const FLOWS: usize = 32;

#[test]
fn a_host_with_two_uplinks_uses_both_and_does_with_either() {
    for down in ["up0", "up1"] {
        let two = |text: &str| with_host(text, "h2", "uplinks = 2");
        let overlay = Overlay::up("uplinks", "two-hosts", two);
        let h2 = overlay.node("h2");
        let counted = |interface: &str| {
            let link = ok(h2.command("ip").args(["-json", "-s", "link", "show", interface]));
            let link: serde_json::Value = serde_json::from_str(&link).expect("it is JSON");
            ["rx", "tx"].map(|way| {
                link[0]["stats64"][way]["packets"].as_u64().expect("packets are counted")
            })
        };
        let exchange = || {
            let echo = UdpEcho::start(&overlay.node("b1"), overlay.address("b1"));
            (0..FLOWS).for_each(|_| echo.exchange(&overlay.node("a1"), &[100]));
            echo.end(&overlay.node("a1"));
        };
        let before = ["up0", "up1"].map(counted);
        exchange();
        for (interface, [came, left]) in ["up0", "up1"].into_iter().zip(before) {
            let [comes, leaves] = counted(interface);
            // More than a neighbour or two that are looked for.
            let share = u64::try_from(FLOWS / 8).expect("it is small");
            assert!(comes > came + share, "{} came by {interface}", comes - came);
            assert!(leaves > left + share, "{} left by {interface}", leaves - left);
        }
        ok(h2.command("ip").args(["link", "set", down, "down"]));
        // The router is told of it a little later, and sends into it till then.
        wait_until(PATIENCE, "the router to notice", || {
            let to_h2 = ["-6", "route", "show", "2001:db8:b:1::/64"];
            ok(overlay.node("rt").command("ip").args(to_h2)).contains("linkdown").then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
        exchange();
    }
}

/// The router asks from its address on either link, and is told there.
#[test]
fn a_host_with_two_uplinks_answers_by_the_one_that_leads_back() {
    const NOBODY: &str = "2001:db8:b:1:3000::99";
    let overlay = Overlay::up("way-back", "two-hosts", |text| with_host(text, "h2", "uplinks = 2"));
    let from_h2 = overlay.lab.host_address("h2").expect("the host is there");
    let router = overlay.node("rt");
    for (address, link) in [("2001:db8:ffff:2::1", "to-h2"), ("2001:db8:ffff:102::1", "to1-h2")] {
        let before = overlay.count("h2", "ingress-unknown-identifier");
        let filter =
            format!("icmp6 and src host {from_h2} and dst host {address} and ip6[40] == 1");
        let capture =
            Capture::start(&router, link, &filter).unwrap_or_else(|error| panic!("{error}"));
        let ping = router.command("ping").args(["-c1", "-W3", "-I", address, NOBODY]).output();
        let said = String::from_utf8(ping.expect("ping can be run").stdout).expect("it is text");
        assert!(said.contains(&format!("From {from_h2}")), "{link}: {said}");
        assert_eq!(overlay.count("h2", "ingress-unknown-identifier"), before + 1, "{link}");
        capture.wait(|packets| packets.len() == 1).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Whoever connects is told at once, and the drop is counted and shown.
#[track_caller]
fn is_told(overlay: &Overlay, fate: &str, kind: ErrorKind) {
    let listen = overlay.ctl("h1", &["monitor", "-o", "json"]).stdout(Stdio::piped()).spawn();
    let mut monitor = Monitor(listen.expect("ila-ctl can be run"));
    let lines = BufReader::new(monitor.0.stdout.take().expect("it is piped")).lines();
    let (shown, seen) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| shown.send(line)));
    let before = overlay.count("h1", fate);
    let to = SocketAddr::from((overlay.address("b1"), 80));
    // Until the kernel has taken note, and somebody listens.
    let line = wait_until(PATIENCE, "a dropped packet to be shown and told of", || {
        let connect = || TcpStream::connect_timeout(&to, PATIENCE).expect_err("nobody listens");
        let error = overlay.node("a1").inside(connect).expect("the namespace is there");
        (error.kind() == kind).then_some(())?;
        seen.try_iter().find(|line| line.contains(fate))
    });
    let line = line.unwrap_or_else(|error| panic!("{error}: {fate}"));
    let packet: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!((&packet["fate"], &packet["container"]), (&fate.into(), &"a1".into()), "{line}");
    assert_eq!(packet["locator"], "2001:db8:b:1::/64", "{line}");
    assert!(overlay.count("h1", fate) > before, "{fate}");
}

/// What `ila-ctl status` says of a host.
fn status(overlay: &Overlay, host: &str) -> serde_json::Value {
    let status = ok(&mut overlay.ctl(host, &["status", "-o", "json"]));
    serde_json::from_str(&status).expect("it is JSON")
}

/// Waits until h1 has its programs ask for the route of each packet for that
/// reason; for none until it knows them to be plain.
#[track_caller]
fn asks(overlay: &Overlay, reason: Option<&str>) {
    let asked = || status(overlay, "h1")["routes_asked"].as_str().map(str::to_owned);
    let settled = wait_until(PATIENCE, "the routes to be looked at", || match (asked(), reason) {
        (None, None) => Some(()),
        (Some(asked), Some(reason)) => asked.contains(reason).then_some(()),
        _ => None,
    });
    settled.unwrap_or_else(|error| panic!("{error}: {:?}, not {reason:?}", asked()));
}

/// Whatever it is that makes them odd, and plain again.
#[test]
fn routes_are_asked_for_while_they_are_not_plain() {
    let overlay = Overlay::of("plain-routes", "two-hosts");
    let h1 = overlay.node("h1");
    let ip = |words: &str| {
        ok(h1.command("ip").args(words.split(' ')));
    };
    ip("link add aside type veth peer name there");
    ip("link set there up");
    ip("link set aside up");
    asks(&overlay, None);
    let table = ok(&mut overlay.ctl("h1", &["status"]));
    assert!(table.lines().any(|line| line.split_whitespace().eq(["routes", "plain"])), "{table}");
    let there = "2001:db8:b:1::/64";
    let via = "via 2001:db8:ffff:1::1 dev up0";
    for (odd, plain, reason) in [
        (
            format!("-6 route add {there} dev aside"),
            format!("-6 route del {there}"),
            "leads to aside",
        ),
        (
            format!("-6 route add {there} nexthop {via} nexthop via fe80::9 dev aside"),
            format!("-6 route del {there}"),
            "leads to aside",
        ),
        (
            format!("-6 route add {there} {via} mtu 1300"),
            format!("-6 route replace {there} {via}"),
            "has an mtu of 1300 bytes, up0 one of 1500",
        ),
        (
            "-6 route add prohibit 2001:db8:b:1:2000::/68".to_owned(),
            "-6 route del prohibit 2001:db8:b:1:2000::/68".to_owned(),
            "2001:db8:b:1:2000::/68 sends nothing on",
        ),
        (
            format!("-6 route replace unreachable {there}"),
            format!("-6 route replace {there} {via}"),
            "No route to host",
        ),
        (
            "-6 rule add from fd00:db8:0:1::/64 lookup 100".to_owned(),
            "-6 rule del from fd00:db8:0:1::/64 lookup 100".to_owned(),
            "rules",
        ),
    ] {
        ip(&odd);
        asks(&overlay, Some(reason));
        let log = overlay.log("h1");
        assert!(log.contains(reason), "{reason}: {log}");
        ip(&plain);
        asks(&overlay, None);
    }
    assert!(overlay.pings("a1", "b1"));
}

/// Their routes are none to a locator.
#[test]
fn containers_come_and_go_without_a_doubt() {
    let overlay = Overlay::of("no-doubt", "two-hosts");
    asks(&overlay, None);
    let netns = crate::overlay::Netns::add("no-doubt");
    let add = ["container", "add", "new", "--netns", &netns.path()];
    for _ in 0..3 {
        ok(&mut overlay.ctl("h1", &add));
        assert_eq!(status(&overlay, "h1")["routes_asked"], serde_json::Value::Null);
        ok(&mut overlay.ctl("h1", &["container", "rm", "new"]));
        assert_eq!(status(&overlay, "h1")["routes_asked"], serde_json::Value::Null);
    }
}

#[test]
fn who_sends_where_no_route_leads_is_told() {
    for path in ["fast", "slow"] {
        let overlay = Overlay::up(&format!("no-route-{path}"), "two-hosts", |text| {
            format!("path = \"{path}\"\n{text}")
        });
        let h1 = overlay.node("h1");
        let route = |words: &str| {
            ok(h1.command("ip").args(["-6", "route"]).args(words.split(' ')));
        };
        let there = "2001:db8:b:1::/64";
        // To a network that is none of the underlay.
        ok(h1.command("ip").args("link add aside type veth peer name there".split(' ')));
        ok(h1.command("ip").args("link set there up".split(' ')));
        ok(h1.command("ip").args("link set aside up".split(' ')));
        route(&format!("add {there} dev aside"));
        is_told(&overlay, "egress-not-uplink", ErrorKind::NetworkUnreachable);
        // Into a container.
        route(&format!("replace {there} dev ila000000000051"));
        is_told(&overlay, "egress-not-uplink", ErrorKind::NetworkUnreachable);
        route(&format!("del {there}"));
        route(&format!("add prohibit {there}"));
        is_told(&overlay, "egress-prohibited", ErrorKind::PermissionDenied);
        route(&format!("del {there}"));
        assert!(overlay.pings("a1", "b1"), "{path}");
        route("del default");
        is_told(&overlay, "egress-no-route", ErrorKind::NetworkUnreachable);
    }
}

/// By whoever it is down: the host itself, or what it is connected to.
#[test]
fn an_uplink_that_is_down_is_told_of() {
    let overlay = Overlay::of("down", "two-hosts");
    let uplink = || status(&overlay, "h1")["uplink_states"][0].clone();
    let state = |expected: &str| {
        wait_until(PATIENCE, "the state of the uplink", || {
            (uplink()["state"] == expected).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {expected}, not {}", uplink()));
    };
    let set = |node: &str, interface: &str, state: &str| {
        ok(overlay.node(node).command("ip").args(["link", "set", interface, state]));
    };
    state("up");
    set("rt", "to-h1", "down");
    state("no-carrier");
    asks(&overlay, Some("up0 is not up"));
    is_told(&overlay, "egress-no-route", ErrorKind::NetworkUnreachable);
    let table = ok(&mut overlay.ctl("h1", &["status"]));
    assert!(table.contains("up0 no carrier for "), "{table}");
    assert!(overlay.log("h1").contains("uplink has no carrier"), "{}", overlay.log("h1"));
    set("rt", "to-h1", "up");
    state("up");
    // What the router had on it went with it.
    for lost in [
        "address add 2001:db8:ffff:1::1/64 dev to-h1 nodad",
        "-6 route add 2001:db8:a:1::/64 via 2001:db8:ffff:1::2 dev to-h1",
    ] {
        ok(overlay.node("rt").command("ip").args(lost.split(' ')));
    }
    wait_until(PATIENCE, "packets to flow again", || overlay.pings("a1", "b1").then_some(()))
        .unwrap_or_else(|error| panic!("{error}"));
    asks(&overlay, None);
    set("h1", "up0", "down");
    state("down");
    is_told(&overlay, "egress-no-route", ErrorKind::NetworkUnreachable);
}

/// A route's packet size counts, for single packets and for those of which many
/// are handed on at once.
#[test]
fn a_route_that_is_narrower_than_the_uplink() {
    let overlay = Overlay::of("narrow-route", "two-hosts");
    let via = "2001:db8:ffff:1::1";
    ok(overlay.node("h1").command("ip").args(
        format!("-6 route add 2001:db8:b:1::/64 via {via} dev up0 mtu lock 1300").split(' '),
    ));
    asks(&overlay, Some("has an mtu of 1300 bytes"));
    let (a1, b1) = (overlay.node("a1"), overlay.node("b1"));
    tcp_exchange(&a1, &b1, overlay.address("b1"), 2, 1_000_000);
    assert!(overlay.count("h1", "egress-too-big") > 0);
    let route =
        ok(a1.command("ip").args(["-6", "route", "get", &overlay.address("b1").to_string()]));
    assert!(route.contains("mtu 1300"), "{route}");
}

/// A kernel without VLANs cannot have this lab, and is named as the reason; the
/// second kernel has them.
#[test]
fn uplinks_in_a_vlan() {
    let kernel_has_vlans = {
        let _world = World::enter(Mounts::Private);
        let ip = |args: &str| Command::new("ip").args(args.split(' ')).output().expect("it runs");
        ip("link add here type veth peer name there");
        ip("link add link here name here.100 type vlan id 100").status.success()
    };
    let change = |text: &str| with_host(text, "h2", "vlan = 100");
    if kernel_has_vlans {
        let overlay = Overlay::up("vlan", "two-hosts", change);
        assert!(overlay.interfaces("h2").contains(&"up0.100".to_owned()));
        let echo = UdpEcho::start(&overlay.node("b1"), overlay.address("b1"));
        echo.exchange(&overlay.node("a1"), &[1, 1400, 1452, 1453, 9000]);
        echo.end(&overlay.node("a1"));
        tcp_exchange(&overlay.node("a1"), &overlay.node("b1"), overlay.address("b1"), 4, 100_000);
    } else {
        let world = World::enter(Mounts::Private);
        let (lab, before) = (TestLab::new("vlan"), world.look());
        let file = tempfile::NamedTempFile::with_suffix(".toml").expect("a file can be made");
        let two_hosts = include_str!("../../topologies/two-hosts.toml");
        std::fs::write(file.path(), change(two_hosts)).expect("it can be written");
        let said = refused(&mut lab.up(file.path().to_str().expect("it is UTF-8")), 1);
        assert!(said.contains("nothing is left") && said.contains("CONFIG_VLAN_8021Q"), "{said}");
        before.assert_same(&world.look(), "a lab without VLANs");
    }
}

#[test]
fn containers_have_the_packet_size_of_their_own_hosts_link() {
    let overlay = Overlay::up("host-mtu", "two-hosts", |text| with_host(text, "h2", "mtu = 1400"));
    for (node, interface, mtu) in
        [("a1", "eth0", 1500), ("rt", "to-h1", 1500), ("rt", "to-h2", 1400), ("b1", "eth0", 1400)]
    {
        let link = ok(overlay.node(node).command("ip").args(["link", "show", interface]));
        assert!(link.contains(&format!("mtu {mtu} ")), "{node}: {link}");
    }
    assert!(overlay.pings("a1", "b1"));
}

#[test]
fn a_router_that_reaches_the_sir_prefix_by_a_host() {
    let overlay = Overlay::up("sir-via", "two-hosts", |text| with_router(text, "sir_via = \"h2\""));
    let to = overlay.address("a1").to_string();
    let route = ok(overlay.node("rt").command("ip").args(["-6", "route", "get", &to]));
    assert!(route.contains("dev to-h2"), "{route}");
    assert!(overlay.pings("a1", "b1"));
}

/// Where the host's default is not to, and where somebody has turned it off.
#[test]
fn links_forward_whatever_the_hosts_default_is() {
    let two = |text: &str| with_host(text, "h1", "uplinks = 2");
    let overlay = Overlay::up("forwarding", "two-hosts", two);
    overlay.end_agent("h1", nix::sys::signal::Signal::SIGTERM);
    for interface in ["default", "up0", "up1", "ila000000000051"] {
        overlay.set("h1", &format!("{interface}/forwarding"), "0");
    }
    let _agent = overlay.start_agent("h1");
    assert!(overlay.pings("a1", "b1") && overlay.pings("b1", "a1"));
    // And one that is new.
    let netns = crate::overlay::Netns::add("forwarding");
    let add = ["container", "add", "new", "--netns", &netns.path()];
    ok(&mut overlay.ctl("h1", &add));
    let before = overlay.count("h1", "egress-translated");
    let b1 = overlay.address("b1").to_string();
    // Nobody knows where to answer.
    let _ = netns.command("ping").args(["-c1", "-W1", &b1]).output();
    assert!(overlay.count("h1", "egress-translated") > before);
    assert_eq!(overlay.count("h1", "egress-no-route"), 0);
}
