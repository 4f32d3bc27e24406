//! Agents that end, are killed and come back.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use ila_labs::wait_until;
use nix::sys::signal::Signal;

use crate::{
    common::{ok, refused},
    overlay::{Netns, Overlay, PATIENCE, bin_dir},
};

const HOOKS: [&str; 2] = ["tcx", "clsact"];

/// A lab whose agents attach by `hook`.
fn attached_by(hook: &str) -> Overlay {
    Overlay::up(&format!("agent-{hook}"), "two-hosts", |text| format!("hook = \"{hook}\"\n{text}"))
}

#[test]
fn packets_flow_on_after_an_agent_was_told_to_end_and_the_next_one_adopts_its_containers() {
    for (hook, signal) in
        [("tcx", Signal::SIGTERM), ("clsact", Signal::SIGHUP), ("tcx", Signal::SIGINT)]
    {
        let overlay = attached_by(hook);
        assert!(overlay.pings("a1", "b1"));
        let before = ok(&mut overlay.ctl("h1", &["container", "ls", "-o", "json"]));
        let counted = overlay.count("h1", "egress-translated");

        overlay.end_agent("h1", signal);
        assert!(overlay.log("h1").contains("ended"), "{signal}: {}", overlay.log("h1"));
        assert!(overlay.pings("a1", "b1"), "nobody is needed for it");
        assert!(!overlay.lab.socket("h1").expect("the host is there").exists(), "{signal}");
        refused(&mut overlay.ctl("h1", &["status"]), 3);

        let agent = overlay.start_agent("h1");
        assert_eq!(ok(&mut overlay.ctl("h1", &["container", "ls", "-o", "json"])), before);
        assert!(overlay.count("h1", "egress-translated") > counted, "counted meanwhile");
        assert!(overlay.pings("a1", "b1") && overlay.pings("b2", "a2"), "{hook}");
        drop(agent);
    }
}

#[test]
fn detaching_takes_the_programs_off_and_leaves_nothing_pinned() {
    for hook in HOOKS {
        let overlay = attached_by(hook);
        // Not from under an agent that runs.
        let said = refused(&mut overlay.detach("h1"), 1);
        assert!(said.contains("another agent uses"), "{said}");
        assert!(overlay.pings("a1", "b1"));

        overlay.end_agent("h1", Signal::SIGTERM);
        ok(&mut overlay.detach("h1"));
        assert!(!overlay.pings("a1", "b1"), "nobody translates any more");
        assert_eq!(filters(&overlay), 0, "{hook}");
        let pins = fs::read_dir(overlay.pins("h1")).expect("the lab has made it");
        assert_eq!(pins.count(), 0, "{hook}");
        ok(&mut overlay.detach("h1"));

        let _agent = overlay.start_agent("h1");
        assert!(overlay.pings("a1", "b1"), "{hook}");
    }
}

/// The link of an interface that is gone does nothing; its name may be another
/// interface's by now.
#[test]
fn links_of_interfaces_that_are_gone_are_cleared_away() {
    let overlay = Overlay::of("gone", "two-hosts");
    let links = || {
        let layout = overlay.pins("h1").join("v4/links");
        fs::read_dir(layout).expect("the agent has made it").count()
    };
    assert_eq!(links(), 3, "up0, a1, a2");
    overlay.end_agent("h1", Signal::SIGKILL);
    let of = |name: &str| overlay.interfaces(name).into_iter().filter(|it| it.starts_with("ila"));
    let [gone, renewed] = of("h1").collect::<Vec<_>>().try_into().expect("there are two");
    let ip = |arguments: &[&str]| ok(overlay.node("h1").command("ip").args(arguments));
    ip(&["link", "del", &gone]);
    ip(&["link", "del", &renewed]);
    ip(&["link", "add", &renewed, "type", "veth", "peer", "name", "other"]);
    let _agent = overlay.start_agent("h1");
    // It has been adopted for the container that it is named after.
    assert_eq!(links(), 2, "up0 and one more");
    // Whose program it is that runs there: a stack that comes up is not silent.
    ip(&["link", "set", "other", "up"]);
    let counted = wait_until(PATIENCE, "a packet to be counted on the new interface", || {
        let json = ok(&mut overlay.ctl("h1", &["counters", "-o", "json"]));
        let reply: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        let mut interfaces = reply["interfaces"].as_array().expect("it is a list").iter();
        let of = interfaces.find(|it| it["interface"] == renewed.as_str())?;
        of["counters"].as_array().is_some_and(|it| !it.is_empty()).then_some(())
    });
    counted.unwrap_or_else(|error| panic!("{error}"));
}

