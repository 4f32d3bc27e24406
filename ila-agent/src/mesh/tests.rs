use std::net::{IpAddr, Ipv6Addr};

use ila_proto::{
    addr::{Identifier, Locator, SirPrefix},
    gossip::{
        IdentifierRange,
        claim::{Claim, Subject},
        mesh::change,
    },
    identity::Validity,
};
use tempfile::TempDir;

use super::*;

mod disk;
mod hostile;
mod sim;

const SIR: SirPrefix = SirPrefix::from_bits(0xfd00_0db8_0000_0001);
const PATIENCE: Duration = Duration::from_secs(20);

/// An identifier that a node is the home of.
fn identifier(node: u16) -> Identifier {
    Identifier::from_bits(1 << 61 | u64::from(node) << 36 | 1)
}

struct World {
    folder: TempDir,
    authority: (KeyPair, Authority, Vec<u8>),
}

impl World {
    fn new() -> Self {
        let key = KeyPair::from_seed(&[1; 32]);
        let validity = Validity { from: 0, until: 4_000_000_000 };
        let der = Authority::create(&key, [1; 16], validity).expect("it can be made");
        let authority = Authority::read(&der).expect("it was made so");
        Self { folder: tempfile::tempdir().expect("a folder"), authority: (key, authority, der) }
    }

    /// What a node starts with that listens at an address.
    fn prepare(&self, node: u16, listen: SocketAddr, seeds: &[SocketAddr]) -> Start {
        let (authority_key, authority, der) = &self.authority;
        let key = key(node);
        let certified = Certified {
            key: key.public(),
            name: format!("n{node}").parse().expect("a name"),
            locators: vec![(SIR, Locator::from_bits(0x2001_0db8 << 32 | u64::from(node)))],
            home: vec![IdentifierRange { bits: identifier(node).bits() >> 36 << 36, length: 28 }],
        };
        let validity = authority.validity();
        let serial = u128::from(node).to_be_bytes();
        let certificate = authority.issue(authority_key, &certified, serial, validity);
        let identity = Identity {
            certificate: certificate.expect("it can be issued"),
            key: key.to_der(),
            authority: der.clone(),
        };
        Start {
            key,
            identity,
            listen,
            addresses: Vec::new(),
            seeds: seeds.to_vec(),
            file: self.folder.path().join(format!("n{node}")),
            remembered: Heard::default(),
            settings: Settings::default(),
            speaks: Version::LATEST,
            admission: None,
        }
    }

    fn start(&self, node: u16, seeds: &[SocketAddr]) -> MeshHandle {
        let listen = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
        let mut start = self.prepare(node, listen, seeds);
        start.settings.suspect = Duration::from_millis(500);
        start.settings.explore_down = Duration::from_millis(200);
        MeshHandle::start(start).expect("it starts")
    }
}

fn key(node: u16) -> KeyPair {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&(node + 1).to_be_bytes());
    KeyPair::from_seed(&seed)
}

async fn claim(mesh: &MeshHandle, node: u16, claim: Option<Claim>) {
    let said = mesh.ask(move |mesh| {
        let subject = Subject::new(SIR, identifier(node));
        change(mesh.own().certified(), subject, claim.as_ref())
    });
    let change = said.await.flatten().expect("its certificate has the SIR prefix");
    mesh.tell(Event::Say(vec![change])).await;
}

/// Waits until a node sees an identifier held, or not.
async fn sees(mesh: &MeshHandle, node: u16, held: bool) {
    let subject = Subject::new(SIR, identifier(node));
    until(mesh, move |mesh| mesh.held(subject).is_some() == held).await;
}

