//! The authority: what `ila-ctl ca` writes, what it says, and what it refuses.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, SystemTime},
};

use ila_proto::{
    api::Domain,
    identity::{self, Authority, KeyPair},
};

fn ila_ctl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ila-ctl")).args(args).output().expect("ila-ctl runs")
}

/// A folder for an authority and for its nodes.
struct World(tempfile::TempDir);

impl World {
    fn empty() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn with_authority() -> Self {
        let world = Self::empty();
        ok(&world.init());
        world
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        self.path(file).to_string_lossy().into_owned()
    }

    fn init(&self) -> Output {
        ila_ctl(&["ca", "init", "--dir", &self.text("ca")])
    }

    /// Certifies a node whose files are in a folder of its name.
    fn issue(&self, node: &str, locator: &str, more: &[&str]) -> Output {
        self.issue_into(node, node, locator, more)
    }

    fn issue_into(&self, out: &str, node: &str, locator: &str, more: &[&str]) -> Output {
        let (dir, out) = (self.text("ca"), self.text(out));
        let args = ["ca", "issue", "--node", node, "--locator", locator, "--dir", &dir];
        ila_ctl(&[&args[..], &["--out", &out], more].concat())
    }

    /// What a certificate says.
    fn show(&self, file: &str) -> serde_json::Value {
        let output = ila_ctl(&["ca", "show", &self.text(file), "-o", "json"]);
        serde_json::from_str(&ok(&output)).expect("it is JSON")
    }

    fn home(&self, node: &str) -> serde_json::Value {
        self.show(&format!("{node}/node.pem"))["home"].clone()
    }

    fn issued(&self) -> String {
        fs::read_to_string(self.path("ca/issued")).expect("it is there")
    }

