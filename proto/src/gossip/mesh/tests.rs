use std::time::Duration;

use super::*;
use crate::{
    addr::Identifier,
    gossip::{
        Signature,
        claim::Claim,
        frame::{Step, Version},
        sim::{
            net::{Disk, Distances, Net, home},
            scenario::joined,
        },
    },
};

const MINUTE: Duration = Duration::from_secs(60);

/// All nodes see an identifier with the same one, or with nobody.
fn is_held(net: &Net, identifier: Identifier, by: Option<usize>) -> bool {
    (0..net.peers.len()).all(|at| net.held(at, identifier) == by)
}

fn wait(net: &mut Net, what: &str, is_so: impl Fn(&Net) -> bool) {
    net.run_while(MINUTE, |net| !is_so(net)).unwrap_or_else(|| panic!("{what}: not in a minute"));
}

#[test]
fn an_identifier_goes_where_it_is_handed_to_and_no_further() {
    let (mut net, _) = joined(10, 1, Distances::LAN);
    let identifier = home(1, 1);
    net.hold(1, identifier);
    wait(&mut net, "it spreads", |net| is_held(net, identifier, Some(1)));
    // Somebody else just says so.
    net.hold(2, identifier);
    net.run_for(MINUTE);
    assert!(is_held(&net, identifier, Some(1)));
    assert!(net.peers[2].alarms.iter().any(|alarm| matches!(alarm, Alarm::Lost(_))));
    net.claim(2, identifier, None);
    // Whoever has it gives it away, and both say so, in whichever order.
    net.move_to(identifier, 3);
    wait(&mut net, "it has moved", |net| is_held(net, identifier, Some(3)));
    net.claim(1, identifier, None);
    // And on; who had it before has it no more.
    net.move_to(identifier, 4);
    net.hold(1, identifier);
    wait(&mut net, "it has moved on", |net| is_held(net, identifier, Some(4)));
    // The authority can give it to anybody.
    net.grant_to(identifier, 5);
    wait(&mut net, "it is granted", |net| is_held(net, identifier, Some(5)));
    assert_eq!(net.checks.broken(), [""; 0]);
}

/// A chain of steps has an end, at which its home says anew that it has it.
#[test]
fn an_identifier_that_has_come_home_goes_on_for_ever() {
    let (mut net, _) = joined(5, 1, Distances::LAN);
    let identifier = home(1, 1);
    net.hold(1, identifier);
    for at in [2, 1].into_iter().cycle().take(3 * crate::gossip::claim::MAX_STEPS) {
        net.move_to(identifier, at);
        wait(&mut net, "it has moved", |net| is_held(net, identifier, Some(at)));
        net.claim(3 - at, identifier, None);
        net.run_for(CALM);
    }
    assert_eq!(net.checks.broken(), [""; 0]);
}

#[test]
fn what_is_said_again_and_again_before_it_is_stored_is_kept_once() {
    let (mut net, _) = joined(3, 1, Distances::LAN);
    net.faults.blocked_disks.insert(1);
    for number in 0..1000 {
        net.claim(1, home(1, number % 2), (number % 3 > 0).then(Claim::default).as_ref());
        net.run_for(Duration::from_millis(1));
    }
    assert_eq!(net.peers[1].mesh.sizes().unsaid, 2);
}

/// What is only remembered of a node does not show that it lives.
#[test]
fn what_is_remembered_was_not_heard() {
    let (mut net, _) = joined(3, 1, Distances::LAN);
    let node = net.peers[2].mesh.me();
    assert!(net.peers[1].mesh.heard(node).is_some());
    net.kill(2);
    net.restart(1, crate::gossip::sim::net::Disk::Kept, true);
    net.run_for(MINUTE);
    assert!(net.peers[1].mesh.owner(node).is_some());
    assert_eq!(net.peers[1].mesh.heard(node), None);
}

