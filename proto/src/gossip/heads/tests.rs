use super::*;
use crate::gossip::{Digest, Incarnation, Position, Signature};

fn head(sequence: u64, digest: u8) -> Head {
    let incarnation = Incarnation { boot: 1, nonce: 2 };
    Head {
        position: Position { incarnation, sequence },
        digest: Digest([digest; 32]),
        signature: Signature { r: [0; 32], s: [0; 32] },
    }
}

#[test]
fn digests_are_of_where_owners_are_and_not_of_how_they_came_there() {
    let [one, two] = [NodeId([1; 16]), NodeId([2; 16])];
    let mut straight = Heads::default();
    straight.step(one, None, Some(&head(3, 3)));
    straight.step(two, None, Some(&head(1, 1)));
    let mut winding = Heads::default();
    winding.step(two, None, Some(&head(0, 0)));
    winding.step(one, None, Some(&head(3, 3)));
    winding.step(two, Some(&head(0, 0)), Some(&head(1, 1)));
    assert_eq!((&straight, straight.all()), (&winding, winding.all()));
    // Another position, another state, another owner: another digest, in one part.
    for (owner, changed) in [(two, head(2, 1)), (two, head(1, 2))] {
        let mut other = straight.clone();
        other.step(owner, Some(&head(1, 1)), Some(&changed));
        assert_ne!(other.all(), straight.all());
        let differ = |part: usize| other.parts()[part] != straight.parts()[part];
        assert_eq!((0..PARTS).filter(|part| differ(*part)).collect::<Vec<_>>(), [2]);
    }
    straight.step(one, Some(&head(3, 3)), None);
    straight.step(two, Some(&head(1, 1)), None);
    assert_eq!(straight, Heads::default());
}
