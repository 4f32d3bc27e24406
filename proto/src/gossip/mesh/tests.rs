use std::time::Duration;

use super::*;
use crate::addr::Identifier;
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

/// All nodes that run see an identifier with the same one, or with nobody.
fn is_held(net: &Net, identifier: Identifier, by: Option<usize>) -> bool {
    let running = (0..net.peers.len()).filter(|at| net.peers[*at].is_up);
    running.into_iter().all(|at| net.held(at, identifier) == by)
}

fn wait(net: &mut Net, what: &str, is_so: impl Fn(&Net) -> bool) -> Duration {
    net.run_while(MINUTE, |net| !is_so(net)).unwrap_or_else(|| panic!("{what}: not in a minute"))
}

#[test]
fn what_a_dead_node_holds_is_hidden_and_comes_back_with_it() {
    for seed in 0..5 {
        let mut net = joined(20, seed, Distances::LAN);
        let identifier = home(7, 1);
        net.claim(7, identifier, Some(&Claim::default()));
        wait(&mut net, "it spreads", |net| is_held(net, identifier, Some(7)));
        net.kill(7);
        wait(&mut net, "it is hidden", |net| is_held(net, identifier, None));
        // Nobody has forgotten it.
        assert!(net.peers.iter().all(|peer| peer.mesh.owners().len() == 20));
        net.restart(7, 2, true);
        wait(&mut net, "it is back", |net| is_held(net, identifier, Some(7)));
        wait(&mut net, "all know the same", Net::is_one);
        assert!(net.peers.iter().all(|peer| peer.mesh.down().is_empty()));
    }
}

/// The others still have a link to it that nobody answers by.
#[test]
fn a_node_that_starts_anew_is_not_kept_waiting_for_its_former_links_to_end() {
    for victim in 1..4 {
        let mut net = joined(4, 1, Distances::LAN);
        net.run_until(net.now + MINUTE);
        net.kill(victim);
        net.restart(victim, 2, true);
        net.run_until(net.now + Duration::from_secs(1));
        assert_eq!(net.peers[victim].mesh.linked().count(), 3, "{victim}");
    }
}

#[test]
fn both_sides_of_a_cut_go_on_and_agree_behind_it() {
    for seed in 0..5 {
        let mut net = joined(20, seed, Distances::WAN);
        for at in 0..20 {
            net.claim(at, home(at, 1), Some(&Claim::default()));
        }
        wait(&mut net, "all is said", |net| (0..20).all(|at| is_held(net, home(at, 1), Some(at))));
        (0..20).for_each(|at| net.sides[at] = u8::from(at % 3 == 0));
        net.run_until(net.now + MINUTE);
        // Each side changes what it has.
        for at in [1, 3] {
            net.claim(at, home(at, 1), None);
            net.claim(at, home(at, 2), Some(&Claim::default()));
        }
        net.run_until(net.now + MINUTE);
        let side = |net: &Net, one: usize| {
            (0..20).filter(|at| net.sides[*at] == net.sides[one]).collect::<Vec<_>>()
        };
        for one in [1, 3] {
            for at in side(&net, one) {
                assert_eq!(net.held(at, home(one, 1)), None, "{seed}");
                assert_eq!(net.held(at, home(one, 2)), Some(one), "{seed}");
            }
        }
        net.sides.fill(0);
        let took = wait(&mut net, "all agree", |net| {
            Net::is_one(net) && net.peers.iter().all(|peer| peer.mesh.down().is_empty())
        });
        println!("{seed}: agreed after {took:?}");
        for one in [1, 3] {
            assert!(is_held(&net, home(one, 1), None), "{seed}");
            assert!(is_held(&net, home(one, 2), Some(one)), "{seed}");
        }
    }
}

#[test]
fn an_identifier_goes_where_it_is_handed_to_and_no_further() {
    let mut net = joined(10, 1, Distances::LAN);
    let identifier = home(1, 1);
    net.claim(1, identifier, Some(&Claim::default()));
    wait(&mut net, "it spreads", |net| is_held(net, identifier, Some(1)));
    // Somebody else just says so.
    net.claim(2, identifier, Some(&Claim::default()));
    net.run_until(net.now + MINUTE);
    assert!(is_held(&net, identifier, Some(1)));
    assert!(net.peers[2].alarms.iter().any(|alarm| matches!(alarm, Alarm::Lost(_))));
    net.claim(2, identifier, None);
    // Whoever has it gives it away, and both say so, in whichever order.
    let step = net.hand_over(1, 3, identifier, 1);
    let handed = Claim { grant: None, steps: vec![step.clone()] };
    net.claim(3, identifier, Some(&handed));
    wait(&mut net, "it has moved", |net| is_held(net, identifier, Some(3)));
    net.claim(1, identifier, None);
    // And on; who had it before has it no more.
    let next = net.hand_over(3, 4, identifier, 2);
    let handed = Claim { grant: None, steps: vec![step, next] };
    net.claim(4, identifier, Some(&handed));
    net.claim(1, identifier, Some(&Claim::default()));
    wait(&mut net, "it has moved on", |net| is_held(net, identifier, Some(4)));
    // The authority can give it to anybody.
    let granted = Claim { grant: Some(net.grant(5, identifier, 3)), steps: vec![] };
    net.claim(5, identifier, Some(&granted));
    wait(&mut net, "it is granted", |net| is_held(net, identifier, Some(5)));
}

