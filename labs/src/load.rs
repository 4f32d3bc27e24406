//! Load between two nodes: one packet to and fro, or a stream of bytes. All of
//! it comes from sockets of this process, so that it is the same for whatever
//! the nodes are connected by.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    panic,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

use crate::{Error, Node, error::Doing as _, stream::hurry};

/// After this an answer is not waited for any longer.
const ANSWER: Duration = Duration::from_secs(1);

/// How long a connection or a stream may stand still, and how long the first
/// answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many bytes one system call writes to a stream, or reads from it.
const PIECE: usize = 128 << 10;

/// The two ends of a load.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// Who sends first.
    pub from: &'a Node,
    /// Who is sent to.
    pub to: &'a Node,
    /// An address of the latter.
    pub address: Ipv6Addr,
    /// The CPU that each of the two keeps to.
    pub cpus: [usize; 2],
}

/// What carries requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams of eight bytes.
    Udp,
    /// A byte each way on one connection, none held back to be sent with others.
    Tcp,
}

/// What came of requests of which the next was sent when the last was answered.
#[derive(Clone, Debug)]
pub struct Exchanges {
    /// Nanoseconds from each request to its answer, in order; at least one.
    pub times: Vec<u64>,
    /// How many were not answered within a second.
    pub lost: u64,
    /// CPU time of both ends, with what the kernel does in their name: without
    /// `CONFIG_IRQ_TIME_ACCOUNTING` that is a packet's whole way, unless
    /// somebody else's thread was in place.
    pub cpu: Duration,
}

/// What came of a stream of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// How many arrived.
    pub bytes: u64,
    /// From the first that was sent to the last that arrived.
    pub took: Duration,
    /// CPU time of both ends, as that of [`Exchanges`].
    pub cpu: Duration,
}

impl Ends<'_> {
    /// Exchanges small packets, one at a time, for a while, or until there was
    /// an answer.
    pub fn exchange(&self, carrier: Carrier, time: Duration) -> Result<Exchanges, Error> {
        let exchanging = || format!("exchange packets with {}", self.address);
        let length = match carrier {
            Carrier::Udp => size_of::<u64>(),
            Carrier::Tcp => 1,
        };
        let [mut client, mut server] = match carrier {
            Carrier::Udp => self.datagrams()?.map(OwnedFd::from),
            Carrier::Tcp => self.connection(ANSWER)?.map(OwnedFd::from),
        }
        .map(File::from);
        let stop = AtomicBool::new(false);
        let ask = || {
            let asked = ask(&mut client, length, time);
            stop.store(true, Ordering::Relaxed);
            // Whoever waits for another request need not wait for long.
            client.write_all(&[0]).and(asked)
        };
        let ((times, lost), (), cpu) =
            self.both(ask, || answer(&mut server, &stop)).doing(exchanging)?;
        Ok(Exchanges { times, lost, cpu })
    }

    /// Sends as many bytes as arrive, by one TCP connection, for a while.
    pub fn transfer(&self, time: Duration) -> Result<Transfer, Error> {
        let [mut sender, mut receiver] = self.connection(PATIENCE)?;
        let start = Instant::now();
        let send = || {
            let piece = vec![0; PIECE];
            loop {
                sender.write_all(&piece)?;
                if start.elapsed() >= time {
                    return sender.shutdown(Shutdown::Write);
                }
            }
        };
        let receive = || {
            let (mut piece, mut bytes) = (vec![0; PIECE], 0);
            loop {
                match receiver.read(&mut piece)? {
                    0 => return Ok((bytes, start.elapsed())),
                    more => bytes += more as u64,
                }
            }
        };
        let ((), (bytes, took), cpu) = self
            .both(send, receive)
            .doing(|| format!("send a stream of bytes to {}", self.address))?;
        Ok(Transfer { bytes, took, cpu })
    }

    /// Two sockets that know each other.
    fn datagrams(&self) -> Result<[UdpSocket; 2], Error> {
        let making = || format!("exchange datagrams with {}", self.address);
        let server = self.to.inside(|| UdpSocket::bind((self.address, 0)))?.doing(making)?;
        let to = server.local_addr().doing(making)?;
        let client = self.from.inside(|| {
            let client = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
            client.connect(to).map(|()| client)
        })?;
        let client = client.doing(making)?;
        client.local_addr().and_then(|from| server.connect(from)).doing(making)?;
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(ANSWER)).doing(making)?;
        }
        Ok([client, server])
    }

    /// Both ends of a connection. Reading from it fails when nothing came for so
    /// long.
    fn connection(&self, limit: Duration) -> Result<[TcpStream; 2], Error> {
        let making = || format!("connect to {} by TCP", self.address);
        let listener = self.to.inside(|| TcpListener::bind((self.address, 0)))?.doing(making)?;
        let to = listener.local_addr().doing(making)?;
        let client = self.from.inside(|| TcpStream::connect_timeout(&to, PATIENCE))?;
        let client = client.doing(making)?;
        // It is connected, so there is somebody to accept.
        let (server, _) = listener.accept().doing(making)?;
        for socket in [&client, &server] {
            socket.set_nodelay(true).doing(making)?;
            socket.set_read_timeout(Some(limit)).doing(making)?;
            socket.set_write_timeout(Some(PATIENCE)).doing(making)?;
        }
        Ok([client, server])
    }

    /// Runs both ends, each on its CPU, and says how much CPU time they took.
    fn both<A: Send, B: Send>(
        &self,
        first: impl FnOnce() -> io::Result<A> + Send,
        second: impl FnOnce() -> io::Result<B> + Send,
    ) -> io::Result<(A, B, Duration)> {
        let [first_cpu, second_cpu] = self.cpus;
        thread::scope(|scope| {
            let second = scope.spawn(move || on_cpu(second_cpu, second));
            let first = scope.spawn(move || on_cpu(first_cpu, first));
            let first = first.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            let second = second.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            let ((first, spent), (second, also)) = (first?, second?);
            Ok((first, second, spent + also))
        })
    }
}

