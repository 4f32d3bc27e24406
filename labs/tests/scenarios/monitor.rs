//! What is shown of dropped packets, and of packets by interface.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use ila_labs::wait_until;

use serde_json::Value;

use crate::{
    common::{ok, refused},
    overlay::{Netns, Overlay, PATIENCE, bin_dir},
};

const NOBODY: &str = "fd00:db8:0:1:2000::99";

/// `ila-ctl monitor`; killed if the test ends before it.
pub struct Monitor(pub Child);

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the packet was dropped and nobody answered.
fn ping_nobody(overlay: &Overlay) {
    let ping = overlay.node("a1").command("ping").args(["-c1", "-W1", NOBODY]).output();
    assert!(!ping.expect("ping can be run").status.success());
}

#[test]
fn dropped_packets_are_shown_as_they_are_dropped() {
    let overlay = Overlay::of("monitor", "two-hosts");
    // Before anybody listens: not told of.
    ping_nobody(&overlay);
    let mut listen = overlay.ctl("h1", &["monitor", "--count", "2", "-o", "json"]);
    let mut monitor = Monitor(listen.stdout(Stdio::piped()).spawn().expect("ila-ctl can be run"));
    let lines = BufReader::new(monitor.0.stdout.take().expect("it is piped")).lines();
    let mut told = Vec::new();
    std::thread::scope(|scope| {
        let reader =
            scope.spawn(|| lines.map(|line| line.expect("it is text")).collect::<Vec<_>>());
        // Until it listens there is nothing to be heard.
        while !reader.is_finished() {
            ping_nobody(&overlay);
        }
        told = reader.join().expect("it has read");
    });
    assert!(monitor.0.wait().expect("it has ended").success());
    assert_eq!(told.len(), 2);
    for line in told {
        let packet: Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(packet["v"], 1);
        assert_eq!(packet["fate"], "egress-unknown-identifier");
        assert_eq!(packet["container"], "a1");
        assert_eq!(packet["source"], overlay.address("a1").to_string());
        assert_eq!(packet["destination"], NOBODY);
        assert_eq!(packet["next_header"], 58);
        assert_eq!(packet["hop_limit"], 64);
        assert_eq!(packet["missed"], 0);
        assert!(packet.get("locator").is_none(), "{line}");
        assert_eq!(packet["sender"]["locator"], "2001:db8:a:1::/64");
        assert_eq!(packet["receiver"]["identifier"], "2000:0:0:99");
    }
}

/// The programs were told for a while only that somebody listens.
#[test]
fn dropped_packets_are_shown_for_as_long_as_somebody_listens() {
    const LONGER: Duration = Duration::from_secs(6);
    let overlay = Overlay::of("listening", "two-hosts");
    let mut listen = overlay.ctl("h1", &["monitor"]);
    let mut monitor = Monitor(listen.stdout(Stdio::piped()).spawn().expect("ila-ctl can be run"));
    let lines = BufReader::new(monitor.0.stdout.take().expect("it is piped")).lines();
    let (shown, times) = mpsc::channel();
    let reader = thread::spawn(move || {
        lines.map_while(Result::ok).try_for_each(|_| shown.send(Instant::now()))
    });
    let mut first = None;
    let waited = wait_until(PATIENCE, "a packet to be shown later", || {
        ping_nobody(&overlay);
        times.try_iter().find(|time| *time - *first.get_or_insert(*time) > LONGER)
    });
    waited.unwrap_or_else(|error| panic!("{error}"));
    drop((monitor, times));
    let _ = reader.join().expect("it has not panicked");
}

/// A listener that goes away, or an agent that ends, leaves no loose ends.
#[test]
fn an_agent_that_ends_ends_its_listeners() {
    let overlay = Overlay::of("listener", "two-hosts");
    // Outside of the namespace whose processes are ended.
    let mut listen = Command::new(bin_dir().join("ila-ctl"));
    let socket = overlay.lab.socket("h1").expect("the host is there");
    listen.arg("--socket").arg(socket).arg("monitor").stderr(Stdio::null());
    let mut monitor = Monitor(listen.spawn().expect("ila-ctl can be run"));
    overlay.end_agent("h1", nix::sys::signal::Signal::SIGTERM);
    let code = monitor.0.wait().expect("it has ended").code();
    assert_eq!(code, Some(3), "the agent is not there any more");
}

#[test]
fn packets_are_counted_for_each_container_and_uplink() {
    let overlay = Overlay::of("counters", "two-hosts");
    assert!(overlay.pings("a1", "b1"));
    ping_nobody(&overlay);
    let of = |arguments: &[&str]| {
        let all = [&["counters", "-o", "json"], arguments].concat();
        let json = ok(&mut overlay.ctl("h1", &all));
        let list: Value = serde_json::from_str(&json).expect("it is JSON");
        let counters = list["counters"].as_array().expect("it has counters").clone();
        move |fate: &str| {
            let found = counters.iter().find(|it| it["name"] == fate);
            found.map_or(0, |it| it["packets"].as_u64().expect("a number"))
        }
    };
    let a1 = of(&["--container", "a1"]);
    assert_eq!((a1("egress-translated"), a1("egress-unknown-identifier")), (1, 1));
    assert_eq!(of(&["--container", "a2"])("egress-translated"), 0);
    let up0 = of(&["--uplink", "up0"]);
    assert_eq!((up0("ingress-restored"), up0("egress-translated")), (1, 0));
    for (arguments, says) in [
        (["--container", "nobody"], "no container named `nobody`"),
        (["--uplink", "lo"], "`lo` is no uplink"),
    ] {
        let said = refused(&mut overlay.ctl("h1", &[&["counters"], &arguments[..]].concat()), 1);
        assert!(said.contains(says), "{said}");
    }
}

/// A sum that falls would look like a counter that has wrapped.
#[test]
fn what_a_container_was_counted_stays_when_it_is_removed() {
    let overlay = Overlay::of("removed", "two-hosts");
    let netns = Netns::add("short-lived");
    ok(&mut overlay.ctl("h1", &["container", "add", "short", "--netns", &netns.path()]));
    let to = overlay.address("a1").to_string();
    ok(netns.command("ping").args(["-c1", "-W2", &to]));
    let before = overlay.count("h1", "egress-local");
    assert!(before > 0);
    ok(&mut overlay.ctl("h1", &["container", "rm", "short"]));
    assert_eq!(overlay.count("h1", "egress-local"), before);
}
