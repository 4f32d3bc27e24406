//! What ila-ctl says and how it exits when there is no agent to ask, or none
//! that makes sense.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

fn ila_ctl(socket: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ila-ctl"))
        .arg("--socket")
        .arg(socket)
        .args(args)
        .output()
        .expect("ila-ctl runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_agent_that_does_not_run_is_exit_3_within_a_second_and_how_to_start_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("agent.sock");
    // A socket that an agent left when it was killed: a file, nobody behind it.
    let stale = folder.path().join("stale.sock");
    drop(UnixListener::bind(&stale).expect("a socket"));
    for socket in [&missing, &stale] {
        for args in [&["status"][..], &["container", "ls"], &["container", "rm", "a1"]] {
            let started = Instant::now();
            let output = ila_ctl(socket, args);
            assert!(started.elapsed() < Duration::from_secs(1), "{args:?}");
            assert_eq!(output.status.code(), Some(3), "{args:?}");
            let text = stderr(&output);
            assert!(text.contains(&*socket.to_string_lossy()), "{text}");
            assert!(text.contains("ila-agent --config /etc/ila/agent.toml"), "{text}");
            assert!(output.stdout.is_empty());
        }
    }
}

#[test]
fn waiting_for_an_agent_in_vain_is_exit_4() {
    let output = ila_ctl(Path::new("/nonexistent/agent.sock"), &["status", "--wait", "50ms"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("within 50ms"), "{}", stderr(&output));
}

/// It is there, and has its socket open, and says nothing.
#[test]
fn waiting_for_an_agent_that_is_stuck_takes_no_longer_than_was_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("agent.sock");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let started = Instant::now();
    let output = ila_ctl(&socket, &["status", "--wait", "200ms"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn the_longest_wait_that_can_be_said_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let refusal = r#"{"v":1,"code":"not-found","message":"no such thing"}"#;
    let agent = thread::spawn(move || reply(&listener, "404 Not Found", refusal));
    let output = ila_ctl(&socket, &["status", "--wait", "18446744073709551615s"]);
    agent.join().expect("the agent has answered");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

/// A reader that has seen enough is no error; a full disk is one, not a panic.
#[test]
fn output_that_nobody_takes_is_no_panic() {
    let full = || std::fs::File::create("/dev/full").expect("every Linux has it");
    for args in [&["completions", "bash"][..], &["completions", "zsh"]] {
        let mut ila_ctl = Command::new(env!("CARGO_BIN_EXE_ila-ctl"));
        let output = ila_ctl.args(args).stdout(full()).output().expect("ila-ctl runs");
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("cannot write the result"), "{}", stderr(&output));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut ila_ctl = Command::new(env!("CARGO_BIN_EXE_ila-ctl"));
        let output = ila_ctl.args(args).stdout(writer).output().expect("ila-ctl runs");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn waiting_ends_when_the_agent_comes_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("agent.sock");
    let reply = r#"{"v":1,"version":"0.1.0","node":"h1","sir_prefix":"fd00::/64",
        "locator":"2001:db8::/64","checksum_mode":"neutral-map","uplinks":["up0"],"hook":"tcx",
        "mtu":1500,"containers":0,"mappings":0,"uptime_seconds":0}"#;
    let (waiting, path) = (folder.path().join("waiting"), socket.clone());
    let agent = thread::spawn({
        let waiting = waiting.clone();
        move || {
            // Comes up only after the client has been started.
            while !waiting.exists() {
                thread::yield_now();
            }
            answer_once(&path, "200 OK", reply);
        }
    });
    let client = thread::spawn(move || ila_ctl(&socket, &["status", "--wait", "10s"]));
    std::fs::write(&waiting, "").expect("the file can be written");
    agent.join().expect("the agent has answered");
    let output = client.join().expect("ila-ctl has ended");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("h1"));
}

#[test]
fn an_answer_in_another_language_is_exit_3() {
    for (status, body) in [("200 OK", "hello"), ("500 Oops", "<html>"), ("200 OK", "{\"v\":1}")] {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("agent.sock");
        let path = socket.clone();
        let listening = folder.path().join("listening");
        let flag = listening.clone();
        let agent = thread::spawn(move || {
            let listener = UnixListener::bind(&path).expect("a socket");
            std::fs::write(flag, "").expect("the file can be written");
            reply(&listener, status, body);
        });
        while !listening.exists() {
            thread::yield_now();
        }
        let output = ila_ctl(&socket, &["status"]);
        agent.join().expect("the agent has answered");
        assert_eq!(output.status.code(), Some(3), "{body}");
        assert!(stderr(&output).contains("no agent of this version"), "{}", stderr(&output));
    }
}

#[test]
fn a_refusal_is_exit_1_with_message_and_hint() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let refusal = r#"{"v":1,"code":"not-found","message":"no such thing","hint":"look there"}"#;
    let agent = thread::spawn(move || reply(&listener, "404 Not Found", refusal));
    let output = ila_ctl(&socket, &["container", "show", "a1"]);
    agent.join().expect("the agent has answered");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "error: no such thing\nhint: look there\n");
}

/// Each is refused before any agent is asked.
#[test]
fn wrong_usage_is_exit_2_and_names_what_is_wrong() {
    let add = ["container", "add", "a1", "--netns", "/run/netns/a1"];
    let cases: &[(&[&str], &str)] = &[
        (&["--identifier", "2000:0:0:0"], "2000:0:0:0"),
        (&["--identifier", "2000:0:0:ffff"], "2000:0:0:ffff"),
        (&["--identifier", "0:0:0:1"], "type 1"),
        (&["--identifier", "4000:0:0:1"], "type 1"),
        (&["--identifier", "3000:0:0:1"], "C-bit"),
        (&["--identifier", "nonsense"], "nonsense"),
        (&["--ifname", "sixteen-bytes-ab"], "sixteen-bytes-ab"),
        (&["--ifname", "a/b"], "a/b"),
        (&["--ifname", ""], "interface"),
        (&["--label", "novalue"], "KEY=VALUE"),
    ];
    for (args, says) in cases {
        let output = ila_ctl(Path::new("/nonexistent"), &[&add[..], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
    }
    for args in [&["container"][..], &["container", "add"], &["container", "rm", "../x"], &["x"]] {
        assert_eq!(ila_ctl(Path::new("/nonexistent"), args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn completions_and_manual_pages_come_from_the_same_grammar() {
    for shell in ["bash", "zsh", "fish"] {
        let output = ila_ctl(Path::new("/nonexistent"), &["completions", shell]);
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("netns"), "{shell}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_string_lossy();
    assert!(ila_ctl(Path::new("/nonexistent"), &["man", "--dir", &dir]).status.success());
    for (page, says) in [("ila-ctl.1", "container"), ("ila-ctl-container-add.1", "netns")] {
        let text = std::fs::read_to_string(folder.path().join(page)).expect(page);
        assert!(text.contains(says), "{page}");
    }
}

fn answer_once(socket: &Path, status: &str, body: &str) {
    reply(&UnixListener::bind(socket).expect("a socket"), status, body);
}

/// Answers one request, whatever it is.
fn reply(listener: &UnixListener, status: &str, body: &str) {
    let (mut stream, _) = listener.accept().expect("a client");
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).expect("a request");
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .expect("sent");
}
