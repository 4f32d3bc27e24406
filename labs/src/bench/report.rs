//! What a benchmark found out: a table for people, JSON for programs.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::{
    machine::Machine,
    measure::{Measure, Sample, Value},
    statistics::{Random, Ratio, Verdict, median},
    variant::Variant,
};

/// What was found out, and how. Versioned: fields are added and never changed.
#[derive(Debug, Serialize)]
pub struct Report {
    pub v: u32,
    #[serde(flatten)]
    pub machine: Machine,
    #[serde(flatten)]
    pub settings: Settings,
    /// The rounds that count.
    pub rounds: usize,
    /// The rounds in which more time was stolen than may be.
    pub rounds_discarded: usize,
    /// How many processes wanted to run before and after.
    pub load_average: [f64; 2],
    pub variants: Vec<Described>,
    pub measures: Vec<Measured>,
}

/// How it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// What the order of variants and the intervals were drawn from.
    pub seed: u64,
    /// How long a variant was measured at a time.
    pub slice_ms: u64,
    /// How much time of a round may be stolen, in percent.
    pub steal_limit: f64,
}

/// What a name means.
#[derive(Debug, Serialize)]
pub struct Described {
    pub name: &'static str,
    pub what: &'static str,
}

/// What one measure says of all variants.
#[derive(Debug, Serialize)]
pub struct Measured {
    #[serde(flatten)]
    pub measure: Described,
    /// By variant, in their order.
    pub variants: Vec<OfVariant>,
}

/// What one measure says of one variant.
#[derive(Debug, Serialize)]
pub struct OfVariant {
    pub name: &'static str,
    /// Exchanges, or bytes that arrived.
    pub count: u64,
    /// Requests without an answer.
    pub lost: u64,
    pub values: Vec<OfValue>,
}

/// What a number was over all rounds.
#[derive(Debug, Serialize)]
pub struct OfValue {
    pub name: &'static str,
    pub unit: &'static str,
    /// The median.
    pub median: f64,
    /// By how much equals may differ: the farther end from 1 of the interval of
    /// the second variant, which is the first once more.
    pub resolution: f64,
    /// How it compares with the first variant, which has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// A comparison with the first variant.
#[derive(Debug, Serialize)]
pub struct Against {
    #[serde(flatten)]
    pub ratio: Ratio,
    pub verdict: Verdict,
}

/// What all rounds gave: by round, measure and variant.
pub type Rounds = Vec<Vec<Vec<Sample>>>;

/// What all rounds say of each measure.
pub fn measured(
    measures: &[Measure],
    variants: &[Variant],
    rounds: &Rounds,
    random: &mut Random,
) -> Result<Vec<Measured>> {
    ensure!(!rounds.is_empty(), "no round counts: in each too much time was stolen");
    let mut all = Vec::new();
    for (at, measure) in measures.iter().enumerate() {
        let rounds: Vec<_> = rounds.iter().map(|round| &round[at]).collect();
        let samples = |variant: usize| rounds.iter().map(move |round| &round[variant]);
        let of = |(variant, it): (usize, &Variant)| OfVariant {
            name: it.name,
            count: samples(variant).map(|it| it.count).sum(),
            lost: samples(variant).map(|it| it.lost).sum(),
            values: Vec::new(),
        };
        let mut of: Vec<_> = variants.iter().enumerate().map(of).collect();
        for (index, value) in measure.values().iter().enumerate() {
            let compared = compare(value, index, &rounds, random);
            for (of, value) in of.iter_mut().zip(compared) {
                of.values.push(value);
            }
        }
        let measure = Described { name: measure.name, what: measure.what };
        all.push(Measured { measure, variants: of });
    }
    Ok(all)
}

/// One value of all variants.
fn compare(
    value: &Value,
    index: usize,
    rounds: &[&Vec<Sample>],
    random: &mut Random,
) -> Vec<OfValue> {
    let of = |round: &Vec<Sample>, variant: usize| round[variant].values[index];
    let ratios: Vec<_> = (1..rounds[0].len())
        .map(|variant| {
            let ratios = rounds.iter().map(|round| of(round, variant) / of(round, 0));
            Ratio::of(&ratios.collect::<Vec<_>>(), random)
        })
        .collect();
    let resolution = ratios.first().map(Ratio::resolution).unwrap_or_default();
    let against = ratios.into_iter().map(|ratio| {
        let verdict = ratio.verdict(value.good, resolution);
        Some(Against { ratio, verdict })
    });
    let against = [None].into_iter().chain(against).enumerate();
    against
        .map(|(variant, against)| {
            let all: Vec<_> = rounds.iter().map(|round| of(round, variant)).collect();
            let median = median(&all);
            OfValue { name: value.name, unit: value.unit, median, resolution, against }
        })
        .collect()
}

impl Report {
    /// A table for each measure, and what it was measured on.
    pub fn text(&self) -> Result<String> {
        let Machine { kernel, processor, cpus, congestion_control } = &self.machine;
        let Settings { seed, slice_ms, steal_limit } = &self.settings;
        let [before, after] = self.load_average;
        let mut text = String::new();
        writeln!(text, "Linux {kernel}, {processor}, {cpus} CPUs, TCP by {congestion_control}")?;
        writeln!(
            text,
            "{} rounds, {} more thrown away for more than {steal_limit} % of stolen time; \
             {slice_ms} ms for each variant and measure; seed {seed}",
            self.rounds, self.rounds_discarded
        )?;
        writeln!(text, "load average before {before}, after {after}")?;
        for variant in &self.variants {
            writeln!(text, "{:14} {}", variant.name, variant.what)?;
        }
        for measured in &self.measures {
            let Described { name, what } = &measured.measure;
            writeln!(text, "\n{name}: {what}\n{}", measured.table().trim_fmt())?;
        }
        Ok(text)
    }
}

impl Measured {
    fn table(&self) -> Table {
        let values = self.variants.first().into_iter().flat_map(|it| &it.values);
        let mut titles = vec!["VARIANT".to_owned()];
        for value in values {
            titles.push(format!("{} {}", value.name.to_uppercase(), value.unit));
            titles.push(format!("± {:.1} %", 100.0 * value.resolution));
        }
        titles.push("COUNT".to_owned());
        titles.push("LOST".to_owned());
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(titles);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for variant in &self.variants {
            let mut row = vec![variant.name.to_owned()];
            for value in &variant.values {
                row.push(format!("{:.2}", value.median));
                row.push(value.against.as_ref().map(Against::text).unwrap_or_default());
            }
            row.extend([variant.count, variant.lost].map(|it| it.to_string()));
            table.add_row(row);
        }
        table
    }
}

impl Against {
    fn text(&self) -> String {
        let Ratio { median, low, high } = self.ratio;
        let verdict = match self.verdict {
            Verdict::Better => "better",
            Verdict::Equal => "equal ",
            Verdict::Worse => "worse ",
        };
        format!("{median:.3} [{low:.3}, {high:.3}] {verdict}")
    }
}

#[cfg(test)]
mod tests;
