use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::gossip::{Change, Incarnation, Key, Signature, Value};

const NODE: NodeId = NodeId([0xab; 16]);
const POSITION: Position =
    Position { incarnation: Incarnation { boot: 3, nonce: 0x0102_0304_0506_0708 }, sequence: 300 };

/// One of each kind, with its bytes as this version writes them for ever.
fn frames() -> Vec<(Frame, String)> {
    let node = "10".to_owned() + &"ab".repeat(16);
    let node = &node[2..];
    let position = "03fd0807060504030201fb2c01";
    let change = |value: Option<&[u8]>| Change {
        key: Key::new(1, &[0, 0xa1]).expect("it is short"),
        value: value.map(|bytes| Value::new(bytes).expect("it is short")),
    };
    let delta = Delta {
        owner: NODE,
        from: Some(POSITION),
        to: POSITION,
        signature: Signature { r: [0x11; 32], s: [0x22; 32] },
        changes: vec![change(Some(&[7])), change(None)],
    };
    let signed = "11".repeat(32) + &"22".repeat(32);
    vec![
        (
            Frame::Delta(delta),
            format!(
                "01{}{node}01{position}{position}{signed}0201020 0a1010107010200a100",
                "LENGTH"
            ),
        ),
        (Frame::Have(vec![(NODE.start(), 300)]), "02LENGTH01fdabababababababab fb2c01".to_owned()),
        (Frame::Want(NODE, None), format!("03LENGTH{node}00")),
        (Frame::Want(NODE, Some(POSITION)), format!("03LENGTH{node}01{position}")),
        (Frame::Prune(NODE), format!("04LENGTH{node}")),
        (Frame::Compare(0x0102_0304_0506_0708), "05LENGTHfd0807060504030201".to_owned()),
        (Frame::Same, "06LENGTH".to_owned()),
        (Frame::Summary(vec![1, 256]), "07LENGTH0201fb0001".to_owned()),
        (Frame::Heads(9, vec![(NODE, POSITION, 7)]), format!("08LENGTH0901{node}{position}07")),
    ]
}

#[test]
fn each_frame_has_the_bytes_that_it_has_for_ever() {
    for (frame, golden) in frames() {
        let golden = golden.replace(' ', "");
        let length = (golden.len() - "01LENGTH".len()) / 2;
        let golden = golden.replace("LENGTH", &format!("{length:08x}"));
        let bytes = frame.write().expect("it is short");
        let mut written = String::new();
        for byte in &bytes {
            write!(written, "{byte:02x}").expect("a string takes it");
        }
        assert_eq!(written, golden, "{frame:?}");
        assert_eq!(Frame::read(&bytes), Ok(Read::Frame(frame.clone(), bytes.len())));
        // And whatever comes behind it.
        let more = [&bytes[..], &[9]].concat();
        assert_eq!(Frame::read(&more), Ok(Read::Frame(frame, bytes.len())));
        for length in 0..bytes.len() {
            assert_eq!(Frame::read(&bytes[..length]), Ok(Read::Part));
        }
    }
}

#[test]
fn what_a_later_version_says_is_skipped() {
    assert_eq!(Frame::read(&[77, 0, 0, 0, 2, 1]), Ok(Read::Part));
    assert_eq!(Frame::read(&[77, 0, 0, 0, 2, 1, 2, 6]), Ok(Read::Unknown(77, 7)));
}

#[test]
fn what_is_too_long_is_refused_before_it_has_come() {
    let most = u32::try_from(wire::MAX_BYTES).expect("it is small");
    let [good, bad] = [most, most + 1].map(|length| [&[1], &length.to_be_bytes()[..]].concat());
    assert_eq!(Frame::read(&good), Ok(Read::Part));
    assert_eq!(Frame::read(&bad), Err(wire::Malformed));
    // A list that says that it is longer than the bytes there are.
    let bomb = [2, 0, 0, 0, 9, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(Frame::read(&bomb), Err(wire::Malformed));
}

proptest! {
    #[test]
    fn no_bytes_do_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..10_u8) {
        let length = u32::try_from(bytes.len()).expect("it is short").to_be_bytes();
        bytes.splice(0..0, [&[kind], &length[..]].concat());
        if let Ok(Read::Frame(frame, taken)) = Frame::read(&bytes) {
            prop_assert_eq!(taken, bytes.len());
            // What is read is written again as something that reads the same.
            let again = frame.write().expect("it was read");
            prop_assert_eq!(Frame::read(&again), Ok(Read::Frame(frame, again.len())));
        }
    }
}
