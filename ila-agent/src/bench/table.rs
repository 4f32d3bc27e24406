//! What the table of mappings takes.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use ila_agent::datapath::Loaded;
use serde::Serialize;

use crate::{
    clock::{median, progress, timed},
    packet::{self, Where},
};

/// Medians over three tables; seconds are those of CPU time.
#[derive(Serialize)]
pub struct Table {
    /// How many mappings each has.
    pub mappings: u32,
    /// Seconds of setting them all in an empty table.
    pub load_seconds: f64,
    /// Seconds of reading them all.
    pub list_seconds: f64,
    /// Seconds of removing them all, which reads them first.
    pub remove_seconds: f64,
    /// Bytes of kernel memory, as the kernel reckons.
    pub memory_bytes: f64,
}

/// Sets so many mappings, in how many seconds of CPU time.
pub fn fill(host: &mut Loaded, mappings: u32, place: Where) -> Result<f64> {
    progress("loading mappings");
    let (keys, values) = packet::mappings(mappings, place);
    timed(|| Ok(host.tables.set_mappings(&keys, &values)?)).map(|(seconds, ())| seconds)
}

/// Reads and removes the mappings of three hosts.
pub fn measure(hosts: [Loaded; 3], mappings: u32, loads: [f64; 3]) -> Result<Table> {
    let (mut lists, mut removals, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for mut host in hosts {
        progress("listing and removing mappings");
        #[expect(clippy::cast_precision_loss, reason = "it is far from 2^52 bytes")]
        memory.push(host.tables.mappings_memory()? as f64);
        let (seconds, all) = timed(|| Ok(host.tables.mappings()?))?;
        // The container is one more.
        ensure!(all.len() == mappings as usize + 1, "{} mappings are listed", all.len());
        lists.push(seconds);
        let (seconds, _) =
            timed(|| Ok(host.tables.set_elsewhere(&BTreeMap::new(), &BTreeMap::new())?))?;
        removals.push(seconds);
    }
    progress("");
    Ok(Table {
        mappings,
        load_seconds: median(loads.into()),
        list_seconds: median(lists),
        remove_seconds: median(removals),
        memory_bytes: median(memory),
    })
}
