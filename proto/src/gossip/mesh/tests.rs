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