    fn mode(&self, file: &str) -> u32 {
        self.path(file).metadata().expect(file).permissions().mode() & 0o7777
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ok(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    assert_eq!(stderr(output), "");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The error and the hint of a command that is refused.
fn refused(output: &Output) -> (String, String) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
    let text = stderr(output);
    let (error, hint) = text.split_once('\n').expect("there is a line");
    (error.to_owned(), hint.trim_end().to_owned())
}

/// A locator for each number, all for one SIR prefix.
fn at(number: u8) -> String {
    format!("fd00:db8:0:1::/64@2001:db8:a:{number:x}::/64")
}

#[test]
fn an_authority_is_made_once() {
    let world = World::empty();
    let table = ok(&world.init());
    assert!(table.contains("none: an authority"), "{table}");
    assert_eq!([world.mode("ca/ca.key"), world.mode("ca/ca.pem")], [0o600, 0o644]);
    let read = |file| fs::read_to_string(world.path(file)).expect("it is there");
    let files = ["ca/ca.key", "ca/ca.pem", "ca/issued"].map(read);
    let key = KeyPair::from_pem(&files[0]).expect("it is a key");
    let der = identity::from_pem(&files[1]).expect("it is PEM");
    let authority = Authority::read(&der).expect("it is an authority");
    assert_eq!(authority.key(), key.public());
    let years = (authority.validity().until - authority.validity().from) / (365 * 24 * 60 * 60);
    assert_eq!(years, 10);

    let (error, hint) = refused(&world.init());
    assert_eq!(error, format!("error: there is an authority in {} already", world.text("ca")));
    assert!(hint.contains("ila-ctl ca issue --dir"), "{hint}");
    assert_eq!(["ca/ca.key", "ca/ca.pem", "ca/issued"].map(read), files);
    // Nothing else is left there.
    assert_eq!(fs::read_dir(world.path("ca")).expect("a folder").count(), 3);
    // Two have two keys.
    assert_ne!(World::with_authority().show("ca/ca.pem")["id"], world.show("ca/ca.pem")["id"]);
}

#[test]
fn a_node_is_given_a_key_a_certificate_and_the_authoritys() {
    let world = World::with_authority();
    let second = "fd00:db8:0:2::/64@2001:db8:a:2::/64";
    let table = ok(&world.issue("h1", &at(1), &["--locator", second]));
    assert_eq!([world.mode("h1/node.key"), world.mode("h1/node.pem")], [0o600, 0o644]);
    assert_eq!(fs::read_dir(world.path("h1")).expect("a folder").count(), 3);
    let read = |file| fs::read_to_string(world.path(file)).expect("it is there");
    assert_eq!(read("h1/ca.pem"), read("ca/ca.pem"));
    let authority = identity::from_pem(&read("h1/ca.pem")).expect("it is PEM");
    let authority = Authority::read(&authority).expect("it is an authority");
    let der = identity::from_pem(&read("h1/node.pem")).expect("it is PEM");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    let node = authority.certified(&der, Some(now.as_secs())).expect("it is good now");
    let key = KeyPair::from_pem(&read("h1/node.key")).expect("it is a key");
    assert_eq!((node.key, node.name.as_str()), (key.public(), "h1"));
    let domains = [&at(1), second].map(|text| text.parse::<Domain>().expect("it is good"));
    assert_eq!(node.locators, domains.map(|it| (it.sir_prefix, it.locator)));
    assert_eq!(node.home, ["2000:10:0:0/28".parse().expect("a range")]);
    // On a host whose clock is behind as well, and for a year.
    let early = now.as_secs() - 30 * 60;
    assert!(authority.certified(&der, Some(early)).is_ok());
    let in_days = |days: u32| now + Duration::from_secs(24 * 60 * 60) * days;
    let valid =
        [364, 366].map(|days| authority.certified(&der, Some(in_days(days).as_secs())).is_ok());
    assert_eq!(valid, [true, false]);

    // The same as it is shown.
    assert_eq!(ok(&ila_ctl(&["ca", "show", &world.text("h1/node.pem")])), table);
    let shown = world.show("h1/node.pem");
    for (key, value) in [
        ("v", serde_json::json!(1)),
        ("node", "h1".into()),
        ("id", node.key.node().to_string().into()),
        ("home", serde_json::json!(["2000:10:0:0/28"])),
        (
            "domains",
            serde_json::json!([
                {"sir_prefix": "fd00:db8:0:1::/64", "locator": "2001:db8:a:1::/64"},
                {"sir_prefix": "fd00:db8:0:2::/64", "locator": "2001:db8:a:2::/64"},
            ]),
        ),
        ("authority", authority.key().node().to_string().into()),
    ] {
        assert_eq!(shown[key], value);
    }
    let until = humantime::parse_rfc3339(shown["valid_until"].as_str().expect("a text"));
    let until = until.expect("a time").duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    assert!(until.abs_diff(in_days(365)) < Duration::from_secs(60), "{shown}");
    for text in ["h1", "2000:10:0:0/28", &at(1), second] {
        assert!(table.contains(text), "{table}");
    }
    // The record says the same, on one line.
    let line: serde_json::Value = serde_json::from_str(&world.issued()).expect("one JSON value");
    assert_eq!(line, shown);
}

#[test]
fn the_umask_takes_nothing_away() {
    let world = World::empty();
    let script = format!(
        "umask 077; {0} ca init --dir {1} && {0} ca issue --node h1 --locator {2} --dir {1} --out {1}",
        env!("CARGO_BIN_EXE_ila-ctl"),
        world.text("ca"),
        at(1)
    );
    ok(&Command::new("sh").args(["-c", &script]).output().expect("sh runs"));
    for file in ["ca.pem", "node.pem", "issued"] {
        assert_eq!(world.mode(&format!("ca/{file}")), 0o644, "{file}");
    }
    for file in ["ca.key", "node.key"] {
        assert_eq!(world.mode(&format!("ca/{file}")), 0o600, "{file}");
    }
}

#[test]
fn ranges_count_up_past_those_that_are_taken() {
    let world = World::with_authority();
    for (number, asked, given) in [
        (1, None, "2000:10:0:0/28"),
        // Numbers 2 and 3.
        (2, Some("2000:20:0:0/27"), "2000:20:0:0/27"),
        (3, None, "2000:40:0:0/28"),
        // One identifier of number 6.
        (4, Some("2000:6f:0:1/64"), "2000:6f:0:1/64"),
        (5, None, "2000:50:0:0/28"),
        (6, None, "2000:70:0:0/28"),
        // Number 0 is there for who asks.
        (7, Some("2000:0:0:0/28"), "2000:0:0:0/28"),
        (8, None, "2000:80:0:0/28"),
    ] {
        let node = format!("h{number}");
        let more = asked.map_or(vec![], |asked| vec!["--identifiers", asked]);
        ok(&world.issue(&node, &at(number), &more));
        assert_eq!(world.home(&node), serde_json::json!([given]), "{node}");
    }
    let more = ["--identifiers", "2ff0:0:0:0/12", "--identifiers", "2fe0:0:0:0/12"];
    ok(&world.issue("h9", &at(9), &more));
    assert_eq!(world.home("h9"), serde_json::json!(["2ff0:0:0:0/12", "2fe0:0:0:0/12"]));
}

/// A range that lies in another one ends before it.
#[test]
fn a_range_within_another_makes_none_of_it_free() {
    let world = World::with_authority();
    let more = ["--identifiers", "2000:0:0:0/24", "--identifiers", "2000:20:0:0/28"];
    ok(&world.issue("h1", &at(1), &more));
    ok(&world.issue("h2", &at(2), &[]));
    assert_eq!(world.home("h2"), serde_json::json!(["2000:100:0:0/28"]));
}

#[test]
fn when_no_range_is_left_one_has_to_be_named() {
    let world = World::with_authority();
    // All but the first number and the last one.
    for (number, bit) in (4..28).enumerate() {
        let first = 0x2000_0000_0000_0000 | 1_u64 << (63 - bit);
        let range = format!("{first:016x}/{}", bit + 1);
        let number = u8::try_from(number).expect("it is small");
        ok(&world.issue(&format!("h{number}"), &at(number), &["--identifiers", &range]));
    }
    let (error, hint) = refused(&world.issue("last", &at(99), &[]));
    assert_eq!(error, "error: no range of identifiers is left");
    assert!(hint.contains("--identifiers"), "{hint}");
    ok(&world.issue("last", &at(99), &["--identifiers", "2000:0:0:0/28"]));
}

/// What another node has is not given away, and nothing is touched.
#[test]
fn what_another_node_has_is_refused() {
    let world = World::with_authority();
    ok(&world.issue("h1", &at(1), &[]));
    ok(&world.issue("h2", &at(2), &["--identifiers", "2000:40:0:0/26"]));
    let before = world.issued();
    for (out, node, locator, more, says, hints) in [
        (
            "new",
            "h1",
            at(3),
            &[][..],
            "the node h1 has a certificate already",
            "put its node.key into",
        ),
        ("new", "h3", at(2), &[], "the node h2 has the locator 2001:db8:a:2::/64", "sed -i 2d"),
        // In another SIR prefix.
        (
            "new",
            "h3",
            "fd00:db8:0:7::/64@2001:db8:a:2::/64".to_owned(),
            &[],
            "the node h2 has the locator",
            "sed -i 2d",
        ),
        (
            "new",
            "h3",
            "fd00:db8:0:7::/64@fd00:db8:0:1::/64".to_owned(),
            &[],
            "the node h1 has fd00:db8:0:1::/64: one as its locator",
            "ask for another one",
        ),
        (
            "new",
            "h3",
            "2001:db8:a:1::/64@2001:db8:a:3::/64".to_owned(),
            &[],
            "the node h1 has 2001:db8:a:1::/64: one as its locator",
            "ask for another one",
        ),
        (
            "new",
            "h3",
            at(3),
            &["--identifiers", "2000:30:0:0/28", "--identifiers", "2000:7f:0:1/64"],
            "the node h2 has identifiers of 2000:40:0:0/26",
            "sed -i 2d",
        ),
        ("h1", "h3", at(3), &[], "the node h1 has this node.key", "--out"),
        ("new", "h3", at(3), &["--days", "4000"], "would outlive its authority", "--days 36"),
    ] {
        let (error, hint) = refused(&world.issue_into(out, node, &locator, more));
        assert!(error.contains(says), "{error}");
        assert!(hint.starts_with("hint: ") && hint.contains(hints), "{hint}");
        assert_eq!(world.issued(), before);
        assert!(!world.path("new").exists());
    }
    // And what contradicts itself.
    let output = world.issue("h3", &at(3), &["--locator", "fd00:db8:0:1::/64@2001:db8:a:4::/64"]);
    assert!(refused(&output).0.contains("two locators for the SIR prefix fd00:db8:0:1::/64"));
    assert_eq!(world.issued(), before);
}

#[test]
fn a_node_that_has_its_key_is_certified_anew() {
    let world = World::with_authority();
    ok(&world.issue("h1", &at(1), &[]));
    ok(&world.issue("h2", &at(2), &[]));
    let key = fs::read(world.path("h1/node.key")).expect("it is there");
    let first = world.show("h1/node.pem");
    // Another locator, the same range.
    ok(&world.issue("h1", &at(3), &["--days", "30"]));
    assert_eq!(fs::read(world.path("h1/node.key")).expect("it is there"), key);
    let second = world.show("h1/node.pem");
    for same in ["id", "node", "home"] {
        assert_eq!(first[same], second[same]);
    }
    for other in ["serial", "domains", "valid_until"] {
        assert_ne!(first[other], second[other]);
    }
    assert_eq!(world.issued().lines().count(), 3);
    // Both certificates are valid: nobody else is given the former locator.
    refused(&world.issue("h3", &at(1), &[]));
    // More identifiers, and they stay.
    ok(&world.issue(
        "h1",
        &at(3),
        &["--identifiers", "2000:10:0:0/28", "--identifiers", "2000:50:0:0/28"],
    ));
    ok(&world.issue("h1", &at(3), &[]));
    assert_eq!(world.home("h1"), serde_json::json!(["2000:10:0:0/28", "2000:50:0:0/28"]));
}

/// The hint is typed as it stands there.
#[test]
fn a_node_that_has_lost_its_key_is_forgotten_and_begins_anew() {
    let world = World::with_authority();
    for (node, number) in [("h1", 1), ("h2", 2), ("h3", 3)] {
        ok(&world.issue(node, &at(number), &[]));
    }
    let former = world.show("h2/node.pem");
    fs::remove_dir_all(world.path("h2")).expect("it can be removed");
    let (_, hint) = refused(&world.issue("h2", &at(2), &[]));
    let (_, command) = hint.split_once("with: ").expect("there is a command");
    ok(&Command::new("sh").args(["-c", command]).output().expect("sh runs"));
    ok(&world.issue("h2", &at(2), &[]));
    let now = world.show("h2/node.pem");
    assert_eq!(now["home"], former["home"]);
    assert_ne!(now["id"], former["id"]);
}

#[test]
fn two_at_once_are_given_different_things() {
    let world = World::with_authority();
    let outputs: Vec<_> = thread::scope(|scope| {
        let world = &world;
        let started: Vec<_> = (1..=8_u8)
            .map(|number| scope.spawn(move || world.issue(&format!("h{number}"), &at(number), &[])))
            .collect();
        // And one name twice.
        let twice =
            ["x", "y"].map(|out| scope.spawn(move || world.issue_into(out, "h9", &at(9), &[])));
        for it in started {
            ok(&it.join().expect("it has ended"));
        }
        twice.into_iter().map(|it| it.join().expect("it has ended")).collect()
    });
    let codes: Vec<_> = outputs.iter().map(|output| output.status.code()).collect();
    assert!(codes == [Some(0), Some(1)] || codes == [Some(1), Some(0)], "{codes:?}");
    let issued = world.issued();
    let mut ranges: Vec<String> = issued
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["home"].to_string()
        })
        .collect();
    ranges.sort();
    let expected: Vec<_> = (1..=9).map(|number| format!("[\"2000:{number}0:0:0/28\"]")).collect();
    assert_eq!(ranges, expected);
}

