//! What a container cannot do, and how it is told.

use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr, TcpStream},
};

use ila_labs::wait_until;
use nix::sys::signal::Signal;

use crate::{
    common::ok,
    overlay::{Overlay, PATIENCE},
};

const NOBODY: &str = "fd00:db8:0:1:2000::99";

#[test]
fn a_container_sends_only_from_its_own_address() {
    for path in ["fast", "slow"] {
        let overlay = Overlay::up(&format!("source-{path}"), "two-hosts", |text| {
            format!("path = \"{path}\"\n{text}")
        });
        let a1 = overlay.node("a1");
        let to = overlay.address("b1").to_string();
        for foreign in [overlay.address("a2").to_string(), NOBODY.to_owned()] {
            let before = overlay.count("h1", "egress-source");
            ok(a1.command("ip").args(["addr", "add", &foreign, "dev", "eth0", "nodad"]));
            let ping = a1.command("ping").args(["-c1", "-W1", "-I", &foreign, &to]).output();
            assert!(!ping.expect("ping can be run").status.success(), "{path}: {foreign}");
            assert!(overlay.count("h1", "egress-source") > before, "{path}: {foreign}");
            ok(a1.command("ip").args(["addr", "del", &foreign, "dev", "eth0"]));
        }
        assert!(overlay.pings("a1", "b1"), "{path}");
    }
}

#[test]
fn a_container_cannot_address_a_locator() {
    let overlay = Overlay::of("locator", "two-hosts");
    overlay.end_agent("h1", Signal::SIGTERM);
    overlay.configure("h1", |text| {
        format!("locator_spaces = [\"2001:db8:c::/48\", \"2001:db8:d::/48\"]\n{text}")
    });
    let _agent = overlay.start_agent("h1");
    // The ILA address of b1, one of nobody, h1's own locator, and those of hosts
    // that h1 knows nothing of.
    for to in [
        "2001:db8:b:1:3000::cda5",
        "2001:db8:b:1::1",
        "2001:db8:a:1:2000::1",
        "2001:db8:c:1:2000::1",
        "2001:db8:d:1:2000::1",
    ] {
        let before = overlay.count("h1", "egress-locator");
        let ping = overlay.node("a1").command("ping").args(["-c1", "-W1", to]).output();
        assert!(!ping.expect("ping can be run").status.success(), "{to}");
        assert_eq!(overlay.count("h1", "egress-locator"), before + 1, "{to}");
    }
}

#[test]
fn who_connects_to_nobody_is_told_at_once() {
    for path in ["fast", "slow"] {
        let overlay = Overlay::up(&format!("nobody-{path}"), "two-hosts", |text| {
            format!("path = \"{path}\"\n{text}")
        });
        let to: Ipv6Addr = NOBODY.parse().expect("an address");
        let error = overlay.node("a1").inside(|| {
            TcpStream::connect_timeout(&SocketAddr::from((to, 80)), PATIENCE)
                .expect_err("nobody is there")
        });
        let error = error.expect("the namespace is there");
        assert_eq!(error.kind(), ErrorKind::HostUnreachable, "{path}: {error}");
        assert!(overlay.count("h1", "egress-unknown-identifier") > 0, "{path}");
    }
}

/// What a host sends its errors from must not be taken for a container's.
#[test]
fn an_address_that_a_container_could_have_tells_nobody() {
    let overlay = Overlay::of_static("autoconfigured", "two-hosts");
    overlay.end_agent("h2", Signal::SIGTERM);
    // As hosts give themselves one where the locator is the link's prefix.
    let own = "2001:db8:b:1:5054:ff:fe12:3456/64";
    ok(overlay.node("h2").command("ip").args(["addr", "add", own, "dev", "up0", "nodad"]));
    let _agent = overlay.start_agent("h2");
    ok(&mut overlay.ctl("h2", &["container", "rm", "b1"]));
    let to = overlay.address("b1");
    let error = overlay.node("a1").inside(|| {
        TcpStream::connect_timeout(&SocketAddr::from((to, 80)), PATIENCE)
            .expect_err("it is gone, and h1 does not know")
    });
    let error = error.expect("the namespace is there");
    assert_eq!(error.kind(), ErrorKind::HostUnreachable, "{error}");
    assert!(overlay.count("h2", "ingress-unknown-identifier") > 0);
}

/// Duplicate address detection, as Linux does it.
#[test]
fn an_address_that_another_container_has_is_defended() {
    let overlay = Overlay::of("defended", "two-hosts");
    let a1 = overlay.node("a1");
    overlay.set("a1", "eth0/accept_dad", "1");
    let state = |address: &str| {
        ok(a1.command("ip").args(["-oneline", "-6", "addr", "show", "to", address]))
    };
    let taken = [overlay.address("b1").to_string(), overlay.address("a2").to_string()];
    for address in &taken {
        ok(a1.command("ip").args(["addr", "add", address, "dev", "eth0"]));
        wait_until(PATIENCE, "duplicate address detection to fail", || {
            state(address).contains("dadfailed").then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {}", state(address)));
    }
    assert_eq!(overlay.count("h1", "ndp-defended"), 2);
    ok(a1.command("ip").args(["addr", "add", NOBODY, "dev", "eth0"]));
    wait_until(PATIENCE, "duplicate address detection to end", || {
        let state = state(NOBODY);
        (!state.contains("tentative") && !state.contains("dadfailed")).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", state(NOBODY)));
}