/// Does something on one CPU, and says how much of its time that took.
fn on_cpu<T>(cpu: usize, work: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Duration)> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    let this_thread = Pid::from_raw(0);
    sched_setaffinity(this_thread, &only)?;
    hurry();
    let spent = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let start = spent()?;
    let done = work()?;
    Ok((done, spent()?.saturating_sub(start)))
}

/// Sends requests of `length` bytes, and returns how long each took to be
/// answered and how many were not.
fn ask(client: &mut File, length: usize, time: Duration) -> io::Result<(Vec<u64>, u64)> {
    let (mut times, mut lost) = (Vec::new(), 0);
    let start = Instant::now();
    let mut sent = Duration::ZERO;
    for number in 0_u64.. {
        if sent >= time && !times.is_empty() {
            break;
        }
        if sent >= time + PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let request = &number.to_le_bytes()[..length];
        client.write_all(request)?;
        let answered = await_answer(client, request)?;
        let now = start.elapsed();
        if answered {
            let took = now.saturating_sub(sent).as_nanos();
            times.push(u64::try_from(took).unwrap_or(u64::MAX));
        } else {
            lost += 1;
        }
        sent = now;
    }
    Ok((times, lost))
}

/// Whether the answer comes in time. Those to requests before it may come first.
fn await_answer(client: &mut File, request: &[u8]) -> io::Result<bool> {
    let mut answer = [0; size_of::<u64>()];
    loop {
        match client.read(&mut answer[..request.len()]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) if answer[..length] == *request => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Answers each request by what it was, until there are no more.
fn answer(server: &mut File, stop: &AtomicBool) -> io::Result<()> {
    let mut request = [0; size_of::<u64>()];
    while !stop.load(Ordering::Relaxed) {
        match server.read(&mut request) {
            Ok(0) => break,
            Ok(_) if stop.load(Ordering::Relaxed) => break,
            Ok(length) => server.write_all(&request[..length])?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