/// Waits until something is so for a node.
async fn until(mesh: &MeshHandle, is_so: impl Fn(&Mesh<Agent>) -> bool + Clone + Send + 'static) {
    let seen = async {
        let mut news = mesh.watch();
        loop {
            let is_so = is_so.clone();
            if mesh.ask(move |mesh| is_so(mesh)).await == Some(true) {
                return;
            }
            // Being behind is as good as news.
            let _ = news.recv().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("it is seen so");
}

#[tokio::test]
async fn nodes_that_know_one_come_to_know_all_and_what_they_hold() {
    const COUNT: u16 = 6;
    let world = World::new();
    let first = world.start(1, &[]);
    let seeds = [first.transport.address().expect("it listens")];
    let mut nodes = vec![first];
    nodes.extend((2..=COUNT).map(|node| world.start(node, &seeds)));
    for (node, mesh) in (1..).zip(&nodes) {
        claim(mesh, node, Some(Claim::default())).await;
    }
    for mesh in &nodes {
        for node in 1..=COUNT {
            sees(mesh, node, true).await;
        }
    }
    claim(&nodes[1], 2, None).await;
    for mesh in &nodes {
        sees(mesh, 2, false).await;
    }
    // One that ends is missed, and is back with what it has stored.
    nodes[2].close();
    for at in [0, 1, 3, 4, 5] {
        sees(&nodes[at], 3, false).await;
    }
    nodes[2] = world.start(3, &seeds);
    for mesh in &nodes {
        sees(mesh, 3, true).await;
    }
    nodes.iter().for_each(MeshHandle::close);
}

/// A node that is down for a moment is not one to take from.
/// As in the middle of an upgrade: news come through those that do not know of
/// steps and through those that do.
#[tokio::test]
async fn nodes_of_two_versions_are_one_mesh() {
    let world = World::new();
    let listen = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
    let start = |node, seeds: &[_], speaks| {
        let start = Start { speaks, ..world.prepare(node, listen, seeds) };
        MeshHandle::start(start).expect("it starts")
    };
    let first = start(1, &[], Version::Two);
    let seeds = [first.transport.address().expect("it listens")];
    let [second, third] =
        [(2, Version::One), (3, Version::Two)].map(|(node, latest)| start(node, &seeds, latest));
    let nodes = [&first, &second, &third];
    for held in [true, false, true] {
        for (node, mesh) in (1..).zip(nodes) {
            claim(mesh, node, held.then(Claim::default)).await;
        }
        for mesh in nodes {
            for node in 1..=3 {
                sees(mesh, node, held).await;
            }
        }
    }
    for mesh in nodes {
        until(mesh, |mesh| mesh.linked().count() == 2).await;
    }
    let [one, two, three] = [1, 2, 3].map(|node| key(node).public().node());
    let (old, new) = (Version::One, Version::Two);
    assert_eq!(first.versions().await, [(two, old), (three, new)].into());
    assert_eq!(second.versions().await, [(one, old), (three, old)].into());
    assert_eq!(third.versions().await, [(one, new), (two, old)].into());
    for mesh in nodes {
        assert_eq!(mesh.transport().counts().all(), [].into());
        mesh.close();
    }
}

#[tokio::test]
async fn what_a_node_has_by_right_stays_its_own_until_it_is_hidden() {
    let world = World::new();
    let first = world.start(1, &[]);
    let seeds = [first.transport.address().expect("it listens")];
    let (taker, observer) = (world.start(2, &seeds), world.start(3, &seeds));
    claim(&first, 1, Some(Claim::default())).await;
    sees(&observer, 1, true).await;
    // Of the range that another one is the home of.
    claim(&taker, 1, Some(Claim::default())).await;
    let [owner, thief] = [1, 2].map(|node| key(node).public().node());
    let subject = Subject::new(SIR, identifier(1));
    until(&observer, move |mesh| {
        mesh.held(subject).is_some_and(|held| held.disputed_by.contains(&thief))
    })
    .await;
    first.close();
    until(&observer, move |mesh| mesh.held(subject).map(|held| held.by) == Some(thief)).await;
    let holders = observer.ask(move |mesh| {
        let holder = |hidden: &[NodeId]| {
            let hidden = hidden.iter().copied().collect();
            follow::holder(mesh, subject, &hidden).map(|held| held.by)
        };
        [holder(&[]), holder(&[owner])]
    });
    assert_eq!(holders.await, Some([Some(owner), Some(thief)]));
    [taker, observer].iter().for_each(MeshHandle::close);
}

/// A disk that was full for a while is no reason to be silent for ever.
#[tokio::test]
async fn what_could_not_be_stored_is_stored_and_said_when_it_can_be() {
    let world = World::new();
    let mesh = world.start(1, &[]);
    sees(&mesh, 1, false).await;
    // Where the file is written anew there is a folder.
    let next = world.folder.path().join("n1").with_extension("next");
    std::fs::create_dir(&next).expect("there is room");
    claim(&mesh, 1, Some(Claim::default())).await;
    let is_waiting = async {
        while mesh.ask(|mesh| mesh.saying().is_some()).await != Some(true) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_waiting).await.expect("it has something to say");
    let subject = Subject::new(SIR, identifier(1));
    assert_eq!(mesh.ask(move |mesh| mesh.held(subject).is_some()).await, Some(false));
    std::fs::remove_dir(&next).expect("it is there");
    sees(&mesh, 1, true).await;
    mesh.close();
}

#[tokio::test]
async fn what_is_damaged_is_not_gone_on_with() {
    let world = World::new();
    let mesh = world.start(1, &[]);
    claim(&mesh, 1, Some(Claim::default())).await;
    sees(&mesh, 1, true).await;
    mesh.close();
    let file = world.folder.path().join("n1");
    let mut bytes = std::fs::read(&file).expect("it is stored");
    let (_, authority, _) = &world.authority;
    let key = key(1);
    let mut agent = Agent { authority: authority.clone(), key, random: StdRng::seed_from_u64(1) };
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        bytes[at] ^= 1;
        std::fs::write(&file, &bytes).expect("it can be written");
        let record = NodeRecord { certificate: vec![], addresses: vec![], version: String::new() };
        let error = own::resume(&file, &record, &mut agent).expect_err("it is another");
        assert!(matches!(error, MeshError::Damaged(_)), "{at}: {error}");
        bytes[at] ^= 1;
    }
}
