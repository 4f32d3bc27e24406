//! Dropped packets, told to whoever listens. The programs report none while
//! nobody does, and soon none any more if the agent is killed meanwhile.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ila_proto::api::{DroppedPacket, ErrorCode};
use tokio::{
    sync::{
        Notify,
        broadcast::{self, error::RecvError},
    },
    time::sleep,
};

use crate::{datapath::Events, error::Refusal, owner::OwnerHandle};

/// Packets that wait for a listener at most; of those that come on top the
/// oldest are missed, and counted.
const WAITING: usize = 4096;

/// Who can listen at a time: each holds one of the places for clients.
const LISTENERS: u64 = 16;

/// How long the programs report after they were told that somebody listens.
const LASTING: Duration = Duration::from_secs(5);

/// How often they are told so: an agent may be late by a few times.
const RENEWAL: Duration = Duration::from_secs(1);

/// Where listeners come to.
#[derive(Clone, Debug)]
pub struct Monitor {
    owner: OwnerHandle,
    shared: Arc<Mutex<Shared>>,
    came: Arc<Notify>,
}

#[derive(Debug)]
struct Shared {
    /// None once the agent is about to end.
    sender: Option<Sender>,
    listeners: u64,
}

impl Monitor {
    /// Starts to read the programs' events.
    #[must_use]
    pub fn start(owner: OwnerHandle, events: Events) -> Self {
        let shared = Shared { sender: Some(Sender::new(WAITING)), listeners: 0 };
        let shared = Arc::new(Mutex::new(shared));
        let monitor = Self { owner, shared, came: Arc::default() };
        tokio::spawn(forward(monitor.clone(), events));
        let (shared, teller) = (Arc::clone(&monitor.shared), monitor.clone());
        let is_heard = move || lock(&shared).listeners > 0;
        let tell = move || {
            let monitor = teller.clone();
            async move { monitor.tell().await }
        };
        tokio::spawn(renew(Arc::clone(&monitor.came), is_heard, tell));
        monitor
    }

    /// Begins to listen.
    pub async fn listen(&self) -> Result<Listener, Refusal> {
        let receiver = {
            let mut shared = lock(&self.shared);
            if shared.listeners >= LISTENERS {
                let message = format!("{LISTENERS} listen to dropped packets already");
                return Err(Refusal::new(ErrorCode::Busy, message).hint("end one of them"));
            }
            let receiver = shared.sender.as_ref().map(Sender::subscribe);
            shared.listeners += u64::from(receiver.is_some());
            receiver
        };
        let listener = Listener { monitor: self.clone(), receiver };
        self.tell().await?;
        self.came.notify_one();
        Ok(listener)
    }

    /// Ends all listening.
    pub fn close(&self) {
        lock(&self.shared).sender = None;
    }

