//! What other nodes send, and what of it is stored.

use std::fmt::Debug;

use ila_proto::gossip::{
    Change, Delta, Key, NodeRecord,
    claim::Claim,
    frame::{Frame, HEADER, Read, Version},
    sim::Dice,
    wire::{self, MAX_BYTES},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{WORLD, corpus, memory::peak, run::mutants};

/// What serde makes room for at once in a list that says it is long, and in one
/// that this one's first entry has.
const ROOM: usize = 2 << 20;

/// The shortest entry of a list is three bytes, a change; in memory it is sixty,
/// twice that in a list with room for more, and three times while that grows.
const GROWTH: usize = 64;

fn bound(bytes: &[u8]) -> usize {
    ROOM + bytes.len() * GROWTH
}

fn encoded<T: Serialize>(values: &[T]) -> Vec<Vec<u8>> {
    values.iter().map(|value| wire::encode(value).expect("it is short")).collect()
}

/// Frames of each kind.
pub fn frames() -> Vec<Frame> {
    let deltas = WORLD.deltas();
    let (delta, node) = (&deltas[0], deltas[0].owner);
    let others = [
        Frame::Have(vec![(node.start(), 9), (0, u64::MAX)]),
        Frame::Want(node, None),
        Frame::Want(node, Some(delta.to)),
        Frame::Prune(node),
        Frame::Compare(7),
        Frame::Same,
        Frame::Summary((0..256).collect()),
        Frame::Heads(node.0[0], vec![(node, delta.to, 7)]),
    ];
    let deltas: Vec<_> = deltas.into_iter().map(Frame::Delta).collect();
    let steps = deltas.iter().map(|delta| delta.clone().spoken(Version::LATEST));
    let steps: Vec<_> = steps.filter(|it| matches!(it, Frame::Step(_))).collect();
    assert!(!steps.is_empty(), "there are none of this kind");
    others.into_iter().chain(deltas).chain(steps).collect()
}

/// Frames as bytes, those of the corpus among them.
pub fn pool() -> Vec<Vec<u8>> {
    let written = frames().into_iter().map(|frame| frame.write().expect("it is short"));
    written.chain(corpus::all("frame")).collect()
}

/// Has a frame say mostly how long it is.
pub fn fit(dice: &mut Dice, bytes: &mut [u8]) {
    let body = u32::try_from(bytes.len().saturating_sub(HEADER)).expect("it is short");
    if let Some(length) = bytes.get_mut(1..HEADER).filter(|_| dice.below(4) > 0) {
        length.copy_from_slice(&body.to_be_bytes());
    }
}

fn check_frame(bytes: &[u8]) {
    let (read, took) = peak(|| Frame::read(bytes, Version::LATEST));
    assert!(took <= bound(bytes), "{took} bytes of memory for {} bytes", bytes.len());
    match read {
        Ok(Read::Frame(frame, taken)) => {
            assert!((HEADER..=bytes.len().min(HEADER + MAX_BYTES)).contains(&taken));
            let again = frame.write().expect("what was read can be written");
            assert_eq!(Frame::read(&again, Version::LATEST), Ok(Read::Frame(frame, again.len())));
        }
        Ok(Read::Unknown(_, taken)) => {
            assert!((HEADER..=bytes.len().min(HEADER + MAX_BYTES)).contains(&taken));
        }
        Ok(Read::Part) => assert!(bytes.len() < HEADER + MAX_BYTES, "it ends at some time"),
        Err(wire::Malformed) => {}
    }
}

fn check_value<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let (read, took) = peak(|| wire::decode::<T>(bytes));
    assert!(took <= bound(bytes), "{took} bytes of memory for {} bytes", bytes.len());
    if let Ok(value) = read {
        assert!(bytes.len() <= MAX_BYTES);
        let again = wire::encode(&value).expect("what was read can be written");
        assert_eq!(wire::decode(&again), Ok(value));
    }
}

#[test]
fn frames_are_read() {
    let fit = |dice: &mut Dice, bytes: &mut Vec<u8>| fit(dice, bytes);
    mutants("-p ila-proto --test decoders frames_are_read", 30_000, &pool(), fit, check_frame);
}

#[test]
fn values_are_read() {
    let records: Vec<_> = WORLD.speakers.iter().map(|it| it.record.clone()).collect();
    let pool = [encoded(&WORLD.deltas()), encoded(&records), encoded(&WORLD.claims)].concat();
    let pool = [pool, corpus::all("value")].concat();
    let target = "-p ila-proto --test decoders values_are_read";
    mutants(
        target,
        20_000,
        &pool,
        |_, _| (),
        |bytes| {
            check_value::<Delta>(bytes);
            check_value::<NodeRecord>(bytes);
            check_value::<Claim>(bytes);
        },
    );
}

/// As many changes as fit, each of three bytes.
#[test]
fn the_most_changes_are_read() {
    let mut delta = WORLD.deltas()[0].clone();
    delta.changes = vec![Change { key: Key::RECORD, value: None }; (MAX_BYTES - 200) / 3];
    let bytes = wire::encode(&delta).expect("it fits");
    check_value::<Delta>(&bytes);
    check_frame(&Frame::Delta(delta).write().expect("it fits"));
}

/// Each length that a frame can say it has, at the limit and beyond it, with
/// bodies that are as long.
#[test]
fn the_longest_are_read() {
    for kind in 0..=10 {
        for (length, fill) in [(MAX_BYTES, 0), (MAX_BYTES, 1), (MAX_BYTES + 1, 0)] {
            let body = vec![fill; length];
            let length = u32::try_from(length).expect("it is short").to_be_bytes();
            let count: &[u8] = &[0xfc, 0, 0, 5, 0];
            for start in [&[][..], count] {
                let body = [start, &body[start.len()..]].concat();
                check_frame(&[&[kind], &length[..], &body].concat());
            }
        }
    }
}
