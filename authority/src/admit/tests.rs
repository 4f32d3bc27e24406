use std::fs;

use ila_proto::identity::KeyPair;

use super::*;
use crate::{ISSUED, TOKENS, Terms};

mod disk;

/// An authority with a token.
struct World {
    dir: tempfile::TempDir,
    secret: Secret,
}

fn key(seed: u8) -> PublicKey {
    KeyPair::from_seed(&[seed; 32]).public()
}

fn at(number: u8) -> Domain {
    format!("fd00:db8:0:1::/64@2001:db8:a:{number:x}::/64").parse().expect("it is one")
}

impl World {
    fn new(terms: &Terms) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        crate::init(dir.path()).expect("it can be made");
        let world = Self { dir, secret: Secret([1; 16]) };
        world.folder().add_token(&world.secret, terms).expect("it can be written");
        world
    }

    fn folder(&self) -> Folder {
        Folder::open(self.dir.path()).expect("it is whole")
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.dir.path().join(file)).expect("it is there")
    }

    fn join(&self, seed: u8, node: &str, locators: &[Domain]) -> Result<Issue, Denied> {
        let node = node.parse().expect("a name");
        self.folder().join(key(seed), &self.secret, node, locators.to_vec())
    }

    /// Changes the times of a node's line, and so of its certificate.
    fn shift(&self, from: u64, until: u64) {
        let text = self.read(ISSUED);
        let mut line: serde_json::Value = serde_json::from_str(&text).expect("one line");
        line["valid_from"] = crate::date(from).into();
        line["valid_until"] = crate::date(until).into();
        fs::write(self.dir.path().join(ISSUED), format!("{line}\n")).expect("it can be written");
    }
}

fn valid() -> Terms {
    Terms { until: now() + 60, ..Terms::default() }
}

fn why(result: Result<Issue, Denied>) -> (Refusal, String) {
    match result.expect_err("it is refused") {
        Denied::Refused(Refused { why, message }) => (why, message),
        Denied::Failed(error) => panic!("{error}"),
    }
}

const DAY: u64 = 24 * 60 * 60;

#[test]
fn a_token_lets_any_number_of_hosts_in_each_with_its_own_range() {
    let world = World::new(&valid());
    for seed in 1..=3 {
        let issue = world.join(seed, &format!("h{seed}"), &[at(seed)]).expect("it is let in");
        assert_eq!(issue.summary.home[0].to_string(), format!("2000:{seed}0:0:0/28"));
        let left = seconds(&issue.summary.valid_until).expect("a time") - now();
        assert!(left.abs_diff(90 * DAY) < 60, "{left}");
    }
    assert_eq!(world.read(ISSUED).lines().count(), 3);
    // Only the hash is there.
    assert!(world.read(TOKENS).contains(&world.secret.hash()));
}

/// Ten thousand hosts, each with more identifiers than it can have containers.
#[test]
fn a_range_holds_more_than_a_host_and_there_are_more_than_hosts() {
    let world = World::new(&valid());
    let home = world.join(1, "h1", &[at(1)]).expect("it is let in").summary.home[0].0;
    assert!(1_u64 << (64 - home.length) >= 65_536);
    assert!(1_u64 << (home.length - 4) > 10_000);
}

#[test]
fn the_same_again_is_the_same_to_the_last_byte_and_not_recorded_again() {
    let world = World::new(&valid());
    let first = world.join(1, "h1", &[at(1)]).expect("it is let in");
    let record = world.read(ISSUED);
    let again = world.join(1, "h1", &[at(1)]).expect("it is let in again");
    assert_eq!((again.der, world.read(ISSUED)), (first.der.clone(), record));
    // With another locator it is another certificate, of the same node.
    let moved = world.join(1, "h1", &[at(2)]).expect("it is let in");
    assert_eq!((moved.summary.id, moved.summary.home), (first.summary.id, first.summary.home));
    assert_eq!(world.read(ISSUED).lines().count(), 2);
}

#[test]
fn what_another_node_has_is_refused_and_nothing_is_written() {
    let world = World::new(&valid());
    world.join(1, "h1", &[at(1)]).expect("it is let in");
    let before = world.read(ISSUED);
    for (seed, node, locator, says) in [
        (2, "h1", at(2), "the node h1 has a certificate already"),
        (2, "h2", at(1), "the node h1 has the locator 2001:db8:a:1::/64"),
        (1, "h2", at(1), "the host's key is that of the node h1"),
    ] {
        let (refusal, message) = why(world.join(seed, node, &[locator]));
        assert_eq!(refusal, Refusal::Taken);
        assert!(message.contains(says), "{message}");
    }
    let (refusal, message) = why(world.join(2, "h2", &[at(2), at(3)]));
    assert_eq!(refusal, Refusal::Wrong);
    assert!(message.contains("two locators"), "{message}");
    assert_eq!(world.read(ISSUED), before);
}

