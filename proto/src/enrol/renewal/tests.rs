use proptest::prelude::*;

use super::*;

#[test]
fn it_is_due_when_less_than_a_third_is_left() {
    let validity = Validity { from: 1_000, until: 1_900 };
    for (now, expected) in [
        (0, Renewal::In(1_600)),
        (1_000, Renewal::In(600)),
        (1_599, Renewal::In(1)),
        (1_600, Renewal::Due),
        (1_900, Renewal::Due),
        (1_901, Renewal::Ended),
        (u64::MAX, Renewal::Ended),
    ] {
        assert_eq!(Renewal::of(validity, now), expected, "{now}");
    }
}

proptest! {
    /// Whoever waits as long as it says renews, and never too late.
    #[test]
    fn who_waits_as_told_is_in_time(from: u32, lasts: u32, now: u32) {
        let validity = Validity { from: from.into(), until: u64::from(from) + u64::from(lasts) };
        if let Renewal::In(seconds) = Renewal::of(validity, now.into()) {
            prop_assert_eq!(Renewal::of(validity, u64::from(now) + seconds), Renewal::Due);
        }
    }

    #[test]
    fn pauses_grow_to_an_hour_and_differ_by_a_quarter(failed in 1_u32.., random: u64) {
        let pause = pause(failed, random);
        prop_assert!(pause >= Duration::from_secs(45) && pause <= Duration::from_secs(3600));
        prop_assert!(failed < 8 || pause >= Duration::from_secs(2700), "{pause:?}");
        prop_assert!(failed > 1 || pause <= Duration::from_secs(60), "{pause:?}");
    }
}
