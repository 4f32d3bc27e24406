//! The overlay beside what else could connect the same containers: each in a
//! lab, all at once, measured in turn.

mod machine;
mod measure;
mod report;
mod statistics;
mod variant;

use std::{
    io::{self, IsTerminal as _, Write as _},
    panic,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use ila_labs::{Error, Options};

use self::{
    machine::{CpuTime, Machine, load_average},
    measure::{MEASURES, Sample},
    report::{Described, Report, Rounds, Settings},
    statistics::Random,
    variant::{Subject, VARIANTS, Variant},
};
use crate::cli::Format;

/// The version of the JSON.
const VERSION: u32 = 1;

#[derive(Args)]
pub struct BenchArgs {
    /// What the names of the benchmark's labs begin with
    #[arg(long, value_name = "LAB", default_value = "bench")]
    name: String,
    /// How long to measure; there is one round at least
    #[arg(long, value_name = "S", default_value_t = 280)]
    seconds: u64,
    /// How long each variant is measured at a time, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=10_000))]
    slice: u64,
    /// What the order of variants is drawn from [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// Throw rounds away in which more of the machine's time was stolen, in
    /// percent
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    steal_limit: f64,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// Measures, and returns what there is to print.
pub fn run(args: &BenchArgs, options: &Options) -> Result<String> {
    let report = compare(args, options);
    progress("");
    let report = report?;
    match args.output {
        Format::Table => report.text(),
        Format::Json => Ok(serde_json::to_string_pretty(&report)?),
    }
}

/// Measures as many rounds as there is time for.
fn compare(args: &BenchArgs, options: &Options) -> Result<Report> {
    let seed = args.seed.unwrap_or_else(seed_of_now);
    let (mut random, load_before) = (Random(seed), load_average()?);
    let (mut rounds, mut rounds_discarded) = (Rounds::new(), 0);
    let (start, time) = (Instant::now(), Duration::from_secs(args.seconds));
    let mut longest = Duration::ZERO;
    let machine = loop {
        let begun = start.elapsed();
        let left = time.saturating_sub(begun).as_secs();
        progress(&format!("round {}, {left} s left", rounds.len() + rounds_discarded + 1));
        let labs = Labs::up(args, options)?;
        let before = CpuTime::now()?;
        let round = labs.measure(&mut random, Duration::from_millis(args.slice))?;
        if CpuTime::now()?.stolen_since(&before) > args.steal_limit {
            rounds_discarded += 1;
        } else {
            rounds.push(round);
        }
        let machine = labs.machine()?;
        labs.down()?;
        longest = longest.max(start.elapsed().saturating_sub(begun));
        if start.elapsed() + longest > time {
            break machine;
        }
    };
    let measures = report::measured(&MEASURES, &VARIANTS, &rounds, &mut random)?;
    Ok(Report {
        v: VERSION,
        machine,
        settings: Settings { seed, slice_ms: args.slice, steal_limit: args.steal_limit },
        rounds: rounds.len(),
        rounds_discarded,
        load_average: [load_before, load_average()?],
        variants: VARIANTS.map(|it| Described { name: it.name, what: it.what }).into(),
        measures,
    })
}

/// All variants, standing side by side for one round. Two labs of the same kind
/// differ a little for as long as they stand, by where in memory they are:
/// measured in the same labs, rounds would agree on what is chance.
struct Labs<'a> {
    subjects: Vec<Subject>,
    options: &'a Options,
    cpus: [usize; 2],
}

impl<'a> Labs<'a> {
    /// Makes them, all at once for most of that is waiting.
    fn up(args: &BenchArgs, options: &'a Options) -> Result<Self> {
        let cpus = measure::cpus()?;
        let subjects = thread::scope(|scope| {
            let up = |variant| move || settled(variant, &args.name, options, cpus);
            let threads = VARIANTS.each_ref().map(|variant| scope.spawn(up(variant)));
            let ended = threads
                .map(|thread| thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
            ended.into_iter().collect::<Result<Vec<_>>>()
        })?;
        Ok(Self { subjects, options, cpus })
    }

    /// Takes them down, all at once.
    fn down(self) -> Result<()> {
        thread::scope(|scope| {
            let down = |subject: Subject| scope.spawn(|| subject.down());
            let threads: Vec<_> = self.subjects.into_iter().map(down).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
            })
        })
    }

    /// Measures everything once, the variants of each measure one after the
    /// other in an order of its own.
    fn measure(&self, random: &mut Random, slice: Duration) -> Result<Vec<Vec<Sample>>> {
        let mut round = Vec::new();
        for measure in &MEASURES {
            let mut samples = vec![None; self.subjects.len()];
            for variant in random.order(self.subjects.len()) {
                self.check()?;
                let sample = measure.run(&self.subjects[variant], self.cpus, slice);
                samples[variant] = Some(sample.with_context(|| {
                    format!("measuring {} of {}", measure.name, VARIANTS[variant].name)
                })?);
            }
            round.push(samples.into_iter().flatten().collect());
        }
        Ok(round)
    }

    fn machine(&self) -> Result<Machine> {
        Machine::of(&self.subjects[0].node(MEASURES[0].pair[0])?)
    }

    fn check(&self) -> Result<()> {
        if self.options.interrupted.load(Ordering::Relaxed) {
            bail!(Error::Interrupted);
        }
        Ok(())
    }
}

/// A variant whose containers all reach each other; after this neighbours are
/// known.
fn settled(
    variant: &Variant,
    prefix: &str,
    options: &Options,
    cpus: [usize; 2],
) -> Result<Subject> {
    const SHORT: Duration = Duration::from_millis(5);
    let subject = variant.up(prefix, options)?;
    for container in measure::PLAIN {
        variant::without_offloads(&subject.node(container)?)?;
    }
    for measure in &MEASURES {
        let carried = measure.run(&subject, cpus, SHORT);
        carried.with_context(|| format!("{} does not carry {}", variant.name, measure.name))?;
    }
    Ok(subject)
}

/// A seed that no other run had.
fn seed_of_now() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    now.as_secs() ^ u64::from(now.subsec_nanos())
}

/// Says what takes long to whoever watches, in place of what it said before.
fn progress(what: &str) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        // Whoever closes their terminal need not know.
        let _ = write!(stderr, "\r\x1b[K{what}");
    }
}
