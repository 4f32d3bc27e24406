//! What other layouts of the table of mappings would cost.

use std::os::fd::BorrowedFd;

use anyhow::Result;
use ila_agent::datapath::{LAYOUTS_OBJECT, bpf};
use ila_proto::{
    abi,
    bench::{
        MAP_INDEX, MAP_LRU, MAP_PREALLOCATED, MAP_WIDE, PROGRAM_DRAW, PROGRAM_INDEX, PROGRAM_LRU,
        PROGRAM_PREALLOCATED, PROGRAM_SHIPPED, PROGRAM_WIDE, Sample,
    },
    forward::SourceMode,
};
use serde::Serialize;

use crate::{
    Report,
    clock::{Bench, Index, KEYS, Run, progress, timed},
    packet::{self, Where, host},
    table,
};

/// A layout of the table.
#[derive(Serialize)]
pub struct Layout {
    pub name: &'static str,
    pub load_seconds: f64,
    /// Bytes of kernel memory before there is a mapping, as the kernel reckons.
    pub empty_bytes: u64,
    /// The same with all mappings.
    pub memory_bytes: u64,
    pub look_ups: Vec<LookUp>,
}

/// A look-up among some of the identifiers.
#[derive(Serialize)]
pub struct LookUp {
    /// Among how many was drawn.
    pub keys: u32,
    /// Nanoseconds of it, without those of drawing.
    pub net: f64,
}

/// [`packet::wide`].
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Wide([u64; 2]);

impl abi::Layout for Wide {}

/// Measures all layouts.
pub fn measure(bench: &Bench, mappings: u32, report: &mut Report) -> Result<()> {
    let mut host = host(LAYOUTS_OBJECT, SourceMode::Sir)?;
    let (keys, values) = packet::mappings(mappings, Where::There);
    let wide: Vec<_> = keys.iter().map(|&key| Wide(packet::wide(key))).collect();
    let indexes: Vec<_> = (0..mappings).map(Index).collect();

    let empty = host.tables.mappings_memory()?;
    let load = table::fill(&mut host, mappings, Where::There)?;
    let shipped = (load, empty, host.tables.mappings_memory()?);
    let fill = |map, set: &dyn Fn(BorrowedFd<'_>) -> std::io::Result<()>| {
        progress("loading mappings");
        let map = host.map(map)?;
        let empty = bpf::memory(map)?;
        let (load, ()) = timed(|| Ok(set(map)?))?;
        Ok::<_, anyhow::Error>((load, empty, bpf::memory(map)?))
    };
    let by_key = |map: BorrowedFd<'_>| bpf::update_batch(map, &keys, &values);
    let layouts = [
        ("as it ships", PROGRAM_SHIPPED, shipped),
        ("preallocated", PROGRAM_PREALLOCATED, fill(MAP_PREALLOCATED, &by_key)?),
        (
            "16-byte key",
            PROGRAM_WIDE,
            fill(MAP_WIDE, &|map| bpf::update_batch(map, &wide, &values))?,
        ),
        ("LRU", PROGRAM_LRU, fill(MAP_LRU, &by_key)?),
        (
            "array",
            PROGRAM_INDEX,
            fill(MAP_INDEX, &|map| bpf::update_batch(map, &indexes, &values))?,
        ),
    ];

    let mut drawn = KEYS.map(|keys| keys.min(mappings)).to_vec();
    drawn.dedup();
    let programs = [PROGRAM_DRAW].into_iter().chain(layouts.iter().map(|(_, program, _)| *program));
    let runs: Vec<_> = programs
        .flat_map(|program| {
            let sample = |&keys| Sample { keys, ..packet::leaving() };
            drawn.iter().map(sample).map(move |sample| (program, sample)).collect::<Vec<_>>()
        })
        .map(|(program, sample)| Run { host: &host, program, sample })
        .collect();
    let medians = bench.measure(&host, &runs)?;
    let (draws, look_ups) = medians.runs.split_at(drawn.len());
    for ((name, _, (load_seconds, empty_bytes, memory_bytes)), times) in
        layouts.into_iter().zip(look_ups.chunks(drawn.len()))
    {
        let all = drawn.iter().zip(times).zip(draws);
        report.layouts.push(Layout {
            name,
            load_seconds,
            empty_bytes,
            memory_bytes,
            look_ups: all.map(|((&keys, time), draw)| LookUp { keys, net: time - draw }).collect(),
        });
    }
    (report.empty, report.resolution) = (medians.empty, medians.resolution);
    Ok(())
}
