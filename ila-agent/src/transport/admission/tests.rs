use std::net::Ipv6Addr;

use super::*;

fn at(address: usize) -> IpAddr {
    Ipv6Addr::from_bits(address as u128).into()
}

#[test]
fn as_many_come_in_as_may_and_those_who_leave_make_room() {
    let handshakes = Arc::new(Handshakes::default());
    let mut entries = Vec::new();
    for address in 0..HANDSHAKES {
        let is_proven = address >= UNPROVEN;
        if is_proven {
            assert!(matches!(handshakes.enter(at(address), false), Verdict::Proves));
        }
        match handshakes.enter(at(address), is_proven) {
            Verdict::Enters(entry) => entries.push(entry),
            other => panic!("{address}: {other:?}"),
        }
    }
    let full = handshakes.enter(at(HANDSHAKES), true);
    assert!(matches!(full, Verdict::Leaves(Reason::TooManyHandshakes)), "{full:?}");
    entries.pop();
    assert!(matches!(handshakes.enter(at(HANDSHAKES), true), Verdict::Enters(_)));
    drop(entries);
    assert!(locked(&handshakes.from).is_empty());
}

#[test]
fn one_address_leaves_room_for_others() {
    let handshakes = Arc::new(Handshakes::default());
    let mut entries = Vec::new();
    let refused = loop {
        match handshakes.enter(at(1), entries.len() >= UNPROVEN_FROM_ADDRESS) {
            Verdict::Enters(entry) => entries.push(entry),
            Verdict::Proves => panic!("it has proven it"),
            Verdict::Leaves(reason) => break reason,
        }
        if entries.len() == UNPROVEN_FROM_ADDRESS {
            assert!(matches!(handshakes.enter(at(1), false), Verdict::Proves));
        }
    };
    assert_eq!((refused, entries.len()), (Reason::TooManyFromAddress, FROM_ADDRESS));
    assert!(matches!(handshakes.enter(at(2), false), Verdict::Enters(_)));
}

#[tokio::test(start_paused = true)]
async fn a_ban_lasts_longer_each_time_and_is_forgotten() {
    let (bans, node) = (Bans::default(), NodeId([1; 16]));
    let second = Duration::from_secs(1);
    for lasts in [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600] {
        assert!(!bans.has(node));
        assert_eq!(bans.ban(node), second * lasts);
        tokio::time::advance(second * (lasts - 1)).await;
        assert!(bans.has(node) && !bans.has(NodeId([2; 16])));
        tokio::time::advance(second).await;
    }
    tokio::time::advance(LONGEST_BAN).await;
    assert_eq!(bans.ban(node), BAN);
}

#[tokio::test(start_paused = true)]
async fn as_many_bans_are_remembered_as_may_be() {
    let bans = Bans::default();
    let node = |number: usize| NodeId((number as u128).to_be_bytes());
    for number in 0..=BANS {
        bans.ban(node(number));
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert_eq!(locked(&bans.0).len(), BANS);
    assert!(!bans.has(node(0)) && bans.has(node(1)) && bans.has(node(BANS)));
}
