//! A stream of numbered datagrams from one node to another: what became of
//! each is known in the end.

use std::{
    net::Ipv6Addr,
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::libc;

use crate::{Error, Node, error::Doing as _};

mod account;
mod datagram;
mod receiver;
mod sender;

use account::Account;

/// A stream that flows until it is [finished](Stream::finish), or dropped.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    sender: Option<JoinHandle<Result<Sent, Error>>>,
    receiver: Option<JoinHandle<Result<Received, Error>>>,
}

/// What the two ends and the owner of a stream tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// No further datagram is wanted.
    stop: AtomicBool,
    /// The receiver has all that it is going to get.
    done: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

/// What the sender says in the end.
#[derive(Debug)]
struct Sent {
    datagrams: u64,
    took: Duration,
}

/// What the receiver says in the end.
#[derive(Debug)]
struct Received {
    account: Account,
    dropped: u64,
}

/// What became of the datagrams of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many were sent.
    pub sent: u64,
    /// How many of them arrived, each counted once.
    pub received: u64,
    /// How many did not, for whatever reason.
    pub lost: u64,
    /// In how many places of the stream they are missing.
    pub gaps: u64,
    /// How many the receiver's socket had no room for. These did cross the
    /// network, though they count as lost.
    pub dropped_by_receiver: u64,
    /// How many arrived once more than they were sent.
    pub duplicated: u64,
    /// How many arrived after one with a higher number.
    pub out_of_order: u64,
    /// By how much the number of one of these was too low, at most.
    pub furthest: u64,
    /// The longest time between two arrivals.
    pub longest_silence: Duration,
    /// How long sending took.
    pub took: Duration,
}

impl Report {
    /// Whether every datagram arrived, once and in its place.
    #[must_use]
    pub fn is_perfect(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.out_of_order == 0
    }

    /// How many the network lost.
    #[must_use]
    pub fn lost_by_network(&self) -> u64 {
        self.lost.saturating_sub(self.dropped_by_receiver)
    }

    /// How many a second were sent.
    #[must_use]
    pub fn rate(&self) -> u64 {
        let rate = u128::from(self.sent) * 1_000_000 / self.took.as_micros().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

impl Stream {
    /// Sends `rate` datagrams a second from `from` to `address` at `to`. A
    /// machine that cannot keep up sends fewer; the report says how many.
    pub fn start(from: &Node, to: &Node, address: Ipv6Addr, rate: u32) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let id = u64::from(std::process::id()) << 32 | u64::from(next_id());
        let socket = to.inside(|| receiver::socket(address))??;
        let target = socket.local_addr().doing(|| "ask a socket for its address".to_owned())?;
        let mut stream = Self { shared, sender: None, receiver: None };
        stream.receiver = Some(stream.spawn(to, move |shared| receiver::run(&socket, id, shared)));
        stream.sender =
            Some(stream.spawn(from, move |shared| sender::run(id, target, rate, shared)));
        Ok(stream)
    }

    /// How many datagrams were sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// How many datagrams arrived so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Ends the stream and says what became of it. Fails if its end does not
    /// get through either.
    pub fn finish(mut self) -> Result<Report, Error> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let sent = join(self.sender.take())?;
        let Received { account, dropped } = join(self.receiver.take())?;
        // The socket may have dropped end markers as well.
        let lost = sent.datagrams - account.received();
        Ok(Report {
            sent: sent.datagrams,
            received: account.received(),
            lost,
            gaps: account.gaps(sent.datagrams),
            dropped_by_receiver: dropped.min(lost),
            duplicated: account.duplicated,
            out_of_order: account.out_of_order,
            furthest: account.furthest,
            longest_silence: account.longest_silence,
            took: sent.took,
        })
    }

    fn spawn<T: Send + 'static>(
        &self,
        node: &Node,
        end: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> JoinHandle<Result<T, Error>> {
        let (shared, netns) = (Arc::clone(&self.shared), node.netns.clone());
        thread::spawn(move || {
            netns.enter_here()?;
            hurry();
            end(&shared)
        })
    }
}

impl Drop for Stream {
    /// Both threads end soon, so that the namespaces do.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.done.store(true, Ordering::Relaxed);
    }
}

/// Lets this thread have more of the processor than others get, so that the
/// rate is kept on a machine that has other work. Without privilege it stays as
/// it is.
pub(crate) fn hurry() {
    const NICE: i32 = -10;
    // SAFETY: all arguments are plain numbers; 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

fn next_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn join<T>(thread: Option<JoinHandle<Result<T, Error>>>) -> Result<T, Error> {
    let ended = thread.expect("a stream is finished once").join();
    ended.unwrap_or_else(|panic| panic::resume_unwind(panic))
}
