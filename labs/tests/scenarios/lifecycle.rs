//! However a lab ends, everything is as before, and what others made is not
//! touched.

use std::{
    fs,
    os::unix::{
        fs::PermissionsExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::common::{Mounts, TestLab, World, ila_lab, ok, refused};
use ila_labs::{Lab, Options, Topology, wait_until};
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How many moments of an `up` or a `down` are tried.
const MOMENTS: u32 = 8;

const NOBODY: u32 = 65534;

#[test]
fn up_and_down_leave_everything_as_it_was() {
    for mounts in [Mounts::Shared, Mounts::Private] {
        let world = World::enter(mounts);
        let lab = TestLab::new("updown");
        let before = world.look();

        let said = ok(&mut lab.up("two-hosts"));
        assert!(said.contains("2 hosts, 4 containers"), "{said}");
        let known = ok(Command::new("ip").args(["netns", "list"]));
        for node in ["rt", "h1", "h2", "a1", "a2", "b1", "b2"] {
            assert!(known.contains(&lab.netns_name(node)), "{node} is not in {known}");
        }
        ok(&mut lab.exec("a1", &["ping", "-c1", "-W2", "fd00:db8:0:1:2000::b1"]));

        ok(&mut lab.down());
        before.assert_same(&world.look(), &format!("up and down, mounts {mounts:?}"));
    }
}

#[test]
fn a_lab_within_somebody_elses_namespaces() {
    // `ip netns add` mounts /run/netns on itself before its first use, which
    // must not cover what a lab has mounted in it.
    for mounts in [Mounts::Shared, Mounts::Private] {
        let world = World::enter(mounts);
        let lab = TestLab::new("within");
        ok(&mut lab.up("two-hosts"));
        ok(Command::new("ip").args(["netns", "add", "foreign"]));
        let sleep = Sleep::in_netns(Path::new("/run/netns/foreign"));
        ok(&mut lab.down());

        assert!(sleep.is_alive());
        let left = world.look();
        ok(Command::new("ip").args(["-n", "foreign", "link", "show", "lo"]));
        ok(&mut lab.up("two-hosts"));
        ok(&mut lab.down());
        left.assert_same(&world.look(), &format!("a second lab, mounts {mounts:?}"));
    }
}

#[test]
fn a_lab_mounts_the_bpf_file_system_where_there_is_none() {
    for others_pin in [false, true] {
        let world = World::enter(Mounts::Private);
        let none = None::<&str>;
        mount(none, "/sys/fs/bpf", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        let lab = TestLab::new("bpffs");
        let before = world.look();
        ok(&mut lab.up("two-hosts"));
        assert!(lab.pins().join("h1").is_dir());
        let others = Path::new("/sys/fs/bpf/others");
        if others_pin {
            fs::create_dir(others).unwrap();
        }
        ok(&mut lab.down());
        assert!(!lab.pins().exists());
        if others_pin {
            assert!(others.is_dir(), "what others pin is not unmounted");
        } else {
            before.assert_same(&world.look(), "a lab without a BPF file system");
        }
    }
}

#[test]
fn interrupted_at_any_moment_up_takes_everything_down_itself() {
    let world = World::enter(Mounts::Private);
    let lab = TestLab::new("int");
    let before = world.look();
    for (signal, moment) in [Signal::SIGINT, Signal::SIGTERM]
        .into_iter()
        .flat_map(|signal| moments(time_of_up(&lab)).map(move |moment| (signal, moment)))
    {
        let story = format!("{signal} {moment:?} after the start of up");
        let status = signalled(lab.up("two-hosts"), moment, signal);
        // The very last moments are too late for it, the very first too early.
        match status.code() {
            Some(0) => drop(ok(&mut lab.down())),
            code => assert!(code == Some(1) || status.signal().is_some(), "{story}: {status}"),
        }
        before.assert_same(&world.look(), &story);
    }
}

#[test]
fn killed_at_any_moment_up_leaves_nothing_that_down_does_not_find() {
    let world = World::enter(Mounts::Private);
    let lab = TestLab::new("kill");
    let before = world.look();
    for moment in moments(time_of_up(&lab)) {
        signalled(lab.up("two-hosts"), moment, Signal::SIGKILL);
        down_if_there(&lab);
        before.assert_same(&world.look(), &format!("SIGKILL {moment:?} after the start of up"));
    }
}

#[test]
fn killed_at_any_moment_down_leaves_nothing_that_the_next_does_not_find() {
    let world = World::enter(Mounts::Private);
    let lab = TestLab::new("killdown");
    let before = world.look();
    ok(&mut lab.up("two-hosts"));
    let time_of_down = time_of(&mut lab.down());
    for moment in moments(time_of_down) {
        ok(&mut lab.up("two-hosts"));
        signalled(lab.down(), moment, Signal::SIGKILL);
        down_if_there(&lab);
        before.assert_same(&world.look(), &format!("SIGKILL {moment:?} after the start of down"));
    }
}

#[test]
fn down_waits_for_the_helpers_of_a_killed_up() {
    let world = World::enter(Mounts::Private);
    let lab = TestLab::new("helpers");
    let before = world.look();
    let bin = tempfile::tempdir().unwrap();
    script(&bin.path().join("ip"), "sleep 0.3\nPATH=${PATH#*:}\nexec ip \"$@\"");
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let mut up = lab.up("two-hosts").env("PATH", path).spawn().unwrap();
    wait_until(Duration::from_secs(5), "a helper", || {
        world.processes().iter().any(|line| line.starts_with("sleep")).then_some(())
    })
    .unwrap();

    up.kill().unwrap();
    up.wait().unwrap();
    ok(&mut lab.down());
    before.assert_same(&world.look(), "SIGKILL while ip runs");
}

#[test]
fn up_refuses_names_that_others_have() {
    let world = World::enter(Mounts::Private);
    let lab = TestLab::new("taken");
    ok(Command::new("ip").args(["netns", "add", &lab.netns_name("b2")]));
    fs::write(lab.netns("h1"), "").unwrap();
    let sleep = Sleep::in_netns(&lab.netns("b2"));
    let before = world.look();

    let said = refused(&mut lab.up("two-hosts"), 1);
    for node in ["h1", "b2"] {
        assert!(said.contains(lab.netns(node).to_str().unwrap()), "{said}");
    }
    assert!(said.contains("nothing was touched"), "{said}");
    before.assert_same(&world.look(), "a refused up");
    assert!(sleep.is_alive());
}

#[test]
fn down_leaves_alone_what_has_a_planned_name_but_not_the_mark() {
    World::enter(Mounts::Private);
    let lab = TestLab::new("foreign");
    ok(&mut lab.up("two-hosts"));
    // Others replace a namespace by one of theirs, another by a file.
    let [stolen, file] = ["a1", "a2"].map(|node| lab.netns_name(node));
    ok(Command::new("ip").args(["netns", "delete", &stolen]));
    ok(Command::new("ip").args(["netns", "delete", &file]));
    ok(Command::new("ip").args(["netns", "add", &stolen]));
    fs::write(lab.netns("a2"), "").unwrap();
    let sleep = Sleep::in_netns(&lab.netns("a1"));

    let output = lab.down().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for node in ["a1", "a2"] {
        assert!(said.contains(lab.netns(node).to_str().unwrap()), "{said}");
    }
    assert!(sleep.is_alive());
    let mut left: Vec<_> = fs::read_dir("/run/netns")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, [stolen, file]);
}

#[test]
fn two_labs_stand_side_by_side() {
    let world = World::enter(Mounts::Private);
    let (one, other) = (TestLab::new("one"), TestLab::new("other"));
    let before = world.look();
    let ups = [&one, &other].map(|lab| lab.up("two-hosts").stdout(Stdio::null()).spawn().unwrap());
    for mut up in ups {
        assert!(up.wait().unwrap().success());
    }
    let listed = ok(&mut ila_lab(&["ls", "-o", "json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["v"], 1);
    let states = [0, 1].map(|index| {
        let lab = &listed["labs"][index];
        (lab["name"].as_str().unwrap(), lab["state"].as_str().unwrap())
    });
    assert_eq!(states, [(one.name.as_str(), "up"), (other.name.as_str(), "up")]);

    ok(&mut one.down());
    ok(&mut other.exec("a1", &["ping", "-c1", "-W2", "fd00:db8:0:1:2000::b1"]));
    ok(&mut other.down());
    before.assert_same(&world.look(), "two labs");
}

#[test]
fn a_lab_that_exists_or_is_busy_is_left_alone() {
    let world = World::enter(Mounts::Private);
    let lab = TestLab::new("busy");
    let said = refused(&mut lab.down(), 1);
    assert!(said.contains("there is no lab"), "{said}");

    ok(&mut lab.up("two-hosts"));
    // Agents store what they have heard of each other a moment after the start.
    for host in ["h1", "h2"] {
        let heard = Path::new("/run/ila-lab").join(&lab.name).join(host).join("state/heard");
        wait_until(Duration::from_secs(20), "what was heard", || heard.exists().then_some(()))
            .unwrap();
    }
    let before = world.look();
    let said = refused(&mut lab.up("two-hosts"), 1);
    assert!(said.contains(&format!("ila-lab down {}", lab.name)), "{said}");

    let dir = fs::File::open(Path::new("/run/ila-lab").join(&lab.name)).unwrap();
    let lock = Flock::lock(dir, FlockArg::LockExclusiveNonblock).unwrap();
    for command in [&mut lab.up("two-hosts"), &mut lab.down()] {
        let said = refused(command, 1);
        assert!(said.contains("is busy"), "{said}");
    }
    assert!(ok(&mut ila_lab(&["ls"])).contains("busy"));
    drop(lock);
    before.assert_same(&world.look(), "refusals");
}

#[test]
fn an_agent_that_does_not_start_takes_the_lab_with_it() {
    let world = World::enter(Mounts::Private);
    let lab = TestLab::new("agent");
    let before = world.look();
    let bin = tempfile::tempdir().unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_ila-lab")).with_file_name("ila-ctl");
    let ctl = bin.path().join("ila-ctl");
    std::os::unix::fs::symlink(built, &ctl).unwrap();
    let broken = "echo first words\necho last words >&2\nexit 3";
    script(&bin.path().join("ila-agent"), broken);
    let refused = || refused(lab.up("two-hosts").env("ILA_BIN_DIR", bin.path()), 1);
    let said = refused();
    for part in ["nothing is left", "agent of host `h1`", "exit status: 3", "last words"] {
        assert!(said.contains(part), "{said}");
    }
    before.assert_same(&world.look(), "an up without agents");

    fs::remove_file(&ctl).unwrap();
    script(&ctl, broken);
    let said = refused();
    for part in ["nothing is left", "ila-ctl", "last words"] {
        assert!(said.contains(part), "{said}");
    }
    before.assert_same(&world.look(), "an up without certificates");
}

#[test]
fn a_process_that_ignores_sigterm_is_killed() {
    let world = World::enter(Mounts::Private);
    let lab = TestLab::new("stubborn");
    let before = world.look();
    ok(&mut lab.up("two-hosts"));
    let ignoring = "trap '' TERM; echo ready; while :; do sleep 1; done";
    let mut stubborn =
        lab.exec("a1", &["sh", "-c", ignoring]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 5];
    std::io::Read::read_exact(stubborn.stdout.as_mut().unwrap(), &mut ready).unwrap();

    ok(&mut lab.down());
    assert_eq!(stubborn.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    before.assert_same(&world.look(), "a stubborn process");
}

#[test]
fn a_lab_stays_up_when_nobody_reads_what_up_prints() {
    let world = World::enter(Mounts::Private);
    let lab = TestLab::new("unread");
    let before = world.look();
    let mut up = lab.up("two-hosts").stdout(Stdio::piped()).spawn().unwrap();
    drop(up.stdout.take());
    assert!(up.wait().unwrap().success());
    ok(&mut lab.exec("a1", &["true"]));
    ok(&mut lab.down());
    before.assert_same(&world.look(), "an unread up");
}

#[test]
fn exec_passes_the_exit_code_on() {
    World::enter(Mounts::Private);
    let lab = TestLab::new("exec");
    ok(&mut lab.up("two-hosts"));
    refused(&mut lab.exec("a1", &["sh", "-c", "exit 7"]), 7);
    refused(&mut lab.exec("rt", &["no-such-command"]), 127);
    let said = refused(&mut lab.exec("nobody", &["true"]), 1);
    assert!(said.contains("no node `nobody`, only rt, h1, h2, a1, a2, b1, b2"), "{said}");
    let links = ok(&mut lab.exec("rt", &["ip", "-oneline", "link"]));
    assert!(links.contains("to-h1") && links.contains("to-h2"), "{links}");
}

#[test]
fn a_lab_of_the_library_goes_down_with_its_value() {
    let world = World::enter(Mounts::Private);
    let name = TestLab::new("library").name.clone();
    let before = world.look();
    let bin_dir = Path::new(env!("CARGO_BIN_EXE_ila-lab")).parent().unwrap();
    let options = Options { no_register: true, ..Options::default() };
    let options = if bin_dir.join("ila-agent").exists() {
        Options { bin_dir: Some(bin_dir.to_owned()), ..options }
    } else {
        options
    };
    let lab = Lab::up(&Topology::builtin("two-hosts").unwrap(), &name, &options).unwrap();

    let links = ok(lab.node("a1").unwrap().command("ip").args(["-oneline", "link"]));
    assert!(!links.contains("eth0"), "a container was registered: {links}");
    assert_eq!(lab.node("h1").unwrap().processes().unwrap().len(), 1);
    let netns = lab.node("a1").unwrap().netns().to_str().unwrap().to_owned();
    let add = ["container", "add", "a1", "--identifier", "2000:0:0:a1", "--netns", &netns];
    ok(lab.ctl("h1").unwrap().args(add));
    let address = lab.address("a1").unwrap().to_string();
    ok(lab.node("a1").unwrap().command("ping").args(["-c1", "-W2", &address]));
    assert!(!lab.agent_log("h1").unwrap().is_empty());
    let h2 = lab.host_address("h2").unwrap().to_string();
    ok(lab.node("h1").unwrap().command("ping").args(["-c1", "-W2", &h2]));

    drop(lab);
    before.assert_same(&world.look(), "a lab that was dropped");
}

#[test]
fn without_root_or_ip_nothing_is_touched() {
    let world = World::enter(Mounts::Private);
    let lab = TestLab::new("noroot");
    let before = world.look();
    // Where this test's build lies, others may not be able to look.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("ila-lab");
    fs::copy(env!("CARGO_BIN_EXE_ila-lab"), &program).unwrap();
    for verb in [&["up", "two-hosts"][..], &["down", "two-hosts"]] {
        let said = refused(Command::new(&program).args(verb).uid(NOBODY).gid(NOBODY), 1);
        assert!(said.contains("needs root: run it with sudo"), "{said}");
    }

    for path in ["/usr/sbin/ip", "/usr/bin/ip", "/sbin/ip", "/bin/ip"] {
        if Path::new(path).is_file() {
            mount(Some("/dev/null"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        }
    }
    let said = refused(&mut lab.up("two-hosts"), 1);
    assert!(said.contains("cannot find `ip`") && said.contains("iproute2"), "{said}");
    for path in ["/usr/sbin/ip", "/usr/bin/ip", "/sbin/ip", "/bin/ip"] {
        nix::mount::umount(path).ok();
    }
    before.assert_same(&world.look(), "refusals");
}

#[test]
fn validate_says_where_the_mistake_is() {
    assert_eq!(ok(&mut ila_lab(&["validate", "three-hosts"])), "3 hosts, 6 containers\n");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.toml");
    fs::write(&path, "sir_prefix = \"fd00:db8:0:1::/64\"\nhost_name = 1\n").unwrap();
    let path = path.to_str().unwrap();
    let said = refused(&mut ila_lab(&["validate", path]), 1);
    assert!(said.contains(&format!("{path}: line 2: `host_name`: unknown field")), "{said}");
    refused(&mut ila_lab(&["validate"]), 2);
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A process in somebody's namespace.
struct Sleep(Child);

impl Sleep {
    fn in_netns(netns: &Path) -> Self {
        let netns = format!("--net={}", netns.display());
        let child = Command::new("nsenter").args([&netns, "--", "sleep", "1000"]).spawn().unwrap();
        let inside = wait_until(Duration::from_secs(5), "sleep to start", || {
            let line = fs::read(format!("/proc/{}/cmdline", child.id())).ok()?;
            line.starts_with(b"sleep").then_some(())
        });
        inside.unwrap();
        Self(child)
    }

    fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        !stat.contains(") Z ")
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn time_of_up(lab: &TestLab) -> Duration {
    let time = time_of(&mut lab.up("two-hosts"));
    ok(&mut lab.down());
    time
}

fn time_of(command: &mut Command) -> Duration {
    let start = Instant::now();
    ok(command);
    start.elapsed()
}

/// Moments spread over `whole`, one at random in each part of it; the same in
/// every run, up to the speed of the machine.
fn moments(whole: Duration) -> impl Iterator<Item = Duration> {
    let mut random = 0x2545_f491_u32;
    (0..MOMENTS).map(move |part| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        whole / MOMENTS * part + (whole / MOMENTS / 1024) * (random % 1024)
    })
}

/// Starts a command, and sends it a signal after a while.
fn signalled(mut command: Command, after: Duration, signal: Signal) -> ExitStatus {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = quiet.spawn().unwrap();
    thread::sleep(after);
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    child.wait().unwrap()
}

fn down_if_there(lab: &TestLab) {
    let output = lab.down().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("there is no lab"), "{said}");
}
