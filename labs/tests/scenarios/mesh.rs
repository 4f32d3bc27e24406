//! Agents that tell each other who is where.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead as _, BufReader, ErrorKind},
    net::{Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ila_labs::{Node, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    common::{ok, refused},
    overlay::{Agent, Netns, Overlay, PATIENCE, UdpEcho, flows_on, inside},
    stream::{RATE, expect_perfect},
};

/// What flows between two events.
const BETWEEN: u64 = RATE as u64 / 4;

/// How long until a node is seen down, or alive again, takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Hosts h1 to hN, each with one container, c1 to cN.
fn hosts(count: usize) -> String {
    let mut text = "sir_prefix = \"fd00:db8:0:1::/64\"\n".to_owned();
    for host in 1..=count {
        write!(
            text,
            "[[host]]\nname = \"h{host}\"\nlocator = \"2001:db8:{host}:1::/64\"\n\
             [[host.container]]\nname = \"c{host}\"\nidentifier = \"2000:0:0:{host}\"\n"
        )
        .expect("text can be written");
    }
    text
}

pub fn mesh_of(test: &str, count: usize) -> Overlay {
    Overlay::up(test, "two-hosts", |_| hosts(count))
}

pub fn json(overlay: &Overlay, host: &str, args: &[&str]) -> Option<Value> {
    let args: Vec<_> = args.iter().copied().chain(["-o", "json"]).collect();
    let output = overlay.ctl(host, &args).output().expect("it can be run");
    output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("it is JSON"))
}

/// The states of all nodes that a host knows.
fn states(overlay: &Overlay, host: &str) -> BTreeMap<String, String> {
    let nodes = json(overlay, host, &["node", "ls"]).expect("it is in a mesh");
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let nodes = nodes["nodes"].as_array().expect("it is a list").iter();
    nodes.map(|node| (text(&node["name"]), text(&node["state"]))).collect()
}

#[track_caller]
fn sees(overlay: &Overlay, host: &str, node: &str, state: &str) {
    let what = format!("{node} to be {state} for {host}");
    let is_so = || (states(overlay, host).get(node)? == state).then_some(());
    wait_until(LONG, &what, is_so)
        .unwrap_or_else(|error| panic!("{error}: {:?}", states(overlay, host)));
}

