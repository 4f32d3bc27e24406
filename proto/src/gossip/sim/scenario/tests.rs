use super::*;

/// Tells how a run is had again that has panicked.
struct Replay(&'static str, u64, usize);

impl Replay {
    fn command(&self) -> String {
        let Self(name, seed, nodes) = self;
        format!("cargo xtask sim --scenario {name} --seed {seed} --nodes {nodes}")
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.command());
        }
    }
}

/// Runs so many seeds of a scenario, or `ILA_SEEDS`.
fn run(name: &str, seeds: u64) {
    let scenario = Scenario::named(name).expect("there is one");
    let more = std::env::var("ILA_SEEDS").ok().and_then(|it| it.parse().ok());
    for seed in 0..more.unwrap_or(seeds) {
        let nodes = scenario.nodes;
        let replay = Replay(scenario.name, seed, nodes);
        let report = scenario.run(seed, nodes);
        assert!(report.broken.is_empty(), "{:#?}\n{}", report, replay.command());
    }
}

macro_rules! scenarios {
    ($($name:ident: $seeds:expr,)*) => {$(
        #[test]
        fn $name() {
            run(stringify!($name), $seeds);
        }
    )*};
}

// The numbers are such that most take about as long.
scenarios! {
    random: 160,
    crash: 45,
    flap: 270,
    lossy: 220,
    partition: 90,
    order: 400,
    islands: 100,
    overload: 1,
    migration: 120,
    disk: 330,
    byzantine: 100,
    gray: 380,
}

#[test]
fn the_same_seed_is_the_same_run_to_the_last_byte() {
    let trace =
        |seed| ALL.map(|it| if it.name == "overload" { 0 } else { it.run(seed, it.nodes).trace });
    let [first, again, other] = [1, 1, 3].map(trace);
    assert_eq!(first, again);
    let same = first.iter().zip(&other).filter(|(one, other)| one == other).count();
    assert_eq!(same, 1);
}

/// A scenario in which nothing happens fails.
#[test]
fn what_did_not_happen_proves_nothing() {
    let idle = Scenario { play: |_| Ok(()), ..crash::CRASH };
    let report = idle.run(0, 5);
    assert_eq!(report.broken.len(), crash::CRASH.musts.len(), "{report:#?}");
    assert!(report.broken.iter().all(|it| it.starts_with("vacuous: 0 ")), "{report:#?}");
}
