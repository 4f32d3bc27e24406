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
        (
            step(300, 301),
            format!("09LENGTHfdabababababababab fb2c01 fb2d01{signed}0101020 0a1010107"),
        ),
    ]
}

fn step(from: u64, to: u64) -> Frame {
    let signature = Signature { r: [0x11; 32], s: [0x22; 32] };
    let key = Key::new(1, &[0, 0xa1]).expect("it is short");
    let changes = vec![Change { key, value: Some(Value::new(&[7]).expect("it is short")) }];
    Frame::Step(Step { owner: NODE.start(), from, to, signature, changes })
}

/// What the mesh says, of which a step can be made.
fn delta() -> Delta {
    let Frame::Step(step) = step(300, 301) else { unreachable!("it is one") };
    step.of(NODE, POSITION.incarnation)
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
        assert_eq!(
            Frame::read(&bytes, Version::LATEST),
            Ok(Read::Frame(frame.clone(), bytes.len()))
        );
        // And whatever comes behind it.
        let more = [&bytes[..], &[9]].concat();
        assert_eq!(Frame::read(&more, Version::LATEST), Ok(Read::Frame(frame, bytes.len())));
        for length in 0..bytes.len() {
            assert_eq!(Frame::read(&bytes[..length], Version::LATEST), Ok(Read::Part));
        }
    }
}

/// Nodes that have it only skip all others, and never know what they have missed.
#[test]
fn the_first_version_has_the_frames_that_it_has_for_ever() {
    for (frame, _) in frames() {
        let bytes = frame.write().expect("it is short");
        let is_later = matches!(frame, Frame::Step(_));
        let read = if is_later {
            Read::Unknown(9, bytes.len())
        } else {
            Read::Frame(frame.clone(), bytes.len())
        };
        assert_eq!(Frame::read(&bytes, Version::One), Ok(read), "{frame:?}");
        assert!(is_later || frame.clone().spoken(Version::One) == frame);
    }
    let said = Frame::Delta(delta());
    assert_eq!(said.clone().spoken(Version::One), said);
}

#[test]
fn a_step_is_said_of_one_life_only_and_means_what_the_delta_does() {
    let delta = delta();
    let (long, short) =
        (Frame::Delta(delta.clone()), Frame::Delta(delta.clone()).spoken(Version::Two));
    assert_eq!(short, step(300, 301));
    let [long, short] = [long, short].map(|frame| frame.write().expect("it is short").len());
    assert_eq!(long - short, 28);
    let whole = Delta { from: None, ..delta.clone() };
    let mut other_life = delta.clone();
    other_life.to.incarnation.boot += 1;
    for as_it_is in [whole, other_life].map(Frame::Delta) {
        assert_eq!(as_it_is.clone().spoken(Version::Two), as_it_is);
    }
}

#[test]
fn versions_are_in_order_and_have_names_of_their_own() {
    assert_eq!(Version::ALL[0], Version::LATEST);
    assert!(Version::ALL.is_sorted_by(|one, next| one > next));
    for version in Version::ALL {
        let name = format!("ila-mesh/{}", version.number());
        assert_eq!(version.alpn(), name.as_bytes());
    }
    assert_eq!(Version::One.up_to().collect::<Vec<_>>(), [Version::One]);
    assert_eq!(Version::LATEST.up_to().collect::<Vec<_>>(), Version::ALL);
}

#[test]
fn about_as_many_bytes_as_are_guessed_are_written() {
    for (frame, _) in frames() {
        let (bytes, guess) = (frame.write().expect("it is short").len(), frame.about_bytes());
        assert!((bytes..bytes + 200).contains(&guess), "{frame:?}: {guess}, {bytes}");
    }
}

#[test]
fn what_a_later_version_says_is_skipped() {
    assert_eq!(Frame::read(&[77, 0, 0, 0, 2, 1], Version::LATEST), Ok(Read::Part));
    assert_eq!(Frame::read(&[77, 0, 0, 0, 2, 1, 2, 6], Version::LATEST), Ok(Read::Unknown(77, 7)));
}

#[test]
fn what_is_too_long_is_refused_before_it_has_come() {
    let most = u32::try_from(wire::MAX_BYTES).expect("it is small");
    let [good, bad] = [most, most + 1].map(|length| [&[1], &length.to_be_bytes()[..]].concat());
    assert_eq!(Frame::read(&good, Version::LATEST), Ok(Read::Part));
    assert_eq!(Frame::read(&bad, Version::LATEST), Err(wire::Malformed));
    // A list that says that it is longer than the bytes there are.
    let bomb = [2, 0, 0, 0, 9, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(Frame::read(&bomb, Version::LATEST), Err(wire::Malformed));
}

proptest! {
    #[test]
    fn no_bytes_do_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..11_u8) {
        let length = u32::try_from(bytes.len()).expect("it is short").to_be_bytes();
        bytes.splice(0..0, [&[kind], &length[..]].concat());
        if let Ok(Read::Frame(frame, taken)) = Frame::read(&bytes, Version::LATEST) {
            prop_assert_eq!(taken, bytes.len());
            // What is read is written again as something that reads the same.
            let again = frame.write().expect("it was read");
            prop_assert_eq!(Frame::read(&again, Version::LATEST), Ok(Read::Frame(frame, again.len())));
        }
    }
}
