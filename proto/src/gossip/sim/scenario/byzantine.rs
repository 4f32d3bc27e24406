//! A member that does not keep to the rules.

use std::time::Duration;

use super::{Played, Scenario, ensure};
use crate::{
    addr::Identifier,
    gossip::{
        Change, Delta, Key, NodeId, Owner, Position, Signature, Value,
        claim::{Claim, Grant, HandOver},
        frame::{Frame, Version},
        mesh::{self, Alarm, Fault},
        sim::net::{Net, home},
        wire,
    },
};

/// One of all lies.
pub const BYZANTINE: Scenario = Scenario {
    name: "byzantine",
    about: "a member that speaks for others, replays, takes what is not its own by any epoch, \
            says one thing here and another there, and sends what is no frame",
    nodes: 10,
    within: Duration::from_secs(60),
    musts: &[
        ("deltas in the name of others", 6),
        ("connections ended for what is untrue", 1),
        ("old deltas replayed", 3),
        ("claims to what others hold", 4),
        ("states believed of one position", 2),
        ("bytes that are no frame", 3),
        ("frames made up", 5),
    ],
    play,
};

/// Who lies, and whom it wants to harm.
const LIAR: usize = 3;
const VICTIM: usize = 4;

fn play(net: &mut Net) -> Played {
    net.checks.rogues.insert(net.peers[LIAR].mesh.me());
    net.checks.most_bytes = Some(1_000_000);
    let theirs = home(VICTIM, 1);
    net.hold(VICTIM, theirs);
    net.run_for(Duration::from_secs(1));
    let old = net.peers[VICTIM].mesh.own().since(None);
    for number in 2..5 {
        net.hold(VICTIM, home(VICTIM, number));
        net.run_for(Duration::from_millis(200));
    }
    forge(net)?;
    replay(net, &old)?;
    usurp(net, theirs)?;
    equivocate(net)?;
    make_up(net)?;
    let holds = (0..net.peers.len()).all(|by| net.held(by, theirs) == Some(VICTIM));
    ensure(holds, "the victim has lost what it holds")
}

fn send(net: &mut Net, frame: &Frame) -> Result<usize, String> {
    let bytes = frame.write().map_err(|error| error.to_string())?;
    let links = net.inject(LIAR, &bytes);
    net.run_for(Duration::from_millis(700));
    Ok(links)
}

/// Speaks for the victim, which has signed nothing of it.
fn forge(net: &mut Net) -> Played {
    let victim = net.peers[VICTIM].mesh.own();
    let (me, position) = (victim.id(), victim.head().position);
    let mut later = position;
    later.incarnation.boot += 1;
    let gone = net.subject(home(VICTIM, 1)).key(0).map_err(|error| error.to_string())?;
    let change = Change { key: gone, value: None };
    let signature = victim.head().signature;
    let whole = Delta { to: later, ..victim.since(None) };
    let step = |changes| Delta {
        owner: me,
        from: Some(position),
        to: position.next(),
        signature,
        changes,
    };
    let none = Signature { r: [0; 32], s: [0; 32] };
    for delta in [step(vec![change.clone()]), whole, Delta { signature: none, ..step(vec![]) }] {
        // Whether it names the life that it is about or not.
        for version in Version::ALL {
            send(net, &Frame::Delta(delta.clone()).spoken(version))?;
            net.faults.count("deltas in the name of others");
        }
    }
    let untrue = |peer: &crate::gossip::sim::net::Peer| -> u64 {
        let of = peer.faults.iter().filter(|(fault, _)| matches!(fault, Fault::Untrue(_)));
        of.map(|(_, count)| *count).sum()
    };
    let ended = net.peers.iter().map(untrue).sum();
    net.faults.count_more("connections ended for what is untrue", ended);
    Ok(())
}

/// Says what the victim has said some time ago.
fn replay(net: &mut Net, old: &Delta) -> Played {
    for _ in 0..3 {
        send(net, &Frame::Delta(old.clone()))?;
        net.faults.count("old deltas replayed");
    }
    let seen = (0..net.peers.len()).all(|by| net.held(by, home(VICTIM, 4)) == Some(VICTIM));
    ensure(seen, "somebody went back to what was before")
}

/// Claims what the victim holds by every right that can be made up.
fn usurp(net: &mut Net, theirs: Identifier) -> Played {
    let [liar, victim] = [LIAR, VICTIM].map(|at| net.peers[at].mesh.me());
    let granted = |net: &Net, epoch| Grant { to: liar, ..net.word(LIAR, theirs, epoch) };
    let stolen = HandOver { from: victim, to: liar, ..net.hand_over(LIAR, LIAR, theirs, 1) };
    let own = net.hand_over(LIAR, LIAR, theirs, 1);
    let claims = [
        Claim::default(),
        Claim { grant: Some(granted(net, u32::MAX)), steps: vec![] },
        Claim { grant: None, steps: vec![stolen] },
        Claim { grant: None, steps: vec![own] },
    ];
    for claim in claims {
        net.claim(LIAR, theirs, Some(&claim));
        net.faults.count("claims to what others hold");
        net.run_for(Duration::from_millis(500));
        let holder = net.held(0, theirs);
        ensure(holder == Some(VICTIM), &format!("{holder:?} holds it by {claim:?}"))?;
    }
    net.claim(LIAR, theirs, None);
    // Words of nodes that there are not have to be waited for, for each claim once.
    for number in 0..200_u64 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let step = HandOver { from: NodeId(id), ..net.hand_over(LIAR, LIAR, theirs, 1) };
        net.claim(LIAR, theirs, Some(&Claim { grant: None, steps: vec![step] }));
        net.run_for(Duration::from_millis(5));
    }
    net.claim(LIAR, theirs, None);
    net.run_for(Duration::from_secs(1));
    let waiting = net.peers.iter().map(|peer| peer.mesh.sizes().unjudged).max();
    ensure(waiting <= Some(1), &format!("{waiting:?} claims of one wait to be judged"))
}

