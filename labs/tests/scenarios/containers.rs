//! Containers that come and go.

use std::process::Stdio;

use ila_labs::wait_until;

use crate::{
    common::ok,
    overlay::{Netns, Overlay, PATIENCE},
};

fn show(overlay: &Overlay, name: &str) -> serde_json::Value {
    let json = ok(&mut overlay.ctl("h1", &["container", "show", name, "-o", "json"]));
    serde_json::from_str(&json).expect("it is JSON")
}

#[test]
fn containers_without_a_wish_get_addresses_of_their_own() {
    let overlay = Overlay::of("auto", "two-hosts");
    let netns = ["x", "y"].map(Netns::add);
    for Netns(name) in &netns {
        let path = format!("/run/netns/{name}");
        let label = format!("who={name}");
        ok(&mut overlay
            .ctl("h1", &["container", "add", name, "--netns", &path, "--label", &label]));
    }
    let [x, y] = ["x", "y"].map(|name| show(&overlay, name));
    assert_eq!(x["v"], 1);
    assert_eq!((&x["labels"]["who"], &y["labels"]["who"]), (&"x".into(), &"y".into()));
    assert_ne!(x["identifier"], y["identifier"]);
    let to = y["address"].as_str().expect("it has one");
    ok(netns[0].command("ping").args(["-c1", "-W2", to]));
}

#[test]
fn a_container_is_named_by_a_process_in_it() {
    let overlay = Overlay::of("by-pid", "two-hosts");
    let netns = Netns::add("x");
    let mut process = netns.command("sleep");
    let mut process = process.arg("60").stdin(Stdio::null()).spawn().expect("sleep can be run");
    let pid = process.id().to_string();
    // nsenter enters first and becomes the program then, under its own number.
    wait_until(PATIENCE, "the process to be in its namespace", || {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == "sleep").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    ok(&mut overlay.ctl("h1", &["container", "add", "x", "--netns", &pid]));
    let inside = ok(netns.command("ip").args(["-6", "address", "show", "eth0"]));
    assert!(
        inside.contains(show(&overlay, "x")["address"].as_str().expect("it has one")),
        "{inside}"
    );
    process.kill().and_then(|()| process.wait()).expect("it runs");
}

#[test]
fn a_removed_container_is_unknown_at_once() {
    let overlay = Overlay::of_static("removed", "two-hosts");
    assert!(overlay.pings("a1", "a2") && overlay.pings("b1", "a2"));
    ok(&mut overlay.ctl("h1", &["container", "rm", "a2"]));
    let egress = overlay.count("h1", "egress-unknown-identifier");
    let ingress = overlay.count("h1", "ingress-unknown-identifier");
    assert!(!overlay.pings("a1", "a2") && !overlay.pings("b1", "a2"));
    assert_eq!(overlay.count("h1", "egress-unknown-identifier"), egress + 1);
    assert_eq!(overlay.count("h1", "ingress-unknown-identifier"), ingress + 1);
    assert!(!overlay.interfaces("a2").contains(&"eth0".to_owned()));
    // The name and the identifier are free again.
    let netns = overlay.node("a2").netns().display().to_string();
    let again = ["container", "add", "a2", "--netns", &netns, "--identifier", "2000:0:0:a2"];
    ok(&mut overlay.ctl("h1", &again));
    assert!(overlay.pings("a1", "a2") && overlay.pings("b1", "a2"));
}

/// The other host does not even send to it any more.
#[test]
fn a_removed_container_is_unknown_elsewhere_soon() {
    const A2: &str = "2000:0:0:a2";
    let overlay = Overlay::of("removed", "two-hosts");
    assert!(overlay.pings("b1", "a2"));
    ok(&mut overlay.ctl("h1", &["container", "rm", "a2"]));
    overlay.await_mapping("h2", A2, false);
    let unknown = overlay.count("h2", "egress-unknown-identifier");
    assert!(!overlay.pings("b1", "a2"));
    assert_eq!(overlay.count("h2", "egress-unknown-identifier"), unknown + 1);
    // What is free on one host is on all.
    let netns = overlay.node("a2").netns().display().to_string();
    ok(&mut overlay.ctl("h2", &["container", "add", "a2", "--netns", &netns, "--identifier", A2]));
    overlay.await_mapping("h1", A2, true);
    assert!(overlay.pings("a1", "a2") && overlay.pings("b1", "a2"));
}

/// Runtimes like to disable IPv6 in the namespaces that they make.
#[test]
fn ipv6_is_enabled_where_a_runtime_has_disabled_it() {
    let overlay = Overlay::of("disabled", "two-hosts");
    let netns = Netns::add("x");
    for scope in ["all", "default"] {
        let disable = format!("echo 1 > /proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
        ok(netns.command("sh").args(["-c", &disable]));
    }
    ok(&mut overlay.ctl("h1", &["container", "add", "x", "--netns", &netns.path()]));
    let to = overlay.address("a1").to_string();
    ok(netns.command("ping").args(["-c1", "-W2", &to]));
}