/// Tells the next agent of h1 to attach by `hook`.
fn attach_by(overlay: &Overlay, hook: &str) {
    let lines = |text: String| {
        let others = text.lines().filter(|line| !line.starts_with("hook = "));
        others.fold(format!("hook = \"{hook}\"\n"), |text, line| text + line + "\n")
    };
    overlay.configure("h1", lines);
}

/// Tells the next agent of h1 to pin elsewhere; where.
fn pin_elsewhere(overlay: &Overlay) -> PathBuf {
    overlay.configure("h1", |text| text.replace("bpf/ila-lab/", "bpf/ila-lab/other-"));
    overlay.pins("h1")
}

/// The agent of h1, which fails the test if it does not end by itself.
fn agent_that_ends(overlay: &Overlay) -> Command {
    let mut agent = overlay.node("h1").command("timeout");
    agent.arg(PATIENCE.as_secs().to_string()).arg(bin_dir().join("ila-agent"));
    agent.arg("--config").arg(overlay.config("h1"));
    agent
}

/// Two programs on one interface would both act, by tables that differ; in
/// place of the other one ours would take its containers off the overlay.
#[test]
fn an_agent_does_not_start_beside_the_programs_of_another_one() {
    for (theirs, ours) in HOOKS.into_iter().flat_map(|it| HOOKS.map(|other| (it, other))) {
        let overlay = attached_by(theirs);
        overlay.end_agent("h1", Signal::SIGTERM);
        let before = shown_filters(&overlay);
        let other = pin_elsewhere(&overlay);
        attach_by(&overlay, ours);
        let said = refused(&mut agent_that_ends(&overlay), 1);
        assert!(said.contains("`up0` runs the program of another agent"), "{theirs}: {said}");
        assert_eq!(shown_filters(&overlay), before, "{theirs}, {ours}");
        assert_eq!(fs::read_dir(&other).expect("it is made").count(), 0, "nothing is pinned");
        ok(&mut overlay.detach("h1"));
        assert!(overlay.pings("a1", "b1"), "{theirs}: those of the other one are left alone");
        fs::remove_dir_all(other.parent().expect("it is the lab's")).expect("it can be removed");
    }
}

/// An interface that was made anew can have been taken by another agent, and
/// its mark is there still. The containers' interfaces are the first one's.
#[test]
fn filters_of_another_agent_are_neither_replaced_nor_taken_away() {
    let overlay = attached_by("clsact");
    overlay.end_agent("h1", Signal::SIGTERM);
    let filters = || shown_filters(&overlay);
    let before = filters();
    remove_filter(&overlay, "up0");
    let first = fs::read_to_string(overlay.config("h1")).expect("the lab has written it");
    let other = pin_elsewhere(&overlay);
    let second = overlay.start_agent("h1");
    assert_ne!(filters().get("up0"), before.get("up0"), "the second agent has it");
    let beside_up0 = |mut filters: BTreeMap<String, String>| {
        filters.remove("up0");
        filters
    };
    assert_eq!(beside_up0(filters()), beside_up0(before));
    let with_both = filters();
    drop(second);

    let second = fs::read_to_string(overlay.config("h1")).expect("it is there");
    overlay.configure("h1", |_| first);
    let said = refused(&mut agent_that_ends(&overlay), 1);
    assert!(said.contains("`up0` runs the program of another agent"), "{said}");
    assert_eq!(filters(), with_both);
    for _ in 0..2 {
        let said = refused(&mut overlay.detach("h1"), 1);
        assert!(said.contains("left alone are the clsact filters of up0:"), "{said}");
        assert!(filters().into_keys().eq(["up0"]), "only the second agent's: {:?}", filters());
    }
    overlay.configure("h1", |_| second);
    ok(&mut overlay.detach("h1"));
    assert_eq!(filters(), BTreeMap::new());
    fs::remove_dir_all(other.parent().expect("it is the lab's")).expect("it can be removed");
}

