//! Nodes that are neither well nor dead.

use std::time::Duration;

use super::{Played, Scenario, ensure};
use crate::gossip::{
    mesh::Fault,
    sim::net::{Disk, Net, home},
};

/// Late, mute, stuck, and of another version.
pub const GRAY: Scenario = Scenario {
    name: "gray",
    about: "a node that runs once a second, a disk that does not store, streams that stall on \
            connections that live, frames that only half of the nodes know, while the others \
            speak the first version until they are upgraded",
    nodes: 10,
    within: Duration::from_secs(60),
    musts: &[
        ("events that a starved node was late for", 20),
        ("stores that a disk did not do", 1),
        ("frames on a connection that stalls", 1),
        ("connections ended because they stall", 1),
        ("frames of a kind that is not known", 10),
        ("news as the first version has them", 10),
        ("news by steps", 10),
        ("claims", 8),
    ],
    play,
};

fn play(net: &mut Net) -> Played {
    let count = net.peers.len();
    net.faults.newer.extend((0..count).step_by(2));
    // An upgrade that has come half the way.
    for at in (1..count).step_by(2) {
        net.faults.older.insert(at);
        net.restart(at, Disk::Kept, true);
        net.run_for(Duration::from_secs(1));
    }
    // Late for everything.
    net.faults.starved.insert(1, Duration::from_secs(1));
    speak(net, &[0, 2, 3], 1)?;
    net.faults.starved.clear();
    // What it says is told to nobody, what others say it hands on.
    net.faults.blocked_disks.insert(2);
    net.hold(2, home(2, 20));
    net.hold(2, home(2, 21));
    speak(net, &[1, 4, 5], 2)?;
    ensure(
        (0..count).all(|by| by == 2 || net.held(by, home(2, 20)).is_none()),
        "it is not stored",
    )?;
    net.faults.blocked_disks.clear();
    net.restart(2, Disk::Kept, true);
    net.run_for(Duration::from_secs(5));
    // Its connections live, and nothing comes by them.
    net.stall(6);
    net.hold(6, home(6, 30));
    net.wait("it gets away from there", Duration::from_secs(60), |net| {
        (0..count).all(|by| net.held(by, home(6, 30)) == Some(6))
    })?;
    net.run_for(Duration::from_secs(15));
    upgrade(net)?;
    let stalled = |peer: &crate::gossip::sim::net::Peer| {
        peer.faults.get(&Fault::Stalled).copied().unwrap_or_default()
    };
    let ended = net.peers.iter().map(stalled).sum();
    net.faults.count_more("connections ended because they stall", ended);
    Ok(())
}

/// One after the other comes to speak the latest version; then all do.
fn upgrade(net: &mut Net) -> Played {
    while let Some(at) = net.faults.older.pop_first() {
        net.restart(at, Disk::Kept, true);
        net.run_for(Duration::from_secs(1));
    }
    let first =
        |net: &Net| net.faults.happened().get("news as the first version has them").copied();
    let before = first(net);
    speak(net, &[5], 3)?;
    ensure(first(net) == before, "somebody speaks the first version still")
}

/// These and everybody else speak, and all hear of it, nobody is down.
fn speak(net: &mut Net, first: &[usize], number: u64) -> Played {
    let count = net.peers.len();
    for at in first {
        net.hold(*at, home(*at, number));
        net.faults.count("claims");
        net.run_for(Duration::from_secs(3));
    }
    let at = net.any(count - 7) + 7;
    net.hold(at, home(at, number));
    net.faults.count("claims");
    net.wait("all hear of it", Duration::from_secs(20), |net| {
        (0..count).all(|by| net.held(by, home(at, number)) == Some(at))
    })?;
    let accused = net.peers.iter().find_map(|peer| peer.mesh.down().first());
    ensure(accused.is_none(), &format!("{accused:?} is taken for dead"))
}