/// Signs two states for one position, and tells each half of the mesh another.
fn equivocate(net: &mut Net) -> Played {
    let mut node = net.surroundings(LIAR);
    let own = net.peers[LIAR].mesh.own().clone();
    let mut both = [own.clone(), own];
    for (number, one) in (10..).zip(&mut both) {
        let subject = net.subject(home(LIAR, number));
        let change = mesh::change(one.certified(), subject, Some(&Claim::default()));
        one.say(&Vec::from_iter(change), &mut node).expect("there is room");
    }
    let heads = both.each_ref().map(|one| *one.head());
    for (one, half) in both.iter().zip([0, 1]) {
        let frame = Frame::Delta(Owner::since(one, None));
        let bytes = frame.write().map_err(|error| error.to_string())?;
        net.inject_to(LIAR, |to| to % 2 == half, &bytes);
    }
    // Before any of them has told another.
    let liar = net.peers[LIAR].mesh.me();
    let mut believed = [false; 2];
    for _ in 0..80 {
        net.run_for(Duration::from_millis(1));
        for peer in net.peers.iter().filter(|peer| peer.mesh.me() != liar) {
            let head = peer.mesh.owner(liar).map(|owner| *owner.head());
            (0..2).for_each(|state| believed[state] |= head == Some(heads[state]));
        }
    }
    let believed = believed.into_iter().filter(|it| *it).count();
    net.faults.count_more("states believed of one position", believed as u64);
    net.run_for(Duration::from_secs(10));
    let alarm = Alarm::Equivocation(liar);
    let noticed = net.peers.iter().filter(|peer| peer.alarms.contains(&alarm)).count();
    net.faults.count_more("equivocations noticed", noticed as u64);
    // Of the two all others keep the same.
    let better = heads.iter().max_by_key(|head| head.digest).map(|head| head.digest);
    for (at, peer) in net.peers.iter().enumerate().filter(|(at, _)| *at != LIAR) {
        let head = peer.mesh.owner(liar).map(|owner| *owner.head());
        let is_kept = head
            .is_some_and(|head| head.position > heads[0].position || Some(head.digest) == better);
        ensure(is_kept, &format!("{at} keeps {head:?}"))?;
    }
    // The liar goes on behind what is told of it, as any node does.
    net.wait("all know the same of it", Duration::from_secs(60), Net::is_one)
}

/// Sends what is no frame, or one that is about nothing.
fn make_up(net: &mut Net) -> Played {
    let delta = Frame::Delta(net.peers[LIAR].mesh.own().since(None));
    let whole = delta.write().map_err(|error| error.to_string())?;
    let too_long = [vec![1], u32::MAX.to_be_bytes().to_vec()].concat();
    let mut cut_short = whole[..whole.len() / 2].to_vec();
    cut_short[1..5].copy_from_slice(&10_u32.to_be_bytes());
    let wild: Vec<u8> = (0..200).map(|_| u8::try_from(net.any(256)).unwrap_or_default()).collect();
    for bytes in [too_long, cut_short, [vec![1, 0, 0, 0, 200], wild].concat()] {
        net.inject(LIAR, &bytes);
        net.run_for(Duration::from_secs(2));
    }
    let nobody = NodeId([7; 16]);
    let far = Position { sequence: u64::MAX, ..Position::default() };
    let starts = net.peers.iter().map(|peer| (peer.mesh.me().start(), u64::MAX)).collect();
    let junk = Value::new(&wire::encode(&1_u8).unwrap_or_default()).ok();
    let junk = Change { key: Key::RECORD, value: junk };
    let signature = Signature { r: [9; 32], s: [9; 32] };
    for frame in [
        Frame::Have(starts),
        Frame::Want(nobody, Some(far)),
        Frame::Prune(nobody),
        Frame::Summary(vec![1; 3]),
        Frame::Summary(vec![u64::MAX; 256]),
        Frame::Heads(1, vec![(nobody, far, 1)]),
        Frame::Heads(7, vec![(nobody, far, 1)]),
        Frame::Compare(1),
        Frame::Same,
        Frame::Delta(Delta { owner: nobody, from: None, to: far, signature, changes: vec![junk] }),
    ] {
        send(net, &frame)?;
        net.faults.count("frames made up");
    }
    Ok(())
}
