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
            remembered: Vec::new(),
            settings: Settings::default(),
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
    let seen = async {
        let mut news = mesh.watch();
        while mesh.ask(move |mesh| mesh.held(subject).is_some()).await != Some(held) {
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
