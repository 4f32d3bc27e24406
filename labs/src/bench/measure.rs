//! What is measured of each variant.

use std::time::Duration;

use anyhow::Result;
use ila_labs::{Carrier, Ends};
use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};

use super::variant::Subject;

/// A measurement between two containers.
pub struct Measure {
    pub name: &'static str,
    pub what: &'static str,
    /// Who sends first, and who is sent to.
    pub pair: [&'static str; 2],
    load: Load,
    place: Place,
}

/// What passes between them.
#[derive(Clone, Copy)]
enum Load {
    Exchange(Carrier),
    Transfer,
}

/// On which CPUs the two ends run.
#[derive(Clone, Copy)]
enum Place {
    /// Both on the last.
    Together,
    /// One on the first, one on the last.
    Apart,
}

/// A number that a measurement gives.
#[derive(Clone, Copy)]
pub struct Value {
    pub name: &'static str,
    pub unit: &'static str,
    pub good: Good,
}

/// Which numbers are the better ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Good {
    Low,
    High,
}

/// What one measurement gave.
#[derive(Clone, Debug)]
pub struct Sample {
    /// How many exchanges there were, or bytes that arrived.
    pub count: u64,
    /// How many requests had no answer.
    pub lost: u64,
    /// As [`Measure::values`] lists them.
    pub values: Vec<f64>,
}

/// The containers whose interfaces have no offloads.
pub const PLAIN: [&str; 2] = ["a2", "b2"];
const OFFLOADING: [&str; 2] = ["a1", "b1"];

/// All measurements, in the order of the report.
pub const MEASURES: [Measure; 6] = [
    Measure {
        name: "udp-rr",
        what: "UDP, 8 bytes to and fro, both ends on one CPU",
        pair: OFFLOADING,
        load: Load::Exchange(Carrier::Udp),
        place: Place::Together,
    },
    Measure {
        name: "tcp-rr",
        what: "TCP, 1 byte to and fro, both ends on one CPU",
        pair: OFFLOADING,
        load: Load::Exchange(Carrier::Tcp),
        place: Place::Together,
    },
    Measure {
        name: "udp-rr-apart",
        what: "UDP, 8 bytes to and fro, each end on a CPU of its own",
        pair: OFFLOADING,
        load: Load::Exchange(Carrier::Udp),
        place: Place::Apart,
    },
    Measure {
        name: "tcp-rr-apart",
        what: "TCP, 1 byte to and fro, each end on a CPU of its own",
        pair: OFFLOADING,
        load: Load::Exchange(Carrier::Tcp),
        place: Place::Apart,
    },
    Measure {
        name: "tcp-stream",
        what: "one TCP stream, each end on a CPU of its own",
        pair: OFFLOADING,
        load: Load::Transfer,
        place: Place::Apart,
    },
    Measure {
        name: "tcp-stream-plain",
        what: "the same, in packets as large as the link's, with checksums",
        pair: PLAIN,
        load: Load::Transfer,
        place: Place::Apart,
    },
];

const EXCHANGED: [Value; 3] = [
    Value { name: "p50", unit: "µs", good: Good::Low },
    Value { name: "mean", unit: "µs", good: Good::Low },
    Value { name: "cpu", unit: "µs", good: Good::Low },
];

const TRANSFERRED: [Value; 2] = [
    Value { name: "rate", unit: "Mbit/s", good: Good::High },
    Value { name: "cpu", unit: "ns/KB", good: Good::Low },
];

impl Measure {
    /// The numbers that it gives.
    pub const fn values(&self) -> &'static [Value] {
        match self.load {
            Load::Exchange(_) => &EXCHANGED,
            Load::Transfer => &TRANSFERRED,
        }
    }

    /// Measures a variant for a while.
    pub fn run(&self, subject: &Subject, cpus: [usize; 2], time: Duration) -> Result<Sample> {
        let [from, to] = self.pair;
        let [first, last] = cpus;
        let ends = Ends {
            from: &subject.node(from)?,
            to: &subject.node(to)?,
            address: subject.address(to)?,
            cpus: match self.place {
                Place::Together => [last, last],
                Place::Apart => [first, last],
            },
        };
        match self.load {
            Load::Exchange(carrier) => exchanged(ends, carrier, time),
            Load::Transfer => transferred(ends, time),
        }
    }
}

/// The first and the last CPU that this process may use.
pub fn cpus() -> Result<[usize; 2]> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let allowed = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true));
    let allowed: Vec<_> = allowed.collect();
    let last = allowed.len().saturating_sub(1);
    Ok([allowed.first(), allowed.get(last)].map(|cpu| cpu.copied().unwrap_or_default()))
}

#[expect(clippy::cast_precision_loss, reason = "all of them are far from 2^52")]
fn exchanged(ends: Ends<'_>, carrier: Carrier, time: Duration) -> Result<Sample> {
    let mut it = ends.exchange(carrier, time)?;
    let count = it.times.len();
    let mean = it.times.iter().sum::<u64>() as f64 / count as f64;
    let (_, p50, _) = it.times.select_nth_unstable(count / 2);
    let values = [*p50 as f64, mean, it.cpu.as_nanos() as f64 / count as f64];
    Ok(Sample {
        count: count as u64,
        lost: it.lost,
        values: values.map(|nanoseconds| nanoseconds / 1e3).to_vec(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "both are far from 2^52")]
fn transferred(ends: Ends<'_>, time: Duration) -> Result<Sample> {
    let it = ends.transfer(time)?;
    let bytes = it.bytes as f64;
    Ok(Sample {
        count: it.bytes,
        lost: 0,
        values: vec![
            bytes * 8.0 / 1e6 / it.took.as_secs_f64(),
            it.cpu.as_nanos() as f64 * 1e3 / bytes,
        ],
    })
}
