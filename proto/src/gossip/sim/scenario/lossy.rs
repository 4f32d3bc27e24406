//! Networks that lose much of what they carry, and nobody is dead.

use std::time::Duration;

use super::{Played, Scenario, ensure};
use crate::gossip::sim::net::{Net, home};

/// Loss of every kind, in which nobody is to be taken for dead.
pub const LOSSY: Scenario = Scenario {
    name: "lossy",
    about: "one-way cuts, loss in one direction, half of everything lost for 30 s: nobody is \
            taken for dead",
    nodes: 12,
    within: Duration::from_secs(30),
    musts: &[
        ("packets lost", 100),
        ("connections that broke", 1),
        ("claims", 30),
        ("looks at who is down", 100),
    ],
    play,
};

const PHASE: Duration = Duration::from_secs(30);

fn play(net: &mut Net) -> Played {
    net.disturb();
    let count = net.peers.len();
    // Pairs, each node in one of them: between the two it passes one way.
    let shift = 1 + net.any(count - 1);
    for at in (0..count).step_by(2) {
        net.faults.one_way.insert((at, (at + shift) % count));
    }
    speak(net, "one-way cuts", 0)?;
    net.faults.heal();
    // Two receive badly, and send well.
    for _ in 0..2 {
        let at = net.any(count);
        net.faults.loss_to.insert(at, 300_000);
    }
    speak(net, "loss in one direction", 10)?;
    net.faults.heal();
    net.faults.loss = Some(500_000);
    speak(net, "half of everything is lost", 20)?;
    net.faults.heal();
    Ok(())
}

/// Somebody speaks each three seconds, and nobody is down at any time.
fn speak(net: &mut Net, what: &str, first: u64) -> Played {
    let end = net.now + PHASE;
    let mut number = first;
    while net.now < end {
        let at = net.any(net.peers.len());
        net.hold(at, home(at, number));
        net.faults.count("claims");
        number += 1;
        for _ in 0..6 {
            net.run_for(Duration::from_millis(500));
            net.faults.count("looks at who is down");
            let accused = net.peers.iter().find_map(|peer| peer.mesh.down().first());
            ensure(accused.is_none(), &format!("{what}: {accused:?} is taken for dead"))?;
        }
    }
    Ok(())
}
