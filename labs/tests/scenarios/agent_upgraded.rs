//! Agents that come back with other programs, or another layout of what they
//! pin, while datagrams flow.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::DirEntryExt as _,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;

use crate::{
    common::ok,
    overlay::{Overlay, flows_on},
    stream::{RATE, expect_perfect},
};

/// What flows between two events.
const BETWEEN: u64 = RATE as u64 / 4;

const HOSTS: [&str; 2] = ["h1", "h2"];

fn attached_by(test: &str, hook: &str) -> Overlay {
    let keys = format!("hook = \"{hook}\"\npath = \"fast\"");
    Overlay::up(&format!("{test}-{hook}"), "two-hosts", |text| format!("{keys}\n{text}"))
}

/// The next agent loads a program for the other path, and swaps it for the one
/// that is attached.
#[test]
fn a_stream_does_not_notice_that_programs_are_swapped() {
    for hook in ["tcx", "clsact"] {
        let overlay = attached_by("swapped", hook);
        let stream = overlay.stream("a1", "b1", RATE);
        let mut agents = Vec::new();
        for (from, to) in [("fast", "slow"), ("slow", "fast")] {
            let [from, to] = [from, to].map(|path| format!("path = \"{path}\""));
            for host in HOSTS {
                overlay.end_agent(host, Signal::SIGTERM);
                overlay.configure(host, |text| text.replace(&from, &to));
                agents.push(overlay.start_agent(host));
                flows_on(&stream, BETWEEN);
            }
        }
        println!("{hook}");
        expect_perfect(stream);
        assert!(overlay.pings("a1", "b1") && overlay.pings("b2", "a2"), "{hook}");
    }
}

/// What is pinned for the host, each with the number of its file: one that was
/// made anew has another.
fn pinned(overlay: &Overlay, host: &str) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![overlay.pins(host)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the agent has made it").map(Result::unwrap) {
            if entry.file_type().expect("it has one").is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path(), entry.ino());
            }
        }
    }
    found
}

/// Nothing is loaded or attached that is there already, whatever ended the
/// agent; with another configuration the programs are, and the tables stay.
#[test]
fn an_agent_takes_over_what_fits() {
    let overlay = attached_by("takes-over", "tcx");
    let before = pinned(&overlay, "h1");
    assert_eq!(
        before.len(),
        7 + 7 + 3,
        "tables, programs and where they are found, links: {before:?}"
    );
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        overlay.end_agent("h1", signal);
        let agent = overlay.start_agent("h1");
        assert_eq!(pinned(&overlay, "h1"), before, "{signal}");
        drop(agent);
    }
    overlay.end_agent("h1", Signal::SIGTERM);
    overlay.configure("h1", |text| text.replace("path = \"fast\"", "path = \"slow\""));
    let _agent = overlay.start_agent("h1");
    let after = pinned(&overlay, "h1");
    let is_program = |path: &Path| {
        let folder = path.parent().and_then(Path::file_name).expect("it is in one");
        folder.to_string_lossy().starts_with("programs-")
    };
    let (programs, others): (Vec<_>, Vec<_>) =
        before.iter().partition(|(path, _)| is_program(path));
    assert!(others.iter().all(|(path, file)| after.get(*path) == Some(*file)), "{after:?}");
    assert!(programs.iter().all(|(path, _)| !after.contains_key(*path)), "{after:?}");
    assert_eq!(after.len(), before.len());
}

/// Somebody has removed one. Interfaces run what is there of the others, until
/// they run what takes its place.
#[test]
fn a_stream_does_not_notice_that_what_is_not_whole_is_made_anew() {
    for hook in ["tcx", "clsact"] {
        let overlay = attached_by("not-whole", hook);
        let stream = overlay.stream("a1", "b1", RATE);
        let whole = pinned(&overlay, "h1");
        let is_link = |pin: &&PathBuf| pin.parent().is_some_and(|it| it.ends_with("links"));
        let mut agents = Vec::new();
        for pin in whole.keys().filter(|pin| !is_link(pin)) {
            overlay.end_agent("h1", Signal::SIGKILL);
            fs::remove_file(pin).expect("it is there");
            agents.push(overlay.start_agent("h1"));
            flows_on(&stream, BETWEEN);
            assert!(pinned(&overlay, "h1").keys().eq(whole.keys()), "{hook}, {}", pin.display());
            // What is rare goes on in programs that have to be found.
            let mut ping = overlay.node("a1").command("ping");
            ping.args(["-c1", "-W3", "-t1", &overlay.address("b1").to_string()]);
            let said = ping.output().expect("ping can be run").stdout;
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains("Time exceeded"), "{hook}, {}: {said}", pin.display());
        }
        println!("{hook}");
        expect_perfect(stream);
        assert!(overlay.pings("a1", "b1") && overlay.pings("b2", "a2"), "{hook}");
    }
}

/// The folders in `pins`, one for each layout.
fn layouts(pins: &Path) -> Vec<String> {
    let entries = fs::read_dir(pins).expect("the agent has made it").map(Result::unwrap);
    entries.map(|entry| entry.file_name().into_string().expect("it is UTF-8")).collect()
}

/// As if an older agent had left them.
#[test]
fn a_stream_does_not_notice_that_pins_of_another_layout_are_replaced() {
    for hook in ["tcx", "clsact"] {
        let overlay = attached_by("layout", hook);
        let stream = overlay.stream("a1", "b1", RATE);
        let mut agents = Vec::new();
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            for host in HOSTS {
                overlay.end_agent(host, signal);
                let pins = overlay.pins(host);
                assert_eq!(layouts(&pins), ["v4"], "{hook}");
                fs::rename(pins.join("v4"), pins.join("v3")).expect("a bpffs can do that");
                agents.push(overlay.start_agent(host));
                flows_on(&stream, BETWEEN);
                assert_eq!(layouts(&pins), ["v4"], "{hook}: the old ones are replaced");
            }
        }
        println!("{hook}");
        expect_perfect(stream);
        assert!(overlay.pings("a1", "b1") && overlay.pings("b2", "a2"), "{hook}");
    }
}

/// Whoever else uses the folder.
#[test]
fn what_an_agent_did_not_pin_it_leaves_alone() {
    let overlay = attached_by("strangers", "tcx");
    let strangers =
        ["others", "v", "vx4", "second/v4/maps-0"].map(|it| overlay.pins("h1").join(it));
    for folder in &strangers {
        fs::create_dir_all(folder).expect("a bpffs can do that");
    }
    overlay.end_agent("h1", Signal::SIGTERM);
    drop(overlay.start_agent("h1"));
    overlay.end_agent("h1", Signal::SIGTERM);
    ok(&mut overlay.detach("h1"));
    for folder in &strangers {
        assert!(folder.is_dir(), "{} is gone", folder.display());
    }
    fs::remove_dir(&strangers[0]).expect("it is there");
}
