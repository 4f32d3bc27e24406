//! A router that takes locators for prefixes on its links.

use crate::{
    common::ok,
    overlay::{Overlay, UdpEcho, with_router},
};

const ON_LINK: &str = "on_link_locators = true";

/// It solicits each ILA address, and the host answers for those that it has.
#[test]
fn a_router_that_solicits_ila_addresses_is_answered() {
    for path in ["fast", "slow"] {
        let overlay = Overlay::up("on-link", "two-hosts", |text| {
            format!("path = \"{path}\"\n{}", with_router(text, ON_LINK))
        });
        assert!(overlay.pings("a1", "b1") && overlay.pings("b1", "a1"), "{path}");
        let echo = UdpEcho::start(&overlay.node("b1"), overlay.address("b1"));
        echo.exchange(&overlay.node("a1"), &[1, 1453]);
        echo.end(&overlay.node("a1"));

        let neighbours = |which: &str| {
            let of_h2 = ["-6", "neigh", "show", "to", "2001:db8:b:1::/64"];
            let all = ok(overlay.node("rt").command("ip").args(of_h2));
            all.lines().filter(|line| line.contains(which)).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(!neighbours("lladdr").is_empty(), "{path}: {:?}", neighbours(""));
        let nobody = "2001:db8:b:1:3000::99";
        let ping = overlay.node("rt").command("ping").args(["-c1", "-W1", nobody]).output();
        assert!(!ping.expect("ping can be run").status.success());
        let answered = neighbours("lladdr");
        assert!(!answered.iter().any(|line| line.starts_with(nobody)), "{path}: {answered:?}");
    }
}

/// As Linux chooses one that it has given itself there.
#[test]
fn a_router_tells_the_packet_size_from_an_address_under_a_locator() {
    let overlay = Overlay::up("on-link-errors", "two-hosts", |text| {
        format!("source = \"locator\"\n{}", with_router(text, ON_LINK))
    });
    let address = "2001:db8:a:1:3095:9cff:fee1:aa62/64";
    let rt = overlay.node("rt");
    ok(rt.command("ip").args(["addr", "add", address, "dev", "to-h1", "nodad"]));
    for (node, link) in [("rt", "to-h2"), ("h2", "up0")] {
        ok(overlay.node(node).command("ip").args(["link", "set", link, "mtu", "1400"]));
    }
    let (a1, b1) = (overlay.node("a1"), overlay.address("b1").to_string());
    let told = ila_labs::wait_until(crate::overlay::PATIENCE, "the packet size", || {
        let ping = a1.command("ping").args(["-c1", "-W1", "-s1440", "-Mdo", &b1]).output();
        drop(ping.expect("ping can be run"));
        ok(a1.command("ip").args(["-6", "route", "get", &b1])).contains("mtu 1400").then_some(())
    });
    told.unwrap_or_else(|error| panic!("{error}"));
}
