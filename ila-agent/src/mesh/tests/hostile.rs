//! Nodes of the mesh that mean harm to others, or are stuck.

use ila_proto::gossip::{
    Delta, Incarnation, Position, Refused, State,
    claim::{Claim, Subject},
};

use super::{
    sim::{Memory, run},
    *,
};
use crate::transport::{
    Reason, Writer,
    testing::{Distances, Net, address},
};

const NEAR: Distances = Distances { delay: (1, 3), loss: 0 };
const HOSTILE: u16 = 66;

/// A node with a good certificate, and what it is to say of itself.
struct Hostile {
    transport: Transport,
    own: Delta,
}

impl Hostile {
    fn new(world: &World, net: &Net) -> Self {
        let start = world.prepare(HOSTILE, address(HOSTILE), &[]);
        let underlay = net.underlay(address(HOSTILE), 66);
        let transport = Transport::over(underlay, &start.identity).expect("it is good");
        let authority = world.authority.1.clone();
        let random = StdRng::seed_from_u64(66);
        let mut agent = Agent { authority, key: start.key, random };
        let record = NodeRecord {
            certificate: start.identity.certificate,
            addresses: vec![address(HOSTILE)],
            version: String::new(),
        };
        let state = State::of([(Key::RECORD, own::value(&record).expect("it is short"))]);
        let incarnation = Incarnation { boot: 1, nonce: 1 };
        let own = Owner::new(state, Position { incarnation, sequence: 0 }, &mut agent);
        Self { transport, own: own.expect("it is certified").since(None) }
    }

    async fn connect(&self, node: u16) -> Result<(Peer, Writer), TransportError> {
        let peer = self.transport.connect(address(node)).await?;
        let writer = peer.writer().await?;
        Ok((peer, writer))
    }
}

fn start(world: &World, net: &Net, node: u16) -> MeshHandle {
    let host = Host {
        underlay: net.underlay(address(node), node.into()),
        store: Arc::new(Memory::default()),
        random: StdRng::seed_from_u64(node.into()),
    };
    let start = world.prepare(node, address(node), &[address(0)]);
    MeshHandle::start_on(host, start).expect("it starts")
}

fn count(mesh: &MeshHandle, reason: Reason) -> u64 {
    mesh.transport().counts().all().get(&reason).copied().unwrap_or_default()
}

/// What nobody has ever said.
fn lie(own: &Delta) -> Delta {
    let mut lie = own.clone();
    lie.to.sequence += 1;
    lie
}

