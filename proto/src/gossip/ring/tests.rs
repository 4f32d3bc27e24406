use std::collections::BTreeMap;

use super::*;
use crate::gossip::sim::Dice;

fn nodes(count: usize) -> BTreeSet<NodeId> {
    let mut dice = Dice::new(7);
    let mut half = || dice.any().to_be_bytes();
    (0..count).map(|_| NodeId([half(), half()].concat().try_into().expect("it is 16"))).collect()
}

#[test]
fn whoever_is_next_to_another_has_it_next_to_itself() {
    for count in [1, 2, 3, FEW, FEW + 1, 200] {
        let nodes = nodes(count);
        for node in &nodes {
            let next = neighbours(*node, &nodes);
            assert!(next.len() < FEW && !next.contains(node));
            assert!(next.len() >= (count - 1).min(FEW / 2), "{count}");
            if count <= FEW {
                assert_eq!(next.len(), count - 1);
            }
            for other in &next {
                assert!(neighbours(*other, &nodes).contains(node), "{count}: {node} {other}");
            }
        }
    }
}

/// The diameter of what links make.
#[test]
fn everybody_is_a_few_steps_from_everybody() {
    let nodes = nodes(1000);
    let links: BTreeMap<_, _> =
        nodes.iter().map(|node| (*node, neighbours(*node, &nodes))).collect();
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
fn nodes_that_are_almost_the_same_are_next_to_each_other() {
    let of = |last| NodeId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    let nodes: BTreeSet<_> = (1..=20).map(of).collect();
    for node in &nodes {
        let next = neighbours(*node, &nodes);
        assert!(next.len() >= 2, "{node}");
        assert!(next.iter().all(|other| neighbours(*other, &nodes).contains(node)), "{node}");
    }
}