/// What an agent has attached is its own, whatever it was killed before.
#[test]
fn an_agent_knows_its_own_programs_whenever_it_was_killed() {
    let overlay = attached_by("clsact");
    let mark = overlay.pins("h1").join("v4/filters/up0");
    let restart = |hook: &str| {
        let keep = overlay.start_agent("h1");
        assert!(overlay.pings("a1", "b1") && overlay.pings("b2", "a2"), "{hook}");
        let expected = if hook == "clsact" { 3 } else { 0 };
        assert_eq!(filters(&overlay), expected, "{hook}");
        drop(keep);
    };
    overlay.end_agent("h1", Signal::SIGKILL);
    // After the filter was there, and before it was noted.
    fs::remove_dir(&mark).expect("it is noted");
    restart("clsact");
    assert!(mark.exists(), "it is noted again");
    // The other way round.
    remove_filter(&overlay, "up0");
    restart("clsact");
    for hook in ["tcx", "clsact", "tcx"] {
        attach_by(&overlay, hook);
        restart(hook);
    }
}

/// The folders of h1's tables and programs.
fn pinned_folders(overlay: &Overlay) -> Vec<PathBuf> {
    let layout = fs::read_dir(overlay.pins("h1").join("v4")).expect("the agent has made it");
    let mut folders: Vec<_> = layout.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| !folder.ends_with("links") && !folder.ends_with("filters"));
    folders
}

/// Whether it is the pin of a program or the note of a filter that is gone.
#[test]
fn detaching_finds_programs_whose_own_pins_are_gone() {
    for hook in HOOKS {
        let overlay = attached_by(hook);
        overlay.end_agent("h1", Signal::SIGKILL);
        for folder in pinned_folders(&overlay) {
            for program in ["ila_egress", "ila_ingress"] {
                let _ = fs::remove_file(folder.join(program));
            }
        }
        let _ = fs::remove_dir(overlay.pins("h1").join("v4/filters/up0"));
        let said = ok(&mut overlay.detach("h1"));
        assert!(said.contains("3 interfaces detached"), "{hook}: {said}");
        assert_eq!(filters(&overlay), 0, "{hook}");
        assert!(!overlay.pings("a1", "b1"), "{hook}: nobody translates any more");
        let _agent = overlay.start_agent("h1");
        assert!(overlay.pings("a1", "b1"), "{hook}");
    }
}

/// A link is known by its pin. A filter cannot be told from another agent's then:
/// it is left alone, and not in silence.
#[test]
fn programs_of_which_nothing_is_pinned_are_taken_over_by_their_links_or_named() {
    for hook in HOOKS {
        let overlay = attached_by(hook);
        overlay.end_agent("h1", Signal::SIGKILL);
        for folder in pinned_folders(&overlay) {
            fs::remove_dir_all(folder).expect("it can be removed");
        }
        if hook == "clsact" {
            let said = refused(&mut agent_that_ends(&overlay), 1);
            assert!(said.contains("tc filter del dev up0 ingress pref 18764"), "{said}");
            let before = shown_filters(&overlay);
            for _ in 0..2 {
                let said = refused(&mut overlay.detach("h1"), 1);
                assert!(before.keys().all(|it| said.contains(it)), "{said}");
                assert_eq!(shown_filters(&overlay), before);
            }
            for interface in before.keys() {
                remove_filter(&overlay, interface);
            }
            ok(&mut overlay.detach("h1"));
            let pins = fs::read_dir(overlay.pins("h1")).expect("the lab has made it");
            assert_eq!(pins.count(), 0);
        }
        let _agent = overlay.start_agent("h1");
        assert!(overlay.pings("a1", "b1") && overlay.pings("b2", "a2"), "{hook}");
    }
}