#[test]
fn who_lies_is_kept_out_longer_each_time_and_nothing_comes_of_it() {
    run(async {
        let (world, net) = (World::new(), Net::new(1, NEAR));
        let victim = start(&world, &net, 0);
        let hostile = Hostile::new(&world, &net);
        for (time, lasts) in [(1, 10), (2, 20), (3, 40)] {
            let (peer, mut writer) = hostile.connect(0).await.expect("it is let in");
            writer.write(Frame::Delta(lie(&hostile.own))).await.expect("it is read");
            tokio::time::timeout(PATIENCE, peer.closed()).await.expect("it is seen through");
            assert_eq!(count(&victim, Reason::Lied), time);
            // Its own side may be done before the other one has looked.
            let banned = async |peer: Result<(Peer, _), TransportError>| {
                if let Ok((peer, _)) = peer {
                    peer.closed().await;
                }
            };
            banned(hostile.connect(0).await).await;
            tokio::time::sleep(Duration::from_secs(lasts - 1)).await;
            banned(hostile.connect(0).await).await;
            assert_eq!(count(&victim, Reason::Banned), 2 * time);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(victim.ask(|mesh| mesh.owners().len()).await, Some(1));
        let refused = victim.ask(|mesh| mesh.counts().refused.clone()).await;
        assert_eq!(refused, Some([(Refused::Signature, 3)].into()));
    });
}

#[test]
fn a_link_that_stands_and_over_which_nothing_comes_is_ended() {
    run(async {
        let (world, net) = (World::new(), Net::new(1, NEAR));
        let victim = start(&world, &net, 0);
        let hostile = Hostile::new(&world, &net);
        // One that says nothing at all, and one that stops in a frame.
        for (time, said) in [(1, false), (2, true)] {
            let (peer, mut writer) = hostile.connect(0).await.expect("it is let in");
            if said {
                writer.write(Frame::Same).await.expect("it is read");
            }
            let start = Instant::now();
            tokio::time::timeout(PATIENCE * 10, peer.closed()).await.expect("it is seen");
            assert!(start.elapsed() >= Duration::from_secs(9), "{:?}", start.elapsed());
            assert_eq!(count(&victim, Reason::Stalled), time);
        }
    });
}

#[test]
fn a_node_that_reads_nothing_delays_nobody() {
    const NODES: u16 = 4;
    const EACH: u64 = 3000;
    run(async {
        let (world, net) = (World::new(), Net::new(1, NEAR));
        let nodes: Vec<_> = (0..NODES).map(|node| start(&world, &net, node)).collect();
        // All take it for a neighbour, and it says that it has all that they have.
        let hostile = Hostile::new(&world, &net);
        let mut links = Vec::new();
        for node in 0..NODES {
            let (peer, mut writer) = hostile.connect(node).await.expect("it is let in");
            writer.write(Frame::Delta(hostile.own.clone())).await.expect("it is read");
            links.push((peer, writer));
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut longest = Duration::ZERO;
        for round in 0..40 {
            for (at, mesh) in (0..NODES).zip(&nodes) {
                let changes = (0..EACH / 40).map(move |number| {
                    let number = round * EACH / 40 + number + 2;
                    let bits = identifier(at).bits() + (number << 4);
                    let subject = Subject::new(SIR, Identifier::from_bits(bits));
                    (subject, Claim::default())
                });
                let said = mesh.ask(move |mesh| {
                    let own = mesh.own().certified();
                    changes.map(|(subject, claim)| change(own, subject, Some(&claim))).collect()
                });
                let said: Option<Vec<_>> = said.await.expect("it runs");
                mesh.tell(Event::Say(said.expect("it is certified"))).await;
            }
            for (_, writer) in &mut links {
                writer.write(Frame::Same).await.expect("it is not seen through");
                // All of everybody, each time.
                for node in 0..NODES {
                    let want = Frame::Want(key(node).public().node(), None);
                    writer.write(want.clone()).await.expect("it is not seen through");
                }
            }
            let (at, start) = (u16::try_from(round).unwrap_or(0) % NODES, Instant::now());
            let held = round < 4 || round % 8 < 4;
            claim(&nodes[usize::from(at)], at, held.then(Claim::default)).await;
            for mesh in &nodes {
                sees(mesh, at, held).await;
            }
            longest = longest.max(start.elapsed());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!(longest < Duration::from_millis(250), "{longest:?}");
        // What it was to be sent is far more than it takes without reading.
        let own = nodes[0].ask(|mesh| wire::encode(&mesh.own().since(None)).map(|it| it.len()));
        assert!(own.await.expect("it runs").expect("it is short") > 30_000);
        for reason in Reason::ALL {
            assert!(nodes.iter().all(|mesh| count(mesh, *reason) == 0), "{reason}");
        }
        nodes.iter().for_each(MeshHandle::close);
    });
}

#[test]
fn a_renewed_certificate_is_known_to_all_and_links_stand() {
    run(async {
        let (world, net) = (World::new(), Net::new(1, NEAR));
        let nodes = [start(&world, &net, 0), start(&world, &net, 1)];
        claim(&nodes[1], 1, Some(Claim::default())).await;
        sees(&nodes[0], 1, true).await;
        let mut renewed = world.prepare(1, address(1), &[]).identity;
        let former = renewed.certificate.clone();
        let (authority_key, authority, _) = &world.authority;
        let certified = authority.certified(&former, None).expect("it is of the authority");
        let validity = Validity { from: 1, ..authority.validity() };
        let issued = authority.issue(authority_key, &certified, [9; 16], validity);
        renewed.certificate = issued.expect("it can be issued");
        let (wanted, node) = (renewed.certificate.clone(), certified.key.node());
        nodes[1].renew(renewed).await.expect("it is good");
        let known = async {
            let seen = move |mesh: &mut Mesh<Agent>| mesh.owner(node).and_then(|it| record(it));
            let mut news = nodes[0].watch();
            while nodes[0].ask(seen).await.flatten().expect("it is known").certificate != wanted {
                let _ = news.recv().await;
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("it is told");
        sees(&nodes[0], 1, true).await;
        assert_eq!(nodes[0].transport().counts().all(), BTreeMap::new());

        let other = nodes[1].renew(world.prepare(2, address(1), &[]).identity).await;
        assert!(matches!(other, Err(MeshError::Other)), "{other:?}");
    });
}
