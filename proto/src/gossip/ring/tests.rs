use std::collections::BTreeMap;

use super::*;
use crate::gossip::sim::Dice;

fn nodes(count: usize) -> BTreeSet<NodeId> {
    let mut dice = Dice::new(7);
    let mut half = || dice.any().to_be_bytes();
    (0..count).map(|_| NodeId([half(), half()].concat().try_into().expect("it is 16"))).collect()
}

#[test]
fn whoever_comes_next_has_this_one_before_it() {
    for count in [1, 2, 3, 9, 200] {
        let nodes = nodes(count);
        let of = |node| Neighbours::of(node, &nodes);
        for node in &nodes {
            let neighbours = of(*node);
            assert!(!neighbours.all().contains(node));
            assert_eq!(neighbours.next.is_empty(), count == 1);
            assert!(neighbours.next.len() <= RINGS && neighbours.before.len() <= RINGS);
            for next in &neighbours.next {
                assert!(of(*next).before.contains(node), "{count}: {node} {next}");
            }
        }
    }
}

/// The diameter of what links make.
#[test]
fn everybody_is_a_few_steps_from_everybody() {
    let nodes = nodes(1000);
    let links: BTreeMap<_, _> =
        nodes.iter().map(|node| (*node, Neighbours::of(*node, &nodes).all())).collect();
    for start in nodes.iter().take(5) {
        let mut reached = BTreeSet::from([*start]);
        for _ in 0..6 {
            reached =
                reached.iter().flat_map(|node| &links[node]).chain(&reached).copied().collect();
        }
        assert_eq!(reached.len(), nodes.len());
    }
}

#[test]
fn nodes_at_one_place_are_next_to_each_other() {
    let of = |last| NodeId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    let nodes = BTreeSet::from([of(1), of(2), of(3)]);
    for node in &nodes {
        let neighbours = Neighbours::of(*node, &nodes);
        assert_eq!(neighbours.all().len(), 2, "{node}");
    }
}
