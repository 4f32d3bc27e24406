//! The end that receives.

use std::{
    fs,
    io::{self, IoSliceMut},
    net::{Ipv6Addr, UdpSocket},
    os::fd::AsRawFd as _,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt,
            sockopt::{RcvBuf, RcvBufForce},
        },
        stat::fstat,
    },
};

use super::{
    Account, Received, Shared,
    datagram::{self, Content},
};
use crate::{Error, error::Doing as _};

/// How many datagrams one system call takes.
const BATCH: usize = 64;

/// Room for what arrives while this thread has no processor: most of a second
/// at 100,000 datagrams a second.
const BUFFER: usize = 64 << 20;

/// How often a receiver that gets nothing looks whether anybody still cares.
const LOOK: Duration = Duration::from_millis(100);

/// After as many end markers, with the time between them, whatever has not
/// arrived is lost.
const MARKERS: u32 = 25;

/// A socket with much room, at `address` in this thread's namespace.
pub fn socket(address: Ipv6Addr) -> Result<UdpSocket, Error> {
    let making = || format!("receive datagrams at {address}");
    let socket = UdpSocket::bind((address, 0)).doing(making)?;
    // Without privilege there is what the machine grants to everybody.
    setsockopt(&socket, RcvBufForce, &BUFFER)
        .or_else(|_| setsockopt(&socket, RcvBuf, &BUFFER))
        .doing(making)?;
    socket.set_read_timeout(Some(LOOK)).doing(making)?;
    Ok(socket)
}

/// Receives until all has arrived that is going to.
pub fn run(socket: &UdpSocket, id: u64, shared: &Shared) -> Result<Received, Error> {
    let mut account = Account::default();
    let mut markers = 0;
    let mut buffers = [[0; datagram::LENGTH + 1]; BATCH];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    while !shared.done.load(Ordering::Relaxed) {
        let mut slices = buffers.each_mut().map(|it| [IoSliceMut::new(it)]);
        // Waits for the first only.
        let flags = MsgFlags::MSG_WAITFORONE;
        let received = match recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, flags, None) {
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            received => received.doing(|| "receive datagrams".to_owned())?,
        };
        let at = Instant::now();
        for content in received.filter_map(|it| datagram::read(id, it.iovs().next()?)) {
            match content {
                Content::Number(number) => account.note(number, at),
                Content::End(sent) => {
                    markers += 1;
                    if account.received() == sent || markers == MARKERS {
                        shared.done.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
        shared.received.store(account.received(), Ordering::Relaxed);
    }
    let dropped =
        dropped(socket).doing(|| "read how many datagrams a socket dropped".to_owned())?;
    Ok(Received { account, dropped })
}

/// How many datagrams found no room in the socket; to be called on a thread
/// in its namespace.
fn dropped(socket: &UdpSocket) -> io::Result<u64> {
    let inode = fstat(socket)?.st_ino.to_string();
    let table = fs::read_to_string("/proc/thread-self/net/udp6")?;
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut of_socket = line.filter(|fields| fields.get(9) == Some(&inode.as_str()));
    let dropped = of_socket.next().and_then(|fields| fields.last()?.parse().ok());
    dropped.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_socket_has_no_room_for_is_told_apart() {
        const SENT: u64 = 5000;
        let socket = socket(Ipv6Addr::LOCALHOST).unwrap();
        setsockopt(&socket, RcvBuf, &(100 << 10)).unwrap();
        let to = socket.local_addr().unwrap();
        let sender = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        for number in 0..SENT {
            sender.send_to(&datagram::write(7, Content::Number(number)), to).unwrap();
        }
        let dropped_so_far = dropped(&socket).unwrap();
        assert!((1..SENT).contains(&dropped_so_far), "{dropped_so_far}");

        let shared = Shared::default();
        let received = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| run(&socket, 7, &shared));
            while !shared.done.load(Ordering::Relaxed) {
                sender.send_to(&datagram::write(7, Content::End(SENT)), to).unwrap();
                std::thread::yield_now();
            }
            receiver.join().unwrap().unwrap()
        });
        assert_eq!(received.account.received() + dropped_so_far, SENT);
    }
}