fn remove_filter(overlay: &Overlay, interface: &str) {
    let mut tc = overlay.node("h1").command("tc");
    ok(tc.args(["filter", "del", "dev", interface, "ingress"]));
}

#[test]
fn an_agent_readies_its_host_and_keeps_others_from_its_socket() {
    let overlay = Overlay::of("readies", "two-hosts");
    overlay.end_agent("h1", Signal::SIGTERM);
    overlay.set("h1", "all/forwarding", "0");
    // Two that may have learned a default route, and one that must not.
    let link = overlay.interfaces("h1").into_iter().find(|it| it.starts_with("ila"));
    let link = link.expect("a1 has one") + "/accept_ra";
    for setting in ["up0/accept_ra", "lo/accept_ra", &link] {
        overlay.set("h1", setting, "1");
    }
    let _agent = overlay.start_agent("h1");
    assert_eq!(overlay.setting("h1", "all/forwarding"), "1");
    assert_eq!(overlay.setting("h1", "up0/accept_ra"), "2");
    assert_eq!(overlay.setting("h1", "lo/accept_ra"), "2");
    assert_eq!(overlay.setting("h1", &link), "1");
    assert!(overlay.pings("a1", "b1"));

    let dir = overlay.lab.runtime_dir("h1").expect("the host is there");
    let mode = |path: &str| fs::metadata(dir.join(path)).expect(path).permissions().mode() & 0o777;
    assert_eq!(mode("agent.sock"), 0o660);
    assert_eq!(mode("agent.lock") & 0o077, 0, "whoever can open it can lock it");
    assert_eq!(mode("containers") & 0o077, 0);
}

/// Filters of a killed agent stay; they must not go on acting by its maps.
#[test]
fn a_killed_agent_with_another_hook_leaves_no_program_that_drops() {
    let overlay = attached_by("clsact");
    overlay.end_agent("h1", Signal::SIGKILL);
    assert_eq!(filters(&overlay), 3);
    attach_by(&overlay, "tcx");
    let _agent = overlay.start_agent("h1");
    assert_eq!(filters(&overlay), 0);
    let netns = Netns::add("newcomer");
    ok(&mut overlay.ctl("h1", &["container", "add", "newcomer", "--netns", &netns.path()]));
    let to = overlay.address("a1").to_string();
    ok(netns.command("ping").args(["-c1", "-W2", &to]));
}

#[test]
fn adoption_puts_right_what_was_changed_by_hand() {
    let overlay = Overlay::of("adoption", "two-hosts");
    let link = ok(&mut overlay.ctl("h1", &["container", "show", "a1", "-o", "json"]));
    let link: serde_json::Value = serde_json::from_str(&link).expect("it is JSON");
    let link = link["host_interface"].as_str().expect("it has one").to_owned();
    overlay.end_agent("h1", Signal::SIGTERM);
    // Takes route and neighbour entry along.
    for state in ["down", "up"] {
        ok(overlay.node("h1").command("ip").args(["link", "set", &link, state]));
    }
    let _agent = overlay.start_agent("h1");
    assert!(overlay.pings("b1", "a1"));
}

/// One that cannot be taken over does not keep the others from it.
#[test]
fn containers_are_adopted_one_by_one() {
    let overlay = Overlay::of("one-by-one", "two-hosts");
    overlay.end_agent("h1", Signal::SIGTERM);
    let records = overlay.lab.runtime_dir("h1").expect("the host is there").join("containers");
    let record = fs::read_to_string(records.join("a1")).expect("it is recorded");
    fs::write(records.join("copy"), record.replace("\"a1\"", "\"copy\"")).expect("it is written");
    fs::write(records.join("empty"), "").expect("it is written");
    let _agent = overlay.start_agent("h1");
    assert!(overlay.pings("b1", "a2"));
    assert!(overlay.pings("b1", "a1"));
}

