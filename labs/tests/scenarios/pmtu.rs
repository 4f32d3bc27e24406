//! Path MTU discovery: a link of the underlay carries less than the containers
//! can know, and its router says so.

use std::{
    io,
    net::{Ipv6Addr, UdpSocket},
};

use etherparse::{
    Icmpv6Type, IpFragOffset, IpHeaders, IpNumber, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header,
    Ipv6RawExtHeader, PacketBuilder,
};
use ila_labs::{Capture, wait_until};
use nix::{
    libc,
    sys::socket::{setsockopt, sockopt::Ipv6DontFrag},
};

use crate::{
    common::ok,
    hostile::{link_address, send_raw},
    overlay::{Overlay, PATIENCE, UdpEcho, inside, tcp_exchange, with_host, with_router},
};

/// What the link between router and h2 carries.
const NARROW: usize = 1400;

/// What containers take all links to carry.
const WIDE: usize = 1500;

/// IPv6 and UDP headers.
const HEADERS: usize = 48;

const ETHERNET: usize = 14;

/// A lab whose router has a way to tell containers, by the topology's `keys` and
/// its own `lines`.
fn narrow(keys: &str, lines: &str) -> Overlay {
    Overlay::up("pmtu", "two-hosts", |text| {
        let text = with_host(text, "h2", &format!("mtu = {NARROW}"));
        format!("{keys}\n{}", with_router(&text, lines))
    })
}

/// Has b1 take all links for wide ones, as if the narrow one were further away.
/// Else its peers would know from it what TCP segments fit.
fn widen_b1(overlay: &Overlay) {
    let b1 = ok(&mut overlay.ctl("h2", &["container", "show", "b1", "-o", "json"]));
    let b1: serde_json::Value = serde_json::from_str(&b1).expect("it is JSON");
    let outside = b1["host_interface"].as_str().expect("it has one");
    for (node, interface) in [("h2", outside), ("b1", "eth0")] {
        let link = ["link", "set", interface, "mtu", &WIDE.to_string()];
        ok(overlay.node(node).command("ip").args(link));
    }
}

/// The configurations in which what a router says arrives.
fn ways() -> impl Iterator<Item = Overlay> {
    let sources = [("locator", ""), ("sir", "sir_via = \"h2\"")];
    let paths = ["fast", "slow"];
    paths.into_iter().flat_map(move |path| {
        sources.into_iter().map(move |(source, lines)| {
            println!("path {path}, source {source}");
            narrow(&format!("path = \"{path}\"\nsource = \"{source}\""), lines)
        })
    })
}

fn route_of_a1(overlay: &Overlay) -> String {
    let to = overlay.address("b1").to_string();
    ok(overlay.node("a1").command("ip").args(["-6", "route", "get", &to]))
}

#[test]
fn a_sender_of_datagrams_is_told_the_packet_size_of_the_path() {
    for overlay in ways() {
        assert!(!route_of_a1(&overlay).contains("mtu"), "{}", route_of_a1(&overlay));
        let echo = UdpEcho::start(&overlay.node("b1"), overlay.address("b1"));
        let refused = inside(&overlay.node("a1"), || {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port is free");
            socket.connect(echo.to).expect("there is a route");
            setsockopt(&socket, Ipv6DontFrag, &true).expect("it can be set");
            wait_until(PATIENCE, "a datagram to be refused", || {
                socket.send(&[1; WIDE - HEADERS]).err()
            })
        });
        let refused: io::Error = refused.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE), "{refused}");
        let route = route_of_a1(&overlay);
        assert!(route.contains(&format!("mtu {NARROW}")), "{route}");
        // What fits, and what its sender has to make fragments of now.
        echo.exchange(&overlay.node("a1"), &[NARROW - HEADERS, WIDE - HEADERS, 4000]);
        echo.end(&overlay.node("a1"));
    }
}

