//! Tables for people, JSON for programs.

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use ila_proto::api::Versioned;

use crate::{Format, Report};

const EMPTY_GOAL: f64 = 5.0;
const LOAD_GOAL: f64 = 1.0;
const MEMORY_GOAL: f64 = 100.0;

/// What can be printed.
pub trait Print {
    /// Prints it to standard output.
    fn print(self, format: Format) -> Result<()>;
}

impl Print for Report {
    fn print(self, format: Format) -> Result<()> {
        if format == Format::Json {
            println!("{}", serde_json::to_string_pretty(&Versioned::new(self))?);
            return Ok(());
        }
        println!("Linux {}, {}", self.kernel, self.processor);
        println!("medians of {} rounds of {} runs each, in nanoseconds", self.rounds, self.repeat);
        println!(
            "empty program {:.1}, twice in a round ± {:.1}; the goals suppose {EMPTY_GOAL}",
            self.empty, self.resolution
        );
        if !self.programs.is_empty() {
            println!("\n{}", programs(&self));
        }
        if let Some(table) = &self.table {
            println!("\n{}", mappings(table));
        }
        if !self.layouts.is_empty() {
            println!("\n{}", layouts(&self));
        }
        Ok(())
    }
}

fn programs(report: &Report) -> Table {
    let mut table = columns(&["PACKET", "KEYS", "RUN", "RESET", "GROSS", "GOAL", ""]);
    for cost in &report.programs {
        table.add_row([
            cost.way.to_owned(),
            keys(cost.keys),
            format!("{:.1}", cost.run),
            format!("{:.1}", cost.reset),
            format!("{:.1}", cost.gross),
            cost.goal.map(|goal| format!("≤ {goal:.0}")).unwrap_or_default(),
            cost.goal.map(|goal| against(cost.gross, goal)).unwrap_or_default(),
        ]);
    }
    table
}

fn mappings(it: &crate::table::Table) -> Table {
    let mut table = columns(&["TABLE", "MAPPINGS", "", "GOAL", ""]);
    let megabytes = it.memory_bytes / 1e6;
    for (what, number, unit, goal) in [
        ("load", it.load_seconds, "s", Some(LOAD_GOAL)),
        ("list", it.list_seconds, "s", None),
        ("list and remove", it.remove_seconds, "s", None),
        ("kernel memory", megabytes, "MB", Some(MEMORY_GOAL)),
    ] {
        table.add_row([
            what.to_owned(),
            it.mappings.to_string(),
            format!("{number:.2} {unit}"),
            goal.map(|goal| format!("≤ {goal} {unit}")).unwrap_or_default(),
            goal.map(|goal| against(number, goal)).unwrap_or_default(),
        ]);
    }
    table
}

fn layouts(report: &Report) -> Table {
    let drawn = report.layouts.first().into_iter().flat_map(|it| &it.look_ups);
    let mut titles = vec!["LAYOUT".to_owned()];
    titles.extend(drawn.map(|it| keys(it.keys)));
    titles.extend(["LOAD", "EMPTY", "MEMORY"].map(str::to_owned));
    let titles: Vec<_> = titles.iter().map(String::as_str).collect();
    let mut table = columns(&titles);
    for it in &report.layouts {
        let mut row = vec![it.name.to_owned()];
        row.extend(it.look_ups.iter().map(|it| format!("{:.1}", it.net)));
        row.push(format!("{:.2} s", it.load_seconds));
        row.extend([it.empty_bytes, it.memory_bytes].map(megabytes));
        table.add_row(row);
    }
    table
}

fn keys(keys: u32) -> String {
    if keys == 1 { "hot".to_owned() } else { format!("{keys} random") }
}

#[expect(clippy::cast_precision_loss, reason = "it is far from 2^52 bytes")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn against(number: f64, goal: f64) -> String {
    if number <= goal { "met".to_owned() } else { format!("missed by {:.1}", number - goal) }
}

fn columns(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(titles);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
