//! Identifiers that move, and move back.

use std::time::Duration;

use super::{Played, Scenario, ensure};
use crate::gossip::{
    mesh::{Alarm, CALM, MOVES},
    sim::net::{Net, home},
};

/// Back and forth between two nodes, while the one that had it cannot be told.
pub const MIGRATION: Scenario = Scenario {
    name: "migration",
    about: "an identifier goes to and fro more than twenty times, the old holder cut off for a \
            while; what moves too often is not followed until it has calmed",
    nodes: 8,
    within: Duration::from_secs(200),
    musts: &[
        ("moves", 22),
        ("nodes that did not follow", 4),
        ("nodes that follow again", 8),
        ("times that a cut held something up", 1),
    ],
    play,
};

fn play(net: &mut Net) -> Played {
    let moving = home(1, 1);
    let count = net.peers.len();
    net.hold(1, moving);
    net.run_for(Duration::from_secs(1));
    // As often as is followed.
    let (mut at, mut moves) = (1, 0);
    for _ in 0..MOVES {
        at = 3 - at;
        moves += 1;
        net.move_to(moving, at);
        net.wait("a move is followed", Duration::from_secs(5), |net| {
            (0..count).all(|by| net.held(by, moving) == Some(at))
        })?;
        net.claim(3 - at, moving, None);
        net.run_for(Duration::from_millis(500));
    }
    let followed = at;
    // And on, the old holder cut off for some of it: it says that it has it still.
    while moves < 22 {
        if moves == 10 {
            net.faults.sides.insert(at, 1);
            net.disturb();
        }
        at = 3 - at;
        moves += 1;
        net.move_to(moving, at);
        net.run_for(Duration::from_millis(300));
        if moves == 16 {
            net.faults.heal();
            net.run_for(Duration::from_secs(40));
        }
    }
    let restless = Alarm::Restless(net.subject(moving));
    let mut late = 0;
    for by in 0..count {
        let peer = &net.peers[by];
        ensure(peer.alarms.contains(&restless), &format!("{by} tells nobody"))?;
        ensure(peer.mesh.counts().not_followed > 0, &format!("{by} counts nothing"))?;
        let held = net.held(by, moving);
        ensure(held == Some(followed), &format!("{by} has followed to {held:?}"))?;
        late += 1;
    }
    net.faults.count_more("nodes that did not follow", late);
    net.wait("all follow again", CALM + Duration::from_secs(5), |net| {
        (0..count).all(|by| net.held(by, moving) == Some(at))
    })?;
    net.faults.count_more("nodes that follow again", count as u64);
    Ok(())
}