/// The old locator may be another host's by now. Nobody would believe a node
/// whose certificate has another.
#[test]
fn the_route_of_a_former_locator_goes() {
    let overlay = Overlay::of("former", "two-hosts");
    let ends = || ok(overlay.node("h1").command("ip").args(["-6", "route", "show", "proto", "73"]));
    assert!(ends().contains("unreachable 2001:db8:a:1::/64"), "{}", ends());
    overlay.end_agent("h1", Signal::SIGTERM);
    overlay.configure("h1", |text| text.replace("2001:db8:a:1::/64", "2001:db8:a:2::/64"));
    let said = refused(&mut agent_that_ends(&overlay), 1);
    assert!(said.contains("node.pem certifies the locators"), "{said}");
    assert!(ends().contains("unreachable 2001:db8:a:1::/64"), "{}", ends());
    let mut issue = overlay.ctl("h1", &["ca", "issue", "--node", "h1", "--locator"]);
    issue.arg("fd00:db8:0:1::/64@2001:db8:a:2::/64");
    issue.arg("--dir").arg(overlay.lab.dir().join("ca"));
    let identity = overlay.lab.runtime_dir("h1").expect("the host is there").join("identity");
    ok(issue.arg("--out").arg(identity));
    let _agent = overlay.start_agent("h1");
    let ends = ends();
    assert!(ends.contains("unreachable 2001:db8:a:2::/64"), "{ends}");
    assert!(!ends.contains("2001:db8:a:1::/64"), "{ends}");
}

/// What can be refused is refused before the host is changed.
#[test]
fn an_agent_that_cannot_start_changes_nothing() {
    let overlay = Overlay::bare("no-start", "two-hosts");
    let h1 = || overlay.node("h1");
    overlay.end_agent("h1", Signal::SIGTERM);
    ok(h1().command("ip").args(["-6", "route", "flush", "proto", "73"]));
    overlay.set("h1", "all/forwarding", "0");
    let socket = overlay.lab.socket("h1").expect("the host is there");
    fs::create_dir(&socket).expect("the agent has removed its socket");
    let dir = overlay.lab.dir().join("fresh");
    let no_socket = overlay.config("h1");
    let mut starts = vec![(h1().command(bin_dir().join("ila-agent")), no_socket, "stale socket")];
    fs::create_dir(&dir).expect("the folder can be made");
    let mut user = h1().command("unshare");
    user.args(["--user", "--map-root-user"]).arg(bin_dir().join("ila-agent"));
    starts.push((user, config_in(&dir, "uplinks = [\"up0\"]"), "user namespace"));
    let fresh = dir.join("agent.toml");
    for (mut agent, config, says) in starts {
        let said = refused(agent.arg("--config").arg(config), 1);
        assert!(said.contains(says), "{said}");
        assert_eq!(overlay.setting("h1", "all/forwarding"), "0", "{says}");
        let routes = ok(h1().command("ip").args(["-6", "route", "show", "proto", "73"]));
        assert_eq!(routes, "", "{says}");
    }
    assert!(fresh.exists() && fs::read_dir(&dir).expect("it is there").count() == 1);
    fs::remove_dir(&socket).expect("it is empty");
    fs::remove_dir_all(&dir).expect("it can be removed");
}

#[test]
fn an_agent_of_another_sir_prefix_does_not_touch_containers() {
    let overlay = Overlay::of("prefix", "two-hosts");
    overlay.end_agent("h1", Signal::SIGTERM);
    overlay.configure("h1", |text| text.replace("fd00:db8:0:1::/64", "fd00:db8:0:2::/64"));
    let mut agent = overlay.node("h1").command(bin_dir().join("ila-agent"));
    let said = refused(agent.arg("--config").arg(overlay.config("h1")), 1);
    assert!(
        said.contains("container `a") && said.contains("`sir_prefix` fd00:db8:0:2::/64"),
        "{said}"
    );
    overlay.configure("h1", |text| text.replace("fd00:db8:0:2::/64", "fd00:db8:0:1::/64"));
    let _agent = overlay.start_agent("h1");
    assert!(overlay.pings("a1", "b1"), "nothing was lost by the mistake");
}

