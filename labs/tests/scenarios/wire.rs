//! What is on the wire between hosts, packet by packet.

use std::net::Ipv6Addr;

use ila_labs::{Capture, Packet, wait_until};

use crate::{
    common::ok,
    overlay::{Overlay, PATIENCE, UdpEcho, tcp_exchange},
};

/// h1 and the router on the way there, and h2.
const HOPS_TO_UNDERLAY: u8 = 1;
const HOPS: u8 = 3;

struct Case {
    name: &'static str,
    settings: &'static str,
    valid_on_the_wire: bool,
    /// The ILA address of b1; as computed from the draft by hand.
    ila: &'static str,
}

const CASES: [Case; 4] = [
    Case { name: "neutral", settings: "", valid_on_the_wire: true, ila: "2001:db8:b:1:3000::cda5" },
    Case {
        name: "clsact",
        settings: "hook = \"clsact\"",
        valid_on_the_wire: true,
        ila: "2001:db8:b:1:3000::cda5",
    },
    Case {
        name: "auto",
        settings: "checksum_mode = \"neutral-map-auto\"",
        valid_on_the_wire: true,
        ila: "2001:db8:b:1:2000::dda5",
    },
    Case {
        name: "noaction",
        settings: "checksum_mode = \"no-action\"",
        valid_on_the_wire: false,
        ila: "2001:db8:b:1:2000::b1",
    },
];

#[test]
fn only_the_destination_differs_between_hosts_and_every_checksum_is_valid() {
    for case in CASES {
        let overlay =
            Overlay::up(case.name, "two-hosts", |text| format!("{}\n{text}", case.settings));
        // With offloads a device would finish checksums and cut segments, and
        // a capture would show neither.
        for container in ["a1", "b1"] {
            ok(overlay
                .node(container)
                .command("ethtool")
                .args(["-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off"]));
        }
        let [sent, crossing, arrived] = exchange(&overlay);
        let ila = case.ila.parse().expect("an address");
        let changed = |destination: Ipv6Addr, hops: u8| {
            sent.iter().map(move |it| it.ipv6_with(destination, it.hop_limit() - hops))
        };
        let received = |packets: &[Packet]| sorted(packets.iter().map(|it| it.ipv6().to_vec()));
        assert_eq!(received(&crossing), sorted(changed(ila, HOPS_TO_UNDERLAY)), "{}", case.name);
        let to = overlay.address("b1");
        assert_eq!(received(&arrived), sorted(changed(to, HOPS)), "{}", case.name);

        for (packets, valid) in
            [(&sent, true), (&crossing, case.valid_on_the_wire), (&arrived, true)]
        {
            for (carried, computed) in packets.iter().filter_map(Packet::checksums) {
                assert_eq!(carried == computed, valid, "{}: {carried:#06x}", case.name);
            }
        }
        let translated = overlay.count("h1", "egress-translated");
        assert_eq!(translated, sent.len() as u64, "{}: a packet a count", case.name);
        assert_eq!(overlay.count("h2", "ingress-restored"), translated, "{}", case.name);
    }
}

/// Two processors may put two packets in either order, at any place.
fn sorted(packets: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut packets: Vec<_> = packets.collect();
    packets.sort();
    packets
}

/// Ping, TCP, UDP and fragments from a1 to b1, captured at three places.
fn exchange(overlay: &Overlay) -> [Vec<Packet>; 3] {
    let [from, to] = ["a1", "b1"].map(|name| overlay.address(name));
    let at = |node: &str, interface: &str, filter: String| {
        let capture = Capture::start(&overlay.node(node), interface, &filter);
        capture.unwrap_or_else(|error| panic!("{error}"))
    };
    let direct = format!("src host {from} and dst host {to}");
    let captures = [
        at("a1", "eth0", direct.clone()),
        at("rt", "to-h1", format!("src host {from} and dst net 2001:db8:b:1::/64")),
        at("b1", "eth0", direct),
    ];

    ok(overlay.node("a1").command("ping").args(["-c3", "-i0.1", &to.to_string()]));
    tcp_exchange(&overlay.node("a1"), &overlay.node("b1"), to, 1, 100_000);
    let echo = UdpEcho::start(&overlay.node("b1"), to);
    echo.exchange(&overlay.node("a1"), &[1, 17, 1400, 4000]);
    echo.end(&overlay.node("a1"));

    let seen = wait_until(PATIENCE, "all three captures to have the same packets", || {
        let seen = [0, 1, 2].map(|place: usize| captures[place].packets());
        let ended = seen[0].iter().any(|packet| packet.ipv6().len() == UDP_WITHOUT_PAYLOAD);
        (ended && seen.iter().all(|packets| packets.len() == seen[0].len())).then_some(seen)
    })
    .unwrap_or_else(|error| {
        panic!("{error}: {:?}", captures.each_ref().map(|it| it.packets().len()))
    });
    let fragments = seen[0].iter().filter(|packet| packet.checksums().is_none()).count();
    assert_eq!(fragments, 3, "4,000 bytes are three fragments");
    assert!(seen[0].len() > 80, "100 kB are more packets than {}", seen[0].len());
    seen
}

/// The datagram that ends the exchange.
const UDP_WITHOUT_PAYLOAD: usize = 48;
