//! What news cost in the mesh and how long they take, in virtual time; and what a
//! large one costs a real agent.

use anyhow::Result;

use crate::{parts, setup, sim, step};

/// What is measured: nodes, network, updates a second, updates in all.
const STORMS: [(usize, &str, u32, u32); 6] = [
    (100, "lan", 100, 200),
    (1000, "lan", 500, 1000),
    (1000, "wan", 500, 1000),
    (1000, "lan", 2000, 2000),
    (10_000, "lan", 500, 200),
    (10_000, "wan", 500, 200),
];

/// What a real agent has to know: nodes and identifiers.
const CROWDS: [(usize, usize); 2] = [(1000, 100_000), (10_000, 1_000_000)];

/// Measures storms of updates among up to `most` nodes, and what it costs an agent
/// to know as many; prints the goals beside the numbers. Of a hundred packets one
/// is lost.
pub fn run(most: usize) -> Result<()> {
    for (nodes, network, rate, updates) in STORMS.into_iter().filter(|storm| storm.0 <= most) {
        let arguments = format!(
            "--storm --nodes {nodes} --network {network} --rate {rate} --updates {updates}"
        );
        sim::simulate(&arguments.split(' ').map(str::to_owned).collect::<Vec<_>>())?;
    }
    // What a real agent has of it: memory, a boot, a restart, a join.
    setup::run()?;
    step::require_root("agents in network namespaces, which the rest is measured with")?;
    for (nodes, identifiers) in CROWDS.into_iter().filter(|crowd| crowd.0 <= most) {
        step::shown(&mut parts::large_mesh(nodes, identifiers)?)?;
    }
    Ok(())
}
