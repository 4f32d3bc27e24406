//! Certificates that are renewed, and that are not.

use super::*;
use crate::enrol::renew::Renewer;

/// Changes the times of the last certificate in the record: as it is a while
/// later.
fn make_older(world: &World, node: &str, days: u64) {
    let day = 24 * 60 * 60;
    let lines: Vec<String> = world
        .issued()
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
            if line["node"] == node {
                line["valid_from"] = ila_authority::date(now() - days * day).into();
                line["valid_until"] = ila_authority::date(now() + (90 - days) * day).into();
            }
            format!("{line}\n")
        })
        .collect();
    fs::write(world.dir.path().join(ISSUED), lines.concat()).expect("it can be written");
}

fn renewer(dir: &tempfile::TempDir, given: &Given, address: SocketAddr) -> Renewer {
    let identity = dir.path().join("identity");
    fs::create_dir(&identity).expect("it can be made");
    for (file, text) in [
        ("node.key", &key(1).to_pem()),
        ("node.pem", &given.admitted.certificate),
        ("ca.pem", &given.admitted.authority),
    ] {
        fs::write(identity.join(file), text).expect("it can be written");
    }
    Renewer { identity, addresses: vec![address] }
}

#[tokio::test]
async fn a_certificate_is_renewed_without_a_token_and_says_the_same() {
    let world = World::new();
    let (address, _) = world.admits();
    let given = world.join(address, 1).await.expect("it is let in");
    let dir = tempfile::tempdir().expect("a folder");
    let renewer = renewer(&dir, &given, address);
    let there = || fs::read_to_string(renewer.identity.join("node.pem")).expect("it is there");
    let error = renewer.renew().await.expect_err("it is early").to_string();
    assert!(error.contains("the same certificate again"), "{error}");
    make_older(&world, "h1", 61);
    let validity = renewer.renew().await.expect("it is time");
    assert!(validity.until > now() + 89 * 24 * 60 * 60);
    assert_ne!(there(), given.admitted.certificate);
    // The same node, which no other authority can make anything of.
    let stranger = World::new();
    let (elsewhere, _) = stranger.admits();
    let before = there();
    let astray = Renewer { addresses: vec![elsewhere], ..renewer.clone() };
    astray.renew().await.expect_err("it is another mesh");
    // Forgotten: it stays what it is until it ends.
    fs::write(world.dir.path().join(ISSUED), "").expect("it can be written");
    let error = renewer.renew().await.expect_err("nobody knows it").to_string();
    assert!(error.contains("not in the authority's record"), "{error}");
    assert_eq!(there(), before);
}

#[tokio::test]
async fn a_new_certificate_that_says_something_else_is_not_taken() {
    let world = World::new();
    let (address, _) = world.admits();
    let given = world.join(address, 1).await.expect("it is let in");
    let dir = tempfile::tempdir().expect("a folder");
    let renewer = renewer(&dir, &given, address);
    // Somebody has certified the same node for another locator.
    let mut folder = world.folder();
    let name = "h1".parse().expect("a name");
    folder.admit(key(1).public(), name, vec![at(7)]).expect("it is free");
    drop(folder);
    let error = renewer.renew().await.expect_err("claims would change hands").to_string();
    assert!(error.contains("says something else"), "{error}");
}

/// The agent goes on, and says how it stands.
#[tokio::test]
async fn an_authority_out_of_reach_is_tried_again_and_told_of() {
    let world = World::new();
    let (address, _) = world.admits();
    let given = world.join(address, 1).await.expect("it is let in");
    let dir = tempfile::tempdir().expect("a folder");
    let renewer = renewer(&dir, &given, address);
    let nowhere = std::net::UdpSocket::bind(LOOPBACK).expect("a port is free");
    let nowhere = nowhere.local_addr().expect("it has one");
    // The certificate that it would have two months later.
    let ca = ila_authority::read_key(&world.dir.path().join("ca.key")).expect("it is there");
    let day = 24 * 60 * 60;
    let validity = identity::Validity { from: now() - 61 * day, until: now() + 29 * day };
    let authority = identity::Authority::read(&world.authority()).expect("it is one");
    let der = authority.issue(&ca, &given.node, [3; 16], validity).expect("it can be");
    let file = renewer.identity.join("node.pem");
    fs::write(&file, identity::to_pem(&der)).expect("it can be written");
    make_older(&world, "h1", 61);

    let lost = Renewer { addresses: vec![nowhere], ..renewer.clone() };
    let (states, mut state) = tokio::sync::watch::channel(None);
    let task = tokio::spawn(lost.run(states));
    let said = timeout(Duration::from_secs(20), state.wait_for(Option::is_some)).await;
    let said = said.expect("it tries").expect("it goes on").clone().expect("it is there");
    assert_eq!((said.until, said.renewal), (validity.until, ila_proto::enrol::Renewal::Due));
    assert_eq!(said.failed.as_ref().map(|(times, _)| *times), Some(1), "{said:?}");
    assert!(!task.is_finished());
    task.abort();

    let alone = Renewer { addresses: Vec::new(), ..renewer.clone() };
    let error = alone.renew().await.expect_err("there is nobody to ask");
    assert_eq!(error.to_string(), "no host that admits was reached: none is known");

    let (states, mut state) = tokio::sync::watch::channel(None);
    let task = tokio::spawn(renewer.run(states));
    let said = timeout(Duration::from_secs(20), state.wait_for(Option::is_some)).await;
    let said = said.expect("it tries").expect("it goes on").clone().expect("it is there");
    assert!(said.until > validity.until && said.failed.is_none(), "{said:?}");
    assert!(matches!(said.renewal, ila_proto::enrol::Renewal::In(_)));
    task.abort();
}