#[test]
fn two_authorities_at_once_are_one() {
    let world = World::empty();
    let codes: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = (0..4).map(|_| scope.spawn(|| world.init().status.code())).collect();
        started.into_iter().map(|it| it.join().expect("it has ended")).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    ok(&world.issue("h1", &at(1), &[]));
}

/// As a crash leaves it between any two of the files.
#[test]
fn what_was_interrupted_is_finished_by_the_next_attempt() {
    let world = World::with_authority();
    ok(&world.issue("h1", &at(1), &[]));
    // Behind the record: the certificate was not handed out.
    let id = world.show("h1/node.pem")["id"].clone();
    fs::remove_file(world.path("h1/node.pem")).expect("it can be removed");
    ok(&world.issue("h1", &at(1), &[]));
    let shown = world.show("h1/node.pem");
    assert_eq!((&shown["id"], &shown["home"]), (&id, &serde_json::json!(["2000:10:0:0/28"])));
    // Behind the key: nothing was recorded.
    let before = world.issued();
    ok(&world.issue("h2", &at(2), &[]));
    let whole = world.issued();
    let id = world.show("h2/node.pem")["id"].clone();
    fs::remove_file(world.path("h2/node.pem")).expect("it can be removed");
    // In the middle of the line, in each place.
    for length in [before.len(), before.len() + 1, whole.len() - 2] {
        fs::write(world.path("ca/issued"), &whole[..length]).expect("it can be written");
        ok(&world.issue("h2", &at(2), &[]));
        assert_eq!(world.show("h2/node.pem")["id"], id);
        assert_eq!(world.home("h2"), serde_json::json!(["2000:20:0:0/28"]));
        assert_eq!(world.issued().lines().count(), before.lines().count() + 1, "{length}");
    }
    // The key cannot be written: nothing is recorded. The certificate cannot:
    // the record is there, and the key that it speaks of.
    let before = world.issued();
    for (file, is_recorded) in [(".node.key.new", false), ("node.pem", true)] {
        fs::create_dir_all(world.path("h3").join(file)).expect("it can be made");
        assert!(refused(&world.issue("h3", &at(3), &[])).0.contains("cannot write"));
        assert_eq!(world.issued() != before, is_recorded);
        assert_eq!(world.path("h3/node.key").exists(), is_recorded);
        fs::remove_dir(world.path("h3").join(file)).expect("it can be removed");
    }
    ok(&world.issue("h3", &at(3), &[]));
    assert_eq!(world.home("h3"), serde_json::json!(["2000:30:0:0/28"]));
    // A file that was left beside its place.
    fs::write(world.path("h2/.node.pem.new"), "half").expect("it can be written");
    ok(&world.issue("h2", &at(2), &[]));
    assert!(!world.path("h2/.node.pem.new").exists());
}

