//! Which nodes a packet passes, asked the way traceroute does: by packets whose
//! hop limit runs out on the way.

use std::{
    io::IoSliceMut,
    net::{Ipv6Addr, UdpSocket},
    os::fd::AsRawFd as _,
};

use ila_labs::wait_until;
use nix::{
    cmsg_space,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt,
        sockopt::{Ipv6RecvErr, Ipv6Ttl},
    },
};

use crate::overlay::{Overlay, PATIENCE, UdpEcho, inside, with_router};

/// Packets for each hop. A router does not send more errors at a time.
const PROBES: usize = 3;

/// Hops from a1 to b1: h1, the router, h2, and b1 itself.
const HOPS: i32 = 4;

/// Who answers a datagram with that hop limit: a node on the way by an error,
/// or the receiver.
fn answer(socket: &UdpSocket, to: Ipv6Addr, hop_limit: i32) -> Ipv6Addr {
    setsockopt(socket, Ipv6Ttl, &hop_limit).expect("it can be set");
    socket.send(&[1; 100]).expect("it can be sent");
    let what = format!("an answer to hop limit {hop_limit}");
    let reply = || socket.recv(&mut [0; 200]).ok().and(Some(to));
    wait_until(PATIENCE, &what, || error(socket).or_else(reply))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Whose error about a datagram of the socket has arrived.
fn error(socket: &UdpSocket) -> Option<Ipv6Addr> {
    let mut quote = [0; 200];
    let mut slices = [IoSliceMut::new(&mut quote)];
    let mut space = cmsg_space!([u8; 128]);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags).ok()?;
    // The kernel has found the socket, which is connected, by the addresses of the
    // quoted packet: they are those that the container knows.
    message.cmsgs().expect("there was room").find_map(|it| match it {
        ControlMessageOwned::Ipv6RecvErr(_, from) => {
            from.map(|it| Ipv6Addr::from(it.sin6_addr.s6_addr))
        }
        _ => None,
    })
}

#[test]
fn every_hop_between_two_containers_answers() {
    let sources = [("locator", ""), ("sir", "sir_via = \"h2\"")];
    for (path, (source, lines)) in
        ["fast", "slow"].into_iter().flat_map(|path| sources.map(|source| (path, source)))
    {
        let overlay = Overlay::up("traceroute", "two-hosts", |text| {
            let keys = format!("path = \"{path}\"\nsource = \"{source}\"");
            format!("{keys}\n{}", with_router(text, lines))
        });
        let [h1, h2] = ["h1", "h2"].map(|it| overlay.lab.host_address(it).expect("it is there"));
        let b1 = overlay.address("b1");
        let node = |address: Ipv6Addr| match address.segments() {
            _ if address == h1 => "h1",
            _ if address == h2 => "h2",
            _ if address == b1 => "b1",
            // The router's end of either link.
            [0x2001, 0xdb8, 0xffff, 1 | 2, 0, 0, 0, 1] => "rt",
            _ => "nobody",
        };
        let echo = UdpEcho::start(&overlay.node("b1"), b1);
        let hops: Vec<_> = inside(&overlay.node("a1"), || {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port is free");
            socket.connect(echo.to).expect("there is a route");
            setsockopt(&socket, Ipv6RecvErr, &true).expect("it can be set");
            socket.set_nonblocking(true).expect("it can be set");
            let probes = (1..=HOPS).flat_map(|hop| [hop; PROBES]);
            probes.map(|hop| answer(&socket, b1, hop)).collect()
        });
        let expected = ["h1", "rt", "h2", "b1"].into_iter().flat_map(|node| [node; PROBES]);
        let seen: Vec<_> = hops.iter().map(|address| node(*address)).collect();
        assert!(expected.eq(seen), "path {path}, source {source}: {hops:?}");
        echo.end(&overlay.node("a1"));
    }
}
