//! Everything that reads what comes from other nodes, from hosts that want to
//! be let in, or from a disk: on bytes that are nearly right, made up from
//! seeds.
//!
//! Nothing may panic; what is read is written again as something that reads the
//! same; nothing takes more memory than its input is worth; and nobody's word
//! is taken without a signature. `run.rs` has the variables that say how many
//! cases and which. A failure says how to run its case alone.

mod certificates;
mod corpus;
mod enrol;
mod memory;
mod mesh;
mod mutate;
mod owner;
mod run;
mod wire;
mod world;

use std::sync::LazyLock;

use world::World;

static WORLD: LazyLock<World> = LazyLock::new(World::new);
