//! A world of its own for every test, and what can be seen of it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{self, Command, Output},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

/// How mounts spread, which differs between machines: systemd shares them,
/// most containers do not.
#[derive(Clone, Copy, Debug)]
pub enum Mounts {
    /// As systemd has them.
    Shared,
    /// As the kernel has them.
    Private,
}

/// What this thread has to itself from now on: a `/run` and a bpffs with
/// nothing in them, and a network namespace that stands for the machine's own.
/// So a test can ask for everything to be exactly as before, whatever else
/// runs on the machine, other runs of the same test included.
#[derive(Debug)]
pub struct World {
    mount_namespace: PathBuf,
}

impl World {
    /// Moves this thread into a new world.
    pub fn enter(mounts: Mounts) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make network namespaces and need root: run them with sudo"
        );
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("root may unshare");
        let none = None::<&str>;
        // Away from the machine first, whatever it is going to be.
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        unmount_below("/run/");
        if matches!(mounts, Mounts::Shared) {
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none).unwrap();
        }
        mount(none, "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        mount(none, "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), none).unwrap();
        Self { mount_namespace: fs::read_link("/proc/thread-self/ns/mnt").unwrap() }
    }

    /// All that a lab could leave behind.
    pub fn look(&self) -> Snapshot {
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        // Without the numbers, which the kernel counts up.
        let fields = [2, 3, 4, 5];
        let mounts = mounts.lines().map(|line| {
            let line: Vec<_> = line.split(' ').collect();
            fields.map(|field| line[field]).join(" ")
        });
        let links = ok(Command::new("ip").args(["-oneline", "link"]));
        let links = links.lines().filter_map(|line| line.split(": ").nth(1)).map(str::to_owned);
        Snapshot(BTreeMap::from([
            ("mounts", mounts.collect()),
            ("links", links.collect()),
            ("files in /run", files(Path::new("/run"))),
            ("files in /sys/fs/bpf", files(Path::new("/sys/fs/bpf"))),
            ("processes", self.processes()),
        ]))
    }

    /// The command lines of its processes, but for this one.
    pub fn processes(&self) -> Vec<String> {
        let own = process::id().to_string();
        let entries = fs::read_dir("/proc").unwrap().map(Result::unwrap);
        entries
            .filter(|entry| entry.file_name() != own.as_str())
            .filter(|entry| self.has(&entry.path()))
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .collect()
    }

    /// Whether the process with that directory is in it.
    fn has(&self, process: &Path) -> bool {
        fs::read_link(process.join("ns/mnt")).is_ok_and(|it| it == self.mount_namespace)
    }
}

/// Takes away what is mounted there for this thread's mount namespace: what is
/// only covered would still go when the machine's own labs do.
fn unmount_below(folder: &str) {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| point.starts_with(folder)) {
        // With one go those below it, and some may have gone by themselves.
        let _ = umount2(point, MntFlags::MNT_DETACH);
    }
}

/// What there is in a world.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<&'static str, Vec<String>>);

impl Snapshot {
    /// Fails with what came and what went, if anything did. `story` says what
    /// happened before.
    pub fn assert_same(&self, now: &Self, story: &str) {
        let mut difference = String::new();
        for (what, before) in &self.0 {
            let now = &now.0[what];
            for gone in before.iter().filter(|it| !now.contains(it)) {
                writeln!(difference, "{what}: gone: {gone}").unwrap();
            }
            for new in now.iter().filter(|it| !before.contains(it)) {
                writeln!(difference, "{what}: new: {new}").unwrap();
            }
        }
        assert!(difference.is_empty(), "after {story}\n{difference}");
        assert_eq!(self, now, "after {story}");
    }
}

/// The name of a lab, which is down when this is dropped.
#[derive(Debug)]
pub struct TestLab {
    /// The name.
    pub name: String,
}

impl TestLab {
    /// A lab for the test called `test`, by a name that no other run has.
    pub fn new(test: &str) -> Self {
        Self { name: format!("t{}-{test}", process::id()) }
    }

    /// Where the namespace of a node is published.
    pub fn netns(&self, node: &str) -> PathBuf {
        Path::new("/run/netns").join(self.netns_name(node))
    }

    /// Where its agents pin what outlives them.
    pub fn pins(&self) -> PathBuf {
        Path::new("/sys/fs/bpf/ila-lab").join(&self.name)
    }

    /// What `ip netns` calls the namespace of a node.
    pub fn netns_name(&self, node: &str) -> String {
        format!("ila-{}-{node}", self.name)
    }

    /// `ila-lab up TOPOLOGY`
    pub fn up(&self, topology: &str) -> Command {
        ila_lab(&["up", topology, "--name", &self.name])
    }

    /// `ila-lab down`
    pub fn down(&self) -> Command {
        ila_lab(&["down", &self.name])
    }

    /// `ila-lab exec NODE -- COMMAND…`
    pub fn exec(&self, node: &str, command: &[&str]) -> Command {
        let mut exec = ila_lab(&["exec", &self.name, node, "--"]);
        exec.args(command);
        exec
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        // So that a test which failed leaves nothing either; after one which
        // did not, there is no such lab.
        self.down().output().ok();
    }
}

/// `ila-lab`, as it was built for this test.
pub fn ila_lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ila-lab"));
    command.args(arguments);
    command
}

/// Runs a command that must succeed, and returns what it printed.
#[track_caller]
pub fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must end with `code`, and returns what it complained.
#[track_caller]
pub fn refused(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {}", told(&output));
    String::from_utf8(output.stderr).unwrap()
}

fn told(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    format!("{}\n{}", output.status, String::from_utf8_lossy(&text))
}

fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            }
            found.push(entry.path().display().to_string());
        }
    }
    found.sort();
    found
}
