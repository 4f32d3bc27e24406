//! The end that sends.

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, setsockopt, sockopt::SndBuf},
    unistd::Pid,
};
use std::io::IoSlice;

use super::{
    Sent, Shared,
    datagram::{self, Content},
};
use crate::{Error, error::Doing as _};

/// How long the sender rests between two looks at the clock.
const TICK: Duration = Duration::from_millis(1);

/// How many datagrams one system call takes.
const BATCH: usize = 32;

/// How many datagrams are sent at most between two rests: a sender that was kept
/// from the processor makes up for it, but not at once.
const BURST: u64 = 1024;

/// Room for some hundred datagrams. Those in front of the first router take it
/// up, and without room the sender waits: else one that gets more of the
/// processor than the kernel's own threads would overflow the queue of 1,000
/// packets that all links of a processor share.
const BUFFER: usize = 64 << 10;

/// Between two end markers.
const MARKER: Duration = Duration::from_millis(10);

/// How long the end of the stream is announced at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends until told to stop, then until the receiver has seen the end.
pub fn run(id: u64, to: SocketAddr, rate: u32, shared: &Shared) -> Result<Sent, Error> {
    let sending = || format!("send datagrams to {to}");
    // Not connected, so that no ICMPv6 error is ever the answer to a datagram.
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).doing(sending)?;
    setsockopt(&socket, SndBuf, &BUFFER).doing(sending)?;
    stay_on_this_processor().doing(sending)?;
    let addresses = [Some(SockaddrStorage::from(to)); BATCH];
    let mut headers = MultiHeaders::preallocate(BATCH, None);

    let start = Instant::now();
    let mut next = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let goal = due(start.elapsed(), rate).min(next + BURST);
        while next < goal {
            let end = goal.min(next + BATCH as u64);
            let batch: Vec<_> =
                (next..end).map(|it| datagram::write(id, Content::Number(it))).collect();
            let slices: Vec<_> = batch.iter().map(|it| [IoSlice::new(it)]).collect();
            next += send(&socket, &mut headers, &slices, &addresses).doing(sending)?;
            shared.sent.store(next, Ordering::Relaxed);
        }
        thread::sleep(TICK);
    }
    let took = start.elapsed();

    let marker = datagram::write(id, Content::End(next));
    let stopped = Instant::now();
    while !shared.done.load(Ordering::Relaxed) {
        if stopped.elapsed() > PATIENCE {
            shared.done.store(true, Ordering::Relaxed);
            let what = format!("the end of a stream to arrive at {to}");
            return Err(Error::Deadline { what, after: PATIENCE });
        }
        socket.send_to(&marker, to).doing(sending)?;
        thread::sleep(MARKER);
    }
    Ok(Sent { datagrams: next, took })
}

/// Each processor has a queue of its own for all links, so that datagrams sent
/// from two of them could overtake each other without anybody's fault.
fn stay_on_this_processor() -> nix::Result<()> {
    let mut processors = CpuSet::new();
    processors.set(sched_getcpu()?)?;
    let this_thread = Pid::from_raw(0);
    sched_setaffinity(this_thread, &processors)
}

/// How many datagrams should have been sent after a while.
fn due(elapsed: Duration, rate: u32) -> u64 {
    let due = elapsed.as_micros() * u128::from(rate) / 1_000_000;
    u64::try_from(due).expect("nobody has time to send as many")
}

/// Sends datagrams, and returns how many the kernel took.
fn send(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    slices: &[[IoSlice<'_>; 1]],
    addresses: &[Option<SockaddrStorage>],
) -> nix::Result<u64> {
    let none = MsgFlags::empty();
    match sendmmsg(socket.as_raw_fd(), headers, slices, addresses, [], none) {
        Ok(sent) => Ok(sent.count() as u64),
        Err(Errno::EINTR) => Ok(0),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_says_how_many_are_due() {
        assert_eq!(due(Duration::ZERO, 100_000), 0);
        assert_eq!(due(Duration::from_millis(1), 100_000), 100);
        assert_eq!(due(Duration::from_secs(3600), 100_000), 360_000_000);
    }
}
