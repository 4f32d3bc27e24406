//! The machine, and what others do on it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use ila_labs::Node;
use serde::Serialize;

/// What a benchmark was run on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Linux's release.
    pub kernel: String,
    /// The processor's name.
    pub processor: String,
    /// How many CPUs there are to use.
    pub cpus: usize,
    /// What TCP connections are controlled by.
    pub congestion_control: String,
}

impl Machine {
    /// This one; containers are all set as `container` is.
    pub fn of(container: &Node) -> Result<Self> {
        let text = read("/proc/cpuinfo")?;
        let processor = text.lines().find_map(|line| line.strip_prefix("model name"));
        let processor = processor.unwrap_or_default().trim_start_matches([' ', '\t', ':']);
        let control = container.inside(|| read("/proc/sys/net/ipv4/tcp_congestion_control"))??;
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            processor: processor.to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            congestion_control: control.trim().to_owned(),
        })
    }
}

/// How many processes wanted to run, in the mean of the last minute.
pub fn load_average() -> Result<f64> {
    let text = read("/proc/loadavg")?;
    let first = text.split_whitespace().next().and_then(|it| it.parse().ok());
    first.context("/proc/loadavg does not begin with a number")
}

/// Time of all CPUs since the machine's start, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTime {
    all: u64,
    stolen: u64,
}

impl CpuTime {
    /// Up to now.
    pub fn now() -> Result<Self> {
        Self::parse(&read("/proc/stat")?).context("/proc/stat does not begin with times of CPUs")
    }

    /// How much of the time since `earlier` was stolen, in percent: other
    /// machines ran instead of this one.
    #[expect(clippy::cast_precision_loss, reason = "both are far from 2^52")]
    pub fn stolen_since(&self, earlier: &Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        100.0 * self.stolen.saturating_sub(earlier.stolen) as f64 / all as f64
    }

    fn parse(text: &str) -> Option<Self> {
        // user nice system idle iowait irq softirq steal; guests are in user.
        let fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = fields.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { all: ticks.iter().sum(), stolen: *ticks.get(7)? })
    }
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests;
