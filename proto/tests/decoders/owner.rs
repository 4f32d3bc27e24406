//! What is said to be an owner's.

use ila_proto::gossip::{Change, Delta, Key, NodeId, Owner, Position, Value, sim::Dice, wire};

use super::{
    WORLD,
    mutate::{below, mutant, pick},
    run::run,
    world::{Agent, Speaker},
};

/// A delta with something of another one, or something else in it.
pub fn forged(dice: &mut Dice, all: &[Delta]) -> Delta {
    let mut delta = pick(dice, all).clone();
    for _ in 0..=dice.below(3) {
        let other = pick(dice, all);
        let at = below(dice, delta.changes.len());
        match dice.below(10) {
            0 => delta.owner = other.owner,
            1 => delta.from = other.from,
            2 => delta.to = other.to,
            3 => delta.signature = other.signature,
            4 => delta.changes.extend(other.changes.iter().cloned()),
            5 if !delta.changes.is_empty() => drop(delta.changes.remove(at)),
            6 => extreme(dice, &mut delta.to),
            7 => delta.from.iter_mut().for_each(|from| extreme(dice, from)),
            8 => delta.changes.push(made_up(dice, all)),
            _ => {
                if let Some(change) = delta.changes.get_mut(at) {
                    *change = altered(dice, change);
                }
            }
        }
    }
    delta
}

fn extreme(dice: &mut Dice, position: &mut Position) {
    let number = *pick(dice, &[0, 1, 2, u64::MAX - 1, u64::MAX]);
    let incarnation = &mut position.incarnation;
    *pick_mut(dice, [&mut incarnation.boot, &mut incarnation.nonce, &mut position.sequence]) =
        number;
}

fn pick_mut<'a>(dice: &mut Dice, all: [&'a mut u64; 3]) -> &'a mut u64 {
    let at = below(dice, all.len());
    all.into_iter().nth(at).expect("it is one of them")
}

fn altered(dice: &mut Dice, change: &Change) -> Change {
    let value = change.value.as_ref().map(|value| mutant(dice, &[value.bytes().to_vec()]));
    Change { key: change.key, value: value.and_then(|bytes| Value::new(&bytes).ok()) }
}

/// A change that somebody may make up: of any kind, of a node or of nothing.
pub fn made_up(dice: &mut Dice, all: &[Delta]) -> Change {
    let NodeId(node) = pick(dice, all).owner;
    let key = mutant(dice, &[node.to_vec(), vec![0; 9]]);
    let kind = u8::try_from(dice.below(4)).expect("it is small");
    let key = Key::new(kind, &key[..key.len().min(22)]).expect("it is short");
    let value = mutant(dice, &[vec![], node.to_vec()]);
    Change { key, value: Value::new(&value).ok().filter(|_| dice.below(4) > 0) }
}

fn said(owner: &Owner) -> bool {
    let mut speakers = WORLD.speakers.iter().filter(|it| it.id() == owner.id());
    speakers.any(|it| it.has_said(owner.head(), owner.state()))
}

fn check(delta: &Delta, agent: &mut Agent) -> u32 {
    let mut taken = 0;
    if let Ok(owner) = Owner::learn(delta.clone(), agent) {
        assert!(said(&owner), "its owner has not said so: {delta:?}");
        taken += 1;
    }
    let known = WORLD.speakers.iter().filter(|it| it.id() == delta.owner);
    for before in known.flat_map(|Speaker { said, .. }| [&said[0], &said[said.len() / 2]]) {
        let mut owner = before.clone();
        if owner.follow(delta.clone(), agent).is_ok() {
            assert!(said(&owner), "its owner has not said so: {delta:?}");
            assert!(owner.head().position > before.head().position, "{delta:?}");
            taken += 1;
        } else {
            assert_eq!((owner.head(), owner.state()), (before.head(), before.state()));
        }
    }
    taken
}

#[test]
fn owners_are_followed() {
    let all = WORLD.deltas();
    let bytes: Vec<_> = all.iter().map(|it| wire::encode(it).expect("it is short")).collect();
    let mut agent = WORLD.speakers[0].agent.clone();
    // What is true is taken, or the rest would show nothing.
    assert!(all.iter().map(|delta| check(delta, &mut agent)).sum::<u32>() > 10);
    run("-p ila-proto --test decoders owners_are_followed", 4000, |dice| {
        let delta = match wire::decode(&mutant(dice, &bytes)) {
            Ok(delta) if dice.below(2) == 0 => delta,
            _ => forged(dice, &all),
        };
        check(&delta, &mut agent.clone());
    });
}
