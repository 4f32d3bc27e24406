//! Hosts that join by a token, with what they find where it is by default.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    time::{Duration, SystemTime},
};

use ila_labs::wait_until;
use serde_json::Value;

use crate::{
    common::{ok, refused},
    machine::Machine,
    overlay::{Overlay, PATIENCE},
};

const INIT: &str = "ila-agent init --sir-prefix fd00:db8:0:1::/64 --locator 2001:db8:a:1::/64";

const PEM: &str = "/etc/ila/identity/node.pem";

const ISSUED: &str = "/etc/ila/authority/issued";

/// How long until it is time to renew, in the scenario of that.
const SOON: Duration = Duration::from_secs(8);

/// h1, where a mesh is made, and h2 and h3, which are nothing yet.
struct Hosts {
    h1: Machine,
    h2: Machine,
    h3: Machine,
    _overlay: Overlay,
}

impl Hosts {
    fn of(test: &str) -> Self {
        let overlay = Overlay::without_agents(test, "three-hosts");
        let [h1, h2, h3] = ["h1", "h2", "h3"].map(|host| Machine::of(&overlay, host));
        Self { h1, h2, h3, _overlay: overlay }
    }
}

/// The token in what `init` has printed.
pub fn token_in(printed: &str) -> Option<String> {
    printed.split_whitespace().find(|word| word.starts_with("ila1")).map(str::to_owned)
}

/// Makes a mesh, and returns its token.
fn init(host: &Machine, command: &str) -> String {
    let printed = ok(&mut host.words(command));
    token_in(&printed).unwrap_or_else(|| panic!("no token in {printed}"))
}

/// Prints another token on h1.
fn token(h1: &Machine, options: &str) -> String {
    ok(&mut h1.words(&format!("ila-agent token {options}"))).trim().to_owned()
}

fn join(host: &Machine, token: &str, options: &str) -> Command {
    host.words(&format!("ila-agent join {token} {options}"))
}

/// What it says that does not let a host in, which is as it was then.
#[track_caller]
fn is_refused(host: &Machine, token: &str, options: &str, says: &str) {
    let before = files(host);
    let said = refused(&mut join(host, token, options), 1);
    assert!(said.contains(says), "{said}");
    assert_eq!(files(host), before, "{said}");
}

/// All that is in `/etc`; of files also of when.
fn files(host: &Machine) -> Vec<String> {
    let find = "find /etc -mindepth 1 ( -type d -printf %p:%m\\n ) -o -printf %p:%s:%m:%T@\\n";
    let mut files: Vec<_> = ok(&mut host.words(find)).lines().map(str::to_owned).collect();
    files.sort();
    files
}

fn add(host: &Machine, name: &str, identifier: &str) {
    ok(&mut host.words(&format!("ip netns add {name}")));
    ok(&mut host.words(&format!(
        "ila-ctl container add {name} --netns /run/netns/{name} --identifier {identifier}"
    )));
}

/// Waits until an answer comes.
#[track_caller]
fn reaches(host: &Machine, container: &str, identifier: &str) {
    let ping = format!("ip netns exec {container} ping -c1 -W1 fd00:db8:0:1:{identifier}");
    wait_until(PATIENCE, "an answer", || {
        host.words(&ping).output().expect("it can be run").status.success().then_some(())
    })
    .unwrap_or_else(|error| panic!("{container}, {identifier}: {error}"));
}

/// Waits until all nodes that a host knows are alive, and these.
#[track_caller]
fn knows(host: &Machine, wanted: &[&str]) {
    wait_until(PATIENCE, "nodes", || {
        let list: Value =
            serde_json::from_str(&ok(&mut host.words("ila-ctl node ls -o json"))).ok()?;
        let nodes = list["nodes"].as_array()?;
        let alive = nodes.iter().filter(|it| it["state"] == "alive" || it["state"] == "this");
        let names: Vec<_> = alive.filter_map(|node| node["name"].as_str()).collect();
        (names == wanted).then_some(())
    })
    .unwrap_or_else(|error| panic!("{wanted:?}: {error}"));
}

fn mode(host: &Machine, path: &str) -> u32 {
    fs::metadata(host.file(path)).expect(path).permissions().mode() & 0o7777
}

