//! Anything at any time.

use std::time::Duration;

use super::{Played, Scenario, ensure};
use crate::{
    addr::Identifier,
    gossip::sim::net::{Disk, Net, home},
};

/// Nodes that claim, let go, hand over, end, start, come and are cut off, with
/// no pause in which anything could settle.
pub const RANDOM: Scenario = Scenario {
    name: "random",
    about: "join, leave, claim, let go, hand over, cut: in any order, without a pause",
    nodes: 12,
    within: Duration::from_secs(60),
    musts: &[
        ("claims", 5),
        ("identifiers let go", 1),
        ("grants", 1),
        ("nodes that ended", 3),
        ("nodes that started again", 3),
        ("nodes cut off", 3),
    ],
    play,
};

const STEPS: usize = 60;

fn play(net: &mut Net) -> Played {
    // The authority moves what is at the first one, as often as all follow.
    let moving = home(0, 99);
    net.hold(0, moving);
    let mut moves = 0;
    for step in 0..STEPS {
        let at = net.any(net.peers.len());
        // Each happens at least now and then, whatever the seed.
        match step % 8 {
            0 | 1 => claim(net, at),
            2 => let_go(net),
            3 if at > 0 => net.kill(at),
            4 => start_one(net),
            5 => {
                net.faults.sides.insert(at, 1);
                net.faults.count("nodes cut off");
            }
            6 if moves < 2 && net.peers[at].is_up => {
                net.grant_to(moving, at);
                moves += 1;
            }
            6 => net.faults.sides.clear(),
            _ if net.any(4) == 0 && net.peers.len() < 30 && net.peers[0].is_up => {
                let new = net.add();
                net.join(new, 0);
                net.faults.count("nodes that joined");
            }
            _ => net.faults.sides.clear(),
        }
        let pause = net.any(1500) as u64;
        net.run_for(Duration::from_millis(pause));
    }
    net.faults.heal();
    for at in 0..net.peers.len() {
        if !net.peers[at].is_up {
            net.restart(at, Disk::Kept, true);
        }
    }
    ensure(net.peers.iter().all(|peer| peer.is_up), "all run again")
}

fn claim(net: &mut Net, at: usize) {
    if net.peers[at].is_up {
        let number = net.any(4) as u64;
        net.hold(at, home(at, number));
        net.faults.count("claims");
    }
}

/// Whoever has something lets go of it.
fn let_go(net: &mut Net) {
    let start = net.any(net.peers.len());
    let in_turn = (start..net.peers.len()).chain(0..start);
    let having =
        in_turn.into_iter().find(|at| net.peers[*at].is_up && !net.peers[*at].wanted.is_empty());
    let Some(at) = having else { return };
    if let Some(had) = net.peers[at].wanted.first().copied() {
        net.claim(at, Identifier::from_bits(had), None);
        net.faults.count("identifiers let go");
    }
}

fn start_one(net: &mut Net) {
    let down: Vec<_> = (0..net.peers.len()).filter(|at| !net.peers[*at].is_up).collect();
    if down.is_empty() {
        return;
    }
    let at = down[net.any(down.len())];
    let disk = if net.any(4) == 0 { Disk::Wiped } else { Disk::Kept };
    let remembers = net.any(2) == 0;
    net.restart(at, disk, remembers);
}
