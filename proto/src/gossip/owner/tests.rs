use super::*;
use crate::gossip::{
    Incarnation, Signature, Value,
    sim::{Authority, Node},
};

fn change(key: u8, value: Option<u8>) -> Change {
    let value = value.map(|byte| Value::new(&[byte]).expect("it is short"));
    Change { key: Key::new(1, &[key]).expect("it is short"), value }
}

fn long(key: u8, length: usize) -> Change {
    let value = Value::new(&vec![7; length]).expect("it is as long as can be");
    Change { key: Key::new(1, &[key]).expect("it is short"), value: Some(value) }
}

fn life(boot: u64) -> Position {
    Position { incarnation: Incarnation { boot, nonce: 7 }, sequence: 0 }
}

fn start(seed: u64, position: Position) -> (Owner, Node) {
    let (mut node, record) = Authority::new(1).node(seed, "h1", &[], &[]);
    let record = Value::new(&wire::encode(&record).expect("it is short")).expect("it is short");
    let owner = Owner::new(State::of([(Key::RECORD, record)]), position, &mut node);
    (owner.expect("it is certified"), node)
}

fn reader() -> Node {
    Authority::new(1).node(99, "reader", &[], &[]).0
}

#[test]
fn whoever_follows_has_what_was_said_however_it_is_told() {
    let (mut owner, mut node) = start(1, life(1));
    let mut reader = reader();
    let mut step_by_step = Owner::learn(owner.since(None), &mut reader).expect("it is true");
    let mut at_once = step_by_step.clone();
    let mut positions = vec![owner.head().position];
    for round in 0..300_u32 {
        let [key, value] = [round % 7, round % 5].map(|it| u8::try_from(it).expect("it is small"));
        owner.say(&[change(key, (value > 0).then_some(value))], &mut node).expect("there is room");
        let delta = owner.since(Some(step_by_step.head().position));
        assert_eq!(delta.changes.len(), 1);
        assert_eq!(step_by_step.follow(delta, &mut reader), Ok(Taken::Step));
        positions.push(owner.head().position);
    }
    // One that is too far back is given the whole.
    let kept = positions.iter().position(|it| owner.since(Some(*it)).from.is_some());
    let kept = kept.expect("the latest are kept");
    assert!((200..300).contains(&kept), "{kept}");
    assert_eq!(owner.since(Some(positions[kept - 1])).from, None);
    for position in [Some(positions[kept]), Some(positions[299]), None] {
        assert_eq!(owner.since(position).from, position);
    }
    assert_eq!(at_once.follow(owner.since(Some(positions[0])), &mut reader), Ok(Taken::Step));
    // And hands on what it was told.
    let learned = Owner::learn(at_once.since(None), &mut reader).expect("it is true");
    for known in [&step_by_step, &at_once, &learned] {
        assert_eq!((known.head(), known.state()), (owner.head(), owner.state()));
    }
    let from = Some(positions[kept]);
    assert_eq!(step_by_step.since(from), owner.since(from));
}

/// The more an owner says, the more steps are worth keeping.
#[test]
fn as_many_steps_are_kept_as_are_shorter_than_everything() {
    let (mut owner, mut node) = start(1, life(1));
    let many: Vec<_> = (0..=u8::MAX).map(|key| long(key, 1000)).collect();
    owner.say(&many, &mut node).expect("there is room");
    let mut positions = Vec::new();
    for round in 0..300_u32 {
        positions.push(owner.head().position);
        let key = u8::try_from(round % 7).expect("it is small");
        owner.say(&[change(key, Some(1))], &mut node).expect("there is room");
    }
    assert_eq!(owner.since(Some(positions[300 - RECENT])).from, Some(positions[300 - RECENT]));
    assert_eq!(owner.since(Some(positions[300 - RECENT - 1])).from, None);
}

/// Whoever comes anew could not be told.
#[test]
fn nobody_says_more_than_a_message_holds() {
    let (mut owner, mut node) = start(1, life(1));
    let mut reader = reader();
    let mut known = Owner::learn(owner.since(None), &mut reader).expect("it is true");
    let longest = crate::gossip::MAX_VALUE;
    for key in 0..=u8::MAX {
        let before = (*owner.head(), owner.state().clone());
        let from = owner.head().position;
        match owner.say(&[long(key, longest)], &mut node) {
            Ok(()) => {
                assert!(wire::encode(&owner.since(None)).is_ok(), "{key}");
                assert_eq!(known.follow(owner.since(Some(from)), &mut reader), Ok(Taken::Step));
            }
            Err(refused) => {
                assert_eq!(refused, Refused::TooLarge);
                assert_eq!((*owner.head(), owner.state().clone()), before);
                assert!(key > 250, "{key}");
                // Nor is it taken of somebody who says it all the same.
                let mut state = owner.state().clone();
                state.apply(&[long(key, longest)]);
                let position = from.next();
                let head = sign(owner.id(), position, state.digest(), &mut node);
                let changes = vec![long(key, longest)];
                let (owner, signature) = (owner.id(), head.signature);
                let delta = Delta { owner, from: Some(from), to: position, signature, changes };
                assert_eq!(known.follow(delta, &mut reader), Err(Refused::TooLarge));
                assert_eq!(known.head().position, from);
                return;
            }
        }
    }
    panic!("it is never too much");
}

