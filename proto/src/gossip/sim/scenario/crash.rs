//! Nodes that end in the middle of everything.

use std::time::Duration;

use super::{Played, Scenario, ensure};
use crate::gossip::sim::{
    check::age,
    net::{Disk, Net, home},
};

/// One in twenty ends while all speak, and stays away.
pub const CRASH: Scenario = Scenario {
    name: "crash",
    about: "one node in twenty ends in the middle of a storm; what the others say misses nobody",
    nodes: 20,
    within: Duration::from_secs(30),
    musts: &[("nodes that ended", 1), ("claims", 100), ("ages of the dead", 10)],
    play: crash,
};

/// Nodes come back again and again with nothing, then all speak at once.
pub const FLAP: Scenario = Scenario {
    name: "flap",
    about: "nodes start again and again with empty disks; then a wave that has to reach all",
    nodes: 12,
    within: Duration::from_secs(30),
    musts: &[("nodes that started again", 6), ("claims", 12), ("identifiers that all see", 12)],
    play: flap,
};

/// Within what time the last news of somebody who is dead have come to all: he may
/// have told one only, whose others have to ask.
const REPAIRED: Duration = Duration::from_secs(5);

fn crash(net: &mut Net) -> Played {
    let count = net.peers.len();
    let dying: Vec<_> = (0..count.div_ceil(20)).map(|_| 1 + net.any(count - 1)).collect();
    let mut ended = net.now;
    for number in 0..100 {
        let at = net.any(count);
        if net.peers[at].is_up {
            net.hold(at, home(at, number));
            net.faults.count("claims");
        } else {
            net.hold(0, home(0, number));
            net.faults.count("claims");
        }
        if number == 50 {
            for at in &dying {
                net.kill(*at);
                // Each in the middle of something else.
                net.run_for(Duration::from_millis(3));
            }
            ended = net.now;
        }
        let pause = 10 + net.any(20) as u64;
        net.run_for(Duration::from_millis(pause));
    }
    net.run_for(Duration::from_secs(20));
    // Whoever is dead has not been heard of since, and all say so.
    let since = net.now.saturating_sub(ended);
    for dead in dying {
        let node = net.peers[dead].mesh.me();
        for peer in net.peers.iter().filter(|peer| peer.is_up) {
            let age = age(net.now, peer, node);
            let is_honest = age.is_none_or(|age| age + REPAIRED >= since);
            net.faults.count("ages of the dead");
            ensure(is_honest, &format!("dead for {since:?}, heard of {age:?} ago"))?;
        }
    }
    Ok(())
}

fn flap(net: &mut Net) -> Played {
    let count = net.peers.len();
    for round in 0..6 {
        let at = 1 + net.any(count - 1);
        net.hold(at, home(at, round));
        net.run_for(Duration::from_millis(100));
        net.kill(at);
        let away = net.any(8_000) as u64;
        net.run_for(Duration::from_millis(away));
        net.restart(at, Disk::Wiped, false);
        let back = net.any(3_000) as u64;
        net.run_for(Duration::from_millis(back));
    }
    net.run_for(Duration::from_secs(10));
    // Many were told of once and are gone: trees lead through all of them.
    for at in 0..count {
        net.hold(at, home(at, 50));
        net.faults.count("claims");
    }
    let all_see = |net: &Net| {
        let sees = |by: usize| (0..count).all(|at| net.held(by, home(at, 50)) == Some(at));
        (0..count).all(sees)
    };
    net.wait("the wave reaches all", Duration::from_secs(5), all_see)?;
    net.faults.count_more("identifiers that all see", count as u64);
    Ok(())
}
