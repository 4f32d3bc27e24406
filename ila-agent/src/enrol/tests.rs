//! Hosts that join and hosts that admit, on loopback: as they should be, and as
//! neither should be.

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ila_authority::{Folder, ISSUED, Terms, now};
use ila_proto::{
    api::Domain,
    enrol::{
        ALPN, Admitted, Answer, Ask, Fingerprint, Greeting, Refusal, Request, Secret, Settings,
    },
    forward::SourceMode,
    identity::{self, KeyPair},
};
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use super::{
    admit::{Admission, Rules},
    ask::{AskError, Given, Inquiry, Patience},
    tls, wire,
};
use crate::transport::Identity;

mod renewal;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
const MESH: &[u8] = b"ila-mesh/1";

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

fn at(number: u8) -> Domain {
    format!("fd00:db8:0:1::/64@2001:db8:a:{number:x}::/64").parse().expect("it is one")
}

/// An authority, with the token whose secret is `[1; 16]`, and the host that has
/// it, whose key is `key(100)`.
struct World {
    dir: tempfile::TempDir,
    settings: Settings,
}

impl World {
    fn new() -> Self {
        Self::until(now() + 60)
    }

    fn until(until: u64) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        ila_authority::init(dir.path()).expect("it can be made");
        let settings = Settings {
            source: SourceMode::Locator,
            locator_spaces: vec!["2001:db8:a::/48".parse().expect("a prefix")],
            ..Settings::default()
        };
        let world = Self { dir, settings };
        let terms = Terms { until, ..Terms::default() };
        world.folder().add_token(&Secret([1; 16]), &terms).expect("it can be written");
        world
    }

    fn folder(&self) -> Folder {
        Folder::open(self.dir.path()).expect("it is whole")
    }

    fn issued(&self) -> String {
        fs::read_to_string(self.dir.path().join(ISSUED)).expect("it is there")
    }

    fn authority(&self) -> Vec<u8> {
        let pem = fs::read_to_string(self.dir.path().join("ca.pem")).expect("it is there");
        identity::from_pem(&pem).expect("it is a certificate")
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.authority())
    }

    /// What a node shows.
    fn identity(&self, seed: u8) -> Identity {
        let name = format!("n{seed}").parse().expect("a name");
        let mut folder = self.folder();
        let issue = folder.admit(key(seed).public(), name, vec![at(seed)]).expect("it is free");
        drop(folder);
        Identity { certificate: issue.der, key: key(seed).to_der(), authority: self.authority() }
    }

    /// A port where `serve` has the connections, whatever they are for.
    fn listen<F>(&self, serve: impl Fn(Connection) -> F + Send + 'static) -> SocketAddr
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let config = tls::server(&self.identity(100), &[MESH, ALPN]).expect("it is good");
        let endpoint = Endpoint::server(config, LOOPBACK).expect("a port is free");
        let address = endpoint.local_addr().expect("it has one");
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                if let Ok(connection) = incoming.await {
                    tokio::spawn(serve(connection));
                }
            }
        });
        address
    }

    /// A host that admits.
    fn admits(&self) -> (SocketAddr, Arc<Admission>) {
        let rules = Rules { sir_prefixes: vec![at(1).sir_prefix], settings: self.settings.clone() };
        let admission = Admission::open(self.dir.path(), rules).expect("it can be read");
        let admission = Arc::new(admission.expect("it is there"));
        let admits = Arc::clone(&admission);
        let seeds = vec!["[2001:db8::1]:7741".parse().expect("an address"); 20];
        let address = self.listen(move |connection| {
            assert_eq!(tls::protocol(&connection).as_deref(), Some(ALPN));
            let (admits, seeds) = (Arc::clone(&admits), seeds.clone());
            async move { admits.admit(connection, seeds).await }
        });
        (address, admission)
    }

    async fn join(&self, address: SocketAddr, seed: u8) -> Result<Given, AskError> {
        self.ask(address, seed, &asks(1, &format!("h{seed}"), &[at(seed)])).await
    }

    async fn ask(&self, address: SocketAddr, seed: u8, what: &Ask) -> Result<Given, AskError> {
        ask(&[address], self.fingerprint(), &key(seed), what).await
    }
}

async fn ask(
    addresses: &[SocketAddr],
    authority: Fingerprint,
    key: &KeyPair,
    what: &Ask,
) -> Result<Given, AskError> {
    let patience = Patience { message: Duration::from_secs(1), ..Patience::default() };
    Inquiry { authority, key, what, patience }.ask(addresses).await
}