#[test]
fn a_tcp_transfer_finds_the_packet_size_of_the_path_and_finishes() {
    for overlay in ways() {
        widen_b1(&overlay);
        let (a1, b1) = (overlay.node("a1"), overlay.node("b1"));
        tcp_exchange(&a1, &b1, overlay.address("b1"), 1, 1_000_000);
        let route = route_of_a1(&overlay);
        assert!(route.contains(&format!("mtu {NARROW}")), "{route}");
    }
}

/// What hides behind extension headers, no router of Linux sends.
#[test]
fn a_sender_is_told_behind_extension_headers_as_well() {
    let overlay =
        Overlay::up("hidden", "two-hosts", |text| format!("source = \"locator\"\n{text}"));
    let (a1, rt, to) = (overlay.node("a1"), overlay.node("rt"), overlay.address("b1"));
    // The host resolves its router before this counts.
    assert!(overlay.pings("a1", "b1"));
    let capture = Capture::start(&rt, "to-h1", "udp").unwrap_or_else(|error| panic!("{error}"));
    let socket = inside(&a1, || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)));
    let socket = socket.expect("a port is free");
    socket.send_to(&[1; WIDE - HEADERS], (to, 9)).expect("it can be sent");
    let packets = capture.wait(|packets| !packets.is_empty());
    let sent = &packets.unwrap_or_else(|error| panic!("{error}"))[0];

    let options = Ipv6RawExtHeader::new_raw(IpNumber(0), &[1, 4, 0, 0, 0, 0]);
    let options = options.expect("they are short");
    let extensions = Ipv6Extensions {
        hop_by_hop_options: Some(options.clone()),
        destination_options: Some(options),
        fragment: Some(Ipv6FragmentHeader::new(IpNumber(0), IpFragOffset::ZERO, false, 7)),
        ..Ipv6Extensions::default()
    };
    let header = Ipv6Header {
        source: [0x20, 1, 0xd, 0xb8, 0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1],
        destination: sent.source().octets(),
        hop_limit: 64,
        ..Ipv6Header::default()
    };
    let [from, at] = [("rt", "to-h1"), ("h1", "up0")];
    let [from, at] = [from, at].map(|(node, end)| link_address(&overlay, node, end));
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from, at)
        .ip(IpHeaders::Ipv6(header, extensions))
        .icmpv6(Icmpv6Type::PacketTooBig { mtu: NARROW as u32 })
        .write(&mut frame, &sent.ipv6()[..1000])
        .expect("it fits");
    inside(&rt, || send_raw("to-h1", &frame));
    wait_until(PATIENCE, "the route to have the packet size", || {
        route_of_a1(&overlay).contains(&format!("mtu {NARROW}")).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", route_of_a1(&overlay)));
}

/// The uplink itself has become narrow, and what offloads have put together is
/// of segments that it does not carry.
#[test]
fn a_tcp_transfer_with_offloads_is_told_what_the_uplink_carries_and_finishes() {
    let overlay =
        Overlay::up("narrowed", "two-hosts", |text| format!("source = \"locator\"\n{text}"));
    for (node, end) in [("h1", "up0"), ("rt", "to-h1")] {
        let link = ["link", "set", end, "mtu", &NARROW.to_string()];
        ok(overlay.node(node).command("ip").args(link));
    }
    let (a1, b1) = (overlay.node("a1"), overlay.node("b1"));
    tcp_exchange(&a1, &b1, overlay.address("b1"), 1, 1_000_000);
    let route = route_of_a1(&overlay);
    assert!(route.contains(&format!("mtu {NARROW}")), "{route}");
    let json = ok(&mut overlay.ctl("h1", &["counters", "-o", "json"]));
    let reply: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    let counters = reply["counters"].as_array().expect("it has counters");
    let refused = counters.iter().find(|it| it["name"] == "egress-too-big").expect("it exists");
    let [packets, bytes] = ["packets", "bytes"].map(|it| refused[it].as_u64().expect("a number"));
    // More than single packets could have.
    assert!(bytes > packets * (WIDE + ETHERNET) as u64, "{bytes} bytes in {packets} packets");
}