/// The others still have a link to it that nobody answers by.
#[test]
fn a_node_that_starts_anew_is_not_kept_waiting_for_its_former_links_to_end() {
    for victim in 1..4 {
        let (mut net, _) = joined(4, 1, Distances::LAN);
        net.run_for(MINUTE);
        net.kill(victim);
        net.restart(victim, Disk::Kept, true);
        net.run_for(Duration::from_secs(1));
        assert_eq!(net.peers[victim].mesh.linked().count(), 3, "{victim}");
    }
}

/// All whom it remembers are gone, or elsewhere, but for one that everybody knows.
#[test]
fn who_was_away_for_long_asks_where_all_ask_at_first() {
    for victim in 4..9 {
        let (mut net, _) = joined(40, victim, Distances::LAN);
        let victim = usize::try_from(victim).expect("it is small");
        net.run_for(Duration::from_secs(5));
        net.kill(victim);
        (1..40).filter(|at| *at != victim).for_each(|at| net.kill(at));
        net.restart(victim, Disk::Kept, true);
        net.run_for(Duration::from_millis(100));
        let linked: Vec<_> = net.peers[victim].mesh.linked().map(|(node, _)| node).collect();
        assert_eq!(linked, [net.peers[0].mesh.me()], "{victim}");
    }
}

/// Of many kinds the latest are kept, each with how often there was one.
#[test]
fn alarms_are_counted_and_the_oldest_forgotten() {
    let (mut net, _) = joined(3, 1, Distances::LAN);
    let mesh = &mut net.peers[1].mesh;
    let alarm = |number| Alarm::Lost(Subject { sir_prefix: 1, identifier: number });
    for number in (0..2 * ALARMS as u64).chain([7]) {
        mesh.do_this(Effect::Alarm(alarm(number / 2)));
        mesh.remember_alarms(Duration::from_secs(100 + number.max(50)));
        mesh.effects.clear();
    }
    let counts: Vec<_> = mesh.alarms().values().map(|raised| raised.count).collect();
    assert_eq!(counts.len(), ALARMS);
    assert_eq!(counts.iter().sum::<u64>(), 2 * ALARMS as u64 + 1);
    mesh.do_this(Effect::Alarm(Alarm::SetBack));
    mesh.remember_alarms(Duration::from_secs(1000));
    assert_eq!(mesh.alarms().len(), ALARMS);
    assert!(mesh.alarms().contains_key(&Alarm::SetBack));
}

/// What the first of three nodes answers to a step that the second one sends.
fn answers(net: &mut Net, step: Step) -> Vec<Frame> {
    let sender = net.peers[1].mesh.me();
    let (now, mesh) = (net.now + net.peers[0].clock, &mut net.peers[0].mesh);
    let link = mesh.lasting().find(|(_, node)| *node == sender).expect("they have one").0;
    while mesh.transmit(link).is_some() {}
    mesh.handle(Event::Received(link, Frame::Step(step)), now);
    std::iter::from_fn(|| mesh.transmit(link)).collect()
}

/// The next step of the second one, as it is on its way.
fn next_step(net: &mut Net) -> Step {
    let mut node = net.surroundings(1);
    let mut own = net.peers[1].mesh.own().clone();
    let before = own.head().position;
    own.say(&[], &mut node).expect("there is room");
    let said = Frame::Delta(own.since(Some(before))).spoken(Version::Two);
    let Frame::Step(step) = said else { panic!("{said:?}") };
    step
}

#[test]
fn a_step_is_taken_if_it_leads_to_what_its_owner_has_signed() {
    let (mut net, _) = joined(3, 1, Distances::LAN);
    let (step, owner) = (next_step(&mut net), net.peers[1].mesh.me());
    let forged = Step { signature: Signature { r: [9; 32], s: [9; 32] }, ..step.clone() };
    let before = net.peers[0].mesh.position(owner);
    assert_eq!(answers(&mut net, forged), [Frame::Want(owner, None)]);
    assert_eq!(net.peers[0].mesh.position(owner), before);
    answers(&mut net, step.clone());
    assert_eq!(net.peers[0].mesh.position(owner), before.map(Position::next));
    let duplicates = net.peers[0].mesh.counts().duplicates;
    answers(&mut net, step);
    assert_eq!(net.peers[0].mesh.counts().duplicates, duplicates + 1);
}

