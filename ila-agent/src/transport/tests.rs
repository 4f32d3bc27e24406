use std::net::Ipv6Addr;

use ila_proto::{
    gossip::{
        Change, Delta, Incarnation, Key, NodeId, Position, PublicKey, Signature,
        frame::{Frame, Version},
    },
    identity::{KeyPair, Validity},
};

use super::*;

mod clocks;
mod hostile;

const VALIDITY: Validity = Validity { from: 0, until: 4_000_000_000 };
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

/// What an authority of a seed has made for a node.
fn identity(authority: u8, node: u8, validity: Validity) -> (Identity, PublicKey) {
    let key = KeyPair::from_seed(&[authority; 32]);
    let der = Authority::create(&key, [1; 16], VALIDITY).expect("it can be made");
    let own = KeyPair::from_seed(&[node; 32]);
    let certified = Certified {
        key: own.public(),
        name: format!("n{node}").parse().expect("a name"),
        locators: Vec::new(),
        home: Vec::new(),
    };
    let read = Authority::read(&der).expect("it was made so");
    let certificate = read.issue(&key, &certified, [2; 16], validity).expect("it can be issued");
    (Identity { certificate, key: own.to_der(), authority: der }, own.public())
}

fn transport(authority: u8, node: u8) -> (Transport, PublicKey) {
    let (identity, key) = identity(authority, node, VALIDITY);
    (Transport::listen(&identity, ANYWHERE).expect("a port is free"), key)
}

/// One that speaks no later version than this.
fn speaking(node: u8, latest: Version) -> Transport {
    let (identity, _) = identity(1, node, VALIDITY);
    let underlay = Underlay::bind(ANYWHERE).expect("a port is free");
    let speaks = Speaks { latest, admits: false };
    Transport::speaking(underlay, &identity, speaks).expect("it is good")
}

/// Accepts one connection.
async fn accept(transport: &Transport) -> Result<Peer, TransportError> {
    loop {
        let handshake = transport.accept().await.expect("it is open");
        match handshake.await {
            Err(TransportError::NotAdmitted(Reason::AddressUnproven)) => {}
            Ok(Arrival::Node(peer)) => return Ok(peer),
            Ok(Arrival::Joins(_)) => panic!("nobody joins"),
            Err(error) => return Err(error),
        }
    }
}

#[tokio::test]
async fn both_sides_know_who_the_other_is_and_hear_what_it_says() {
    let ((one, one_key), (other, other_key)) = (transport(1, 1), transport(1, 2));
    let address = other.address().expect("it listens");
    let (left, right) = tokio::join!(one.connect(address), accept(&other));
    let (left, right) = (left.expect("it is let in"), right.expect("it is good"));
    assert_eq!((left.node.key, right.node.key), (other_key, one_key));
    let (mut writer, frames) = (left.writer().await.expect("there is one"), frames());
    let send = async {
        for frame in frames.clone() {
            writer.write(frame).await.expect("it is read");
        }
    };
    let receive = async {
        let mut reader = right.reader().await.expect("it says something");
        for frame in &frames {
            assert_eq!(reader.read().await.expect("it is one"), *frame);
        }
    };
    tokio::join!(send, receive);
    left.close(0);
    right.closed().await;
}

fn frames() -> Vec<Frame> {
    let heads = (0..20_000).map(|at| (NodeId([7; 16]).start(), at)).collect();
    vec![Frame::Same, Frame::Have(heads), Frame::Compare(7)]
}

