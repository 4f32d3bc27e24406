//! How long news take and what they cost, in virtual time.

use std::time::Duration;

use super::{
    Dice,
    net::{Distances, Net, home},
};
use crate::gossip::{claim::Claim, mesh::Settings};

/// What is measured.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many nodes.
    pub nodes: usize,
    /// How many identifiers are claimed in a second, each by any node.
    pub rate: u32,
    /// How many in all.
    pub updates: u32,
    /// How far nodes are from each other.
    pub distances: Distances,
    /// How they behave.
    pub settings: Settings,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How long each update took to each other node, the shortest first.
    pub latencies: Vec<Duration>,
    /// Bytes that a node has sent in a second, packets included.
    pub bytes: u64,
    /// The same while nothing was said.
    pub idle: u64,
}

impl Measured {
    /// The latency that `percent` of all do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or_default()
    }
}

/// Lets nodes that know each other say something.
#[must_use]
pub fn measure(load: &Load, seed: u64) -> Measured {
    const IDLE: Duration = Duration::from_secs(20);
    let Load { nodes, rate, updates, distances, ref settings } = *load;
    let mut net = Net::new(seed, distances, settings.clone());
    for _ in 0..nodes {
        net.add();
    }
    net.cold_start();
    net.run_for(Duration::from_secs(5));
    let sent = |net: &Net| net.peers.iter().map(|peer| peer.sent).sum::<u64>();
    let each = |bytes: u64, seconds: Duration| {
        let millis = u64::try_from(seconds.as_millis()).unwrap_or(u64::MAX).max(1);
        bytes * 1000 / millis / (nodes as u64).max(1)
    };
    let before = sent(&net);
    net.run_for(IDLE);
    let idle = each(sent(&net) - before, IDLE);

    let (before, started) = (sent(&net), net.now);
    let mut dice = Dice::new(seed);
    for number in 0..updates {
        let by = usize::try_from(dice.below(nodes as u64)).unwrap_or_default();
        let identifier = home(by, number.into());
        net.track(identifier);
        net.claim(by, identifier, Some(&Claim::default()));
        net.run_until(net.now + Duration::from_secs(1) / rate);
    }
    let bytes = each(sent(&net) - before, net.now.saturating_sub(started));
    net.run_until(net.now + Duration::from_secs(10));
    let mut latencies = net.tracked();
    latencies.sort_unstable();
    Measured { latencies, bytes, idle }
}

#[cfg(test)]
mod tests;