/// Of a life that is not the one that is known, a step can look like anything.
#[test]
fn a_step_of_another_life_is_asked_about() {
    let (mut net, _) = joined(3, 1, Distances::LAN);
    net.hold(1, home(1, 1));
    wait(&mut net, "it spreads", |net| is_held(net, home(1, 1), Some(1)));
    let owner = net.peers[1].mesh.me();
    let ours = net.peers[0].mesh.position(owner);
    let step = next_step(&mut net);
    let other = |from, to| Step {
        from,
        to,
        signature: Signature { r: [9; 32], s: [9; 32] },
        ..step.clone()
    };
    // It seems to be known: nobody is told that it need not be said.
    assert_eq!(answers(&mut net, other(step.from - 1, step.from)), [Frame::Want(owner, ours)]);
    // To be further on.
    assert_eq!(answers(&mut net, other(step.to, step.to + 1)), [Frame::Want(owner, ours)]);
    // To be the next one.
    assert_eq!(answers(&mut net, other(step.from, step.to)), [Frame::Want(owner, None)]);
    assert_eq!(net.peers[0].mesh.position(owner), ours);
}

#[test]
fn a_step_of_nobody_is_ignored_and_one_of_oneself_is_asked_about() {
    let (mut net, _) = joined(3, 1, Distances::LAN);
    let step = next_step(&mut net);
    let (nobody, me) = (Step { owner: 7, ..step.clone() }, net.peers[0].mesh.me());
    assert_eq!(answers(&mut net, nobody), []);
    let mine = Step { owner: me.start(), to: u64::MAX, ..step };
    assert_eq!(answers(&mut net, mine), [Frame::Want(me, None)]);
    assert_eq!(net.peers[0].alarms, []);
}

/// Whose identities start in the same way, each would be told of by steps for ever.
#[test]
fn a_step_that_could_be_of_two_is_of_neither() {
    let (mut net, _) = joined(3, 1, Distances::LAN);
    let (step, owner) = (next_step(&mut net), net.peers[1].mesh.me());
    let mut twin = owner;
    twin.0[15] ^= 1;
    let known = &mut net.peers[0].mesh.known;
    known.insert(twin, known[&owner].clone());
    let asked = answers(&mut net, step);
    assert_eq!(asked.len(), 2);
    assert!([owner, twin].into_iter().all(|it| asked.contains(&Frame::Want(it, None))));
}

/// However much of others waits for a link.
#[test]
fn what_a_node_says_itself_goes_before_what_it_hands_on() {
    let (mut net, _) = joined(12, 1, Distances::LAN);
    let mesh = &mut net.peers[5].mesh;
    let me = mesh.me();
    let owners: Vec<_> = mesh.known.keys().copied().collect();
    assert_ne!(owners[0], me, "it would be the first anyway");
    let link = *mesh.links.keys().next().expect("it has links");
    while mesh.transmit(link).is_some() {}
    for owner in owners {
        mesh.links.get_mut(&link).expect("it stands").pending.insert(owner, None);
    }
    let Some(Frame::Delta(first)) = mesh.transmit(link) else { panic!("there is much to say") };
    assert_eq!(first.owner, me);
}

#[test]
fn what_cannot_be_stored_is_an_alarm() {
    let (mut net, _) = joined(3, 1, Distances::LAN);
    let mesh = &mut net.peers[1].mesh;
    let effects = mesh.handle(Event::NotStored, Duration::from_secs(100));
    assert!(effects.contains(&Effect::Alarm(Alarm::NotStored)));
    assert!(mesh.alarms().contains_key(&Alarm::NotStored));
}
