use std::collections::BTreeSet;

use super::*;

const SUBJECT: Subject = Subject { sir_prefix: 1, identifier: 0xa1 };
const HOME: NodeId = NodeId([1; 16]);
const OTHER: NodeId = NodeId([2; 16]);
const THIRD: NodeId = NodeId([3; 16]);
const GOOD: Signature = Signature { r: [7; 32], s: [7; 32] };
const BAD: Signature = Signature { r: [8; 32], s: [8; 32] };

/// Signatures are good or bad by themselves, and what they are over is noted.
#[derive(Default)]
struct Judge {
    seen: BTreeSet<(Option<NodeId>, Vec<u8>)>,
}

impl Court for Judge {
    fn is_home(&mut self, node: NodeId, subject: Subject) -> bool {
        node == HOME && subject == SUBJECT
    }

    fn has_signed(&mut self, node: NodeId, statement: &[u8], signature: &Signature) -> bool {
        self.seen.insert((Some(node), statement.to_vec()));
        *signature == GOOD
    }

    fn has_granted(&mut self, statement: &[u8], signature: &Signature) -> bool {
        self.seen.insert((None, statement.to_vec()));
        *signature == GOOD
    }
}

fn step(from: NodeId, to: NodeId) -> HandOver {
    HandOver { from, to, signature: GOOD }
}

fn claim(grant: Option<(NodeId, u32)>, steps: &[HandOver]) -> Claim {
    let grant = grant.map(|(to, epoch)| Grant { to, epoch, signature: GOOD });
    Claim { grant, steps: steps.to_vec() }
}

fn standing(claim: &Claim, owner: NodeId) -> (Right, u32) {
    let Standing { right, epoch } = claim.standing(owner, SUBJECT, &mut Judge::default());
    (right, epoch)
}

#[test]
fn rights_come_from_the_home_or_the_authority_and_are_handed_on() {
    let chain = [step(HOME, OTHER), step(OTHER, THIRD), step(THIRD, HOME)];
    for (owner, claim, expected) in [
        (HOME, claim(None, &[]), (Right::Home, 0)),
        (OTHER, claim(None, &chain[..1]), (Right::Home, 1)),
        (THIRD, claim(None, &chain[..2]), (Right::Home, 2)),
        (HOME, claim(None, &chain), (Right::Home, 3)),
        (OTHER, claim(Some((OTHER, 9)), &[]), (Right::Granted, 9)),
        (THIRD, claim(Some((OTHER, 9)), &[step(OTHER, THIRD)]), (Right::Granted, 10)),
    ] {
        assert_eq!(standing(&claim, owner), expected, "{owner}: {claim:?}");
    }
}

#[test]
fn whoever_has_no_right_has_none_whatever_is_claimed() {
    let none = (Right::None, 0);
    let badly_signed = |at: usize| {
        let mut steps = [step(HOME, OTHER), step(OTHER, THIRD)];
        steps[at].signature = BAD;
        claim(None, &steps)
    };
    let mut bad_grant = claim(Some((OTHER, 9)), &[]);
    bad_grant.grant.as_mut().expect("it has one").signature = BAD;
    for (owner, claim) in [
        (OTHER, claim(None, &[])),
        // Handed over by somebody who never had it.
        (THIRD, claim(None, &[step(OTHER, THIRD)])),
        (THIRD, claim(None, &[step(HOME, OTHER), step(HOME, THIRD)])),
        // To somebody else, and no longer the owner's.
        (THIRD, claim(None, &[step(HOME, OTHER)])),
        (HOME, claim(None, &[step(HOME, OTHER)])),
        (THIRD, claim(Some((OTHER, 9)), &[])),
        (THIRD, badly_signed(0)),
        (THIRD, badly_signed(1)),
        (OTHER, bad_grant),
    ] {
        assert_eq!(standing(&claim, owner), none, "{owner}: {claim:?}");
    }
    let elsewhere = Subject { sir_prefix: 2, ..SUBJECT };
    let given = claim(None, &[]).standing(HOME, elsewhere, &mut Judge::default());
    assert_eq!(given.right, Right::None);
}

/// Or one could be taken for the other.
#[test]
fn each_step_signs_its_own_epoch_and_both_nodes() {
    let mut judge = Judge::default();
    let steps = [step(HOME, OTHER), step(OTHER, HOME), step(HOME, OTHER)];
    claim(None, &steps).standing(OTHER, SUBJECT, &mut judge);
    claim(Some((OTHER, 1)), &[]).standing(OTHER, SUBJECT, &mut judge);
    claim(Some((OTHER, 2)), &[]).standing(OTHER, SUBJECT, &mut judge);
    assert_eq!(judge.seen.len(), 5, "{:?}", judge.seen);
}

#[test]
fn a_chain_has_an_end() {
    let steps = |count| {
        let pairs = [step(HOME, OTHER), step(OTHER, HOME)];
        pairs.into_iter().cycle().take(count).collect::<Vec<_>>()
    };
    let most = u32::try_from(MAX_STEPS).expect("it is small");
    assert_eq!(standing(&claim(None, &steps(MAX_STEPS)), HOME), (Right::Home, most));
    assert_eq!(standing(&claim(None, &steps(MAX_STEPS + 2)), HOME), (Right::None, 0));
    let stored = claim(None, &steps(MAX_STEPS)).value().expect("it fits");
    assert_eq!(Claim::read(stored.bytes()), Ok(claim(None, &steps(MAX_STEPS))));
}

#[test]
fn what_is_stored_reads_as_the_same() {
    for claim in [
        claim(None, &[]),
        claim(None, &[step(HOME, OTHER)]),
        claim(Some((OTHER, u32::MAX)), &[step(OTHER, THIRD)]),
    ] {
        let stored = claim.value().expect("it fits");
        assert_eq!(Claim::read(stored.bytes()), Ok(claim));
    }
    assert!(Claim::default().value().expect("it fits").bytes().is_empty());
    assert!(Claim::read(&[0xff, 1]).is_err());
}
