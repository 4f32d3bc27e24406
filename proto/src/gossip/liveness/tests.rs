use super::*;
use crate::gossip::sim::Dice;

fn nodes(count: usize, dice: &mut Dice) -> BTreeSet<NodeId> {
    let mut half = || dice.any().to_be_bytes();
    (0..count).map(|_| NodeId([half(), half()].concat().try_into().expect("it is 16"))).collect()
}

/// What all neighbours say that see only those of `side`.
fn seen_from(side: &BTreeSet<NodeId>, nodes: &BTreeSet<NodeId>) -> Reports {
    let mut reports = Reports::default();
    for observer in side {
        for node in neighbours(*observer, nodes) {
            reports.set(*observer, node, !side.contains(&node));
        }
    }
    reports
}

#[test]
fn whoever_is_gone_is_down_and_nobody_else() {
    let mut dice = Dice::new(1);
    for count in [2, 3, 8, 100] {
        let nodes = nodes(count, &mut dice);
        for gone in [1, count / 5].into_iter().filter(|gone| *gone > 0) {
            let lives: BTreeSet<_> = nodes.iter().copied().skip(gone).collect();
            let down = seen_from(&lives, &nodes).down(&nodes);
            assert!(down.is_subset(&(&nodes - &lives)), "{count}");
            assert_eq!(down.len(), gone, "{count}");
        }
    }
}

/// The larger side goes on without the other; the smaller one, which may be
/// cut off itself, keeps whom it has not lost for sure.
#[test]
fn of_a_net_that_is_cut_in_two_no_side_loses_its_own() {
    let mut dice = Dice::new(2);
    for count in [2, 4, 9, 40, 300] {
        let nodes = nodes(count, &mut dice);
        let side: BTreeSet<_> = nodes.iter().copied().filter(|_| dice.below(3) == 0).collect();
        let other = &nodes - &side;
        for (here, there) in [(&side, &other), (&other, &side)] {
            let down = seen_from(here, &nodes).down(&nodes);
            assert!(down.is_disjoint(here), "{count}");
            if here.len() * 5 >= count * 3 {
                assert_eq!(&down, there, "{count}");
            }
        }
    }
}

/// Few nodes are all next to each other: on rings, which may all have the same
/// two face each other, both halves would be a tie.
#[test]
fn of_four_that_are_cut_in_two_both_halves_see_that() {
    let at = |place: u8| NodeId([place, 0, 0, 0].repeat(4).try_into().expect("it is 16"));
    let [one, two, three, four] = [0, 64, 128, 192].map(at);
    let nodes = BTreeSet::from([one, two, three, four]);
    let halves = [BTreeSet::from([one, two]), BTreeSet::from([three, four])];
    for (here, there) in [(&halves[0], &halves[1]), (&halves[1], &halves[0])] {
        assert_eq!(seen_from(here, &nodes).down(&nodes), *there);
    }
}

#[test]
fn one_that_lies_makes_nobody_disappear() {
    let mut dice = Dice::new(3);
    for count in [3, 4, 8, 100] {
        let nodes = nodes(count, &mut dice);
        let liar = *nodes.first().expect("there are some");
        let mut reports = Reports::default();
        nodes.iter().filter(|node| **node != liar).for_each(|it| reports.set(liar, *it, true));
        assert_eq!(reports.down(&nodes), BTreeSet::new(), "{count}");
    }
}

#[test]
fn who_is_seen_again_is_not_down() {
    let nodes = nodes(10, &mut Dice::new(4));
    let gone = *nodes.last().expect("there are some");
    let lives: BTreeSet<_> = nodes.iter().copied().filter(|it| *it != gone).collect();
    let mut reports = seen_from(&lives, &nodes);
    assert_eq!(reports.down(&nodes), BTreeSet::from([gone]));
    for observer in &lives {
        reports.set(*observer, gone, false);
    }
    assert_eq!(reports.down(&nodes), BTreeSet::new());
    assert!(reports.seen_by.is_empty());
}
