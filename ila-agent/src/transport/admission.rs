//! Who may come in: how many at once, and who not for a while.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ila_proto::gossip::NodeId;
use tokio::time::Instant;

use super::Reason;

/// How many handshakes may be under way that others have begun …
pub const HANDSHAKES: usize = 256;
/// … and of how many on, nobody is answered who has not shown that it has the
/// address that it states.
const UNPROVEN: usize = 64;
/// The same for those from one address.
const FROM_ADDRESS: usize = 32;
/// …
const UNPROVEN_FROM_ADDRESS: usize = 8;

/// How long who has lied for the first time does not come in; twice as long each
/// time more …
const BAN: Duration = Duration::from_secs(10);
/// … up to this, for as long as it is remembered as well.
const LONGEST_BAN: Duration = Duration::from_secs(3600);
/// How many are remembered.
const BANS: usize = 1024;

/// Handshakes that others have begun.
#[derive(Debug, Default)]
pub struct Handshakes {
    from: Mutex<BTreeMap<IpAddr, usize>>,
}

/// What is done with somebody who wants to come in.
#[derive(Debug)]
pub enum Verdict {
    /// Comes in, as one of those under way until this is dropped.
    Enters(Entry),
    /// Has to show that it has its address.
    Proves,
    /// Does not come in.
    Leaves(Reason),
}

/// A handshake under way.
#[derive(Debug)]
pub struct Entry {
    handshakes: Arc<Handshakes>,
    from: IpAddr,
}

impl Handshakes {
    /// What is done with somebody at an address, which it has proven to have or
    /// not.
    pub fn enter(self: &Arc<Self>, from: IpAddr, is_proven: bool) -> Verdict {
        let mut under_way = locked(&self.from);
        let all: usize = under_way.values().sum();
        let here = under_way.get(&from).copied().unwrap_or_default();
        if all >= HANDSHAKES {
            return Verdict::Leaves(Reason::TooManyHandshakes);
        }
        if !is_proven && (all >= UNPROVEN || here >= UNPROVEN_FROM_ADDRESS) {
            return Verdict::Proves;
        }
        if here >= FROM_ADDRESS {
            return Verdict::Leaves(Reason::TooManyFromAddress);
        }
        under_way.insert(from, here + 1);
        Verdict::Enters(Entry { handshakes: Arc::clone(self), from })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut under_way = locked(&self.handshakes.from);
        let left = under_way.get(&self.from).map_or(0, |count| count - 1);
        if left == 0 {
            under_way.remove(&self.from);
        } else {
            under_way.insert(self.from, left);
        }
    }
}

/// Those who have lied.
#[derive(Debug, Default)]
pub struct Bans(Mutex<BTreeMap<NodeId, Ban>>);

#[derive(Clone, Copy, Debug)]
struct Ban {
    until: Instant,
    lasts: Duration,
}

impl Bans {
    /// Keeps a node out for a while, twice as long as the last time.
    pub fn ban(&self, node: NodeId) -> Duration {
        let mut bans = locked(&self.0);
        let now = Instant::now();
        bans.retain(|_, ban| now < ban.until + LONGEST_BAN);
        let lasts = bans.get(&node).map_or(BAN, |ban| (ban.lasts * 2).min(LONGEST_BAN));
        if bans.len() == BANS
            && !bans.contains_key(&node)
            && let Some(first) = bans.iter().min_by_key(|(_, ban)| ban.until).map(|(node, _)| *node)
        {
            bans.remove(&first);
        }
        bans.insert(node, Ban { until: now + lasts, lasts });
        lasts
    }

    /// Whether a node is kept out.
    pub fn has(&self, node: NodeId) -> bool {
        locked(&self.0).get(&node).is_some_and(|ban| Instant::now() < ban.until)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
