//! An underlay that drops what has a source which it has no route back to, as
//! providers' networks do (strict reverse-path filtering, RFC 3704).

use crate::{
    common::ok,
    overlay::{Overlay, UdpEcho, tcp_exchange, with_router},
};

const STRICT: &str = "strict_sources = true";

/// How many packets the router has dropped for their source.
fn refused_sources(overlay: &Overlay) -> u64 {
    let counter = ["-j", "list", "counter", "ip6", "ila-lab", "strict-sources"];
    let said = ok(overlay.node("rt").command("nft").args(counter));
    let said: serde_json::Value = serde_json::from_str(&said).expect("it is JSON");
    let objects = said["nftables"].as_array().expect("it is a list");
    let packets = objects.iter().find_map(|it| it["counter"]["packets"].as_u64());
    packets.expect("packets are counted")
}

#[test]
fn nothing_with_a_sir_source_crosses_a_strict_underlay() {
    let overlay = Overlay::up("strict", "two-hosts", |text| with_router(text, STRICT));
    let h2 = overlay.lab.host_address("h2").expect("the host is there").to_string();
    ok(overlay.node("h1").command("ping").args(["-c1", "-W2", &h2]));
    assert_eq!(refused_sources(&overlay), 0, "hosts have routes back");

    for sent in 1..=3 {
        assert!(!overlay.pings("a1", "b1"));
        assert_eq!(overlay.count("h1", "egress-translated"), sent);
        assert_eq!(refused_sources(&overlay), sent);
    }
    assert_eq!(overlay.count("h2", "ingress-restored"), 0);
}

/// The underlay sees addresses of hosts only.
#[test]
fn everything_with_a_locator_as_source_crosses_a_strict_underlay() {
    for path in ["fast", "slow"] {
        let keys = format!("path = \"{path}\"\nsource = \"locator\"");
        let overlay = Overlay::up("strict-locator", "two-hosts", |text| {
            format!("{keys}\n{}", with_router(text, STRICT))
        });
        let (a1, b1) = (overlay.node("a1"), overlay.node("b1"));
        assert!(overlay.pings("a1", "b1") && overlay.pings("b1", "a1"), "{path}");
        tcp_exchange(&a1, &b1, overlay.address("b1"), 4, 100_000);
        let echo = UdpEcho::start(&b1, overlay.address("b1"));
        echo.exchange(&a1, &[1, 1400, 1453, 9000]);
        echo.end(&a1);
        assert_eq!(refused_sources(&overlay), 0, "{path}");
    }
}
