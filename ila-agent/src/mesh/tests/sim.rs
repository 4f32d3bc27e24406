//! Agents' meshes with real connections, certificates and all, over a network in
//! memory and under a clock that stands still until all wait.

use std::{io, sync::Mutex, time::Instant as WallClock};

use super::*;
use crate::transport::testing::{Distances, Net, address};

/// All over a continent, and now and then a packet is lost.
const CONTINENT: Distances = Distances { delay: (1, 15), loss: 2_000 };

/// What is stored lasts as long as the test.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Option<Vec<u8>>>);

impl Store for Memory {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().expect("nobody panics").clone())
    }

    fn save(&self, bytes: &[u8]) -> io::Result<()> {
        *self.0.lock().expect("nobody panics") = Some(bytes.to_vec());
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }

    fn place(&self) -> PathBuf {
        "memory".into()
    }
}

struct Sim {
    net: Net,
    nodes: Vec<MeshHandle>,
}

impl Sim {
    /// Nodes that start within a second and know three of them.
    async fn start(seed: u64, count: u16, distances: Distances) -> Self {
        let world = World::new();
        let net = Net::new(seed, distances);
        let mut nodes = Vec::new();
        for node in 0..count {
            let mut seeds: Vec<_> = (0..3.min(count)).map(address).collect();
            seeds.rotate_left(usize::from(node % 3));
            let start = world.prepare(node, address(node), &seeds);
            let seed = seed << 16 | u64::from(node);
            let host = Host {
                underlay: net.underlay(address(node), seed),
                store: Arc::new(Memory::default()),
                random: StdRng::seed_from_u64(seed),
            };
            nodes.push(MeshHandle::start_on(host, start).expect("it starts"));
            tokio::time::sleep(Duration::from_millis(u64::from(1000 / count))).await;
        }
        Self { net, nodes }
    }

    /// Waits until some nodes know all, and the same of them, and see somebody
    /// down or nobody; says how long that took.
    async fn agree(&self, nodes: &[MeshHandle], are_down: bool) -> Duration {
        let start = Instant::now();
        let agreed = async {
            loop {
                let mut known = Vec::new();
                for node in nodes {
                    let known_here = |mesh: &mut Mesh<Agent>| {
                        (mesh.owners().len(), !mesh.down().is_empty(), mesh.digest())
                    };
                    known.push(node.ask(known_here).await.expect("it runs"));
                }
                if known.iter().all(|it| *it == (self.nodes.len(), are_down, known[0].2)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), agreed).await.expect("they agree");
        start.elapsed()
    }

    /// Has some nodes say something each, and returns after what time each node
    /// has heard each.
    async fn updates(&self, from: impl Iterator<Item = u16>) -> Vec<Duration> {
        const APART: Duration = Duration::from_millis(7);
        let from: Vec<_> = from.collect();
        let heard = self.nodes.iter().map(|node| {
            let (mut news, node, mut missing) = (node.watch(), node.clone(), from.len());
            tokio::spawn(async move {
                let mut heard = Vec::new();
                while missing > 0 {
                    let news = news.recv().await.expect("it keeps up");
                    for effect in news.iter() {
                        let &Effect::Held(subject) = effect else { continue };
                        let held = move |mesh: &mut Mesh<Agent>| mesh.held(subject).is_some();
                        assert!(node.ask(held).await.expect("it runs"));
                        heard.push((subject.identifier, Instant::now()));
                        missing -= 1;
                    }
                }
                heard
            })
        });
        let heard: Vec<_> = heard.collect();
        let mut said = BTreeMap::new();
        for at in from {
            said.insert(identifier(at).bits(), Instant::now());
            claim(&self.nodes[usize::from(at)], at, Some(Claim::default())).await;
            tokio::time::sleep(APART).await;
        }
        let mut took = Vec::new();
        for heard in heard {
            let heard = tokio::time::timeout(PATIENCE, heard).await.expect("all is heard");
            let heard = heard.expect("it has not panicked");
            took.extend(heard.into_iter().map(|(identifier, at)| at - said[&identifier]));
        }
        took.sort_unstable();
        took
    }
}

pub fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().expect("it starts");
    runtime.block_on(test)
}

/// How many nodes; more on demand.
fn count() -> u16 {
    std::env::var("ILA_NODES").ok().and_then(|it| it.parse().ok()).unwrap_or(200)
}

#[test]
fn many_join_hear_all_and_are_one_again_after_a_cut() {
    let (count, clock) = (count(), WallClock::now());
    let nodes = usize::from(count);
    run(async {
        let sim = Sim::start(1, count, CONTINENT).await;
        let joined = sim.agree(&sim.nodes, false).await;
        println!("{nodes} nodes agree {joined:?} after the last start, {:?} here", clock.elapsed());
        let took = sim.updates((0..50).map(|at| at * (count / 50))).await;
        assert_eq!(took.len(), 50 * nodes);
        let part = |thousandths: usize| took[(took.len() - 1) * thousandths / 1000];
        let (p50, p99, longest) = (part(500), part(990), part(1000));
        println!("50 updates at all: p50 {p50:?}, p99 {p99:?}, longest {longest:?}");
        assert!(p99 < Duration::from_millis(500) && longest < Duration::from_secs(3));

        // A room of them is cut off, with one of those that were known first.
        let room = count / 10;
        (0..room).for_each(|node| sim.net.put(address(node), 1));
        for node in [1, count - 2] {
            claim(&sim.nodes[usize::from(node)], node, Some(Claim::default())).await;
        }
        let (_, others) = sim.nodes.split_at(room.into());
        let apart = sim.agree(others, true).await;
        let unknown = sim.nodes[0].ask(move |mesh| {
            mesh.subjects().any(|it| it.identifier == identifier(count - 2).bits())
        });
        assert_eq!(unknown.await, Some(false), "it came through the cut");
        (0..room).for_each(|node| sim.net.put(address(node), 0));
        let healed = sim.agree(&sim.nodes, false).await;
        for node in [1, count - 2] {
            for mesh in &sim.nodes {
                sees(mesh, node, true).await;
            }
        }
        println!("those that are left agree after {apart:?}, all {healed:?} after the cut is over");
        let (packets, trace) = sim.net.trace();
        println!("{packets} packets, trace {trace:016x}, {:?} here", clock.elapsed());
    });
}

#[test]
fn the_same_seed_gives_the_same_packets_at_the_same_times() {
    let trace = |seed| {
        run(async {
            let sim = Sim::start(seed, 30, CONTINENT).await;
            sim.agree(&sim.nodes, false).await;
            sim.updates(0..30).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            sim.net.trace()
        })
    };
    let (first, again, other) = (trace(1), trace(1), trace(2));
    assert_eq!(first, again);
    assert_ne!(first, other);
}
