//! Sides that do not see each other for long, and seeds that are not who they
//! were.

use std::time::Duration;

use super::{Played, Scenario, ensure};
use crate::gossip::{
    RECENT,
    sim::net::{Net, home},
};

/// A cut that lasts longer than anybody remembers what has changed.
pub const PARTITION: Scenario = Scenario {
    name: "partition",
    about: "a cut that outlasts what is kept of former steps; both sides claim and let go",
    nodes: 10,
    within: Duration::from_secs(30),
    musts: &[
        ("times that a cut held something up", 1),
        ("connections that broke", 1),
        ("identifiers let go", 2),
        ("steps that nobody keeps", 2),
    ],
    play: partition,
};

/// All seeds are replaced by nodes that know nobody.
pub const ISLANDS: Scenario = Scenario {
    name: "islands",
    about: "all seeds are replaced by new nodes at the same addresses, which know nobody",
    nodes: 10,
    within: Duration::from_secs(180),
    musts: &[
        ("nodes replaced by others", 3),
        ("calls to an address where another node is", 1),
        ("claims", 13),
    ],
    play: islands,
};

fn partition(net: &mut Net) -> Played {
    let count = net.peers.len();
    for at in 0..count {
        net.hold(at, home(at, 1));
    }
    net.run_for(Duration::from_secs(3));
    // One on each side changes more than is kept, another one lets go.
    let (larger, smaller) = ([0, 1], [count - 1, count - 2]);
    net.faults.sides.extend((count * 2 / 3..count).map(|at| (at, 1)));
    net.disturb();
    net.run_for(Duration::from_secs(15));
    for number in 0..RECENT as u64 + 20 {
        for at in [larger[0], smaller[0]] {
            net.hold(at, home(at, 2 + number % 3));
        }
        net.run_for(Duration::from_millis(5));
    }
    for at in [larger, smaller].concat() {
        net.claim(at, home(at, 1), None);
        net.faults.count("identifiers let go");
    }
    net.run_for(Duration::from_secs(60));
    for side in [larger, smaller] {
        let [other, far] = if side == larger { [2, count - 3] } else { [count - 3, 2] };
        let news = net.held(other, home(side[0], 1));
        ensure(news.is_none(), &format!("{other} has what {} let go with {news:?}", side[0]))?;
        let [by, heard] = [other, far].map(|at| {
            net.peers[at].mesh.owner(net.peers[side[0]].mesh.me()).map(|it| it.head().position)
        });
        let steps = by.zip(heard).map(|(by, heard)| by.sequence - heard.sequence);
        let is_long = steps.is_some_and(|steps| steps > RECENT as u64);
        ensure(is_long, &format!("{far} is {steps:?} steps behind"))?;
        net.faults.count("steps that nobody keeps");
    }
    net.faults.heal();
    Ok(())
}

fn islands(net: &mut Net) -> Played {
    let seeds = [0, 1, 2];
    net.seed(&seeds);
    for at in 0..net.peers.len() {
        net.hold(at, home(at, 1));
        net.faults.count("claims");
    }
    net.run_for(Duration::from_secs(5));
    // All at once, so that nobody is left whom both the old and the new ask.
    for at in seeds {
        let new = net.replace(at);
        net.hold(new, home(new, 1));
        net.faults.count("claims");
        let known = net.peers[new].mesh.owners().len();
        ensure(known == 1, &format!("a new seed knows {known}"))?;
    }
    let pause = net.any(1000) as u64;
    net.run_for(Duration::from_millis(pause));
    Ok(())
}
