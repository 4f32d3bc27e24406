//! Containers that mean harm: what they send is counted, dropped, and changes
//! nothing for the host. The frames are such as no stack would send.

use std::net::Ipv6Addr;

use etherparse::{Icmpv6Type, PacketBuilder};
use ila_labs::wait_until;

use crate::{
    common::ok,
    overlay::{Overlay, PATIENCE, inside},
};

const GATEWAY_MAC: [u8; 6] = [0x02, 0x49, 0x4c, 0x41, 0x00, 0x01];
const CONTAINER_MAC: [u8; 6] = [0x06, 0, 0, 0, 0, 0xa1];

#[test]
fn packets_cut_short_are_counted_and_dropped() {
    let overlay = Overlay::of("cut-short", "two-hosts");
    let before = overlay.count("h1", "egress-truncated");
    let frame = [&GATEWAY_MAC[..], &CONTAINER_MAC, &[0x86, 0xdd], &[0x60; 30]].concat();
    inside(&overlay.node("a1"), || send_raw("eth0", &frame));
    let counted = wait_until(PATIENCE, "the frame to be counted", || {
        Some(overlay.count("h1", "egress-truncated")).filter(|&now| now > before)
    });
    assert_eq!(counted.unwrap_or_else(|error| panic!("{error}")), before + 1);
}

/// The kernel takes the tag out of the frame before programs run, and there is no
/// interface for it behind them.
#[test]
fn frames_with_the_tag_of_a_vlan_go_nowhere() {
    let overlay = Overlay::of("tagged", "two-hosts");
    let [a1, b1] = ["a1", "b1"].map(|name| overlay.address(name));
    // The host resolves its router before this counts.
    assert!(overlay.pings("a1", "b1"));
    let uplink = [link_address(&overlay, "rt", "to-h1"), link_address(&overlay, "h1", "up0")];
    // The router's own, and the ILA address of a1.
    let to_a1 = ["2001:db8:ffff:1::1", "2001:db8:a:1:3000::cd96"];
    let to_a1 = to_a1.map(|text| text.parse().expect("an address"));
    for (node, interface, macs, addresses, at, fate) in [
        ("a1", "eth0", [CONTAINER_MAC, GATEWAY_MAC], [a1, b1], "b1", "egress-tagged"),
        ("rt", "to-h1", uplink, to_a1, "a1", "ingress-tagged"),
    ] {
        let before = overlay.count("h1", fate);
        let capture = ila_labs::Capture::start(&overlay.node(at), "eth0", "udp port 4000")
            .unwrap_or_else(|error| panic!("{error}"));
        inside(&overlay.node(node), || {
            send_raw(interface, &tagged(7, &datagram(macs, addresses, b"tagged")));
            // A tag that only states a priority is that of no VLAN.
            send_raw(interface, &tagged(0xe000, &datagram(macs, addresses, b"urgent")));
            send_raw(interface, &datagram(macs, addresses, b"behind"));
        });
        let packets = capture.wait(|packets| packets.len() > 1);
        let packets = packets.unwrap_or_else(|error| panic!("{fate}: {error}"));
        let last = packets.iter().map(|it| &it.bytes()[it.bytes().len() - 6..]);
        assert!(last.eq([b"urgent", b"behind"]), "{fate}: {packets:?}");
        assert_eq!(overlay.count("h1", fate), before + 1, "{fate}");
    }
}

/// From each, a host that listens learns a neighbour, of which it can have few.
#[test]
fn the_host_learns_no_neighbours_from_a_container() {
    const FRAMES: u16 = 50;
    let overlay = Overlay::of("learning", "two-hosts");
    let neighbours = || ok(overlay.node("h1").command("ip").args(["neigh"])).lines().count();
    // The host resolves its router and its containers before this counts.
    assert!(overlay.pings("a1", "b1"));
    let before = (neighbours(), overlay.count("h1", "ndp-not-for-host"));
    let not_ipv6 = overlay.count("h1", "egress-not-ipv6");
    inside(&overlay.node("a1"), || {
        for number in 0..FRAMES {
            let [high, low] = number.to_be_bytes();
            let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, number);
            let solicitation = Icmpv6Type::Unknown { type_u8: 133, code_u8: 0, bytes5to8: [0; 4] };
            let mut frame = Vec::new();
            PacketBuilder::ethernet2(CONTAINER_MAC, GATEWAY_MAC)
                .ipv6(
                    source.octets(),
                    "ff02::2".parse::<Ipv6Addr>().expect("it is one").octets(),
                    255,
                )
                .icmpv6(solicitation)
                .write(&mut frame, &[1, 1, 6, 0, 0, 1, high, low])
                .expect("it fits");
            send_raw("eth0", &frame);
            // An IPv4 ARP request from 10.0.HIGH.LOW.
            let mut frame =
                [&[0xff; 6][..], &CONTAINER_MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
            frame.extend(
                [&CONTAINER_MAC[..], &[10, 0, high, low], &[0; 6], &[127, 0, 0, 1]].concat(),
            );
            send_raw("eth0", &frame);
        }
    });
    let counted = wait_until(PATIENCE, "the frames to be counted", || {
        let now = overlay.count("h1", "egress-not-ipv6");
        (now >= not_ipv6 + u64::from(FRAMES)).then_some(())
    });
    counted.unwrap_or_else(|error| panic!("{error}"));
    let dropped = overlay.count("h1", "ndp-not-for-host");
    assert!(dropped >= before.1 + u64::from(FRAMES), "{dropped}");
    assert!(neighbours() <= before.0 + 2, "{} neighbours were {}", neighbours(), before.0);
}

