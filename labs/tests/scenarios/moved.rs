//! A container that lives on another host by now.

use nix::sys::signal::Signal;

use crate::{
    common::ok,
    overlay::{Netns, Overlay, with_static},
};

const B1: &str = "2000:0:0:b1";

fn mapping(locator: &str) -> String {
    format!("[[mapping]]\nidentifier = \"{B1}\"\nlocator = \"{locator}\"\n")
}

/// Its old host sends on what still arrives there, for senders that have not
/// heard of it.
#[test]
fn packets_for_a_container_that_moved_away_are_sent_on() {
    const OLD: &str = "2001:db8:b:1::/64";
    const NEW: &str = "2001:db8:c:1::/64";
    for path in ["fast", "slow"] {
        let overlay = Overlay::up(&format!("moved-{path}"), "three-hosts", |text| {
            format!("path = \"{path}\"\n{}", with_static(text))
        });
        ok(&mut overlay.ctl("h2", &["container", "rm", "b1"]));
        let mut agents = Vec::new();
        for host in ["h2", "h3"] {
            overlay.end_agent(host, Signal::SIGTERM);
            overlay.configure(host, |text| text.replace(&mapping(OLD), "") + "\n" + &mapping(NEW));
            agents.push(overlay.start_agent(host));
        }
        let netns = Netns::add(&format!("moved-{path}"));
        let add = ["container", "add", "b1", "--netns", &netns.path(), "--identifier", B1];
        ok(&mut overlay.ctl("h3", &add));

        // h1 still takes it to be on h2, and so does nobody else.
        for from in ["a1", "c1"] {
            assert!(overlay.pings(from, "b1"), "{path}: {from}, {}", overlay.counters());
        }
        assert_eq!(overlay.count("h2", "ingress-forwarded"), 1, "{path}");
        assert_eq!(overlay.count("h3", "ingress-restored"), 1, "{path}");
        // One hop more: h1, rt, h2, rt, h3.
        let to = overlay.address("b1").to_string();
        let reaches = |hops: &str| {
            let mut ping = overlay.node("a1").command("ping");
            ping.args(["-c1", "-W1", "-t", hops, &to]);
            ping.output().expect("ping can be run").status.success()
        };
        assert!(!reaches("5") && reaches("6"), "{path}");
    }
}
