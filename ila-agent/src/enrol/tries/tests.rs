use super::*;

fn from(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn who_fails_often_is_not_listened_to_for_a_while_and_others_are() {
    let (mut tries, start) = (Tries::default(), Instant::now());
    // All of a /64 is one.
    for last in 1..=MOST {
        assert!(tries.may(from("2001:db8::9"), start));
        tries.fail(from(&format!("2001:db8::{last}")), start);
    }
    assert!(!tries.may(from("2001:db8::9"), start));
    assert!(tries.may(from("2001:db8:0:1::9"), start));
    assert!(tries.may(from("::ffff:192.0.2.1"), start));
    let then = start + WITHIN;
    assert!(!tries.may(from("2001:db8::9"), start + WITHIN.mul_f32(0.99)));
    assert!(tries.may(from("2001:db8::9"), then));
    // Then it counts from one again.
    tries.fail(from("2001:db8::9"), then);
    assert!(tries.may(from("2001:db8::9"), then));
    assert_eq!(tries.failed(), u64::from(MOST) + 1);
}

#[test]
fn no_more_is_remembered_than_there_is_room_for() {
    let (mut tries, start) = (Tries::default(), Instant::now());
    for place in 0..2 * PLACES {
        let address = format!("2001:db8:{place:x}::1");
        for _ in 0..MOST {
            tries.fail(from(&address), start + Duration::from_micros(place as u64));
        }
        assert!(!tries.may(from(&address), start + Duration::from_secs(1)), "{address}");
    }
    assert_eq!(tries.places.len(), PLACES);
}
