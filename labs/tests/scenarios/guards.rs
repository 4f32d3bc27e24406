//! What a container cannot do, and how it is told.

use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream},
    os::fd::AsRawFd as _,
};

use ila_labs::{Capture, Packet, wait_until};
use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::Signal,
        socket::{
            AddressFamily, SockFlag, SockType, SockaddrIn6, connect, setsockopt, socket,
            sockopt::SendTimeout,
        },
        time::{TimeVal, TimeValLike as _},
    },
};

use crate::{
    common::ok,
    overlay::{Overlay, PATIENCE, inside},
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

/// Containers leave their checksums to a device, and what is told of one may leave
/// by a device that does its work.
#[test]
fn who_is_told_by_way_of_a_device_that_finishes_checksums_is_told_right() {
    const ICMPV6: u8 = 58;
    const HEADERS: usize = 48;
    // None, and so many that the TCP header is the end of the quote.
    const OPTIONS: [usize; 2] = [0, 1144];
    let overlay = Overlay::of("finished", "two-hosts");
    ok(&mut overlay.ctl("h2", &["container", "rm", "b1"]));
    let a1 = ok(&mut overlay.ctl("h1", &["container", "show", "a1", "-o", "json"]));
    let a1: serde_json::Value = serde_json::from_str(&a1).expect("it is JSON");
    let outside = a1["host_interface"].as_str().expect("it has one");
    let nobody: Ipv6Addr = NOBODY.parse().expect("an address");
    // From the host of the container, and from the one that b1 was on.
    let ways = [("h1", outside, nobody), ("h2", "up0", overlay.address("b1"))];
    for ((host, device, to), options) in
        ways.into_iter().flat_map(|way| OPTIONS.map(|options| (way, options)))
    {
        ok(overlay.node(host).command("ethtool").args(["-K", device, "tx", "off"]));
        let a1 = overlay.node("a1");
        let capture =
            Capture::start(&a1, "eth0", &format!("dst host {to} or (icmp6 and ip6[40] < 128)"));
        let capture = capture.unwrap_or_else(|error| panic!("{error}"));
        let connected = inside(&a1, || connect_with_options(to, options));
        let packets = capture.wait(|packets| packets.len() > 1);
        let [sent, error, ..] = &packets.unwrap_or_else(|error| panic!("{error}"))[..] else {
            panic!("there are more than one")
        };
        let is_right = |packet: &Packet| packet.checksums().map(|(says, has)| says == has);
        assert_eq!(is_right(sent), Some(false), "{host}: nothing is left to the device");
        assert_eq!(error.ipv6()[6], ICMPV6, "{host}: {error:?}");
        assert_eq!(is_right(error), Some(true), "{host}, {options} bytes: {error:?}");
        let quote = &error.ipv6()[HEADERS..];
        assert_eq!(quote, sent.ipv6_with(to, quote[7]), "{host}");
        assert_eq!(connected, Err(Errno::EHOSTUNREACH), "{host}");
    }
}

/// Connects to an address where nobody is, with destination options of so many
/// bytes in front of TCP, which is nothing that the library has a call for.
fn connect_with_options(to: Ipv6Addr, bytes: usize) -> nix::Result<()> {
    let tcp = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::empty(), None)?;
    let patience = TimeVal::seconds(PATIENCE.as_secs().cast_signed());
    setsockopt(&tcp, SendTimeout, &patience)?;
    // Padding of six bytes each, the header's first two among them.
    let mut options = [1, 6, 0, 0, 0, 0, 0, 0].repeat(bytes / 8);
    if let Some(header) = options.first_chunk_mut() {
        let units = u8::try_from(bytes / 8 - 1).expect("there are less than 256");
        *header = [0, units, 1, 4];
    }
    // SAFETY: the bytes are there for as long as the call takes, and as many.
    let set = unsafe {
        libc::setsockopt(
            tcp.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_DSTOPTS,
            options.as_ptr().cast(),
            options.len() as libc::socklen_t,
        )
    };
    Errno::result(set)?;
    connect(tcp.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(to, 80, 0, 0)))
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
