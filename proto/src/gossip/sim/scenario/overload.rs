//! More than the links can carry.

use std::time::Duration;

use super::{Played, Scenario, ensure};
use crate::gossip::sim::net::{Disk, Net, home};

/// Ten times what the links carry, a node that brings ten thousand entries, and
/// all start again within a minute.
pub const OVERLOAD: Scenario = Scenario {
    name: "overload",
    about: "ten times what links carry, a node that joins with 10,000 entries, all start again \
            in a minute",
    nodes: 10,
    within: Duration::from_secs(60),
    musts: &[
        ("claims", 4000),
        ("entries of a node that joins", 10_000),
        ("nodes that started again", 10),
        ("own news that were in time", 5),
    ],
    play,
};

/// Bytes a second of each node's uplink …
const UPLINK: u32 = 200_000;
/// … and updates a second ten times as many as fit.
const RATE: u64 = 10 * UPLINK as u64 / 200;
const ENTRIES: u64 = 10_000;

fn play(net: &mut Net) -> Played {
    let count = net.peers.len();
    net.faults.uplink = Some(UPLINK);
    // More than that is not to be had, but for what is sent ahead.
    net.checks.most_bytes = Some(u64::from(UPLINK) * 2);
    let new = net.add();
    for number in 0..ENTRIES {
        net.hold(new, home(new, number));
    }
    net.faults.count_more("entries of a node that joins", ENTRIES);
    net.run_for(Duration::from_millis(10));
    net.join(new, 0);
    let mut own = Vec::new();
    for tick in 0..500 {
        for _ in 0..RATE / 1000 {
            let at = net.any(count);
            let number = net.any(50) as u64;
            net.hold(at, home(at, number));
            net.faults.count("claims");
        }
        if tick % 100 == 50 {
            let at = net.any(count);
            net.hold(at, home(at, 1000 + tick));
            own.push((net.now, at, home(at, 1000 + tick)));
        }
        net.run_for(Duration::from_millis(1));
    }
    // What each says itself goes before what it hands on: its neighbours have it.
    let one_knows = |net: &Net, at: usize, what| {
        (0..count).any(|by| by != at && net.held(by, what) == Some(at))
    };
    for (said, at, what) in own {
        let left = (said + Duration::from_secs(1)).saturating_sub(net.now);
        net.wait("own news pass", left, |net| one_knows(net, at, what))?;
        net.faults.count("own news that were in time");
    }
    for at in 0..count {
        net.restart(at, Disk::Kept, at % 2 == 0);
        net.run_for(Duration::from_secs(60) / u32::try_from(count).unwrap_or(1));
    }
    ensure(net.peers.iter().all(|peer| peer.mesh.sizes().unsaid == 0), "all is said")
}