#[test]
fn a_token_ends_and_another_never_was() {
    let world = World::new(&Terms { until: now() - 1, ..Terms::default() });
    let (refusal, message) = why(world.join(1, "h1", &[at(1)]));
    assert_eq!(refusal, Refusal::Secret);
    assert!(message.starts_with("the token has ended at 2"), "{message}");
    let other = World { secret: Secret([2; 16]), ..World::new(&valid()) };
    let expected = (Refusal::Secret, "the token is none of this mesh".to_owned());
    assert_eq!(why(other.join(1, "h1", &[at(1)])), expected);
    assert_eq!(world.read(ISSUED) + &other.read(ISSUED), "");
}

#[test]
fn a_token_for_one_host_lets_that_one_in_again_and_no_other() {
    let world = World::new(&Terms { once: true, ..valid() });
    // Who is refused does not use it up.
    why(world.join(1, "h1", &[]));
    let mut folder = world.folder();
    folder.admit(key(9), "h9".parse().expect("a name"), vec![at(9)]).expect("it is free");
    drop(folder);
    assert_eq!(why(world.join(3, "h9", &[at(3)])).0, Refusal::Taken);
    let first = world.join(1, "h1", &[at(1)]).expect("it is let in");
    let (refusal, message) = why(world.join(2, "h2", &[at(2)]));
    assert_eq!(refusal, Refusal::Secret);
    assert!(message.contains("for one host"), "{message}");
    assert_eq!(world.join(1, "h1", &[at(1)]).expect("it is the one").der, first.der);
}

#[test]
fn a_token_for_a_locator_gives_it_and_no_other() {
    let world = World::new(&Terms { domains: vec![at(7)], ..valid() });
    assert_eq!(why(world.join(1, "h1", &[at(1)])).0, Refusal::Wrong);
    assert_eq!(world.join(1, "h1", &[]).expect("it is let in").summary.domains, [at(7)]);
    // A token for none has none to give.
    assert_eq!(why(World::new(&valid()).join(1, "h1", &[])).0, Refusal::Wrong);
}

#[test]
fn tokens_that_have_ended_long_ago_are_forgotten() {
    let world = World::new(&Terms { until: now() - 31 * DAY, ..Terms::default() });
    world.folder().add_token(&Secret([2; 16]), &valid()).expect("it can be written");
    assert_eq!(world.read(TOKENS).lines().count(), 1);
    fs::write(world.dir.path().join(TOKENS), "oops\n").expect("it can be written");
    let error = world.join(1, "h1", &[at(1)]).expect_err("nobody knows").to_string();
    assert!(error.contains("line 1 of") && error.contains("tokens"), "{error}");
}

#[test]
fn a_node_is_renewed_as_it_is_when_a_third_is_left() {
    let world = World::new(&valid());
    let locators = [at(2), "fd00:db8:0:2::/64@2001:db8:a:1::/64".parse().expect("it is one")];
    let first = world.join(1, "h1", &locators).expect("it is let in").summary;
    // Too early: it is the one that it has.
    let early = world.folder().renew(key(1)).expect("it is known");
    assert_eq!(early.summary.serial, first.serial);
    world.shift(now() - 70 * DAY, now() + 20 * DAY);
    let renewed = world.folder().renew(key(1)).expect("it is time").summary;
    assert_ne!(renewed.serial, first.serial);
    assert!(seconds(&renewed.valid_until) >= seconds(&first.valid_until));
    assert_eq!(renewed.domains, locators);
    assert_eq!((renewed.id, renewed.node, renewed.home), (first.id, first.node, first.home));
    // The answer was lost: the same again.
    let again = world.folder().renew(key(1)).expect("it is known").summary;
    assert_eq!(again.serial, renewed.serial);
    assert_eq!(world.read(ISSUED).lines().count(), 2);
}

#[test]
fn who_is_forgotten_or_too_late_is_not_renewed() {
    let world = World::new(&valid());
    assert_eq!(why(world.folder().renew(key(1))).0, Refusal::Unknown);
    world.join(1, "h1", &[at(1)]).expect("it is let in");
    world.shift(now() - 90 * DAY, now() - 1);
    let (refusal, message) = why(world.folder().renew(key(1)));
    assert_eq!(refusal, Refusal::Unknown);
    assert!(message.contains("join again with a token"), "{message}");
    // With one it is the same node.
    let again = world.join(1, "h1", &[at(1)]).expect("it is let in");
    assert_eq!(again.summary.home[0].to_string(), "2000:10:0:0/28");
    assert!(world.folder().renew(key(1)).is_ok());
}

#[test]
fn nothing_outlives_the_authority() {
    let world = World::new(&valid());
    world.join(1, "h1", &[at(1)]).expect("it is let in");
    // As if this were the authority's last days: the node's end where it does.
    let until = world.folder().authority.validity().until;
    world.shift(now() - 10_000 * DAY, until);
    let (refusal, message) = why(world.folder().renew(key(1)));
    assert_eq!(refusal, Refusal::Authority);
    assert!(message.contains("ends no later"), "{message}");
}
