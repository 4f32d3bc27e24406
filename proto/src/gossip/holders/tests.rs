use super::*;

const SUBJECT: Subject = Subject { sir_prefix: 1, identifier: 2 };
const NOBODY: BTreeSet<NodeId> = BTreeSet::new();

fn node(number: u8) -> NodeId {
    NodeId([number; 16])
}

fn standing(right: Right, epoch: u32) -> Standing {
    Standing { right, epoch }
}

fn by(holders: &Holders, hidden: &BTreeSet<NodeId>) -> Option<NodeId> {
    holders.held(SUBJECT, hidden).map(|held| held.by)
}

#[test]
fn the_better_right_holds_then_the_later_epoch_then_the_lesser_node() {
    // From the best to the worst.
    let claims = [
        (node(7), standing(Right::Granted, 0)),
        (node(6), standing(Right::Home, 2)),
        (node(2), standing(Right::Home, 1)),
        (node(5), standing(Right::Home, 1)),
        (node(1), standing(Right::None, 0)),
        (node(3), standing(Right::None, 0)),
    ];
    // Whatever the order in which they come.
    for turn in 0..claims.len() {
        let mut turned = claims;
        turned.rotate_left(turn);
        let mut holders = Holders::default();
        for (owner, standing) in turned {
            holders.set(SUBJECT, owner, Some(standing), Duration::ZERO);
        }
        for at in 0..claims.len() {
            let held = holders.held(SUBJECT, &NOBODY).expect("somebody claims it");
            assert_eq!((held.by, held.standing), claims[at]);
            assert_eq!(held.disputed_by.len(), claims.len() - 1 - at);
            holders.set(SUBJECT, claims[at].0, None, Duration::ZERO);
        }
        assert_eq!(by(&holders, &NOBODY), None);
        assert_eq!((holders.count(), holders.subjects().count()), (0, 0));
    }
}

#[test]
fn who_is_hidden_holds_nothing_and_disputes_nothing() {
    let mut holders = Holders::default();
    holders.set(SUBJECT, node(1), Some(standing(Right::Home, 0)), Duration::ZERO);
    let hidden = BTreeSet::from([node(1)]);
    assert_eq!(by(&holders, &hidden), None);
    holders.set(SUBJECT, node(2), Some(standing(Right::None, 0)), Duration::ZERO);
    let held = holders.held(SUBJECT, &hidden).expect("one of them lives");
    assert_eq!((held.by, held.disputed_by), (node(2), NOBODY));
    // And is back with what it had.
    assert_eq!(by(&holders, &NOBODY), Some(node(1)));
}

#[test]
fn those_without_a_right_are_found_again() {
    let other = Subject { identifier: 3, ..SUBJECT };
    let mut holders = Holders::default();
    holders.set(SUBJECT, node(1), Some(standing(Right::Home, 0)), Duration::ZERO);
    holders.set(other, node(1), Some(standing(Right::Home, 0)), Duration::ZERO);
    assert_eq!(holders.without_right().count(), 0);
    holders.set(other, node(2), Some(standing(Right::None, 0)), Duration::ZERO);
    assert_eq!(holders.without_right().collect::<Vec<_>>(), [other]);
}

#[test]
fn a_claim_is_as_old_as_it_stands_so() {
    let mut holders = Holders::default();
    let mut at = |seconds, right| {
        let now = Duration::from_secs(seconds);
        holders.set(SUBJECT, node(1), right, now);
        holders.held(SUBJECT, &NOBODY).map(|held| held.since.as_secs())
    };
    let (none, home) = (standing(Right::None, 0), standing(Right::Home, 0));
    assert_eq!(at(5, Some(none)), Some(5));
    assert_eq!(at(9, Some(none)), Some(5), "it is the same");
    assert_eq!(at(12, Some(home)), Some(12), "it is another");
    assert_eq!(at(13, None), None);
    assert_eq!(at(20, Some(home)), Some(20));
}
