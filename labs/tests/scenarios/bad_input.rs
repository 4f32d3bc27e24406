//! What is refused, how it is said, and that nothing has changed then.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::Command,
    time::Duration,
};

use crate::{
    common::{ok, refused},
    overlay::{Overlay, PATIENCE, bin_dir},
};

/// More than Linux ever gives, which is 2^22 at most.
const NO_PID: &str = "4194305";

/// All that a request could have changed.
#[derive(Debug, PartialEq)]
struct State {
    containers: String,
    mappings: String,
    host_links: Vec<String>,
    container_links: Vec<String>,
    records: Vec<String>,
}

fn state(overlay: &Overlay) -> State {
    let records = overlay.lab.runtime_dir("h1").expect("the host is there").join("containers");
    let mut records: Vec<_> = fs::read_dir(records)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    records.sort();
    State {
        containers: ok(&mut overlay.ctl("h1", &["container", "ls", "-o", "json"])),
        mappings: mappings(overlay),
        host_links: overlay.interfaces("h1"),
        container_links: overlay.interfaces("b1"),
        records,
    }
}

/// All mappings but for their age.
fn mappings(overlay: &Overlay) -> String {
    let json = ok(&mut overlay.ctl("h1", &["mapping", "ls", "-o", "json"]));
    let lines = json.lines().filter(|line| !line.contains("age_seconds"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_container_that_cannot_be_added_changes_nothing() {
    let overlay = Overlay::of("refused", "two-hosts");
    let before = state(&overlay);
    // Whose namespace it is matters not: b1's has an eth0, the router's none.
    let taken = overlay.node("b1").netns().display().to_string();
    let free = overlay.node("rt").netns().display().to_string();
    let cases: &[(&[&str], &str, &str)] = &[
        (&["a1", "--netns", &free], "is registered already", "container show a1"),
        (&["x", "--netns", &free, "--identifier", "2000:0:0:a1"], "container `a1` has it", "leave"),
        (&["x", "--netns", &free, "--identifier", "2000:0:0:b1"], "2001:db8:b:1::/64", "leave"),
        (&["x", "--netns", "/run/netns/no-such"], "no network namespace", "--netns"),
        (&["x", "--netns", NO_PID], "no network namespace", "PID"),
        (&["x", "--netns", "/proc/self/exe"], "of another kind", "--netns"),
        (&["x", "--netns", "/etc/passwd"], "no network namespace", "--netns"),
        (&["x", "--netns", "/dev/null"], "no network namespace", "--netns"),
        (&["x", "--netns", "/proc/self/ns/mnt"], "another kind", "--netns"),
        (&["x", "--netns", &taken], "an interface `eth0` already", "--ifname"),
        // Found out when the link is there already, and has to go again.
        (&["x", "--netns", &taken, "--ifname", "eth1"], "a default route already", "route del"),
    ];
    for (args, says, hint) in cases {
        let said = refused(&mut overlay.ctl("h1", &[&["container", "add"], *args].concat()), 1);
        assert!(said.contains(says) && said.contains(hint), "{args:?}: {said}");
        assert_eq!(state(&overlay), before, "{args:?}");
    }
    let own = overlay.node("h1").netns().display().to_string();
    let said = refused(&mut overlay.ctl("h1", &["container", "add", "x", "--netns", &own]), 1);
    assert!(said.contains("the host's own network namespace"), "{said}");
    assert_eq!(state(&overlay), before);
}

#[test]
fn what_is_not_there_is_named() {
    let overlay = Overlay::of("unknown", "two-hosts");
    for (args, says) in [
        (&["container", "rm", "x"][..], "there is no container named `x`"),
        (&["container", "show", "x"], "there is no container named `x`"),
        (&["mapping", "get", "2000:0:0:99"], "no mapping names the identifier 2000:0:0:99"),
    ] {
        let said = refused(&mut overlay.ctl("h1", args), 1);
        assert!(said.contains(says) && said.contains("hint: "), "{said}");
    }
}

#[test]
fn requests_that_make_no_sense_are_refused_and_change_nothing() {
    let overlay = Overlay::of("garbage", "two-hosts");
    let before = state(&overlay);
    let post = |body: &str, length: usize| {
        format!(
            "POST /v1/containers HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let whole = |body: &str| post(body, body.len());
    let padding = " ".repeat(65 * 1024);
    let cases = [
        ("not JSON", whole("hello"), "400", "bad-request"),
        ("an empty body", whole(""), "400", "bad-request"),
        ("a list", whole("[]"), "400", "bad-request"),
        ("a missing field", whole(r#"{"name":"x"}"#), "400", "netns"),
        ("an unknown field", whole(r#"{"name":"x","netns":"/x","y":1}"#), "400", "unknown field"),
        ("a wrong type", whole(r#"{"name":7,"netns":"/x"}"#), "400", "bad-request"),
        ("a relative path", whole(r#"{"name":"x","netns":"run/x"}"#), "400", "not absolute"),
        ("a bad name", whole(r#"{"name":"../x","netns":"/x"}"#), "400", "container's name"),
        (
            "a long name",
            whole(&format!(r#"{{"name":"{}","netns":"/x"}}"#, "x".repeat(129))),
            "400",
            "1 to 128",
        ),
        (
            "an interface with a slash",
            whole(r#"{"name":"x","netns":"/x","interface":"a/b"}"#),
            "400",
            "interface's name",
        ),
        (
            "a low word of zero",
            whole(r#"{"name":"x","netns":"/x","identifier":"2000:0:0:0"}"#),
            "400",
            "0 or ffff",
        ),
        ("deep nesting", whole(&"[".repeat(20_000)), "400", "bad-request"),
        ("too much", whole(&format!("{{{padding}}}")), "413", "too-large"),
        (
            "another path",
            "GET /v2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
            "404",
            "unknown-path",
        ),
        (
            "another method",
            "PUT /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
            "404",
            "unknown-path",
        ),
        (
            "a bad identifier",
            "GET /v1/mappings/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
            "400",
            "bad-request",
        ),
        ("no HTTP", "hello there\r\n\r\n".to_owned(), "400", ""),
    ];
    for (what, request, status, says) in cases {
        let reply = ask(&overlay, &request);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {reply}");
        assert!(reply.contains(says), "{what}: {reply}");
        assert!(says.is_empty() || reply.contains(r#""v":1"#), "{what}: {reply}");
    }
    // One that ends half-way is nobody's request any more, so needs no answer.
    let netns = overlay.node("rt").netns().display().to_string();
    let valid = format!(r#"{{"name":"x","netns":"{netns}"}}"#);
    for sent in [0, 1, valid.len() - 1] {
        let mut stream = connect(&overlay);
        let request = post(&valid[..sent], valid.len());
        stream.write_all(request.as_bytes()).expect("it can be sent");
        stream.shutdown(Shutdown::Write).expect("it is connected");
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        assert!(!reply.starts_with("HTTP/1.1 2"), "{reply}");
    }
    assert_eq!(state(&overlay), before);
}

fn connect(overlay: &Overlay) -> UnixStream {
    let socket = overlay.lab.socket("h1").expect("the host is there");
    let stream = UnixStream::connect(socket).expect("the agent listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
    stream
}

/// Sends a request to h1's agent and returns its whole answer.
fn ask(overlay: &Overlay, request: &str) -> String {
    let mut stream = connect(overlay);
    // The agent may stop reading what is too much for it.
    let _ = stream.write_all(request.as_bytes());
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

/// More than are served at once, and none of them ever says anything.
#[test]
fn clients_that_say_nothing_do_not_keep_others_out() {
    let overlay = Overlay::of("silent", "two-hosts");
    let silent: Vec<_> = (0..300).map(|_| connect(&overlay)).collect();
    ok(&mut overlay.ctl("h1", &["status"]));
    drop(silent);
}

/// Whenever its client hangs up, a container is there whole or not at all.
#[test]
fn a_client_that_hangs_up_leaves_no_half_container() {
    let overlay = Overlay::of("hang-up", "two-hosts");
    let netns = overlay.node("rt").netns().display().to_string();
    let body = format!(r#"{{"name":"x","netns":"{netns}","interface":"gone0"}}"#);
    let request = format!(
        "POST /v1/containers HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut added = 0;
    for pause in [0, 1, 2, 4, 8, 16, 32, 1000] {
        let mut stream = connect(&overlay);
        stream.write_all(request.as_bytes()).expect("it can be sent");
        let pause = Duration::from_millis(pause);
        stream.set_read_timeout(Some(pause.max(Duration::from_micros(1)))).expect("it can be set");
        let _ = stream.read(&mut [0; 1024]);
        drop(stream);
        // Busy is who hung up; either way it is over when this is answered.
        let remove =
            || overlay.ctl("h1", &["container", "rm", "x"]).output().expect("it can be run");
        let over = ila_labs::wait_until(PATIENCE, "the request to be over", || {
            let output = remove();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (!said.contains("right now")).then_some(output.status.success())
        });
        added += u32::from(over.unwrap_or_else(|error| panic!("{error}\n{}", overlay.log("h1"))));
        let inside = overlay.interfaces("rt");
        assert!(!inside.iter().any(|it| it == "gone0"), "after {pause:?}: {inside:?}");
        assert_eq!(overlay.interfaces("h1").iter().filter(|it| it.starts_with("ila")).count(), 2);
    }
    assert!(added > 0, "a client that waits for a second has its container");
}

#[test]
fn a_configuration_is_checked_before_anything_is_done() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("agent.toml");
    let good = "node = \"h1\"\nsir_prefix = \"fd00:1::/64\"\nlocator = \"2001:db8:1::/64\"\n\
                uplinks = [\"up0\"]\nlocator_spaces = []\n";
    let check = || {
        let mut agent = Command::new(bin_dir().join("ila-agent"));
        agent.arg("--check").arg("--config").arg(&path);
        agent
    };
    let said = refused(&mut check(), 1);
    assert!(said.contains("cannot read") && said.contains("agent.toml"), "{said}");
    fs::write(&path, good).expect("it can be written");
    ok(&mut check());
    fs::write(&path, good.replace("fd00:1::/64", "2001:db8:1::/64")).expect("it can be written");
    let said = refused(&mut check(), 1);
    assert!(said.contains("line 3: `locator`"), "{said}");
    fs::write(&path, good.replace("locator_spaces = []\n", "")).expect("it can be written");
    let said = refused(&mut check(), 1);
    assert!(said.contains("`locator_spaces`: is missing"), "{said}");
    fs::write(&path, format!("{good}colour = 1\n")).expect("it can be written");
    let said = refused(&mut check(), 1);
    assert!(said.contains("line 6") && said.contains("colour"), "{said}");
}
