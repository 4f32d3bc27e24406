use super::*;

#[test]
fn medians() {
    assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
    assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]).to_bits(), 2.5_f64.to_bits());
}

#[test]
fn an_order_has_each_number_once_and_depends_on_the_seed() {
    let order = |seed| Random(seed).order(50);
    let mut sorted = order(1);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

/// Each place is taken by each number about as often.
#[test]
fn orders_are_fair() {
    let mut random = Random(7);
    let mut taken = [[0; 4]; 4];
    for _ in 0..4000 {
        for (place, number) in random.order(4).into_iter().enumerate() {
            taken[place][number] += 1;
        }
    }
    for times in taken.as_flattened() {
        assert!((850..1150).contains(times), "{taken:?}");
    }
}

#[test]
fn rounds_that_agree_leave_no_doubt() {
    let ratio = Ratio::of(&[0.5; 9], &mut Random(1));
    assert_eq!(ratio, Ratio { median: 0.5, low: 0.5, high: 0.5 });
}

/// Of 20 even steps from 0.8 to 1.2 the median is certain to a few steps only,
/// and one outlier changes that by little.
#[test]
fn an_interval_is_around_the_median_and_within_the_rounds() {
    let mut rounds: Vec<_> = (0..20).map(|step| 0.8 + 0.4 / 19.0 * f64::from(step)).collect();
    for outlier in [1.2, 50.0] {
        rounds[19] = outlier;
        let ratio = Ratio::of(&rounds, &mut Random(3));
        assert!((ratio.median - 1.0).abs() < 0.01, "{ratio:?}");
        assert!((0.85..0.95).contains(&ratio.low), "{ratio:?}");
        assert!((1.05..1.15).contains(&ratio.high), "{ratio:?}");
        assert!(ratio.resolution() > 0.05 && ratio.resolution() < 0.15, "{ratio:?}");
    }
}

#[test]
fn a_difference_is_one_only_beyond_what_equals_differ_by() {
    use Verdict::{Equal, Worse};
    let verdict =
        |low, high, good| Ratio { median: f64::midpoint(low, high), low, high }.verdict(good, 0.02);
    for (low, high, lower_is_better, higher_is_better) in [
        (0.90, 0.97, Verdict::Better, Worse),
        (0.90, 0.99, Equal, Equal),
        (0.98, 1.02, Equal, Equal),
        (1.01, 1.10, Equal, Equal),
        (1.03, 1.10, Worse, Verdict::Better),
    ] {
        assert_eq!(verdict(low, high, Good::Low), lower_is_better, "{low} to {high}");
        assert_eq!(verdict(low, high, Good::High), higher_is_better, "{low} to {high}");
    }
}
