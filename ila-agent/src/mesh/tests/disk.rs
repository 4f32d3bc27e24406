//! Files that are nearly as this node has written them.

use std::fs;

use ila_proto::gossip::{Change, Incarnation, Owner, Position, State, wire};

use super::{super::snapshot, *};

#[path = "../../../../proto/tests/decoders/mutate.rs"]
mod mutate;
#[path = "../../../../proto/tests/decoders/run.rs"]
mod run;

use run::mutants;

/// A node that has said something.
fn speaker(world: &World, node: u16) -> (Owner, NodeRecord, Agent) {
    let start = world.prepare(node, "[::1]:0".parse().expect("it is an address"), &[]);
    let authority = world.authority.1.clone();
    let random = StdRng::seed_from_u64(node.into());
    let mut agent = Agent { authority, key: start.key, random };
    let certificate = start.identity.certificate;
    let record = NodeRecord { certificate, addresses: vec![], version: String::new() };
    let state = State::of([(Key::RECORD, own::value(&record).expect("it is short"))]);
    let position = Position { incarnation: Incarnation { boot: 1, nonce: 1 }, sequence: 0 };
    let mut owner = Owner::new(state, position, &mut agent).expect("it is certified");
    let subject = Subject::new(SIR, identifier(node));
    let claimed = change(owner.certified(), subject, Some(&Claim::default()));
    let changes: Vec<Change> = claimed.into_iter().collect();
    owner.say(&changes, &mut agent).expect("there is room");
    (owner, record, agent)
}

#[test]
fn snapshots_are_read() {
    let world = World::new();
    let (_, _, agent) = speaker(&world, 9);
    let owners: Vec<_> = (1..4).map(|node| Arc::new(speaker(&world, node).0)).collect();
    let file = world.folder.path().join("others");
    snapshot::save(&file, &owners).expect("it can be written");
    assert_eq!(Heard::load(&file).parts().count(), owners.len());
    let pool = [fs::read(&file).expect("it is there")];
    let agent = std::cell::RefCell::new(agent);
    mutants(
        "-p ila-agent --lib snapshots_are_read",
        4000,
        &pool,
        |_, _| (),
        |bytes| {
            fs::write(&file, bytes).expect("it can be written");
            let heard = Heard::load(&file);
            let parts: Vec<_> = heard.parts().collect();
            let lengths =
                parts.iter().map(|part| 4 + wire::encode(part).expect("it was read").len());
            assert!(lengths.sum::<usize>() <= bytes.len(), "more is read than there is");
            for part in parts {
                let Ok(read) = Owner::learn(part, &mut *agent.borrow_mut()) else { continue };
                let said = |it: &Arc<Owner>| (it.head(), it.state()) == (read.head(), read.state());
                assert!(owners.iter().any(said), "{:?} has not said so", read.id());
            }
        },
    );
}

#[test]
fn what_this_node_has_said_is_read() {
    let world = World::new();
    let (owner, record, agent) = speaker(&world, 1);
    let file = world.folder.path().join("own");
    own::save(&file, &owner.since(None)).expect("it can be written");
    let pool = [fs::read(&file).expect("it is there")];
    let agent = std::cell::RefCell::new(agent);
    mutants(
        "-p ila-agent --lib what_this_node_has_said",
        4000,
        &pool,
        |_, _| (),
        |bytes| {
            fs::write(&file, bytes).expect("it can be written");
            match own::resume(&file, &record, &mut *agent.borrow_mut()) {
                Ok(resumed) => assert_eq!(resumed.state(), owner.state()),
                Err(MeshError::Damaged(_)) => {}
                Err(other) => panic!("{other}"),
            }
        },
    );
}

/// Others would take what it says for old otherwise.
#[test]
fn each_life_of_a_node_is_later_than_the_one_before() {
    let world = World::new();
    let (_, record, mut agent) = speaker(&world, 1);
    let file = world.folder.path().join("own");
    let boots = [(); 3].map(|()| {
        let own = own::resume(&file, &record, &mut agent).expect("it can be stored");
        own.head().position.incarnation.boot
    });
    assert_eq!(boots, [1, 2, 3]);
}