#[test]
fn hosts_that_were_told_a_token_and_their_locators_are_a_mesh() {
    let Hosts { mut h1, mut h2, mut h3, _overlay } = Hosts::of("join");
    let token = init(&h1, INIT);
    for (path, wanted) in [
        ("/etc/ila/agent.toml", 0o644),
        ("/etc/ila/identity/node.key", 0o600),
        ("/etc/ila/authority", 0o700),
        ("/etc/ila/authority/ca.key", 0o600),
        ("/etc/ila/authority/tokens", 0o600),
    ] {
        assert_eq!(mode(&h1, path), wanted, "{path}");
    }
    h1.serve();
    let printed = ok(&mut join(&h2, &token, "--locator 2001:db8:b:1::/64"));
    assert!(printed.contains("h2 is in the mesh"), "{printed}");
    assert_eq!(mode(&h2, "/etc/ila/identity/node.key"), 0o600);
    h2.serve();
    knows(&h1, &["h1", "h2"]);
    knows(&h2, &["h1", "h2"]);
    add(&h1, "a1", "2000:0:0:a1");
    add(&h2, "b1", "2000:0:0:b1");
    reaches(&h1, "a1", "2000::b1");
    reaches(&h2, "b1", "2000::a1");

    // What lets hosts in outlives the agent.
    h1.end();
    h1.serve();
    // No list of processes shows it.
    let piped = format!("echo {token} | ila-agent join - --locator 2001:db8:c:1::/64");
    ok(h3.command("sh").args(["-c", &piped]));
    h3.serve();
    for host in [&h1, &h2, &h3] {
        knows(host, &["h1", "h2", "h3"]);
    }
    add(&h3, "c1", "2000:0:0:c1");
    reaches(&h3, "c1", "2000::a1");
    reaches(&h3, "c1", "2000::b1");
    reaches(&h2, "b1", "2000::c1");

    // Nobody is made anew by mistake.
    let there = "there is a configuration already: /etc/ila/agent.toml";
    let said = refused(&mut h1.words(INIT), 1);
    assert!(said.contains(there) && said.contains("ila-agent token"), "{said}");
    let there = "this host has a configuration already: /etc/ila/agent.toml";
    is_refused(&h2, &token, "--locator 2001:db8:b:1::/64", there);
    is_refused(&h2, &token, "--locator 2001:db8:d:1::/64", there);
    let said = refused(&mut h2.words("ila-agent token"), 1);
    assert!(said.contains("run this where the mesh was made"), "{said}");
}