#[test]
fn a_record_that_was_edited_counts_as_it_is_or_is_refused() {
    let world = World::with_authority();
    ok(&world.issue("h1", &at(1), &[]));
    let line = world.issued();
    // Without its end, with blank lines, and with what later versions may add.
    for text in [
        line.trim_end().to_owned(),
        format!("\n{line}\n"),
        line.replace("\"node\"", "\"more\":{},\"node\""),
    ] {
        fs::write(world.path("ca/issued"), text).expect("it can be written");
        refused(&world.issue("h2", &at(1), &[]));
        ok(&world.issue("h2", &at(2), &[]));
        assert_eq!(world.home("h2"), serde_json::json!(["2000:20:0:0/28"]));
        fs::remove_dir_all(world.path("h2")).expect("it can be removed");
        let (_, hint) = refused(&world.issue("h2", &at(2), &[]));
        let (_, command) = hint.split_once("with: ").expect("there is a command");
        ok(&Command::new("sh").args(["-c", command]).output().expect("sh runs"));
    }
    for (bad, says) in [
        (line.replace("\"v\":1", "\"v\":2"), "line 1 of"),
        (line.replace("2000:10:0:0/28", "2000:10:0:1/28"), "did you mean 2000:10:0:0/28"),
        (line.replace("\"node\":\"h1\",", ""), "names no node"),
        (format!("{line}oops\n{line}"), "line 2 of"),
        (format!("{line}\u{0}\n"), "line 2 of"),
    ] {
        fs::write(world.path("ca/issued"), &bad).expect("it can be written");
        let (error, hint) = refused(&world.issue("h2", &at(2), &[]));
        assert!(error.contains("is not understood") && error.contains(says), "{error}");
        assert!(hint.contains("from a copy"), "{hint}");
        assert_eq!(world.issued(), bad);
        assert!(!world.path("h2").exists());
    }
}

