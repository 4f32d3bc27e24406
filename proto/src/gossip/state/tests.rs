use proptest::prelude::*;

use super::*;

fn keys() -> impl Strategy<Value = Key> {
    // Few, so that changes meet.
    (0..3_u8, prop::collection::vec(0..3_u8, 0..=2))
        .prop_map(|(kind, bytes)| Key::new(kind, &bytes).expect("it is short"))
}

fn values() -> impl Strategy<Value = Value> {
    let length = prop_oneof![0..=3_usize, 13..=16_usize, 100..=200_usize];
    (length, any::<u8>())
        .prop_map(|(length, byte)| Value::new(&vec![byte; length]).expect("it is short"))
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (keys(), prop::option::weighted(0.7, values()));
    prop::collection::vec(change.prop_map(|(key, value)| Change { key, value }), 0..20)
}

proptest! {
    #[test]
    fn a_digest_is_of_what_holds_and_not_of_how_it_came_about(changes in changes()) {
        let (mut state, mut at_once) = (State::default(), State::default());
        let mut holds = BTreeMap::new();
        at_once.apply(&changes);
        for change in &changes {
            let before = state.clone();
            let undo = state.apply(std::slice::from_ref(change));
            let mut undone = state.clone();
            undone.apply(&undo);
            prop_assert_eq!(undone, before);
            match &change.value {
                Some(value) => holds.insert(change.key, value.clone()),
                None => holds.remove(&change.key),
            };
        }
        let again = State::of(holds.clone().into_iter().rev());
        for other in [&again, &at_once] {
            prop_assert_eq!(&state, other);
            prop_assert_eq!(state.digest(), other.digest());
        }
        let holds: Vec<_> = holds.iter().map(|(key, value)| (*key, value.bytes())).collect();
        prop_assert!(state.entries().eq(holds.iter().copied()));
        for (key, value) in &holds {
            prop_assert_eq!(state.get(key), Some(*value));
        }
        prop_assert_eq!(state.get(&Key::new(9, &[9]).expect("it is short")), None);
        for kind in 0..4 {
            let of_kind = holds.iter().copied().filter(|(key, _)| key.kind() == kind);
            prop_assert!(state.of_kind(kind).eq(of_kind));
        }
    }

    #[test]
    fn other_states_have_other_digests(one in changes(), other in changes()) {
        let [one, other] = [one, other].map(|changes| {
            let mut state = State::default();
            state.apply(&changes);
            state
        });
        prop_assert_eq!(one.entries().eq(other.entries()), one.digest() == other.digest());
    }
}

#[test]
fn keys_and_values_are_bounded() {
    assert!(Key::new(1, &[7; MAX_KEY]).is_ok());
    assert_eq!(Key::new(1, &[7; MAX_KEY + 1]), Err(TooLong(MAX_KEY + 1)));
    for length in [0, SHORT, SHORT + 1, MAX_VALUE] {
        let value = Value::new(&vec![7; length]).expect("it is as long as can be");
        assert_eq!(value.bytes(), vec![7; length]);
    }
    assert_eq!(Value::new(&[7; MAX_VALUE + 1]), Err(TooLong(MAX_VALUE + 1)));
}

/// A million claims are to fit, four bytes each for where it starts.
#[test]
fn a_claim_is_small() {
    let claim = |number: u8| {
        (Key::new(1, &[number; 9]).expect("it is short"), Value::new(&[]).expect("it is short"))
    };
    let state = State::of((0..100).map(claim));
    assert_eq!(state.size(), 100 * 13);
}
