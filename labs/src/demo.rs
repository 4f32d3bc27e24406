//! The demo: two hosts, their containers, and a packet's way between them,
//! shown step by step on real packets.

use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use comfy_table::{Table, presets};
use ila_labs::{Capture, Lab, Options, Packet, Topology};

/// Prints a line. A reader who has seen enough and closes the pipe ends the
/// demo in order, with everything taken down.
macro_rules! say {
    ($($text:tt)*) => {
        writeln!(io::stdout(), $($text)*).context("cannot go on printing")?
    };
}

const FROM: &str = "a1";
const TO: &str = "b1";
const IPERF_PORT: u16 = 5201;

/// Runs the demo in a lab named `name`, which is gone afterwards.
pub fn run(name: &str, options: &Options) -> Result<()> {
    title(1, "Two hosts with a router between them, each in network namespaces of its own")?;
    say!(
        "  a1  a2            b1  b2    containers
   └h1 ┘             └h2 ┘     hosts, an ila-agent on each
     └────── rt ──────┘        an ordinary router that knows no container\n"
    );
    let topology = Topology::builtin("two-hosts")?;
    let options = Options { no_register: true, ..options.clone() };
    let lab = Lab::up(&topology, name, &options)?;
    say!("The lab is up. h1's agent says:\n");
    show("h1", lab.ctl("h1")?.arg("status"))?;

    title(2, "Each container gets one address, which it keeps wherever it runs")?;
    for host in &topology.hosts {
        for container in &host.containers {
            let node = lab.node(&container.name)?;
            show(
                &host.name,
                lab.ctl(&host.name)?
                    .args(["container", "add", &container.name, "--netns"])
                    .arg(node.netns())
                    .args(["--identifier", &container.identifier.to_string()])
                    .stdout(Stdio::null()),
            )?;
        }
    }
    show("h1", lab.ctl("h1")?.args(["container", "ls"]))?;

    title(3, "Every host knows on which host each identifier lives")?;
    lab.await_containers()?;
    say!("ADDRESS is what containers use, ON THE WIRE what takes its place between hosts.\n");
    show("h1", lab.ctl("h1")?.args(["mapping", "ls"]))?;

    title(4, "A container pings one on the other host")?;
    let packets = ping(&lab)?;

    title(5, "That ping as it left, as it crossed the underlay, and as it arrived")?;
    compare(&packets)?;

    title(6, "A TCP transfer, five seconds")?;
    iperf(&lab)?;

    title(7, "What the programs in the kernels have counted")?;
    for host in ["h1", "h2"] {
        show(host, lab.ctl(host)?.arg("counters"))?;
    }

    title(8, "Everything is taken down again")?;
    lab.down()?;
    say!("Nothing is left. To look around by yourself:\n");
    say!("  sudo target/debug/ila-lab up two-hosts");
    say!(
        "  sudo target/debug/ila-lab exec two-hosts a1 -- ping -c 3 {}",
        topology_address(&topology)?
    );
    say!("  sudo target/debug/ila-lab down two-hosts");
    Ok(())
}

fn title(number: u32, text: &str) -> Result<()> {
    say!("\n── {number}. {text}\n");
    Ok(())
}

/// Runs a command that the reader could type on `node`, after showing it.
fn show(node: &str, command: &mut Command) -> Result<()> {
    let arguments = command.get_args().map(|it| it.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    say!("{node} $ {program} {arguments}");
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    say!();
    Ok(())
}

/// One echo request at the three places where it can be seen.
fn ping(lab: &Lab) -> Result<[Packet; 3]> {
    // Type 128: echo requests, not their replies.
    const ECHO_REQUEST: &str = "icmp6 and ip6[40] == 128";
    let places = [(FROM, "eth0"), ("rt", "to-h1"), (TO, "eth0")];
    let captures = places
        .into_iter()
        .map(|(node, interface)| Capture::start(&lab.node(node)?, interface, ECHO_REQUEST))
        .collect::<Result<Vec<_>, _>>()?;
    let to = lab.address(TO)?.to_string();
    show(FROM, lab.node(FROM)?.command("ping").args(["-c3", "-i0.2", &to]))?;
    let mut seen = Vec::new();
    for capture in captures {
        let packets = capture.wait(|packets| !packets.is_empty())?;
        seen.push(packets.into_iter().next().context("a packet was waited for")?);
    }
    seen.try_into().ok().context("there are three places")
}

fn compare([sent, crossing, arrived]: &[Packet; 3]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", "as a1 sent it", "on the underlay", "as b1 received it"]);
    let mut row = |what: &str, value: &dyn Fn(&Packet) -> String| {
        table.add_row([what.to_owned(), value(sent), value(crossing), value(arrived)]);
    };
    row("source", &|packet| packet.source().to_string());
    row("destination", &|packet| packet.destination().to_string());
    row("hop limit", &|packet| packet.hop_limit().to_string());
    row("ICMPv6 checksum", &|packet| match packet.checksums() {
        Some((carried, computed)) if carried == computed => format!("{carried:#06x}, valid"),
        Some((carried, computed)) => format!("{carried:#06x}, WRONG: {computed:#06x}"),
        None => "none".to_owned(),
    });
    row("bytes", &|packet| packet.ipv6().len().to_string());
    say!("{table}");
    say!(
        "\nOnly the destination changed, and its last 16 bits made up for it: no header was added,
no checksum had to be touched. Each router on the way took one off the hop limit."
    );
    let restored = sent.ipv6_with(arrived.destination(), arrived.hop_limit());
    let same = restored == arrived.ipv6();
    say!("But for the hop limit, b1 received what a1 sent: {}.", if same { "yes" } else { "NO" });
    Ok(())
}

fn iperf(lab: &Lab) -> Result<()> {
    let mut server = lab
        .node(TO)?
        .command("iperf3")
        .args(["--server", "--one-off"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run iperf3")?;
    lab.node(TO)?.wait_for_listener(IPERF_PORT)?;
    let to = lab.address(TO)?.to_string();
    show(FROM, lab.node(FROM)?.command("iperf3").args(["-c", &to, "-t5", "-f", "g", "-i0"]))?;
    server.wait()?;
    Ok(())
}

fn topology_address(topology: &Topology) -> Result<String> {
    let container = topology.containers().map(|(_, it)| it).find(|it| it.name == TO);
    let container = container.context("the demo's topology has its containers")?;
    Ok(topology.address(container).to_string())
}
