//! What the programs that ship cost.

use anyhow::{Result, ensure};
use ila_agent::datapath::{BENCH_OBJECT, Loaded, bpf};
use ila_proto::{
    abi::Fate,
    bench::{
        PROGRAM_EGRESS, PROGRAM_INGRESS, PROGRAM_INGRESS_SOURCE, PROGRAM_NDP, PROGRAM_RESET,
        PROGRAM_RESET_NDP, PROGRAM_RESET_SOURCE, Sample,
    },
    forward::SourceMode,
};
use serde::Serialize;

use crate::{
    Report,
    clock::{Bench, KEYS, Run},
    packet::{self, Where, host},
    table,
};

/// What a program costs with one way of a packet.
#[derive(Serialize)]
pub struct Cost {
    /// The packet's way.
    pub way: &'static str,
    /// Among how many identifiers was drawn.
    pub keys: u32,
    /// Nanoseconds of the run, of which `reset` are no part of the program.
    pub run: f64,
    /// Nanoseconds of making the packet what it was.
    pub reset: f64,
    /// Nanoseconds of the program, and of a run that does nothing.
    pub gross: f64,
    /// What `gross` should be at most.
    pub goal: Option<f64>,
}

/// A way, and how it is measured.
struct Way<'a> {
    name: &'static str,
    host: &'a Loaded,
    sample: Sample,
    program: &'static str,
    reset: &'static str,
    fate: Fate,
    /// What it should cost with one identifier.
    goal: Option<f64>,
}

/// A look-up of any of a million.
const RANDOM_GOAL: f64 = 300.0;

/// Measures all ways, and the table itself.
pub fn measure(bench: &Bench, mappings: u32, report: &mut Report) -> Result<()> {
    let mut stay = host(BENCH_OBJECT, SourceMode::Sir)?;
    let mut leave = host(BENCH_OBJECT, SourceMode::Locator)?;
    let mut here = host(BENCH_OBJECT, SourceMode::Sir)?;
    let mut asking = host(BENCH_OBJECT, SourceMode::Sir)?;
    asking.tables.set_plain(false)?;
    table::fill(&mut asking, mappings, Where::There)?;
    let loads = [
        table::fill(&mut stay, mappings, Where::There)?,
        table::fill(&mut leave, mappings, Where::There)?,
        table::fill(&mut here, mappings, Where::Here)?,
    ];
    let ways = ways([&stay, &leave, &here, &asking]);
    let solicitation = Way {
        name: "neighbour solicitation",
        host: &stay,
        sample: packet::solicitation(),
        program: PROGRAM_NDP,
        reset: PROGRAM_RESET_NDP,
        fate: Fate::NdpAnswered,
        goal: Some(150.0),
    };
    let mut rows: Vec<_> = ways
        .iter()
        .flat_map(|way| KEYS.map(|keys| (way, keys.min(mappings))))
        .chain([(&solicitation, 1)])
        .collect();
    // Where there are few mappings, "all of them" may be as many again.
    rows.dedup_by_key(|(way, keys)| (way.name, *keys));
    let mut runs = Vec::new();
    for (way, keys) in &rows {
        let sample = Sample { keys: *keys, ..way.sample };
        way.is_taken(sample)?;
        for program in [way.reset, way.program] {
            runs.push(Run { host: way.host, program, sample });
        }
    }
    let medians = bench.measure(&stay, &runs)?;
    for ((way, keys), pair) in rows.into_iter().zip(medians.runs.chunks(2)) {
        let [reset, run] = pair else { unreachable!("chunks of two") };
        let random = (keys == mappings && way.goal.is_some()).then_some(RANDOM_GOAL);
        report.programs.push(Cost {
            way: way.name,
            keys,
            run: *run,
            reset: *reset,
            gross: run - reset + medians.empty,
            goal: if keys == 1 { way.goal } else { random },
        });
    }
    (report.empty, report.resolution) = (medians.empty, medians.resolution);
    report.table = Some(table::measure([stay, leave, here], mappings, loads)?);
    Ok(())
}

/// The ways of packets, by the hosts that they are measured on: the destination
/// elsewhere, with the host's locator as source, here, and elsewhere again by a
/// route that has to be asked for.
fn ways([stay, leave, here, asking]: [&Loaded; 4]) -> [Way<'_>; 6] {
    [
        Way {
            name: "egress, to another host",
            host: stay,
            sample: packet::leaving(),
            program: PROGRAM_EGRESS,
            reset: PROGRAM_RESET,
            fate: Fate::EgressTranslated,
            goal: Some(25.0),
        },
        Way {
            name: "egress, to another host, the route asked for",
            host: asking,
            sample: packet::leaving(),
            program: PROGRAM_EGRESS,
            reset: PROGRAM_RESET,
            fate: Fate::EgressTranslated,
            goal: None,
        },
        Way {
            name: "egress, with its locator as source",
            host: leave,
            sample: packet::leaving(),
            program: PROGRAM_EGRESS,
            reset: PROGRAM_RESET,
            fate: Fate::EgressTranslated,
            goal: None,
        },
        Way {
            name: "egress, to the same host",
            host: here,
            sample: packet::leaving(),
            program: PROGRAM_EGRESS,
            reset: PROGRAM_RESET,
            fate: Fate::EgressLocal,
            goal: None,
        },
        Way {
            name: "ingress, from a SIR address",
            host: here,
            sample: packet::arriving(),
            program: PROGRAM_INGRESS,
            reset: PROGRAM_RESET,
            fate: Fate::IngressRestored,
            goal: Some(20.0),
        },
        Way {
            name: "ingress, from a locator",
            host: leave,
            sample: packet::arriving_from_locator(),
            program: PROGRAM_INGRESS_SOURCE,
            reset: PROGRAM_RESET_SOURCE,
            fate: Fate::IngressRestored,
            goal: None,
        },
    ]
}

impl Way<'_> {
    /// Makes sure that all packets go that way, however often one is run.
    fn is_taken(&self, sample: Sample) -> Result<()> {
        const TIMES: u32 = 1000;
        let run = Run { host: self.host, program: self.program, sample };
        let before = self.counted()?;
        bpf::test_run(run.start()?, &packet::frame(&sample), TIMES, 0)?;
        let counted = self.counted()? - before;
        ensure!(
            counted == u64::from(TIMES),
            "{}: {counted} of {TIMES} packets met the fate {}",
            self.name,
            self.fate,
        );
        Ok(())
    }

    fn counted(&self) -> Result<u64> {
        let counts = self.host.tables.counts()?;
        Ok(counts.iter().map(|(_, fates)| fates[self.fate.number() as usize].packets).sum())
    }
}
