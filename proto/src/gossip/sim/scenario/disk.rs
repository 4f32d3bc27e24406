//! Disks and clocks that are not what they were.

use std::time::Duration;

use super::{Played, Scenario, ensure};
use crate::gossip::{
    mesh::Alarm,
    sim::net::{Disk, Net, home},
};

/// A disk that was set back, one that was wiped, one that two machines have, and
/// clocks that jump.
pub const DISK: Scenario = Scenario {
    name: "disk",
    about: "a disk set back, a disk wiped, a machine cloned, clocks that show any time and jump \
            by a year",
    nodes: 8,
    within: Duration::from_secs(60),
    musts: &[
        ("nodes that started again", 2),
        ("disks that were noticed to be set back", 2),
        ("machines that were cloned", 1),
        ("clones that fell silent", 1),
        ("clocks that jumped", 2),
    ],
    play,
};

const SOON: Duration = Duration::from_secs(60);

fn play(net: &mut Net) -> Played {
    // Set back: it has said more than it remembers.
    net.hold(1, home(1, 1));
    net.run_for(Duration::from_millis(500));
    let old = net.copy(1);
    for number in 2..6 {
        net.hold(1, home(1, number));
        net.run_for(Duration::from_millis(500));
    }
    for _ in 0..2 {
        net.restart(1, Disk::Kept, false);
        net.run_for(Duration::from_secs(2));
    }
    comes_back(net, 1, Disk::Old(old), 5)?;
    // Wiped: it does not even know how often it has started.
    net.hold(2, home(2, 1));
    net.run_for(Duration::from_millis(500));
    net.restart(2, Disk::Kept, true);
    net.run_for(Duration::from_secs(2));
    comes_back(net, 2, Disk::Wiped, 1)?;
    for (at, years) in [(3, 1), (4, 1), (3, 50)] {
        net.jump(at, Duration::from_secs(years * 365 * 86_400));
        net.run_for(Duration::from_secs(5));
        let accused = net.peers.iter().find_map(|peer| peer.mesh.down().first());
        ensure(accused.is_none(), &format!("{accused:?} is taken for dead for a clock"))?;
    }
    clone(net)
}

/// A node starts with another disk: what it has said that it does not know of
/// counts no more, what it says now does.
fn comes_back(net: &mut Net, at: usize, disk: Disk, gone: u64) -> Played {
    net.kill(at);
    net.run_for(Duration::from_secs(12));
    net.restart(at, disk, false);
    net.wait("it is noticed", SOON, |net| net.peers[at].alarms.contains(&Alarm::SetBack))?;
    net.faults.count("disks that were noticed to be set back");
    net.hold(at, home(at, 9));
    net.wait("what it says counts, and only that", SOON, |net| {
        (0..net.peers.len()).all(|by| {
            net.held(by, home(at, 9)) == Some(at) && net.held(by, home(at, gone)).is_none()
        })
    })?;
    ensure(!net.peers[at].alarms.contains(&Alarm::Cloned), "it is taken for a clone")
}

fn clone(net: &mut Net) -> Played {
    let twin = net.clone_of(5);
    let silent = |net: &Net| {
        [5, twin].into_iter().filter(|at| net.peers[*at].alarms.contains(&Alarm::Cloned)).count()
    };
    // Both are in use.
    for number in 0..60 {
        for at in [5, twin] {
            net.hold(at, home(5, number % 10));
            net.run_for(Duration::from_millis(500));
        }
        if silent(net) > 0 && number > 10 {
            break;
        }
    }
    net.run_for(Duration::from_secs(20));
    ensure(silent(net) == 1, &format!("{} of two clones are silent", silent(net)))?;
    net.faults.count("clones that fell silent");
    let speaks = if net.peers[5].alarms.contains(&Alarm::Cloned) { twin } else { 5 };
    net.hold(speaks, home(5, 99));
    let subject = net.subject(home(5, 99));
    net.wait("the other one is heard", SOON, |net| {
        (0..5).all(|by| net.peers[by].mesh.held(subject).is_some())
    })
}