/// Waits until a host has an identifier mapped, or not.
#[track_caller]
fn maps(overlay: &Overlay, host: &str, identifier: &str, mapped: bool) {
    let what = format!("{identifier} at {host}: {mapped}");
    wait_until(LONG, &what, || {
        let is_mapped = json(overlay, host, &["mapping", "get", identifier]).is_some();
        (is_mapped == mapped).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", overlay.log(host)));
}

fn add(overlay: &Overlay, host: &str, name: &str, identifier: &str) -> Netns {
    let netns = Netns::add(&format!("{}-{name}", overlay.lab.name()));
    let add = ["container", "add", name, "--netns", &netns.path(), "--identifier", identifier];
    ok(&mut overlay.ctl(host, &add));
    netns
}

fn pings(netns: &Netns, to: Ipv6Addr) -> bool {
    let ping = netns.command("ping").args(["-c1", "-W3", &to.to_string()]).output();
    ping.expect("ping can be run").status.success()
}

fn nft(overlay: &Overlay, rules: &str) -> String {
    ok(overlay.node("rt").command("nft").args(["-j", rules]))
}

/// Has the router drop what comes from some hosts for others; counted.
fn cut(overlay: &Overlay, from: &[&str], to: &[&str]) {
    let names = |hosts: &[&str]| {
        let names: Vec<_> = hosts.iter().map(|host| format!("\"to-{host}\"")).collect();
        format!("{{ {} }}", names.join(", "))
    };
    nft(overlay, "add table ip6 cut; add counter ip6 cut dropped");
    nft(overlay, "add chain ip6 cut forward { type filter hook forward priority filter; }");
    let (from, to) = (names(from), names(to));
    nft(
        overlay,
        &format!("add rule ip6 cut forward iifname {from} oifname {to} counter name dropped drop"),
    );
}

/// How many packets were dropped, which are not from now on.
fn heal(overlay: &Overlay) -> u64 {
    let counter: Value =
        serde_json::from_str(&nft(overlay, "list counter ip6 cut dropped")).expect("it is JSON");
    let objects = counter["nftables"].as_array().expect("it is a list");
    let packets = objects.iter().find_map(|it| it["counter"]["packets"].as_u64());
    nft(overlay, "delete table ip6 cut");
    packets.expect("it is counted")
}

fn restart(overlay: &Overlay, host: &str) -> Agent {
    overlay.end_agent(host, Signal::SIGTERM);
    overlay.start_agent(host)
}

fn with_grace(overlay: &Overlay, host: &str, seconds: u32) -> Agent {
    overlay.configure(host, |text| {
        text.replace("[mesh]\n", &format!("[mesh]\ngrace_seconds = {seconds}\n"))
    });
    restart(overlay, host)
}

#[test]
fn eight_hosts_that_start_at_once_come_to_know_each_other() {
    let overlay = mesh_of("eight", 8);
    for host in 1..=8 {
        let host = format!("h{host}");
        ok(&mut overlay.ctl(&host, &["status", "--wait", "60s"]));
        let states = states(&overlay, &host);
        assert_eq!(states.len(), 8, "{host}: {states:?}");
        let others = states.iter().filter(|(name, _)| **name != host);
        assert!(others.clone().all(|(_, state)| state == "alive"), "{host}: {states:?}");
        if host != "h1" {
            assert!(overlay.pings("c1", &host.replace('h', "c")), "{host}");
        }
    }
}

#[test]
fn a_stream_does_not_notice_that_an_agent_is_down_and_comes_back() {
    let overlay = mesh_of("down", 3);
    let stream = overlay.stream("c1", "c2", RATE);
    overlay.end_agent("h2", Signal::SIGKILL);
    sees(&overlay, "h1", "h2", "down");
    sees(&overlay, "h3", "h2", "down");
    flows_on(&stream, BETWEEN);
    let _agent = overlay.start_agent("h2");
    sees(&overlay, "h1", "h2", "alive");
    sees(&overlay, "h3", "h2", "alive");
    flows_on(&stream, BETWEEN);
    expect_perfect(stream);
}

/// Its containers are with it: who calls them is told at once, not left to wait.
#[test]
fn a_host_that_is_gone_is_hidden_after_a_while_and_comes_back() {
    let overlay = mesh_of("gone", 3);
    let _agents = ["h1", "h3"].map(|host| with_grace(&overlay, host, 1));
    overlay.set("rt", "to-h2/keep_addr_on_down", "1");
    let link = |state| ok(overlay.node("rt").command("ip").args(["link", "set", "to-h2", state]));
    link("down");
    for host in ["h1", "h3"] {
        sees(&overlay, host, "h2", "hidden");
        maps(&overlay, host, "2000:0:0:2", false);
    }
    let why = ok(&mut overlay.ctl("h1", &["mapping", "why", "2000:0:0:2"]));
    assert!(why.contains("h2 (hidden)") && why.contains("none"), "{why}");
    let to = overlay.address("c2");
    let error = inside(&overlay.node("c1"), || {
        TcpStream::connect_timeout(&(to, 80).into(), PATIENCE).expect_err("nobody is there")
    });
    assert_eq!(error.kind(), ErrorKind::HostUnreachable, "{error}");
    link("up");
    // The router has lost what it knew of that link.
    ok(overlay.node("rt").command("ip").args([
        "route",
        "replace",
        "2001:db8:2:1::/64",
        "via",
        "2001:db8:ffff:2::2",
        "dev",
        "to-h2",
    ]));
    for host in ["h1", "h3"] {
        sees(&overlay, host, "h2", "alive");
        maps(&overlay, host, "2000:0:0:2", true);
    }
    assert!(overlay.pings("c1", "c2"));
}

#[test]
fn halves_that_were_cut_apart_learn_what_both_have_done() {
    let overlay = mesh_of("halves", 4);
    let (left, right) = (["h1", "h2"], ["h3", "h4"]);
    cut(&overlay, &left, &right);
    nft(
        &overlay,
        "add rule ip6 cut forward iifname { \"to-h3\", \"to-h4\" } oifname { \"to-h1\", \"to-h2\" } \
         counter name dropped drop",
    );
    sees(&overlay, "h1", "h3", "down");
    sees(&overlay, "h4", "h2", "down");
    let one = add(&overlay, "h1", "one", "2000:0:0:101");
    let three = add(&overlay, "h3", "three", "2000:0:0:103");
    ok(&mut overlay.ctl("h2", &["container", "rm", "c2"]));
    ok(&mut overlay.ctl("h4", &["container", "rm", "c4"]));
    maps(&overlay, "h2", "2000:0:0:101", true);
    maps(&overlay, "h4", "2000:0:0:101", false);
    assert!(heal(&overlay) > 0, "nothing was cut");
    for host in ["h1", "h2", "h3", "h4"] {
        for (identifier, is_there) in [
            ("2000:0:0:101", true),
            ("2000:0:0:103", true),
            ("2000:0:0:2", false),
            ("2000:0:0:4", false),
        ] {
            maps(&overlay, host, identifier, is_there);
        }
    }
    assert!(pings(&one, overlay.address("c3")) && pings(&three, overlay.address("c1")));
}

/// Of two that cannot talk neither is down, as long as others reach both.
#[test]
fn a_way_that_is_lost_in_one_direction_only_declares_nobody_dead() {
    let overlay = mesh_of("oneway", 4);
    cut(&overlay, &["h1"], &["h2"]);
    // The connection between both is gone …
    let is_linked = || {
        let nodes = json(&overlay, "h1", &["node", "ls"]).expect("it is in a mesh");
        let nodes = nodes["nodes"].as_array().expect("it is a list").clone();
        nodes.iter().any(|node| node["name"] == "h2" && !node["round_trip_micros"].is_null())
    };
    wait_until(LONG, "the connection to end", || (!is_linked()).then_some(())).expect("it ends");
    // … yet what one says comes to the other.
    let _netns = add(&overlay, "h1", "new", "2000:0:0:101");
    maps(&overlay, "h2", "2000:0:0:101", true);
    ok(&mut overlay.ctl("h1", &["container", "rm", "new"]));
    maps(&overlay, "h2", "2000:0:0:101", false);
    for host in ["h1", "h2", "h3", "h4"] {
        let states = states(&overlay, host);
        assert!(
            states.values().all(|state| state == "alive" || state == "this"),
            "{host}: {states:?}"
        );
    }
    assert!(heal(&overlay) > 0, "nothing was lost");
}

#[test]
fn a_link_that_comes_and_goes_is_no_more_than_that() {
    let overlay = mesh_of("flap", 3);
    // The router keeps the address of the link, though not its routes.
    overlay.set("rt", "to-h2/keep_addr_on_down", "1");
    let route = ["2001:db8:2:1::/64", "via", "2001:db8:ffff:2::2", "dev", "to-h2"];
    for round in 0..10 {
        for state in ["down", "up"] {
            ok(overlay.node("rt").command("ip").args(["link", "set", "to-h2", state]));
        }
        ok(overlay.node("rt").command("ip").args(["route", "replace"]).args(route));
        wait_until(PATIENCE, "an answer", || overlay.pings("c1", "c2").then_some(()))
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    let _netns = add(&overlay, "h2", "new", "2000:0:0:101");
    for host in ["h1", "h3"] {
        maps(&overlay, host, "2000:0:0:101", true);
        sees(&overlay, host, "h2", "alive");
    }
}

#[test]
fn a_stream_does_not_notice_that_all_agents_are_restarted_one_after_the_other() {
    let overlay = mesh_of("rolling", 4);
    let stream = overlay.stream("c1", "c2", RATE);
    let mut agents = Vec::new();
    for host in ["h1", "h2", "h3", "h4"] {
        agents.push(restart(&overlay, host));
        ok(&mut overlay.ctl(host, &["status", "--wait", "60s"]));
        flows_on(&stream, BETWEEN);
    }
    expect_perfect(stream);
    for host in ["h1", "h2", "h3", "h4"] {
        let mappings = json(&overlay, host, &["mapping", "ls"]).expect("there are some");
        assert_eq!(mappings["mappings"].as_array().map(Vec::len), Some(4), "{host}");
    }
}

/// Waits until the connections of a host speak these versions of the protocol.
#[track_caller]
fn speaks(overlay: &Overlay, host: &str, expected: &[(&str, u64)]) {
    let expected: BTreeMap<_, _> = expected.iter().copied().collect();
    wait_until(LONG, &format!("{host} to speak {expected:?}"), || {
        let nodes = json(overlay, host, &["node", "ls"])?;
        let nodes = nodes["nodes"].as_array().expect("it is a list").iter();
        let spoken =
            nodes.filter_map(|node| Some((node["name"].as_str()?, node["protocol"].as_u64()?)));
        (spoken.collect::<BTreeMap<_, _>>() == expected).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", json(overlay, host, &["node", "ls"])));
}

/// As in the middle of an upgrade: one host's agent speaks the version that the
/// former one did.
#[test]
fn hosts_of_two_versions_of_the_protocol_are_one_mesh() {
    const HELD: &str = "max_protocol = 1\n";
    let overlay = mesh_of("versions", 4);
    overlay.configure("h3", |text| text.replace("[mesh]\n", &format!("[mesh]\n{HELD}")));
    let _held = restart(&overlay, "h3");
    speaks(&overlay, "h1", &[("h2", 2), ("h3", 1), ("h4", 2)]);
    speaks(&overlay, "h3", &[("h1", 1), ("h2", 1), ("h4", 1)]);
    for host in ["h1", "h2", "h3", "h4"] {
        ok(&mut overlay.ctl(host, &["status", "--wait", "60s"]));
    }
    let three = add(&overlay, "h3", "three", "2000:0:0:103");
    let one = add(&overlay, "h1", "one", "2000:0:0:101");
    for host in ["h1", "h2", "h4"] {
        maps(&overlay, host, "2000:0:0:103", true);
    }
    for host in ["h2", "h3", "h4"] {
        maps(&overlay, host, "2000:0:0:101", true);
    }
    let [to_three, to_one] =
        ["fd00:db8:0:1:2000::103", "fd00:db8:0:1:2000::101"].map(|it| it.parse().expect("it is"));
    assert!(pings(&one, to_three) && pings(&three, to_one));
    ok(&mut overlay.ctl("h3", &["container", "rm", "three"]));
    for host in ["h1", "h2", "h4"] {
        maps(&overlay, host, "2000:0:0:103", false);
        let status = json(&overlay, host, &["status"]).expect("it answers");
        assert!(!status["mesh"]["rejected"].to_string().contains("frame"), "{status}");
    }
    overlay.configure("h3", |text| text.replace(HELD, ""));
    let _agent = restart(&overlay, "h3");
    speaks(&overlay, "h1", &[("h2", 2), ("h3", 2), ("h4", 2)]);
    let _again = add(&overlay, "h3", "again", "2000:0:0:104");
    maps(&overlay, "h1", "2000:0:0:104", true);
}

#[test]
fn a_host_with_a_certificate_of_others_is_not_let_in() {
    let overlay = mesh_of("foreign", 3);
    let dir = overlay.lab.runtime_dir("h3").expect("the host is there");
    overlay.end_agent("h3", Signal::SIGTERM);
    let (ca, identity) = (dir.join("other-ca"), dir.join("identity"));
    std::fs::remove_dir_all(&identity).expect("the lab has made it");
    ok(overlay.ctl("h3", &["ca", "init", "--dir"]).arg(&ca));
    let issue = ["ca", "issue", "--node", "h3", "--locator", "fd00:db8:0:1::/64@2001:db8:3:1::/64"];
    ok(overlay.ctl("h3", &issue).arg("--dir").arg(&ca).arg("--out").arg(&identity));
    // What it has said before is not its own any more.
    std::fs::remove_dir_all(dir.join("state")).expect("the agent has made it");
    let _agent = overlay.start_agent_alone("h3");
    sees(&overlay, "h1", "h3", "down");
    let said = refused(&mut overlay.ctl("h3", &["status", "--wait", "1s"]), 4);
    assert!(said.contains("no connection"), "{said}");
    assert_eq!(states(&overlay, "h3").len(), 1);
    let _netns = add(&overlay, "h3", "new", "2000:0:0:101");
    ok(&mut overlay.ctl("h2", &["container", "rm", "c2"]));
    maps(&overlay, "h1", "2000:0:0:2", false);
    maps(&overlay, "h1", "2000:0:0:101", false);
}

#[test]
fn an_identifier_that_is_in_use_on_another_host_is_refused() {
    let overlay = mesh_of("taken", 2);
    let netns = Netns::add(&format!("{}-taken", overlay.lab.name()));
    let add = ["container", "add", "x", "--netns", &netns.path(), "--identifier", "2000:0:0:2"];
    let said = refused(&mut overlay.ctl("h1", &add), 1);
    assert!(said.contains("2000:0:0:2 is taken: it is in use at 2001:db8:2:1::/64"), "{said}");
    // It goes where it was given up.
    ok(&mut overlay.ctl("h2", &["container", "rm", "c2"]));
    maps(&overlay, "h1", "2000:0:0:2", false);
    ok(&mut overlay.ctl("h1", &add));
    maps(&overlay, "h2", "2000:0:0:2", true);
    assert!(pings(&netns, overlay.address("c1")));
}

#[test]
fn who_watches_sees_mappings_come_and_go() {
    let overlay = mesh_of("watch", 2);
    let mut watch = overlay.ctl("h1", &["mapping", "watch", "-o", "json"]);
    let mut watch = Agent(watch.stdout(Stdio::piped()).spawn().expect("it can be run"));
    let stdout = watch.0.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines();
    let mut next = move || -> Value {
        let line = lines.next().expect("there is another").expect("it can be read");
        serde_json::from_str(&line).expect("it is JSON")
    };
    // Until the watch has begun nothing is told: changes are made until one is.
    let netns = Netns::add(&format!("{}-watched", overlay.lab.name()));
    let path = netns.path();
    let add = ["container", "add", "x", "--netns", &path, "--identifier", "2000:0:0:101"];
    let (told, first) = std::sync::mpsc::channel();
    let seen = thread::spawn(move || {
        let changes = [next(), next()];
        told.send(()).expect("somebody waits");
        changes
    });
    wait_until(PATIENCE, "two changes", || {
        ok(&mut overlay.ctl("h2", &add));
        ok(&mut overlay.ctl("h2", &["container", "rm", "x"]));
        first.recv_timeout(Duration::from_millis(100)).ok()
    })
    .expect("they are told");
    let changes = seen.join().expect("it has not panicked");
    assert!(changes.iter().all(|it| it["identifier"] == "2000:0:0:101"), "{changes:?}");
    let there = |change: &&Value| change["mapping"]["locator"] == "2001:db8:2:1::/64";
    assert_eq!(changes.iter().filter(there).count(), 1, "{changes:?}");
}

/// After a boot there are no tables, and there may be nobody to ask.
#[test]
fn what_others_have_said_is_known_after_a_boot_without_them() {
    let overlay = mesh_of("boot", 3);
    for host in ["h2", "h3"] {
        overlay.end_agent(host, Signal::SIGKILL);
    }
    overlay.end_agent("h1", Signal::SIGTERM);
    ok(&mut overlay.detach("h1"));
    assert!(!overlay.pings("c1", "c2"), "there are tables still");
    let _agent = overlay.start_agent_alone("h1");
    maps(&overlay, "h1", "2000:0:0:2", true);
    maps(&overlay, "h1", "2000:0:0:3", true);
    assert!(overlay.pings("c1", "c2") && overlay.pings("c1", "c3"));
}

/// What is stored may be older than the tables that an agent has left.
#[test]
fn what_an_agent_has_left_in_the_tables_is_not_set_back_by_what_it_has_stored() {
    let overlay = mesh_of("setback", 3);
    let heard = overlay.lab.runtime_dir("h1").expect("the host is there").join("state/heard");
    let old = wait_until(LONG, "what was heard", || std::fs::read(&heard).ok()).expect("it is");
    ok(&mut overlay.ctl("h2", &["container", "rm", "c2"]));
    maps(&overlay, "h3", "2000:0:0:2", false);
    let _netns = add(&overlay, "h3", "moved", "2000:0:0:2");
    let is_moved = || {
        let mapping = json(&overlay, "h1", &["mapping", "get", "2000:0:0:2"])?;
        (mapping["locator"] == "2001:db8:3:1::/64").then_some(())
    };
    wait_until(LONG, "the move", is_moved).expect("it is heard of");
    for host in ["h1", "h2", "h3"] {
        overlay.end_agent(host, Signal::SIGKILL);
    }
    std::fs::write(&heard, old).expect("it can be written");
    let _agent = overlay.start_agent_alone("h1");
    is_moved().expect("it is where it was");
}

/// Prints how long it takes; how often by `ILA_ADDS`.
#[test]
fn a_container_is_reached_from_every_other_host_as_soon_as_it_is_added() {
    let adds = std::env::var("ILA_ADDS").map_or(200, |it| it.parse().expect("it is a number"));
    let overlay = mesh_of("reached", 3);
    let node = overlay.node("c1");
    let echo = UdpEcho::start(&node, Ipv6Addr::UNSPECIFIED);
    let to = SocketAddr::new(overlay.address("c1").into(), echo.to.port());
    let from = ["c2", "c3"].map(|name| overlay.node(name));
    let mut times: Vec<_> = (0..adds)
        .map(|_| {
            ok(&mut overlay.ctl("h1", &["container", "rm", "c1"]));
            for host in ["h2", "h3"] {
                maps(&overlay, host, "2000:0:0:1", false);
            }
            let mut add = overlay.ctl("h1", &["container", "add", "c1", "--netns"]);
            add.arg(node.netns()).args(["--identifier", "2000:0:0:1"]);
            time_to_reach(&mut add, &from, to)
        })
        .collect();
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!("from the start of an add to an answer at all other hosts, {adds} times:");
    println!("p50 {:?}, p99 {:?}, longest {:?}", at(50), at(99), times[times.len() - 1]);
    echo.end(&node);
}

/// From the start of an add to when all have had an answer from there.
fn time_to_reach(add: &mut Command, from: &[Node], to: SocketAddr) -> Duration {
    let started = Instant::now();
    thread::scope(|scope| {
        let reach = |node| inside(node, || reach(to));
        let reaching: Vec<_> = from.iter().map(|node| scope.spawn(move || reach(node))).collect();
        ok(add);
        for reached in reaching {
            reached.join().expect("it has not panicked");
        }
    });
    started.elapsed()
}

/// Asks every 2 ms, until the first answer.
fn reach(to: SocketAddr) {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port is free");
    socket.connect(to).expect("there is a route");
    socket.set_read_timeout(Some(Duration::from_millis(2))).expect("timeouts can be set");
    let started = Instant::now();
    // Until there is somebody the network says that there is nobody.
    while socket.send(b"?").is_err() || socket.recv(&mut [0]).is_err() {
        assert!(started.elapsed() < PATIENCE, "nobody has answered at {to}");
    }
}
