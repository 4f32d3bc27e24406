use std::time::Duration;

use super::*;
use crate::gossip::{
    claim::Claim,
    sim::net::{Distances, Net, home},
};

const MINUTE: Duration = Duration::from_secs(60);

/// So many nodes that have joined by the first and know each other.
fn joined(count: usize, seed: u64, distances: Distances) -> Net {
    let mut net = Net::new(seed, distances, Settings::default());
    for index in 0..count {
        net.add();
        if index > 0 {
            net.join(index, 0);
        }
    }
    let is_apart =
        |net: &Net| !net.is_one() || net.peers.iter().any(|peer| peer.mesh.owners().len() < count);
    net.run_while(MINUTE, is_apart).expect("all come to know each other");
    net
}

#[test]
fn all_come_to_know_what_one_says() {
    let mut net = joined(50, 1, Distances::LAN);
    net.run_until(net.now + MINUTE);
    assert!(net.is_one());
    let identifier = home(7, 1);
    net.claim(7, identifier, Some(&Claim::default()));
    let took = net.run_while(MINUTE, |net| (0..50).any(|at| net.held(at, identifier) != Some(7)));
    let took = took.expect("it spreads");
    println!("{took:?}");
    assert!(net.peers.iter().all(|peer| peer.mesh.down().is_empty()));
    net.claim(7, identifier, None);
    net.run_while(MINUTE, |net| (0..50).any(|at| net.held(at, identifier).is_some()))
        .expect("that as well");
}

fn percentile(sorted: &[Duration], of: usize) -> Duration {
    sorted[(sorted.len() - 1) * of / 100]
}

/// How long a change takes to each node, in the middle of many others.
fn latencies(count: usize, rate: u32, distances: Distances) -> (Vec<Duration>, f64) {
    let mut net = Net::new(1, distances, Settings::default());
    for _ in 0..count {
        net.add();
    }
    net.introduce_all();
    net.run_until(MINUTE);
    // Each has said something twice, which is how trees grow.
    for number in 0..2 {
        for by in 0..count {
            net.claim(by, home(by, 5000 + number), Some(&Claim::default()));
            net.run_until(net.now + Duration::from_millis(20));
        }
    }
    net.run_until(net.now + MINUTE / 6);
    assert!(net.is_one());
    let mut taken = Vec::new();
    let gap = Duration::from_secs(1) / rate;
    let updates = 600;
    let mut dice = crate::gossip::sim::Dice::new(5);
    let mut sent_before = 0;
    let mut started = net.now;
    for number in 0..updates {
        if number == updates / 2 {
            sent_before = net.peers.iter().map(|peer| peer.sent).sum::<u64>();
            started = net.now;
            net.frames.clear();
            let links: usize = net.peers.iter().map(|it| it.mesh.links.len()).sum();
            println!(
                "links {links} {:?}",
                net.peers.iter().fold((0, 0, 0), |s, p| (
                    s.0 + p.mesh.counts().taken,
                    s.1 + p.mesh.counts().duplicates,
                    s.2 + p.mesh.counts().grafts
                ))
            );
        }
        let by = usize::try_from(dice.below(count as u64)).expect("it is small");
        net.claim(by, home(by, number), Some(&Claim::default()));
        net.track(home(by, number));
        net.run_until(net.now + gap);
    }
    let sent = net.peers.iter().map(|peer| peer.sent).sum::<u64>() - sent_before;
    let seconds = (net.now - started).as_secs_f64();
    println!(
        "{:?} {:?}",
        net.frames,
        net.peers.iter().fold((0, 0, 0), |s, p| (
            s.0 + p.mesh.counts().taken,
            s.1 + p.mesh.counts().duplicates,
            s.2 + p.mesh.counts().grafts
        ))
    );
    println!(
        "{:?} {:?}",
        net.peers[5].mesh.counts(),
        net.peers.iter().map(|p| p.faults.clone()).fold(
            BTreeMap::new(),
            |mut s: BTreeMap<Fault, u64>, f| {
                f.into_iter().for_each(|(k, v)| *s.entry(k).or_default() += v);
                s
            }
        )
    );
    net.run_until(net.now + Duration::from_secs(5));
    taken.extend(net.tracked());
    taken.sort_unstable();
    assert_eq!(taken.len(), usize::try_from(updates).expect("it is small") * (count - 1));
    #[expect(clippy::cast_precision_loss, reason = "it is for people")]
    (taken, sent as f64 / seconds / count as f64)
}

#[test]
#[ignore = "it measures"]
fn how_long_it_takes() {
    for (name, distances) in [("lan", Distances::LAN), ("wan", Distances::WAN)] {
        for (count, rate) in [(100, 100)] {
            let start = std::time::Instant::now();
            let (taken, bytes) = latencies(count, rate, distances);
            println!(
                "{name} {count} nodes {rate}/s: p50 {:?} p99 {:?} max {:?}, {bytes:.0} B/s a node, {:?}",
                percentile(&taken, 50),
                percentile(&taken, 99),
                percentile(&taken, 100),
                start.elapsed(),
            );
        }
    }
}
