//! How long a program takes.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    os::fd::BorrowedFd,
    time::Duration,
};

use anyhow::{Context as _, Result};
use ila_agent::datapath::{Loaded, bpf};
use ila_proto::{
    abi::Layout,
    bench::{MAP_SAMPLE, PROGRAM_EMPTY, Sample},
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

use crate::packet;

/// Among how many identifiers is drawn: one, which is always the same, to all.
pub const KEYS: [u32; 4] = [1, 1 << 10, 1 << 16, u32::MAX];

/// Runs programs, always as often.
pub struct Bench {
    repeat: u32,
    rounds: u32,
}

/// A program, and the packet that it starts from.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    pub host: &'a Loaded,
    pub program: &'static str,
    pub sample: Sample,
}

/// The index of an array.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Index(pub u32);

impl Layout for Index {}

impl Bench {
    /// Keeps this thread on the CPU that it may use last: the first one is
    /// where most interrupts are handled.
    pub fn new(repeat: u32, rounds: u32) -> Result<Self> {
        let this = Pid::from_raw(0);
        let allowed = sched_getaffinity(this)?;
        let last = (0..CpuSet::count()).rev().find(|&cpu| allowed.is_set(cpu) == Ok(true));
        let mut only = CpuSet::new();
        only.set(last.context("this thread may run on no CPU")?)?;
        sched_setaffinity(this, &only)?;
        Ok(Self { repeat, rounds })
    }

    /// Nanoseconds of each run, and of a program that does nothing, all in
    /// turn, as often as there are rounds; then medians.
    pub fn measure(&self, empty: &Loaded, runs: &[Run<'_>]) -> Result<Medians> {
        let nothing = Run { host: empty, program: PROGRAM_EMPTY, sample: Sample::EMPTY };
        let mut times = vec![Vec::new(); runs.len()];
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            progress(&format!("measuring, round {round} of {}", self.rounds));
            first.push(self.time(nothing)?);
            for (run, times) in runs.iter().zip(&mut times) {
                times.push(self.time(*run)?);
            }
            second.push(self.time(nothing)?);
        }
        progress("");
        let differences = first.iter().zip(&second).map(|(a, b)| (a - b).abs()).collect();
        Ok(Medians {
            empty: median([first, second].concat()),
            resolution: median(differences),
            runs: times.into_iter().map(median).collect(),
        })
    }

    /// Nanoseconds of a run.
    fn time(&self, run: Run<'_>) -> Result<f64> {
        let program = run.start()?;
        let frame = packet::frame(&run.sample);
        let (seconds, _) = timed(|| Ok(bpf::test_run(program, &frame, self.repeat, 0)?))?;
        Ok(seconds * 1e9 / f64::from(self.repeat))
    }
}

/// Does something, in how many seconds of CPU time: unlike what the kernel
/// reports of runs, to fractions of nanoseconds, and unlike the time of day,
/// without what others took.
pub fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let started = now()?;
    let done = what()?;
    Ok((now()?.saturating_sub(started).as_secs_f64(), done))
}

impl<'a> Run<'a> {
    /// Makes ready for running it.
    pub fn start(&self) -> Result<BorrowedFd<'a>> {
        bpf::update_batch(self.host.map(MAP_SAMPLE)?, &[Index(0)], &[self.sample])?;
        Ok(self.host.program(self.program)?)
    }
}

/// What [`Bench::measure`] gave.
pub struct Medians {
    pub empty: f64,
    /// By how much two measurements of the same program differ.
    pub resolution: f64,
    /// As they were asked for.
    pub runs: Vec<f64>,
}

pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len() % 2 == 1 {
        numbers[middle]
    } else {
        f64::midpoint(numbers[middle - 1], numbers[middle])
    }
}

/// Says what takes long to whoever watches, in place of what it said before.
pub fn progress(what: &str) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{what}");
    }
}

/// What a file says behind `name` and a colon, or all that is in it.
pub fn line_of(file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    Ok(line.split_once(": ").map_or(line, |(_, value)| value).trim().to_owned())
}