#[test]
fn what_is_not_true_changes_nothing() {
    let (mut owner, mut node) = start(1, life(1));
    let mut reader = reader();
    let mut known = Owner::learn(owner.since(None), &mut reader).expect("it is true");
    let before = known.clone();
    owner.say(&[change(1, Some(1)), change(2, Some(2))], &mut node).expect("there is room");
    let good = owner.since(Some(before.head().position));
    let whole = owner.since(None);
    owner.say(&[change(3, Some(3))], &mut node).expect("there is room");
    let later = owner.since(Some(whole.to));

    let mut other_value = good.clone();
    other_value.changes[1] = change(2, Some(3));
    let mut more = good.clone();
    more.changes.push(change(9, Some(9)));
    let mut less = good.clone();
    less.changes.pop();
    let mut other_place = good.clone();
    other_place.to.sequence += 1;
    let mut other_signature = good.clone();
    other_signature.signature = Signature { r: [1; 32], s: [0; 32] };
    let mut without_record = whole.clone();
    without_record.changes.remove(0);
    let mut of_another = whole.clone();
    of_another.owner = start(2, life(1)).0.id();
    let renewed = |record: &[u8]| {
        let mut delta = good.clone();
        let value = Some(Value::new(record).expect("it is short"));
        delta.changes.push(Change { key: Key::RECORD, value });
        delta
    };
    let foreign = {
        let (_, record) = Authority::new(2).node(1, "h1", &[], &[]);
        renewed(&wire::encode(&record).expect("it is short"))
    };
    let neighbours = {
        let (_, record) = Authority::new(1).node(2, "h2", &[], &[]);
        renewed(&wire::encode(&record).expect("it is short"))
    };
    for (delta, refused) in [
        (before.since(None), Refused::Old),
        (later, Refused::Gap),
        (other_value, Refused::Signature),
        (more, Refused::Signature),
        (less, Refused::Signature),
        (other_place, Refused::Signature),
        (other_signature, Refused::Signature),
        (without_record, Refused::Certificate),
        (renewed(b"no record"), Refused::Certificate),
        (foreign, Refused::Certificate),
        (neighbours, Refused::Certificate),
    ] {
        assert_eq!(known.follow(delta, &mut reader), Err(refused));
        assert_eq!((known.head(), known.state()), (before.head(), before.state()));
    }
    assert!(matches!(Owner::learn(of_another, &mut reader), Err(Refused::Certificate)));
    assert_eq!(known.follow(good.clone(), &mut reader), Ok(Taken::Step));
    assert_eq!(known.follow(good, &mut reader), Err(Refused::Old));
}

#[test]
fn a_later_life_goes_on_or_begins_anew() {
    let (mut first, mut node) = start(1, life(1));
    first.say(&[change(1, Some(1))], &mut node).expect("there is room");
    let mut reader = reader();
    let known = Owner::learn(first.since(None), &mut reader).expect("it is true");
    // It remembers what it has said …
    let again = Owner::new(first.state().clone(), life(2), &mut node).expect("it is certified");
    // … or it does not.
    let (forgetful, _) = start(1, life(2));
    for later in [again, forgetful] {
        let mut known = known.clone();
        assert_eq!(known.follow(later.since(None), &mut reader), Ok(Taken::Step));
        assert_eq!(known.state(), later.state());
        // What it said in its former life is of no more interest.
        assert_eq!(known.follow(first.since(None), &mut reader), Err(Refused::Old));
    }
}

/// Two that tell two nodes different things: all end with the same one.
#[test]
fn of_two_states_for_one_position_all_keep_the_same() {
    let (mut one, mut node) = start(1, life(1));
    let mut other = one.clone();
    one.say(&[change(1, Some(1))], &mut node).expect("there is room");
    other.say(&[change(1, Some(2))], &mut node).expect("there is room");
    if one.head().digest > other.head().digest {
        std::mem::swap(&mut one, &mut other);
    }
    let mut reader = reader();
    let mut first = Owner::learn(one.since(None), &mut reader).expect("it is true");
    let mut second = Owner::learn(other.since(None), &mut reader).expect("it is true");
    let mut forged = other.since(None);
    forged.signature = Signature { r: [1; 32], s: [0; 32] };
    assert_eq!(first.follow(forged, &mut reader), Err(Refused::Signature));
    assert_eq!(second.follow(one.since(None), &mut reader), Err(Refused::Equivocation));
    assert_eq!(first.follow(other.since(None), &mut reader), Ok(Taken::Contradiction));
    assert_eq!((first.head(), first.state()), (second.head(), second.state()));
}
