//! Hosts that serve several SIR prefixes.

use crate::overlay::{Overlay, UdpEcho, tcp_exchange, with_host};

/// Both hosts serve a second SIR prefix, of which a2 and b2 are.
fn two_domains(text: &str) -> String {
    const PREFIX: &str = "sir_prefix = \"fd00:db8:0:2::/64\"";
    let text = with_host(text, "a2", PREFIX);
    let text = with_host(&text, "b2", PREFIX);
    ["a", "b"].into_iter().fold(text, |text, host| {
        let first = format!("locator = \"2001:db8:{host}:1::/64\"\n");
        let second = format!("[[host.domain]]\n{PREFIX}\nlocator = \"2001:db8:{host}:2::/64\"\n");
        text.replacen(&first, &(first.clone() + &second), 1)
    })
}

#[test]
fn containers_of_each_sir_prefix_reach_each_other() {
    for path in ["fast", "slow"] {
        let overlay = Overlay::up("domains", "two-hosts", |text| {
            format!("path = \"{path}\"\n{}", two_domains(text))
        });
        let [b1, b2] = ["b1", "b2"].map(|container| overlay.address(container));
        assert_eq!(b2.segments()[..4], [0xfd00, 0xdb8, 0, 2]);
        for (from, to, address) in [("a1", "b1", b1), ("a2", "b2", b2)] {
            let (from, to) = (overlay.node(from), overlay.node(to));
            tcp_exchange(&from, &to, address, 2, 100_000);
            let echo = UdpEcho::start(&to, address);
            echo.exchange(&from, &[1, 1453, 9000]);
            echo.end(&from);
        }
        assert!(overlay.pings("b1", "a1") && overlay.pings("b2", "a2"), "{path}");
    }
}