#[test]
fn an_agent_that_was_killed_is_followed_by_one_that_works() {
    for hook in HOOKS {
        let overlay = attached_by(hook);
        overlay.end_agent("h1", Signal::SIGKILL);
        let socket = overlay.lab.socket("h1").expect("the host is there");
        assert!(socket.exists(), "it had no time to remove its socket");
        refused(&mut overlay.ctl("h1", &["status"]), 3);

        let agent = overlay.start_agent("h1");
        assert!(overlay.pings("a1", "b1") && overlay.pings("b2", "a2"), "{hook}");
        // One on the uplink, one on each container's link, none left over.
        let expected = if hook == "clsact" { 3 } else { 0 };
        assert_eq!(filters(&overlay), expected, "{hook}");
        drop(agent);
    }
}

/// How many filters of ours h1 has; links of TCX are no filters.
fn filters(overlay: &Overlay) -> usize {
    shown_filters(overlay).values().map(|shown| shown.matches("direct-action").count()).sum()
}

/// The filters of h1 by interface, programs' numbers included.
fn shown_filters(overlay: &Overlay) -> BTreeMap<String, String> {
    let show = |interface: String| {
        let mut tc = overlay.node("h1").command("tc");
        let shown = ok(tc.args(["filter", "show", "dev", &interface, "ingress"]));
        (interface, shown)
    };
    let all = overlay.interfaces("h1").into_iter().map(show);
    all.filter(|(_, shown)| !shown.is_empty()).collect()
}

/// However far the agent got with a container, its successor either has it
/// whole or has nothing of it.
#[test]
fn a_container_half_made_when_the_agent_is_killed_is_cleared_away() {
    const KILLS: u32 = 24;
    let overlay = Overlay::of("half-made", "two-hosts");
    overlay.end_agent("h1", Signal::SIGTERM);
    // Spread over the time that it takes to add one on this machine, and a
    // little beyond.
    let span = {
        let _agent = overlay.start_agent("h1");
        let netns = Netns::add("whole");
        let started = Instant::now();
        ok(&mut overlay.ctl("h1", &["container", "add", "whole", "--netns", &netns.path()]));
        let span = started.elapsed() * 3 / 2;
        ok(&mut overlay.ctl("h1", &["container", "rm", "whole"]));
        span
    };
    let mut made = 0;
    for kill in 0..KILLS {
        let mut agent = overlay.start_agent("h1");
        let name = format!("x{kill}");
        let netns = Netns::add(&name);
        let mut add = overlay.ctl("h1", &["container", "add", &name, "--netns", &netns.path()]);
        add.stdout(Stdio::null()).stderr(Stdio::null());
        let mut add = add.spawn().expect("ila-ctl can be run");
        thread::sleep(span * kill / KILLS);
        agent.0.kill().expect("it runs");
        agent.0.wait().expect("it has ended");
        let added = add.wait().expect("it has ended").success();

        let agent = overlay.start_agent("h1");
        let listed = ok(&mut overlay.ctl("h1", &["container", "ls", "-o", "json"]));
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("it is JSON");
        let listed = listed["containers"].as_array().expect("it is a list");
        let mut expected: Vec<_> = listed
            .iter()
            .map(|it| it["host_interface"].as_str().expect("it has one").to_owned())
            .collect();
        let mut links = overlay.interfaces("h1");
        links.retain(|link| link.starts_with("ila"));
        expected.sort();
        links.sort();
        assert_eq!(links, expected, "killed after {kill} ms");
        let is_listed = listed.iter().any(|it| it["name"] == name.as_str());
        assert!(is_listed || !added, "{name} was said to be added");
        let inside = ok(Command::new("ip").args(["-n", &name, "-oneline", "link"]));
        assert_eq!(inside.contains("eth0"), is_listed, "killed after {kill} ms: {inside}");
        if is_listed {
            made += 1;
            ok(&mut overlay.ctl("h1", &["container", "rm", &name]));
        }
        drop(agent);
    }
    assert!(0 < made && made < KILLS, "{made} of {KILLS} were made: the moments are not spread");
}

