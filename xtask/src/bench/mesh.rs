//! What news cost in the mesh and how long they take, in virtual time.

use anyhow::Result;

use crate::sim;

/// What is measured: nodes, network, updates a second, updates in all.
const STORMS: [(usize, &str, u32, u32); 4] = [
    (100, "lan", 100, 200),
    (1000, "lan", 500, 1000),
    (1000, "wan", 500, 1000),
    (10_000, "wan", 500, 200),
];

/// Measures storms of updates among up to `most` nodes, and prints the goals
/// beside the numbers. Of a hundred packets one is lost.
pub fn run(most: usize) -> Result<()> {
    for (nodes, network, rate, updates) in STORMS.into_iter().filter(|storm| storm.0 <= most) {
        let arguments = format!(
            "--storm --nodes {nodes} --network {network} --rate {rate} --updates {updates}"
        );
        sim::simulate(&arguments.split(' ').map(str::to_owned).collect::<Vec<_>>())?;
    }
    Ok(())
}
