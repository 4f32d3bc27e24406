//! A network in memory, for tests under a clock that stands still: delays, loss
//! and cuts from a seed, and a digest of all that was sent.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, IoSliceMut},
    net::{Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use quinn::{
    AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, EndpointConfig, TokioRuntime, UdpPoller,
    rustls::{pki_types::UnixTime, time_provider::TimeProvider},
    udp::{EcnCodepoint, RecvMeta, Transmit},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{sync::Notify, time::Instant};

use super::Underlay;

/// Bytes of the identity of a connection.
const CONNECTION_ID: usize = 8;

/// The network.
#[derive(Clone, Debug)]
pub struct Net {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

/// How far nodes are from each other.
#[derive(Clone, Copy, Debug)]
pub struct Distances {
    /// Milliseconds on the way, at least and at most.
    pub delay: (u64, u64),
    /// How many of a million packets are lost.
    pub loss: u32,
}

#[derive(Debug)]
struct State {
    epoch: Instant,
    dice: StdRng,
    distances: Distances,
    count: u64,
    under_way: BinaryHeap<Reverse<(Instant, u64)>>,
    packets: BTreeMap<u64, Packet>,
    boxes: BTreeMap<SocketAddr, Inbox>,
    sides: BTreeMap<SocketAddr, u8>,
    trace: DefaultHasher,
}

#[derive(Debug)]
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    ecn: Option<EcnCodepoint>,
    contents: Vec<u8>,
}

#[derive(Debug, Default)]
struct Inbox {
    arrived: VecDeque<Packet>,
    waker: Option<Waker>,
}

/// What time it is for certificates, in seconds since 1970: whatever is wanted.
#[derive(Debug)]
pub struct Clock(AtomicU64);

/// What time it is if nothing else is wanted.
pub const NOW: u64 = 2_000_000_000;

impl Clock {
    /// It is `now`.
    pub fn at(now: u64) -> Self {
        Self(AtomicU64::new(now))
    }

    /// It is `now` from now on.
    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.0.load(Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now)))
    }
}

/// Where the node of a number is.
pub fn address(node: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::new(0xfd, 0, 0, 0, 0, 0, 0, node).into(), 7946)
}

impl Net {
    /// A network without nodes, which lasts as long as the test.
    pub fn new(seed: u64, distances: Distances) -> Self {
        let state = State {
            epoch: Instant::now(),
            dice: StdRng::seed_from_u64(seed),
            distances,
            count: 0,
            under_way: BinaryHeap::new(),
            packets: BTreeMap::new(),
            boxes: BTreeMap::new(),
            sides: BTreeMap::new(),
            trace: DefaultHasher::new(),
        };
        let net = Self { state: Arc::new(Mutex::new(state)), news: Arc::default() };
        tokio::spawn(net.clone().carry());
        net
    }

    /// The network as a node has it; what is random in there comes from a seed.
    pub fn underlay(&self, at: SocketAddr, seed: u64) -> Underlay {
        self.state().boxes.insert(at, Inbox::default());
        let mut endpoint = EndpointConfig::default();
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        endpoint.rng_seed(Some(bytes));
        endpoint.cid_generator(move || Box::new(Identities(StdRng::seed_from_u64(seed))));
        let socket = Arc::new(Socket { net: self.clone(), at });
        let clock = Arc::new(Clock::at(NOW));
        Underlay { socket, runtime: Arc::new(TokioRuntime), endpoint, clock }
    }

    /// Puts an address on a side; between sides nothing passes.
    pub fn put(&self, at: SocketAddr, side: u8) {
        self.state().sides.insert(at, side);
    }

    /// Has nothing arrive at an address any more, as if it were another's.
    pub fn forget(&self, at: SocketAddr) {
        self.state().boxes.remove(&at);
    }

    /// How many packets were sent, and the digest of when each was, by whom, to
    /// whom, and how long it was.
    pub fn trace(&self) -> (u64, u64) {
        let state = self.state();
        (state.count, state.trace.finish())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry(self) {
        loop {
            let next = self.state().deliver();
            tokio::select! {
                biased;
                () = wait(next) => {}
                () = self.news.notified() => {}
            }
        }
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl State {
    fn send(&mut self, from: SocketAddr, transmit: &Transmit) {
        let to = transmit.destination;
        let now = Instant::now();
        let length = transmit.contents.len();
        (now - self.epoch, from, to, length).hash(&mut self.trace);
        self.count += 1;
        let side = |at| self.sides.get(at).copied().unwrap_or_default();
        let is_cut = side(&from) != side(&to);
        let is_lost = self.dice.random_range(0..1_000_000) < self.distances.loss;
        if is_cut || is_lost {
            return;
        }
        let packet = Packet { from, to, ecn: transmit.ecn, contents: transmit.contents.to_vec() };
        self.under_way.push(Reverse((now + self.delay(from, to), self.count)));
        self.packets.insert(self.count, packet);
    }

    /// The same for a pair at all times, and either way.
    fn delay(&self, a: SocketAddr, b: SocketAddr) -> Duration {
        let mut pair = DefaultHasher::new();
        (a.min(b), a.max(b)).hash(&mut pair);
        let (least, most) = self.distances.delay;
        Duration::from_millis(least + pair.finish() % (most - least + 1))
    }

    /// Delivers what has arrived, and says when the next one does.
    fn deliver(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while let Some(Reverse((at, id))) = self.under_way.peek().copied() {
            if at > now {
                return Some(at);
            }
            self.under_way.pop();
            let Some(packet) = self.packets.remove(&id) else { continue };
            // Who is gone hears nothing.
            let Some(inbox) = self.boxes.get_mut(&packet.to) else { continue };
            inbox.arrived.push_back(packet);
            inbox.waker.take().inspect(Waker::wake_by_ref);
        }
        None
    }
}

/// Identities of connections from a seed.
struct Identities(StdRng);

impl ConnectionIdGenerator for Identities {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.0.random::<[u8; CONNECTION_ID]>())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

struct Socket {
    net: Net,
    at: SocketAddr,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.net.state().boxes.remove(&self.at);
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Always)
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        self.net.state().send(self.at, transmit);
        self.net.news.notify_one();
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.net.state();
        let Some(inbox) = state.boxes.get_mut(&self.at) else { return Poll::Pending };
        let mut taken = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some(packet) = inbox.arrived.pop_front() else { break };
            let len = packet.contents.len();
            buffer[..len].copy_from_slice(&packet.contents);
            *meta = RecvMeta { addr: packet.from, len, stride: len, ecn: packet.ecn, dst_ip: None };
            taken += 1;
        }
        if taken > 0 {
            return Poll::Ready(Ok(taken));
        }
        inbox.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct Always;

impl UdpPoller for Always {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