#[test]
fn a_second_agent_on_the_same_runtime_directory_is_refused() {
    let overlay = Overlay::of("second", "two-hosts");
    let mut second = overlay.node("h1").command(bin_dir().join("ila-agent"));
    let said = refused(second.arg("--config").arg(overlay.config("h1")), 1);
    assert!(said.contains("another agent runs on the runtime directory"), "{said}");
    assert!(overlay.pings("a1", "b1"), "the first one is not disturbed");
    ok(&mut overlay.ctl("h1", &["status"]));
}

#[test]
fn an_agent_without_privilege_says_which_and_changes_nothing() {
    let overlay = Overlay::of("nobody", "two-hosts");
    let dir = overlay.lab.dir().join("nobody");
    fs::create_dir(&dir).expect("the folder can be made");
    let config = config_in(&dir, "uplinks = [\"up0\"]");
    let agent = bin_dir().join("ila-agent");
    let mut nobody = overlay.node("h1").command("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"]);
    // The binary lies where nobody may not look, so it comes by descriptor.
    let file = fs::File::open(agent).expect("the agent is there");
    let said = refused(nobody.arg("/proc/self/fd/0").arg("--config").arg(config).stdin(file), 1);
    assert!(said.contains("CAP_NET_ADMIN") && said.contains("run ila-agent as root"), "{said}");
    assert_eq!(fs::read_dir(&dir).expect("it is there").count(), 1, "only the configuration");
    fs::remove_dir_all(&dir).expect("it can be removed");
}

#[test]
fn an_uplink_that_cannot_be_one_is_named() {
    let overlay = Overlay::of("uplink", "two-hosts");
    let dir = overlay.lab.dir().join("other");
    fs::create_dir(&dir).expect("the folder can be made");
    for (uplink, says) in [("up9", "there is no interface `up9`"), ("lo", "no Ethernet interface")]
    {
        let config = config_in(&dir, &format!("uplinks = [\"{uplink}\"]"));
        let mut agent = overlay.node("h1").command(bin_dir().join("ila-agent"));
        let said = refused(agent.arg("--config").arg(config), 1);
        assert!(said.contains("`uplinks`") && said.contains(says), "{said}");
    }
    fs::remove_dir_all(&dir).expect("it can be removed");
}

/// A configuration that is fine but for `line`.
fn config_in(dir: &std::path::Path, line: &str) -> std::path::PathBuf {
    let path = dir.join("agent.toml");
    let text = format!(
        "node = \"x\"\nsir_prefix = \"fd00:9::/64\"\nlocator = \"2001:db8:9::/64\"\n{line}\n\
         locator_spaces = []\nruntime_dir = \"{}/run\"\n",
        dir.display()
    );
    fs::write(&path, text).expect("it can be written");
    path
}

#[test]
fn a_container_whose_namespace_is_gone_can_be_removed() {
    let overlay = Overlay::of("gone", "two-hosts");
    let netns = Netns::add("goner");
    ok(&mut overlay.ctl("h1", &["container", "add", "goner", "--netns", &netns.path()]));
    let links = || overlay.interfaces("h1").len();
    let with = links();
    drop(netns);
    wait_until(PATIENCE, "the link to go with its namespace", || (links() < with).then_some(()))
        .unwrap_or_else(|error| panic!("{error}"));
    ok(&mut overlay.ctl("h1", &["container", "rm", "goner"]));
    assert!(!ok(&mut overlay.ctl("h1", &["container", "ls"])).contains("goner"));
}