#[test]
fn where_there_is_no_whole_authority_it_says_what_to_do() {
    let world = World::empty();
    let made = || fs::create_dir_all(world.path("ca")).expect("it can be made");
    for prepare in [&(|| ()) as &dyn Fn(), &made] {
        prepare();
        let (error, hint) = refused(&world.issue("h1", &at(1), &[]));
        assert_eq!(error, format!("error: there is no authority in {}", world.text("ca")));
        assert_eq!(
            hint,
            format!("hint: make one with: ila-ctl ca init --dir {}", world.text("ca"))
        );
    }
    ok(&world.init());
    for file in ["ca.key", "ca.pem", "issued"] {
        let path = world.path("ca").join(file);
        let aside = world.path("aside");
        fs::rename(&path, &aside).expect("it can be moved");
        for output in [world.init(), world.issue("h1", &at(1), &[])] {
            let (error, hint) = refused(&output);
            assert!(error.ends_with(&format!("is not whole: it has no {file}")), "{error}");
            assert!(hint.contains(&format!("put {file} back")), "{hint}");
        }
        fs::rename(&aside, &path).expect("it can be moved");
    }
    ok(&world.issue("h1", &at(1), &[]));
}

#[test]
fn files_that_are_something_else_are_named() {
    let (world, other) = (World::with_authority(), World::with_authority());
    ok(&world.issue("h1", &at(1), &[]));
    let refuses = |says: &str| {
        let (error, _) = refused(&world.issue("h2", &at(2), &[]));
        assert!(error.contains(says), "{error}");
        assert!(!world.path("h2").exists());
    };
    let copy = |from: PathBuf, to: &str| {
        fs::copy(from, world.path(to)).expect("it can be copied");
    };
    copy(world.path("ca/ca.pem"), "ca.pem");
    copy(other.path("ca/ca.pem"), "ca/ca.pem");
    refuses("ca.key cannot be used: the key is not that of the authority's certificate");
    copy(world.path("h1/node.pem"), "ca/ca.pem");
    refuses("ca.pem cannot be used: the certificate is that of a node");
    copy(world.path("ca.pem"), "ca/ca.pem");
    copy(world.path("ca.pem"), "ca/ca.key");
    refuses("ca.key cannot be used: not an Ed25519 key");
    let show = |file: &Path| refused(&ila_ctl(&["ca", "show", &file.to_string_lossy()])).0;
    assert!(show(&world.path("h1/node.key")).contains("not a certificate"));
    assert!(show(&world.path("missing.pem")).contains("cannot read"));
    assert!(show(Path::new("/dev/zero")).contains("cannot be used"));
    // What is in the way stays there.
    fs::write(world.path("h2"), "in the way").expect("it can be written");
    copy(other.path("ca/ca.key"), "ca/ca.key");
    copy(other.path("ca/ca.pem"), "ca/ca.pem");
    assert!(refused(&world.issue("h2", &at(2), &[])).0.contains("h2"));
}

#[test]
fn wrong_usage_is_exit_2_and_names_what_is_wrong() {
    let issue = ["ca", "issue", "--node", "h1", "--out", "/nonexistent/h1"];
    let good = at(1);
    let good = ["--locator", &good];
    let cases: &[(&[&str], &str)] = &[
        (&[], "--locator"),
        (&["--locator", "2001:db8:a:1::/64"], "SIR_PREFIX@LOCATOR"),
        (&["--locator", "fd00:db8:0:1::/64@2001:db8:a:1::/48"], "/48"),
        (&[good[0], good[1], "--days", "0"], "0 is not in 1.."),
        (&[good[0], good[1], "--identifiers", "2000:10:0:1/28"], "did you mean 2000:10:0:0/28"),
        (&[good[0], good[1], "--node", "../h1"], "--node"),
    ];
    for (args, says) in cases {
        let output = ila_ctl(&[&issue[..], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
    }
}
