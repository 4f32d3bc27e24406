use super::{
    super::{measure::MEASURES, variant::VARIANTS},
    *,
};

/// Rounds in which a variant takes `factors` times as long as the first, on a
/// machine that is slower from round to round.
fn rounds(factors: [f64; 5]) -> Rounds {
    let round = |speed: u32| {
        let of = |measure: &Measure| {
            let sample = |factor: f64| Sample {
                count: 10,
                lost: 1,
                values: vec![factor * f64::from(speed); measure.values().len()],
            };
            factors.map(sample).to_vec()
        };
        MEASURES.iter().map(of).collect()
    };
    (1..=20).map(round).collect()
}

fn report(factors: [f64; 5]) -> Report {
    let rounds = rounds(factors);
    Report {
        v: 1,
        machine: Machine {
            kernel: "6.0".to_owned(),
            processor: "one".to_owned(),
            cpus: 2,
            congestion_control: "reno".to_owned(),
        },
        settings: Settings { seed: 7, slice_ms: 1, steal_limit: 1.0 },
        rounds: rounds.len(),
        rounds_discarded: 3,
        load_average: [0.0, 1.0],
        variants: VARIANTS.map(|it| Described { name: it.name, what: it.what }).into(),
        measures: measured(&MEASURES, &VARIANTS, &rounds, &mut Random(7)).expect("it has rounds"),
    }
}

#[test]
fn variants_are_compared_within_each_round() {
    let report = report([1.0, 1.02, 0.5, 2.0, 0.99]);
    for measured in &report.measures {
        for (variant, factor) in measured.variants.iter().zip([1.0, 1.02, 0.5, 2.0, 0.99]) {
            assert_eq!((variant.count, variant.lost), (200, 20));
            for value in &variant.values {
                // However much slower the machine became.
                assert!((value.median - 10.5 * factor).abs() < 1e-9, "{value:?}");
                assert!((value.resolution - 0.02).abs() < 1e-9, "{value:?}");
                let Some(against) = &value.against else {
                    assert_eq!(variant.name, "routing");
                    continue;
                };
                let Ratio { median, low, high } = against.ratio;
                assert!([median, low, high].iter().all(|it| (it - factor).abs() < 1e-9));
            }
        }
    }
    let verdict = |variant: usize, measure: usize| {
        let against = report.measures[measure].variants[variant].values[0].against.as_ref();
        against.expect("it is not the first").verdict
    };
    assert_eq!(verdict(1, 0), Verdict::Equal);
    assert_eq!([verdict(2, 0), verdict(3, 0)], [Verdict::Better, Verdict::Worse]);
    assert_eq!(verdict(4, 0), Verdict::Equal);
    // Of rates, the higher is the better one.
    assert_eq!([verdict(2, 4), verdict(3, 4)], [Verdict::Worse, Verdict::Better]);
}

#[test]
fn no_rounds_are_no_result() {
    let error = measured(&MEASURES, &VARIANTS, &Vec::new(), &mut Random(1)).unwrap_err();
    assert!(error.to_string().contains("stolen"), "{error}");
}

#[test]
fn people_see_all_that_counts() {
    let text = report([1.0, 1.02, 0.5, 2.0, 0.99]).text().expect("there is memory");
    for said in [
        "20 rounds, 3 more thrown away for more than 1 % of stolen time",
        "seed 7",
        "± 2.0 %",
        "0.500 [0.500, 0.500] better",
        "2.000 [2.000, 2.000] worse",
        "0.990 [0.990, 0.990] equal",
    ] {
        assert!(text.contains(said), "no {said:?} in\n{text}");
    }
}