#[test]
fn who_is_not_let_in_is_told_why_and_has_what_it_had() {
    const LOCATOR: &str = "--locator 2001:db8:b:1::/64";
    let Hosts { mut h1, h2, h3, _overlay } = Hosts::of("denied");
    let good = init(&h1, INIT);
    is_refused(&h2, &good, LOCATOR, "no host that admits was reached: [2001:db8:ffff:1::2]:7741");
    h1.serve();

    let last = if good.ends_with('a') { "c" } else { "a" };
    let typo = format!("{}{last}", &good[..good.len() - 1]);
    is_refused(&h2, &typo, LOCATOR, "token");
    // Of a mesh that was made here before: the secret is none any more.
    let gone = token(&h1, "");
    let tokens = h1.read("/etc/ila/authority/tokens");
    let kept: String = tokens.lines().take(1).map(|line| line.to_owned() + "\n").collect();
    fs::write(h1.file("/etc/ila/authority/tokens"), kept).expect("it can be written");
    is_refused(&h2, &gone, LOCATOR, "the token is none of this mesh");
    // Of another one, which is not asked at its own address.
    let other = INIT.replace(":a:1::", ":c:1::") + " --address [2001:db8:ffff:1::2]:7741";
    let other = init(&h3, &other);
    is_refused(&h2, &other, LOCATOR, "not of the mesh that the token is for");

    let taken = "the node h1 has the locator 2001:db8:a:1::/64; if h1 is no more, forget it";
    is_refused(&h2, &good, "--locator 2001:db8:a:1::/64", taken);
    let taken = "the node h1 has a certificate already";
    is_refused(&h2, &good, &format!("{LOCATOR} --node h1"), taken);
    is_refused(&h2, &good, "", "name one with --locator");
    let brief = token(&h1, "--for 1s");
    let mut said = String::new();
    wait_until(PATIENCE, "the token to end", || {
        // As long as it is good, it is the locator that is not.
        said = refused(&mut join(&h2, &brief, "--locator 2001:db8:a:1::/64"), 1);
        said.contains("the token has ended at ").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(files(&h2), Vec::<String>::new());
    // What others have put there stays.
    ok(&mut h2.words("mkdir /etc/ila /etc/ila/identity"));
    ok(&mut h2.words("touch /etc/ila/notes"));
    is_refused(&h2, &brief, LOCATOR, "the token has ended at ");
    ok(&mut h2.words("rm -r /etc/ila"));

    let once = token(&h1, "--once --locator 2001:db8:b:1::/64");
    is_refused(&h2, &once, "--locator 2001:db8:d:1::/64", "the token is for another locator");
    ok(&mut join(&h2, &once, ""));
    ok(&mut h3.words("rm -r /etc/ila"));
    is_refused(&h3, &once, "", "the token was for one host, and has let it in");
    let status: Value =
        serde_json::from_str(&ok(&mut h1.words("ila-ctl status -o json"))).expect("it is JSON");
    let rejected = status["mesh"]["rejected"].as_array().expect("it is a list");
    let tokens = rejected.iter().find(|it| it["reason"] == "token-refused");
    // Unknown, ended, ended, used.
    assert_eq!(tokens.expect("it is told")["count"], 4, "{rejected:?}");
}

#[test]
fn a_certificate_is_renewed_in_time_and_others_are_shown_the_new_one() {
    is_renewed("renewed", false);
}

#[test]
fn one_that_was_not_renewed_as_no_agent_ran_is_when_one_starts() {
    is_renewed("renewed-late", true);
}

fn is_renewed(test: &str, late: bool) {
    let Hosts { mut h1, mut h2, h3: _, _overlay } = Hosts::of(test);
    let token = init(&h1, INIT);
    h1.serve();
    let (line, due) = joins_with_what_is_about_to_end(&h1, &h2, &token);
    let first = h2.read(PEM);
    if late {
        let is_due = || (SystemTime::now() >= due).then_some(());
        wait_until(PATIENCE, "the certificate to be due", is_due).expect("time passes");
    }
    h2.serve();
    knows(&h1, &["h1", "h2"]);
    wait_until(SOON + PATIENCE, "another certificate", || (h2.read(PEM) != first).then_some(()))
        .expect("it comes");
    let certificate = wait_until(PATIENCE, "the status to say so", || {
        let status = ok(&mut h2.words("ila-ctl status -o json"));
        let status: Value = serde_json::from_str(&status).expect("it is JSON");
        let certificate = &status["mesh"]["certificate"];
        let is_new = certificate["valid_until"] != line["valid_until"];
        (is_new && certificate.is_object()).then(|| certificate.clone())
    })
    .expect("it does");
    assert_eq!(certificate["untimely"], false);
    assert!(certificate["renewal_failed"].is_null(), "{certificate}");
    assert_eq!(h1.read(ISSUED).lines().count(), 3);

    // What h1 has heard is on the disk once its agent has ended.
    wait_until(PATIENCE, "h1 to have heard it", || {
        h1.end();
        let heard = fs::read(h1.file("/var/lib/ila/heard")).expect("it was stored");
        let has = |pem: &str| {
            let der = der(pem);
            heard.windows(der.len()).any(|bytes| *bytes == der)
        };
        let has_new = has(&h2.read(PEM));
        assert!(has_new != has(&first), "one of them was heard");
        h1.serve();
        has_new.then_some(())
    })
    .expect("it has");
    knows(&h2, &["h1", "h2"]);
}

/// Certificates are good for months. With the same key a host is given again what
/// the record says that it was, which is made to be about to end. Returns what the
/// record says then, and when it is time to renew.
fn joins_with_what_is_about_to_end(h1: &Machine, h2: &Machine, token: &str) -> (Value, SystemTime) {
    let join = || ok(&mut join(h2, token, "--locator 2001:db8:b:1::/64"));
    join();
    let issued = h1.read(ISSUED);
    let (own, other) = issued.split_once('\n').expect("h1 was certified first");
    let mut line: Value = serde_json::from_str(other).expect("h2 is the only other one");
    // Times in the record have no fractions.
    let due = SystemTime::now() + SOON + Duration::from_secs(1);
    // More than a third of it is left for that long.
    line["valid_from"] = date("20 days ago").into();
    line["valid_until"] = date(&format!("10 days {} seconds", SOON.as_secs() * 3 / 2)).into();
    fs::write(h1.file(ISSUED), format!("{own}\n{line}\n")).expect("it can be written");
    ok(&mut h2.words("mv /etc/ila/agent.toml /etc/ila/agent.toml.old"));
    join();
    (line, due)
}

/// A time as `date` understands it, as records have it.
fn date(when: &str) -> String {
    let date = ok(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%SZ", "--date", when]));
    date.trim().to_owned()
}

fn der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let decode = Command::new("sh").args(["-c", &format!("echo {text} | base64 -d")]).output();
    decode.expect("base64 can be run").stdout
}