/// Whoever calls; and what one of them does not know it is not told.
#[tokio::test]
async fn two_speak_the_latest_version_that_both_know() {
    let position = Position { incarnation: Incarnation { boot: 1, nonce: 2 }, sequence: 3 };
    let said = Frame::Delta(Delta {
        owner: NodeId([7; 16]),
        from: Some(position),
        to: position.next(),
        signature: Signature { r: [8; 32], s: [9; 32] },
        changes: vec![Change { key: Key::RECORD, value: None }],
    });
    for (calls, called) in [
        (Version::One, Version::One),
        (Version::One, Version::Two),
        (Version::Two, Version::One),
        (Version::Two, Version::Two),
    ] {
        let both = calls.min(called);
        let (calls, called) = (speaking(1, calls), speaking(2, called));
        let address = called.address().expect("it listens");
        let (left, right) = tokio::join!(calls.connect(address), accept(&called));
        let (left, right) = (left.expect("it is let in"), right.expect("it is good"));
        assert_eq!((left.version, right.version), (both, both));
        for (from, to) in [(&left, &right), (&right, &left)] {
            let mut writer = from.writer().await.expect("there is one");
            writer.write(said.clone()).await.expect("it is read");
            let mut reader = to.reader().await.expect("it says something");
            let read = timeout(HANDSHAKE, reader.read()).await.expect("it is known");
            assert_eq!(read.expect("it is one"), said.clone().spoken(both));
            assert_eq!(matches!(said.clone().spoken(both), Frame::Step(_)), both == Version::Two);
        }
        for transport in [&calls, &called] {
            assert_eq!(transport.counts().all(), [].into());
        }
    }
}

#[tokio::test]
async fn who_is_not_of_the_same_authority_or_out_of_time_is_not_let_in() {
    let (good, _) = transport(1, 1);
    let address = good.address().expect("it listens");
    let past = Validity { from: 0, until: 1_000_000_000 };
    for (authority, validity) in [(2, VALIDITY), (1, past)] {
        let (identity, _) = identity(authority, 3, validity);
        let bad = Transport::listen(&identity, ANYWHERE).expect("a port is free");
        let there = bad.address().expect("it listens");
        // Neither side takes the other for good, whoever calls.
        let (calls, called) = tokio::join!(bad.connect(address), accept(&good));
        // Its own handshake may end before the other side has looked.
        if let Ok(peer) = calls {
            peer.closed().await;
        }
        called.expect_err("its certificate is no good");
        let (calls, _) = tokio::join!(good.connect(there), accept(&bad));
        calls.expect_err("its certificate is no good");
    }
}

/// Only who has come to join needs no certificate.
#[tokio::test]
async fn who_shows_no_certificate_is_no_node() {
    let (good, _) = identity(1, 1, VALIDITY);
    let underlay = Underlay::bind(ANYWHERE).expect("a port is free");
    let speaks = Speaks { latest: Version::LATEST, admits: true };
    let good = Transport::speaking(underlay, &good, speaks).expect("it is good");
    let address = good.address().expect("it listens");
    let mesh = Version::One.alpn();
    for alpn in [mesh, tls::JOIN] {
        let (identity, _) = identity(1, 2, VALIDITY);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(identity.authority)).expect("it is one");
        let mut client =
            rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .expect("it is there")
                .with_root_certificates(roots)
                .with_no_client_auth();
        client.alpn_protocols = vec![alpn.to_vec()];
        let client = quinn::crypto::rustls::QuicClientConfig::try_from(client).expect("it is");
        let client = quinn::ClientConfig::new(Arc::new(client));
        let endpoint = Endpoint::client(ANYWHERE).expect("a port is free");
        let connecting = endpoint.connect_with(client, address, SERVER_NAME).expect("it is one");
        let arrives = async {
            loop {
                match good.accept().await.expect("it is open").await {
                    Err(TransportError::NotAdmitted(Reason::AddressUnproven)) => {}
                    other => return other,
                }
            }
        };
        let (_, arrival) = tokio::join!(connecting, arrives);
        match arrival {
            Ok(Arrival::Joins(_)) => assert_eq!(alpn, tls::JOIN),
            Err(TransportError::Certificate(_)) => assert_eq!(alpn, mesh),
            other => panic!("{other:?}"),
        }
    }
}
