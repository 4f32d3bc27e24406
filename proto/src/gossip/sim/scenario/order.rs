//! Things that come in an order that nobody would choose.

use std::time::Duration;

use super::{Played, Scenario, ensure};
use crate::{
    addr::Identifier,
    gossip::{
        claim::Claim,
        sim::net::{Disk, Net, home},
    },
};

/// What follows at once on what is not told yet.
pub const ORDER: Scenario = Scenario {
    name: "order",
    about: "claims right after a join; leave, join and claim in one breath; let go before it was \
            heard of; two who claim the same without a right; taken over before its home is known",
    nodes: 10,
    within: Duration::from_secs(20),
    musts: &[
        ("claims right after a join", 3),
        ("leave, join and claim in one breath", 3),
        ("let go in the breath of the claim", 3),
        ("claims of two without a right", 2),
        ("moves", 2),
        ("homes not known", 1),
    ],
    play,
};

fn play(net: &mut Net) -> Played {
    let count = net.peers.len();
    // What has moved twice, told to nodes that may hear of takers before homes.
    net.hold(1, home(1, 7));
    net.run_for(Duration::from_millis(500));
    net.move_to(home(1, 7), 2);
    net.move_to(home(1, 7), 3);
    for number in 0..3 {
        let new = net.add();
        net.join(new, net.peers.len() / 2);
        net.hold(new, home(new, number));
        net.faults.count("claims right after a join");
        let pause = net.any(30) as u64;
        net.run_for(Duration::from_millis(pause));
        // Before all have it, and again.
        for holds in [true, false, true, false] {
            let claim = Claim::default();
            net.claim(4, home(4, number), holds.then_some(&claim));
            let pause = net.any(4) as u64;
            net.run_for(Duration::from_millis(pause));
        }
        net.faults.count("let go in the breath of the claim");
        let at = 5 + net.any(count - 5);
        let disk = if net.any(2) == 0 { Disk::Wiped } else { Disk::Kept };
        net.restart(at, disk, false);
        net.join(at, 0);
        net.hold(at, home(at, number));
        net.faults.count("leave, join and claim in one breath");
    }
    // In nobody's range: whoever is the lesser has it, with all.
    let nobodys = Identifier::from_bits(1 << 61 | 0xff_fff0 << 36 | 1);
    for at in [6, 7] {
        net.claim(at, nobodys, Some(&Claim::default()));
        net.faults.count("claims of two without a right");
    }
    net.run_for(Duration::from_secs(10));
    let lesser = if net.peers[6].mesh.me() < net.peers[7].mesh.me() { 6 } else { 7 };
    let holder = net.held(0, nobodys);
    ensure(holder == Some(lesser), &format!("{holder:?} holds what {lesser} should"))?;
    taken_before_home(net)
}

/// A node hears of who has taken something over, and of its home only later.
fn taken_before_home(net: &mut Net) -> Played {
    let (taker, home_at) = (3, 1);
    let told = [taker, 2, home_at].map(|at| net.peers[at].mesh.own().since(None));
    let new = net.add();
    let subject = net.subject(home(home_at, 7));
    let moment = net.now + net.peers[new].clock;
    let standings = told.map(|delta| {
        let peer = &mut net.peers[new];
        peer.mesh.remember(delta, moment).map_err(|refused| refused.to_string())?;
        Ok::<_, String>(peer.mesh.held(subject).map(|held| (held.by, held.standing)))
    });
    let [before, _, after] = standings;
    net.faults.count_more("homes not known", u64::from(before? != after.clone()?));
    let should = Some(net.peers[taker].mesh.me());
    let by = after?.map(|(by, _)| by);
    ensure(by == should, &format!("{by:?} has it, not {should:?}"))?;
    net.tell_all(new);
    net.join(new, 0);
    Ok(())
}
