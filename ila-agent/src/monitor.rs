//! Dropped packets, told to whoever listens. The programs report none while
//! nobody does, and soon none any more if the agent is killed meanwhile.

use std::{
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
    sender: Option<broadcast::Sender<DroppedPacket>>,
    listeners: u64,
}

impl Monitor {
    /// Starts to read the programs' events.
    #[must_use]
    pub fn start(owner: OwnerHandle, events: Events) -> Self {
        let (sender, _) = broadcast::channel(WAITING);
        let shared = Arc::new(Mutex::new(Shared { sender: Some(sender.clone()), listeners: 0 }));
        let monitor = Self { owner, shared, came: Arc::default() };
        tokio::spawn(forward(monitor.clone(), events, sender));
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
            let receiver = shared.sender.as_ref().map(broadcast::Sender::subscribe);
            shared.listeners += u64::from(receiver.is_some());
            receiver
        };
        let listener = Listener { monitor: self.clone(), receiver, missed: 0 };
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

async fn forward(monitor: Monitor, mut events: Events, sender: broadcast::Sender<DroppedPacket>) {
    let missed = async || monitor.owner.call(|owner| owner.missed_events()).await.ok()?.ok();
    let mut told = missed().await.unwrap_or_default();
    let sender = {
        // Listeners are let go by dropping what they share, not by this task.
        let weak = sender.downgrade();
        drop(sender);
        weak
    };
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
        let dropped = monitor.owner.call(move |owner| owner.dropped(&events, since)).await;
        let (Ok(dropped), Some(sender)) = (dropped, sender.upgrade()) else { return };
        for packet in dropped {
            // Fails while nobody listens, which is as well.
            let _ = sender.send(packet);
        }
    }
}

/// Somebody who listens until this is dropped.
#[derive(Debug)]
pub struct Listener {
    monitor: Monitor,
    receiver: Option<broadcast::Receiver<DroppedPacket>>,
    missed: u64,
}

impl Listener {
    /// The next packet that was dropped; none when the agent is about to end.
    pub async fn next(&mut self) -> Option<DroppedPacket> {
        loop {
            match self.receiver.as_mut()?.recv().await {
                Ok(mut packet) => {
                    packet.missed += std::mem::take(&mut self.missed);
                    return Some(packet);
                }
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
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
}
