//! A second kernel, Linux 6.1, in place of h2: as a peer with Linux's own ILA,
//! and as a host of the agent's; and with a lab of its own, for it has VLANs.
//! `cargo xtask test --only second-kernel` gets it, or skips these and says why;
//! without it they fail.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ila_labs::{Capture, Node, Packet, Vm, quote, wait_until};
use nix::sys::signal::Signal;

use crate::{
    common::ok,
    docs::{blocks, two_hosts},
    overlay::{Agent, Overlay, bin_dir, with_host, with_static},
};

/// How long a script may run on the emulated machine, on one that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program that echoes, for it can be taken to the other machine.
const ECHO: &str = env!("CARGO_BIN_EXE_ila-echo");

const TWO_HOSTS: &str = include_str!("../../topologies/two-hosts.toml");

const PINGS: u64 = 3;
const BY_TCP: &str = "tcp 1 1000 100000";
/// The last one takes three fragments.
const BY_UDP: &str = "udp 1 17 1400 4000";

struct Mode {
    name: &'static str,
    valid_on_the_wire: bool,
    /// The ILA addresses of a1 and b1; as computed from the draft by hand.
    ila: [&'static str; 2],
}

const MODES: [Mode; 3] = [
    Mode {
        name: "neutral-map",
        valid_on_the_wire: true,
        ila: ["2001:db8:a:1:3000::cd96", "2001:db8:b:1:3000::cda5"],
    },
    Mode {
        name: "neutral-map-auto",
        valid_on_the_wire: true,
        ila: ["2001:db8:a:1:2000::dd96", "2001:db8:b:1:2000::dda5"],
    },
    Mode {
        name: "no-action",
        valid_on_the_wire: false,
        ila: ["2001:db8:a:1:2000::a1", "2001:db8:b:1:2000::b1"],
    },
];

/// Linux is told what the how-to says, block by block.
#[test]
fn linux_and_the_agent_understand_each_other_in_every_mode() {
    let overlay = Overlay::of_static("kernel-ila", "two-hosts");
    let without_mode = std::fs::read_to_string(overlay.config("h1")).expect("it is there");
    finish_checksums(&overlay.node("a1"));
    let mut linux = in_place_of_h2(&overlay, &[Path::new(ECHO)]);
    let page = blocks("docs/how-to/kernel-ila.md");
    let block = |label: &str| &page.iter().find(|(it, _)| it == label).expect(label).1;
    tell(&mut linux, block("container"));
    let _echo = start_echo(&overlay, &mut linux, "b1");

    for mode in MODES {
        overlay.end_agent("h1", Signal::SIGTERM);
        overlay.configure("h1", |_| format!("checksum_mode = {:?}\n{without_mode}", mode.name));
        let _agent = overlay.start_agent("h1");
        tell(&mut linux, &block("ila").replace("neutral-map", mode.name));
        // They go on from one agent to the next.
        let counts =
            || ["egress-translated", "ingress-restored"].map(|fate| overlay.count("h1", fate));
        let before = counts();
        let capture = Capture::start(&overlay.node("rt"), "to-h2", "src net fd00:db8:0:1::/64");
        let capture = capture.unwrap_or_else(|error| panic!("{error}"));
        exchange(&overlay, &mut linux, "b1");

        let [a1, b1] = ["a1", "b1"].map(|name| overlay.address(name));
        let from = |packets: &[Packet], source| {
            packets.iter().filter(|packet| packet.source() == source).count() as u64
        };
        let packets = capture.wait(|packets| {
            let [sent, received] = counts();
            [from(packets, a1), from(packets, b1)] == [sent - before[0], received - before[1]]
        });
        let packets = packets.unwrap_or_else(|error| panic!("{}: {error}", mode.name));
        check(&packets, &mode, [a1, b1]);
        // Mapped by h1, and none of h2's: restored, and answered for.
        let to = overlay.address("b2").to_string();
        let ping = overlay.node("a1").command("ping").args(["-c1", "-W20", &to]).output();
        let said = String::from_utf8(ping.expect("it can be run").stdout).expect("it is text");
        assert!(said.contains("Destination unreachable"), "{}: {said}", mode.name);
        tell(&mut linux, &block("away").replace("neutral-map", mode.name));
    }
}

/// The kernel has no TCX, so that the agent attaches by clsact of itself.
#[test]
fn the_agent_on_linux_6_1_attaches_by_clsact_and_is_a_host_like_any() {
    let overlay = Overlay::of_static("agent-6-1", "two-hosts");
    let ours = ["ila-agent", "ila-ctl"].map(|name| bin_dir().join(name));
    let mut linux = in_place_of_h2(&overlay, &[&ours[0], &ours[1], Path::new(ECHO)]);
    for (_, block) in two_hosts(false).iter().filter(|(host, _)| host == "h2") {
        let block = block.replace("ila-agent &", "ila-agent 2>/run/agent.log &");
        // The page does not reckon with an emulated machine.
        tell(&mut linux, &block.replace("--wait 10s", "--wait 60s"));
    }
    let log = tell(&mut linux, "cat /run/agent.log");
    assert!(log.contains("hook=Clsact"), "{log}");
    let container = "$(ip -o link | grep -o 'ila[^@:]*')";
    for interface in ["up0", container] {
        let filters = tell(&mut linux, &format!("tc filter show dev {interface} ingress"));
        assert!(filters.contains("direct-action") && filters.contains("ila_"), "{filters}");
    }
    let _echo = start_echo(&overlay, &mut linux, "client");
    exchange(&overlay, &mut linux, "client");
    let counters = tell(&mut linux, "ila-ctl counters");
    assert!(counters.contains("egress-translated") && counters.contains("ingress-restored"));
}

/// All of them in a lab inside of the machine.
#[test]
fn hosts_whose_uplinks_are_in_a_vlan_reach_each_other_there_and_nowhere_else() {
    const ADDRESSES: [(&str, &str); 2] =
        [("a1", "fd00:db8:0:1:2000::a1"), ("b1", "fd00:db8:0:1:2000::b1")];
    let topology = ["h1", "h2"]
        .iter()
        .fold(with_static(TWO_HOSTS), |topology, host| with_host(&topology, host, "vlan = 100"));
    let mut linux = with_lab(&topology);
    for host in ["h1", "h2"] {
        let filters = |linux: &mut Vm, interface: &str| {
            at(linux, host, &format!("tc filter show dev {interface} ingress"))
        };
        let filter = filters(&mut linux, "up0.100");
        assert!(filter.contains("ila_ingress direct-action"), "{filter}");
        assert_eq!(filters(&mut linux, "up0"), "", "{host}");
    }

    for (container, address) in ADDRESSES {
        let serve = format!("ila-lab exec lab {container} -- ila-echo serve {address}");
        tell(&mut linux, &format!("read < <(exec {serve})"));
    }
    for (from, (_, to)) in [("a1", ADDRESSES[1]), ("b1", ADDRESSES[0])] {
        at(&mut linux, from, &format!("ping -c3 -i0.1 {to}"));
        for what in [BY_TCP, BY_UDP] {
            at(&mut linux, from, &format!("ila-echo exchange {to} {what}"));
        }
    }
    // Whatever one host translated came in by the other's uplink, and was
    // restored; the last of it may still be on its way.
    for (from, to) in [("h1", "h2"), ("h2", "h1")] {
        wait_until(PATIENCE, "as many packets on either side", || {
            let sent = counted(&mut linux, from, "", "egress-translated");
            let came = counted(&mut linux, to, "--uplink up0.100", "ingress-restored");
            (sent == came && sent > 20).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    }

    // What comes by the same cable in another VLAN is another interface's.
    at(&mut linux, "h1", "ip link add link up0 name up0.200 type vlan id 200");
    at(&mut linux, "h1", "ip link set up0.200 up");
    let [restored, tagged, beside] = ping_in_vlan(&mut linux, "vl-h1", 200);
    assert_eq!((restored, tagged), (0, 0), "by the programs");
    assert!(beside >= PINGS, "{beside} beside them");
    // In one within the uplink's it comes by the uplink, and is left alone.
    let [restored, tagged, beside] = ping_in_vlan(&mut linux, "to-h1", 7);
    assert_eq!((restored, beside), (0, 0));
    assert!(tagged >= PINGS, "{tagged} left alone");
}

/// No call makes a kernel forget that a checksum is to be finished. That this one
/// does as well when its place is cut off, nothing but itself can tell.
#[test]
fn linux_6_1_finishes_no_checksum_inside_of_an_error() {
    const NOBODY: &str = "fd00:db8:0:1:2000::99";
    let mut linux = with_lab(&with_static(TWO_HOSTS));
    let links = at(&mut linux, "h1", "ip -brief link");
    let devices = links.split_whitespace().filter_map(|word| word.split_once('@'));
    for (device, _) in devices.filter(|(name, _)| name.starts_with("ila")) {
        at(&mut linux, "h1", &format!("ethtool -K {device} tx off"));
    }
    let connect = format!("! ila-lab exec lab a1 -- ila-echo exchange {NOBODY} tcp 1 2>&1");
    let said = tell(&mut linux, &connect);
    assert!(said.contains("No route to host"), "{said}");
}

/// The second kernel with a lab inside.
fn with_lab(topology: &str) -> Vm {
    let ours = ["ila-agent", "ila-ctl", "ila-lab"].map(|name| bin_dir().join(name));
    let [agent, ctl, lab] = ours.each_ref().map(PathBuf::as_path);
    let linux = Vm::boot(&[agent, ctl, lab, Path::new(ECHO)], None);
    let mut linux = linux.unwrap_or_else(|error| panic!("{error}"));
    let up = format!("echo {} >lab.toml; ila-lab up ./lab.toml --name lab", quote(topology));
    tell(&mut linux, &up);
    linux
}

/// Pings the ILA address of a1 from the router of the machine's lab, in a VLAN on
/// an interface there. Nobody answers; returns by how much there are more that h1
/// has restored, has left alone for their tag, and has got by `up0.200`.
fn ping_in_vlan(linux: &mut Vm, below: &str, vlan: u16) -> [u64; 3] {
    let to = MODES[0].ila[0];
    let link = at(linux, "h1", "ip -brief link show up0");
    let mac = link.split_whitespace().nth(2).expect("it has an address");
    for command in [
        &format!("link add link {below} name other type vlan id {vlan}"),
        "link set other up",
        &format!("route add {to} dev other"),
        &format!("neigh add {to} lladdr {mac} dev other"),
    ] {
        at(linux, "rt", &format!("ip {command}"));
    }
    let counts = |linux: &mut Vm| {
        let link = at(linux, "h1", "ip -json -s link show up0.200");
        let link: serde_json::Value = serde_json::from_str(&link).expect("it is JSON");
        let received = |what: &str| link[0]["stats64"]["rx"][what].as_u64().expect("it is counted");
        [
            counted(linux, "h1", "--uplink up0.100", "ingress-restored"),
            counted(linux, "h1", "--uplink up0.100", "ingress-tagged"),
            received("packets") - received("multicast"),
        ]
    };
    let before = counts(linux);
    let sent = tell(linux, &format!("! ila-lab exec lab rt -- ping -c{PINGS} -i0.1 -W1 {to}"));
    assert!(sent.contains(&format!("{PINGS} packets transmitted, 0 received")), "{sent}");
    let after = counts(linux);
    at(linux, "rt", "ip link del other");
    [0, 1, 2].map(|place| after[place] - before[place])
}

/// Runs a command in a node of the machine's lab.
#[track_caller]
fn at(linux: &mut Vm, node: &str, command: &str) -> String {
    tell(linux, &format!("ila-lab exec lab {node} -- {command}"))
}

/// How many packets a host of the machine's lab has counted under a fate, all or
/// those of an interface.
#[track_caller]
fn counted(linux: &mut Vm, host: &str, of: &str, fate: &str) -> u64 {
    let socket = format!("/run/ila-lab/lab/{host}/agent.sock");
    let json = tell(linux, &format!("ila-ctl --socket {socket} counters -o json {of}"));
    let reply: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    let counters = reply["counters"].as_array().expect("it has counters");
    let counter = counters.iter().find(|it| it["name"] == fate);
    counter.map_or(0, |it| it["packets"].as_u64().expect("packets are counted"))
}

/// Boots the other kernel at the end of the router's link to h2, with h2's
/// address.
fn in_place_of_h2(overlay: &Overlay, programs: &[&Path]) -> Vm {
    let router = overlay.node("rt");
    let ip = |words: &str| ok(router.command("ip").args(words.split(' ')));
    ip("link del to-h2");
    let linux = Vm::boot(programs, Some((&router, "to-h2")));
    let mut linux = linux.unwrap_or_else(|error| panic!("{error}"));
    ip("address add 2001:db8:ffff:2::1/64 dev to-h2 nodad");
    ip("link set to-h2 up");
    ip("route add 2001:db8:b:1::/64 via 2001:db8:ffff:2::2");
    tell(
        &mut linux,
        "ip link set eth0 name up0
         ip address add 2001:db8:ffff:2::2/64 dev up0 nodad
         ip link set up0 up
         ip route add default via 2001:db8:ffff:2::1",
    );
    linux
}

#[track_caller]
fn tell(linux: &mut Vm, script: &str) -> String {
    let answer = linux.run(script, PATIENCE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(answer.code, 0, "{script}\n{}", answer.said);
    answer.said
}

/// Starts to echo in a1 and in the other machine's container.
fn start_echo(overlay: &Overlay, linux: &mut Vm, container: &str) -> Agent {
    let [a1, b1] = ["a1", "b1"].map(|name| overlay.address(name).to_string());
    let mut here = overlay.node("a1").command(ECHO);
    let here = here.args(["serve", &a1]).stdout(Stdio::piped()).spawn().expect("it can be run");
    let mut here = Agent(here);
    let mut ready = String::new();
    let stdout = here.0.stdout.as_mut().expect("it is piped");
    BufReader::new(stdout).read_line(&mut ready).expect("it says something");
    assert_eq!(ready, "ready\n");
    // Fails if it ends before it is ready.
    tell(linux, &format!("read < <(exec ip netns exec {container} ila-echo serve {b1})"));
    here
}

/// With offloads a device would finish checksums and cut segments, and a
/// capture would show neither.
fn finish_checksums(container: &Node) {
    let off = ["-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off"];
    ok(container.command("ethtool").args(off));
}

/// Ping, TCP and UDP, each begun by either side.
fn exchange(overlay: &Overlay, linux: &mut Vm, container: &str) {
    let [a1, b1] = ["a1", "b1"].map(|name| overlay.address(name));
    let here = overlay.node("a1");
    ok(here.command("ping").args(["-c3", "-i0.1", &b1.to_string()]));
    for what in [BY_TCP, BY_UDP] {
        ok(here.command(ECHO).args(["exchange", &b1.to_string()]).args(what.split(' ')));
    }
    let script = format!(
        "ip netns exec {container} ping -c3 -i0.1 {a1}
         ip netns exec {container} ila-echo exchange {a1} {BY_TCP}
         ip netns exec {container} ila-echo exchange {a1} {BY_UDP}"
    );
    tell(linux, &script);
}

/// All packets between the hosts are in ILA form, of every kind and both ways.
fn check(packets: &[Packet], mode: &Mode, [a1, b1]: [Ipv6Addr; 2]) {
    const KINDS: [u8; 4] = [6, 17, 44, 58];
    let [ila_a1, ila_b1] = mode.ila.map(|text| text.parse::<Ipv6Addr>().expect("an address"));
    let ways = [(a1, ila_b1), (b1, ila_a1)];
    let kinds: BTreeSet<_> = packets
        .iter()
        .map(|packet| ((packet.source(), packet.destination()), packet.ipv6()[6]))
        .collect();
    let all = ways.iter().flat_map(|way| KINDS.map(|kind| (*way, kind))).collect();
    assert_eq!(kinds, all, "{}", mode.name);
    for (carried, computed) in packets.iter().filter_map(Packet::checksums) {
        assert_eq!(carried == computed, mode.valid_on_the_wire, "{}: {carried:#06x}", mode.name);
    }
}