fn asks(secret: u8, node: &str, locators: &[Domain]) -> Ask {
    Ask::Join {
        secret: Secret([secret; 16]),
        node: node.parse().expect("a name"),
        locators: locators.to_vec(),
    }
}

fn why(result: Result<Given, AskError>) -> (Refusal, String) {
    match result.expect_err("it is not let in") {
        AskError::Refused(refused) => (refused.why, refused.message),
        other => panic!("{other}"),
    }
}

fn unreached(result: Result<Given, AskError>) -> String {
    match result.expect_err("it is not let in") {
        AskError::Unreached(said) => said.join("; "),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_host_is_let_in_and_told_what_it_needs() {
    let world = World::new();
    let (address, _) = world.admits();
    let given = world.join(address, 1).await.expect("it is let in");
    assert_eq!((given.node.name.as_str(), given.node.key), ("h1", key(1).public()));
    assert_eq!(given.node.locators, [(at(1).sir_prefix, at(1).locator)]);
    assert_eq!(given.node.home.len(), 1);
    assert_eq!(given.admitted.settings, world.settings);
    assert_eq!(given.admitted.seeds.len(), 16);
    // Once more, as if the answer had been lost.
    let record = world.issued();
    let again = world.join(address, 1).await.expect("it is let in");
    assert_eq!((again.admitted, world.issued()), (given.admitted, record));
}

#[tokio::test]
async fn an_address_where_nobody_is_does_not_keep_from_the_next_one() {
    let world = World::new();
    let (address, _) = world.admits();
    let stranger = World::new();
    let (other, _) = stranger.admits();
    let what = asks(1, "h1", &[at(1)]);
    ask(&[other, address], world.fingerprint(), &key(1), &what).await.expect("it is let in");
    assert!(!stranger.issued().contains("h1"));
}

#[tokio::test]
async fn who_is_not_of_the_tokens_authority_is_told_nothing() {
    let (world, other) = (World::new(), World::new());
    let (address, admission) = world.admits();
    let before = world.issued();
    let what = asks(1, "h1", &[at(1)]);
    let result = ask(&[address], other.fingerprint(), &key(1), &what).await;
    let said = unreached(result);
    assert!(said.contains("is not of the mesh that the token is for"), "{said}");
    assert_eq!((world.issued(), admission.failed()), (before, 0));
}

/// A node of the mesh, which has come to the address of the one that admits.
#[tokio::test]
async fn a_node_that_does_not_have_the_authoritys_key_is_told_nothing() {
    let world = World::new();
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let address = world.listen(move |connection| {
        let told = told.clone();
        async move {
            let exporter = wire::exporter(&connection).expect("it is one");
            let (mut sender, mut receiver) = connection.open_bi().await.expect("it takes one");
            wire::send(&mut sender, &Greeting::new(&key(100), &exporter)).await.expect("it reads");
            let request: Result<Request, _> = wire::receive(&mut receiver).await;
            let _ = told.send(request.is_ok());
        }
    });
    let said = unreached(world.join(address, 1).await);
    assert!(said.contains("does not speak for the authority"), "{said}");
    assert_eq!(hears.recv().await, Some(false));
}

#[tokio::test]
async fn a_wrong_secret_is_counted_and_after_some_not_listened_to() {
    let world = World::new();
    let (address, admission) = world.admits();
    let before = world.issued();
    for failed in 1..=5 {
        let wrong = world.ask(address, 1, &asks(9, "h1", &[at(1)])).await;
        assert_eq!(why(wrong), (Refusal::Secret, "the token is none of this mesh".to_owned()));
        assert_eq!(admission.failed(), failed);
    }
    // Not even with the right one.
    assert_eq!(why(world.join(address, 1).await).0, Refusal::Busy);
    assert_eq!((world.issued(), admission.failed()), (before, 5));
}

#[tokio::test]
async fn a_token_that_has_ended_lets_nobody_in() {
    let world = World::until(now() - 1);
    let (address, _) = world.admits();
    let (refusal, message) = why(world.join(address, 1).await);
    assert_eq!(refusal, Refusal::Secret);
    assert!(message.contains("has ended"), "{message}");
}

#[tokio::test]
async fn names_and_locators_of_others_and_of_no_mesh_are_refused() {
    let world = World::new();
    let (address, admission) = world.admits();
    world.join(address, 1).await.expect("it is let in");
    let before = world.issued();
    let another = "fd00:db8:0:9::/64@2001:db8:a:2::/64".parse().expect("it is one");
    let outside = "fd00:db8:0:1::/64@2001:db8:b:2::/64".parse().expect("it is one");
    for (name, locators, refusal, says) in [
        ("h1", vec![at(2)], Refusal::Taken, "the node h1 has a certificate already"),
        ("h2", vec![at(1)], Refusal::Taken, "the node h1 has the locator"),
        ("h2", vec![another], Refusal::Wrong, "is no SIR prefix of this mesh"),
        ("h2", vec![outside], Refusal::Wrong, "in none of the `locator_spaces`"),
        ("h2", vec![at(2), at(2)], Refusal::Wrong, "two locators for the SIR prefix"),
        ("h2", vec![], Refusal::Wrong, "for no certain locator"),
    ] {
        let (why, message) = why(world.ask(address, 2, &asks(1, name, &locators)).await);
        assert_eq!(why, refusal, "{message}");
        assert!(message.contains(says), "{message}");
    }
    // These are mistakes, not guesses.
    assert_eq!((world.issued(), admission.failed()), (before, 0));
}

#[tokio::test]
async fn an_authority_that_is_damaged_says_so_on_its_own_host_only() {
    let world = World::new();
    let (address, _) = world.admits();
    fs::write(world.dir.path().join(ISSUED), "oops\n").expect("it can be written");
    let (refusal, message) = why(world.join(address, 1).await);
    assert_eq!(refusal, Refusal::Authority);
    assert!(!message.contains("oops") && !message.contains('/'), "{message}");
}

/// What somebody says who has recorded what another one has said.
#[tokio::test]
async fn a_request_of_another_connection_is_refused() {
    let world = World::new();
    let (address, _) = world.admits();
    let (connection, mut sender, mut receiver) = by_hand(&world, address).await;
    let request = Request::new(&key(1), &[7; 32], asks(1, "h1", &[at(1)]));
    wire::send(&mut sender, &request).await.expect("it is read");
    let answer: Answer = wire::receive(&mut receiver).await.expect("it is answered");
    let Answer::Refused(refused) = answer else { panic!("{answer:?}") };
    assert_eq!(refused.why, Refusal::Wrong);
    assert!(refused.message.contains("not signed"), "{refused}");
    connection.close(VarInt::from_u32(0), b"");
    assert!(!world.issued().contains("h1"));
}

/// Whoever says nothing, or nonsense, is let go, and others are served on.
#[tokio::test]
async fn who_makes_no_sense_does_not_keep_others_out() {
    let world = World::new();
    let (address, _) = world.admits();
    let (silent, ..) = by_hand(&world, address).await;
    let mut gone = Vec::new();
    for bytes in [&b"\0\0\0\x02{}"[..], b"\xff\xff\xff\xff", b"\0\0\0\x09half"] {
        let (connection, mut sender, receiver) = by_hand(&world, address).await;
        sender.write_all(bytes).await.expect("it is read");
        sender.finish().expect("it is open");
        gone.push((connection, sender, receiver));
    }
    for (connection, ..) in gone {
        timeout(Duration::from_secs(3), connection.closed()).await.expect("it is let go");
    }
    world.join(address, 1).await.expect("it is let in");
    timeout(Duration::from_secs(10), silent.closed()).await.expect("it is let go");
}

/// A connection of a new host, once it is greeted.
async fn by_hand(world: &World, address: SocketAddr) -> (Connection, SendStream, RecvStream) {
    let endpoint = Endpoint::client(LOOPBACK).expect("a port is free");
    let config = tls::client(world.fingerprint()).expect("it is good");
    let connecting = endpoint.connect_with(config, address, "mesh.ila").expect("it is an address");
    let connection = connecting.await.expect("it answers");
    let (sender, mut receiver) = connection.accept_bi().await.expect("it greets");
    let _: Greeting = wire::receive(&mut receiver).await.expect("it greets");
    (connection, sender, receiver)
}

/// A host that has the authority's key, and answers a request with these bytes,
/// after which it says nothing more.
fn answers(world: &World, bytes: Vec<u8>, ends: bool) -> SocketAddr {
    let ca = ila_authority::read_key(&world.dir.path().join("ca.key")).expect("it is there");
    world.listen(move |connection| {
        let (ca, bytes) = (ca.clone(), bytes.clone());
        async move {
            let exporter = wire::exporter(&connection).expect("it is one");
            let (mut sender, mut receiver) = connection.open_bi().await.expect("it takes one");
            wire::send(&mut sender, &Greeting::new(&ca, &exporter)).await.expect("it reads");
            let _: Request = wire::receive(&mut receiver).await.expect("it asks");
            sender.write_all(&bytes).await.expect("it reads");
            if ends {
                let _ = sender.finish();
            }
            connection.closed().await;
        }
    })
}

#[tokio::test]
async fn an_answer_that_is_cut_short_or_no_answer_may_mean_that_it_is_let_in() {
    for (bytes, says) in [
        (&b""[..], "ended before its end"),
        (b"\0\0", "ended before its end"),
        (b"\0\0\0\x20{\"refused\"", "ended"),
        (b"\xff\xff\xff\xff", "too long"),
        (b"\0\0\0\x02{}", "not understood"),
    ] {
        let world = World::new();
        let address = answers(&world, bytes.to_vec(), true);
        let error = world.join(address, 1).await.expect_err("it is no answer");
        assert!(matches!(error, AskError::Lost { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn who_stalls_is_waited_for_only_so_long() {
    let world = World::new();
    let address = answers(&world, b"\0\0".to_vec(), false);
    let joins = timeout(Duration::from_secs(5), world.join(address, 1)).await;
    let error = joins.expect("it ends").expect_err("it says nothing");
    assert!(matches!(error, AskError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("it says nothing"), "{error}");
}

#[tokio::test]
async fn another_certificate_than_was_asked_for_is_not_taken() {
    let (world, stranger) = (World::new(), World::new());
    let pem = |world: &World, seed| identity::to_pem(&world.identity(seed).certificate);
    let authority = world.folder().pem().to_owned();
    for (certificate, authority, says) in [
        (pem(&world, 2), authority.clone(), "for another key"),
        // Of the same key, under another name.
        (pem(&world, 1), authority.clone(), "says something else"),
        (pem(&stranger, 1), authority.clone(), "not issued by this authority"),
        (pem(&stranger, 1), stranger.folder().pem().to_owned(), "its authority is another one"),
        (authority.clone(), authority.clone(), "is that of an authority"),
        ("nonsense".to_owned(), authority, "not a certificate"),
    ] {
        let answer = Answer::Admitted(Admitted {
            certificate,
            authority,
            seeds: Vec::new(),
            settings: Settings::default(),
        });
        let json = serde_json::to_vec(&answer).expect("it can be written");
        let length = u32::try_from(json.len()).expect("it is short").to_be_bytes();
        let address = answers(&world, [&length[..], &json].concat(), true);
        let error = world.join(address, 1).await.expect_err("it is not what was asked for");
        assert!(matches!(error, AskError::Wrong { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// The agent itself admits, on the one port that it has.
#[tokio::test]
async fn a_node_of_the_mesh_admits_where_it_listens() {
    let world = World::new();
    let (_, admission) = world.admits();
    let start = crate::mesh::Start {
        key: key(100),
        identity: world.identity(100),
        listen: LOOPBACK,
        addresses: Vec::new(),
        seeds: Vec::new(),
        file: world.dir.path().join("said"),
        remembered: crate::mesh::snapshot::Heard::default(),
        settings: ila_proto::gossip::mesh::Settings::default(),
        speaks: ila_proto::gossip::frame::Version::LATEST,
        admission: Some(admission),
    };
    let mesh = crate::mesh::MeshHandle::start(start).expect("it starts");
    let record = mesh.ask(|mesh| crate::mesh::record(mesh.own())).await.flatten();
    let address = record.expect("it has said who it is").addresses[0];
    let given = world.join(address, 1).await.expect("it is let in");
    assert_eq!(given.admitted.seeds, [address]);
    mesh.close();
}

/// One port for both protocols: who has no certificate is told apart by what it
/// has come for.
#[tokio::test]
async fn the_port_of_the_mesh_tells_who_comes_to_join() {
    let world = World::new();
    let (saw, mut sees) = tokio::sync::mpsc::unbounded_channel();
    let address = world.listen(move |connection| {
        let saw = saw.clone();
        async move {
            let shown = connection.peer_identity().is_some();
            drop(saw.send((tls::protocol(&connection), shown)));
        }
    });
    let endpoint = Endpoint::client(LOOPBACK).expect("a port is free");
    let config = tls::client(world.fingerprint()).expect("it is good");
    let joins = endpoint.connect_with(config, address, "mesh.ila").expect("it is an address");
    joins.await.expect("it is let in");
    assert_eq!(sees.recv().await, Some((Some(ALPN.to_vec()), false)));
    let node = crate::transport::Transport::listen(&world.identity(2), LOOPBACK);
    let node = node.expect("a port is free");
    let _ = node.connect(address).await.expect("it is a node");
    assert_eq!(sees.recv().await, Some((Some(MESH.to_vec()), true)));
}