#[test]
fn a_node_whose_disk_was_set_back_goes_on_behind_what_it_has_said() {
    let mut net = joined(10, 1, Distances::LAN);
    for number in 0..5 {
        net.claim(4, home(4, number), Some(&Claim::default()));
        net.run_until(net.now + MINUTE / 60);
    }
    net.kill(4);
    net.run_until(net.now + MINUTE);
    // It knows nothing of what it has said, nor how often it has started.
    net.restart(4, 0, false);
    wait(&mut net, "it is noticed", |net| net.peers[4].alarms.contains(&Alarm::SetBack));
    net.claim(4, home(4, 9), Some(&Claim::default()));
    wait(&mut net, "what it says counts", |net| is_held(net, home(4, 9), Some(4)));
    wait(&mut net, "and only that", |net| is_held(net, home(4, 1), None));
    assert!(!net.peers[4].alarms.contains(&Alarm::Cloned));
}

/// Two machines from one disk: one of them falls silent, and says so.
#[test]
fn of_two_machines_with_one_identity_one_goes_on() {
    let mut net = joined(8, 1, Distances::LAN);
    let twin = net.clone_of(3);
    net.run_until(net.now + MINUTE);
    // Both are in use.
    for number in 0..20 {
        for at in [3, twin] {
            net.claim(at, home(3, number), Some(&Claim::default()));
            net.run_until(net.now + MINUTE / 60);
        }
    }
    let silent: Vec<_> =
        [3, twin].into_iter().filter(|at| net.peers[*at].alarms.contains(&Alarm::Cloned)).collect();
    assert_eq!(silent.len(), 1);
    let speaks = if silent[0] == 3 { twin } else { 3 };
    net.claim(speaks, home(3, 99), Some(&Claim::default()));
    let others = |net: &Net| {
        (0..8)
            .filter(|at| *at != 3)
            .all(|at| net.peers[at].mesh.held(net.subject(home(3, 99))).is_some())
    };
    wait(&mut net, "the other one is heard", others);
}

/// A storm of everything, from a seed: in the end all know the same, and what
/// they know is what is so.
fn storm(seed: u64) {
    const COUNT: u64 = 12;
    let mut dice = crate::gossip::sim::Dice::new(seed);
    let pick = |dice: &mut crate::gossip::sim::Dice| {
        usize::try_from(dice.below(COUNT)).expect("it is small")
    };
    let distances = if seed.is_multiple_of(2) { Distances::LAN } else { Distances::WAN };
    let mut net = joined(12, seed, distances);
    let mut boots = [1; 12];
    let mut happened = [0; 5];
    for _ in 0..60 {
        let at = pick(&mut dice);
        let kind = usize::try_from(dice.below(5)).expect("it is small");
        happened[kind] += 1;
        match kind {
            0 if net.peers[at].is_up => {
                let claim = (dice.below(3) > 0).then(Claim::default);
                net.claim(at, home(at, dice.below(4)), claim.as_ref());
            }
            1 if at > 0 => net.kill(at),
            2 if !net.peers[at].is_up => {
                boots[at] += 1;
                net.restart(at, boots[at], dice.below(4) > 0);
            }
            3 => net.sides[at] = 1 - net.sides[at],
            4 => net.sides.fill(0),
            _ => {}
        }
        net.run_until(net.now + Duration::from_millis(dice.below(3000)));
    }
    assert!(happened.iter().all(|count| *count > 0), "{seed}: {happened:?}");
    net.sides.fill(0);
    for (at, boot) in boots.into_iter().enumerate() {
        if !net.peers[at].is_up {
            net.restart(at, boot + 1, true);
        }
    }
    let agree = |net: &Net| {
        Net::is_one(net)
            && net.peers.iter().all(|it| {
                it.mesh.down().is_empty()
                    && it.mesh.owners().len() == 12
                    && it.mesh.saying().is_none()
            })
    };
    net.run_while(MINUTE * 2, |net| !agree(net)).unwrap_or_else(|| panic!("{seed}: no agreement"));
    for at in 0..12 {
        let own = net.peers[at].mesh.own().state().clone();
        for number in 0..4 {
            let key = net.subject(home(at, number)).key(0).expect("it is short");
            let expected = own.get(&key).map(|_| at);
            assert!(is_held(&net, home(at, number), expected), "{seed}: {at} {number}");
        }
    }
}

#[test]
fn whatever_happens_all_agree_in_the_end() {
    let seeds = std::env::var("ILA_SEEDS").ok().and_then(|it| it.parse().ok()).unwrap_or(20);
    (0..seeds).for_each(storm);
}