/// A solicitation is for the link; none is ever carried to another host.
#[test]
fn no_solicitation_reaches_the_underlay() {
    let overlay = Overlay::of("ndp-out", "two-hosts");
    let [from, to] = ["a1", "b1"].map(|name| overlay.address(name));
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CONTAINER_MAC, GATEWAY_MAC)
        .ipv6(from.octets(), to.octets(), 255)
        .icmpv6(Icmpv6Type::Unknown { type_u8: 135, code_u8: 0, bytes5to8: [0; 4] })
        .write(&mut frame, &"2001:db8::77".parse::<Ipv6Addr>().expect("it is one").octets())
        .expect("it fits");
    let capture =
        ila_labs::Capture::start(&overlay.node("rt"), "to-h1", &format!("src host {from}"))
            .unwrap_or_else(|error| panic!("{error}"));
    inside(&overlay.node("a1"), || send_raw("eth0", &frame));
    // A ping behind it shows that whatever came before is there.
    assert!(overlay.pings("a1", "b1"));
    let packets =
        capture.wait(|packets| !packets.is_empty()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(overlay.count("h1", "ndp-unknown-target"), 1);
    assert!(packets.iter().all(|packet| packet.ipv6()[40] == 128), "only echo requests");
}

/// To an address under a host's locator that nobody has: not a container's, so
/// routing decides, and must not send it back to the router, and round again.
#[test]
fn a_packet_to_nobody_does_not_go_round_in_circles() {
    // A mesh has packets of its own, which would be counted as well.
    let overlay = Overlay::of_static("circles", "two-hosts");
    for host in ["h1", "h2"] {
        let locator = if host == "h1" { "2001:db8:a:1" } else { "2001:db8:b:1" };
        let nobody = format!("{locator}::dead");
        let ping = overlay
            .node("a1")
            .command("ping")
            .args(["-c3", "-i0.2", "-W1", "-t255", &nobody])
            .output();
        assert!(!ping.expect("ping can be run").status.success());
        let passed =
            overlay.count(host, "ingress-host") + overlay.count(host, "ingress-not-locator");
        assert!(passed < 20, "{passed} packets came to {host}");
    }
    // Nor while nobody translates.
    overlay.end_agent("h2", nix::sys::signal::Signal::SIGKILL);
    ok(&mut overlay.detach("h2"));
    let received = || {
        let stats =
            ok(overlay.node("h2").command("ip").args(["-json", "-stats", "link", "show", "up0"]));
        let stats: serde_json::Value = serde_json::from_str(&stats).expect("it is JSON");
        stats[0]["stats64"]["rx"]["packets"].as_u64().expect("packets are counted")
    };
    let before = received();
    assert!(!overlay.pings("a1", "b1"));
    assert!(received() - before < 10, "{} packets for one ping", received() - before);
}

/// The link-layer address of a node's interface.
pub fn link_address(overlay: &Overlay, node: &str, interface: &str) -> [u8; 6] {
    let link = ok(overlay.node(node).command("ip").args(["-json", "link", "show", interface]));
    let link: serde_json::Value = serde_json::from_str(&link).expect("it is JSON");
    let text = link[0]["address"].as_str().expect("it has one");
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("it is hex"));
    bytes.collect::<Vec<_>>().try_into().expect("it has six bytes")
}

fn datagram(
    [from, to]: [[u8; 6]; 2],
    [source, destination]: [Ipv6Addr; 2],
    text: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from, to)
        .ipv6(source.octets(), destination.octets(), 64)
        .udp(4000, 4000)
        .write(&mut frame, text)
        .expect("it fits");
    frame
}

/// The frame in VLAN 7.
fn tagged(tag: u16, frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0], &tag.to_be_bytes(), &frame[12..]].concat()
}

/// Sends one frame, as it is, out of an interface of this thread's namespace.
pub fn send_raw(interface: &str, frame: &[u8]) {
    use std::os::fd::AsRawFd as _;

    use nix::{
        libc,
        sys::socket::{AddressFamily, SockFlag, SockType, socket},
    };
    let any = None::<nix::sys::socket::SockProtocol>;
    let raw = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), any);
    let raw = raw.expect("root may open it");
    let index = nix::net::if_::if_nametoindex(interface).expect("the interface is there");
    // SAFETY: all zeroes is a valid address of this type.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index.cast_signed();
    // SAFETY: frame and address live across the call and their sizes are theirs.
    let sent = unsafe {
        libc::sendto(
            raw.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    assert_eq!(sent, frame.len().cast_signed(), "{}", std::io::Error::last_os_error());
}