    /// Tells the programs whether anybody listens now.
    async fn tell(&self) -> Result<(), Refusal> {
        let shared = Arc::clone(&self.shared);
        // Counted when it is told, so that the last one to tell is right.
        let set = move |owner: &mut crate::owner::Owner| {
            let is_heard = lock(&shared).listeners > 0;
            owner.want_events(if is_heard { LASTING } else { Duration::ZERO })
        };
        self.owner.call(set).await?
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the programs again and again for as long as anybody listens. If that
/// fails, it is tried again: nobody else would tell them of later listeners.
async fn renew<T>(came: Arc<Notify>, is_heard: impl Fn() -> bool, tell: impl Fn() -> T)
where
    T: Future<Output = Result<(), Refusal>>,
{
    loop {
        came.notified().await;
        while is_heard() {
            sleep(RENEWAL).await;
            match tell().await {
                Err(error) if error.code == ErrorCode::ShuttingDown => return,
                Err(error) => tracing::warn!(%error, "the programs do not know who listens"),
                Ok(()) => {}
            }
        }
    }
}

async fn forward(monitor: Monitor, mut events: Events) {
    let missed = async || monitor.owner.call(|owner| owner.missed_events()).await.ok()?.ok();
    let mut told = missed().await.unwrap_or_default();
    loop {
        let events = match events.read().await {
            Ok(events) if events.is_empty() => continue,
            Ok(events) => events,
            Err(error) => {
                tracing::error!(%error, "dropped packets cannot be told of any more");
                return;
            }
        };
        let now = missed().await.unwrap_or(told);
        let since = now.saturating_sub(told);
        told = now;
        let dropped = monitor.owner.call(move |owner| owner.dropped(&events)).await;
        let mut shared = lock(&monitor.shared);
        let (Ok(dropped), Some(sender)) = (dropped, &mut shared.sender) else { return };
        sender.send(dropped, since);
    }
}

/// A packet on its way to the listeners.
#[derive(Clone, Debug)]
struct Message {
    packet: DroppedPacket,
    /// How many the programs could not tell of until then. A total, since a
    /// listener may miss any of the messages.
    lost: u64,
}

#[derive(Debug)]
struct Sender {
    messages: broadcast::Sender<Message>,
    lost: u64,
}

impl Sender {
    fn new(waiting: usize) -> Self {
        Self { messages: broadcast::channel(waiting).0, lost: 0 }
    }

    fn subscribe(&self) -> Receiver {
        Receiver { messages: self.messages.subscribe(), lost: self.lost, missed: 0 }
    }

    /// Sends `packets`, before which the programs could not tell of `lost` more.
    fn send(&mut self, packets: Vec<DroppedPacket>, lost: u64) {
        self.lost += lost;
        for packet in packets {
            // Fails while nobody listens, which is as well.
            let _ = self.messages.send(Message { packet, lost: self.lost });
        }
    }
}

#[derive(Debug)]
struct Receiver {
    messages: broadcast::Receiver<Message>,
    /// The total of the last message.
    lost: u64,
    /// Messages that were missed since.
    missed: u64,
}

impl Receiver {
    async fn next(&mut self) -> Option<DroppedPacket> {
        loop {
            match self.messages.recv().await {
                Ok(Message { mut packet, lost }) => {
                    packet.missed = mem::take(&mut self.missed) + lost - self.lost;
                    self.lost = lost;
                    return Some(packet);
                }
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// Somebody who listens until this is dropped.
#[derive(Debug)]
pub struct Listener {
    monitor: Monitor,
    receiver: Option<Receiver>,
}

impl Listener {
    /// The next packet that was dropped; none when the agent is about to end.
    pub async fn next(&mut self) -> Option<DroppedPacket> {
        self.receiver.as_mut()?.next().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.receiver.is_some() {
            lock(&self.monitor.shared).listeners -= 1;
        }
        let monitor = self.monitor.clone();
        tokio::spawn(async move { monitor.tell().await });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_programs_are_told_again_after_it_failed() {
        const FAILING: u64 = 1;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (came, told) = (Arc::new(Notify::new()), AtomicU64::new(0));
        came.notify_one();
        let tell = async || {
            let refusal = |code| Err(Refusal::new(code, "no"));
            match told.fetch_add(1, Ordering::Relaxed) {
                ..FAILING => refusal(ErrorCode::Kernel),
                FAILING => Ok(()),
                // It ends with the agent only.
                _ => refusal(ErrorCode::ShuttingDown),
            }
        };
        runtime.expect("a runtime can be had").block_on(renew(came, || true, tell));
        assert_eq!(told.into_inner(), FAILING + 2);
    }

    #[test]
    fn every_packet_is_told_of_or_counted_for_a_slow_listener() {
        const WAITING: usize = 4;
        let packet = DroppedPacket {
            fate: String::new(),
            about: String::new(),
            interface: String::new(),
            container: None,
            source: None,
            destination: None,
            sender: None,
            receiver: None,
            locator: None,
            next_header: 0,
            hop_limit: 0,
            length: 0,
            missed: 0,
        };
        let mut sender = Sender::new(WAITING);
        sender.send(Vec::new(), 1000);
        let mut receiver = sender.subscribe();
        let mut all = 0;
        for (packets, lost) in [(2, 10), (0, 5), (3, 20), (6, 40), (1, 80)] {
            sender.send(vec![packet.clone(); packets], lost);
            all += packets as u64 + lost;
        }
        drop(sender);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let told = runtime.expect("a runtime can be had").block_on(async {
            let mut told = Vec::new();
            while let Some(packet) = receiver.next().await {
                told.push(packet.missed);
            }
            told
        });
        assert_eq!(told, [8 + 10 + 5 + 20 + 40, 0, 0, 80]);
        assert_eq!(told.len() as u64 + told.iter().sum::<u64>(), all);
    }
}
