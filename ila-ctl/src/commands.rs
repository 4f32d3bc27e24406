//! What each verb does: one request, to an agent or of its own, and one output.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use clap::CommandFactory as _;
use ila_proto::api::{
    AddContainer, Container, ContainerList, CounterList, DroppedPacket, ErrorCode, ErrorReply,
    Mapping, MappingChange, MappingList, MappingOrigin, MeshStatus, NodeList, Status, Versioned,
};

use crate::{
    ca,
    cli::{
        AddArgs, Args, CaVerb, ContainerVerb, CountersArgs, Format, IdentifierChoice, MappingVerb,
        MonitorArgs, NodeVerb, OutputArgs, StatusArgs, Verb,
    },
    client::{Client, ClientError, Go},
    output::{self, Print as _},
};

/// How long the agent may take over a reply; its own limit is shorter.
const REPLY_TIME: Duration = Duration::from_secs(40);

/// Between two attempts of a `--wait`.
const PAUSE: Duration = Duration::from_millis(20);

/// Does what was typed.
pub fn run(args: &Args) -> Result<(), ClientError> {
    let client = Client::new(&args.socket, REPLY_TIME);
    match &args.verb {
        Verb::Container(ContainerVerb::Add(add)) => add_container(&client, add),
        Verb::Container(ContainerVerb::Rm { name }) => {
            client.delete::<Container>(&format!("/v1/containers/{name}")).map(|_| ())
        }
        Verb::Container(ContainerVerb::Ls(output)) => {
            client.get::<ContainerList>("/v1/containers")?.print(output.format)
        }
        Verb::Container(ContainerVerb::Show { name, output }) => {
            client.get::<Container>(&format!("/v1/containers/{name}"))?.print(output.format)
        }
        Verb::Mapping(MappingVerb::Ls(output)) => {
            client.get::<MappingList>("/v1/mappings")?.print(output.format)
        }
        Verb::Mapping(MappingVerb::Get { identifier, output }) => {
            client.get::<Mapping>(&format!("/v1/mappings/{identifier}"))?.print(output.format)
        }
        Verb::Mapping(MappingVerb::Watch(output)) => watch(&args.socket, *output),
        Verb::Mapping(MappingVerb::Why { identifier, output }) => {
            let path = format!("/v1/mappings/{identifier}/origin");
            client.get::<MappingOrigin>(&path)?.print(output.format)
        }
        Verb::Node(NodeVerb::Ls(output)) => {
            client.get::<NodeList>("/v1/nodes")?.print(output.format)
        }
        Verb::Counters(arguments) => counters(&client, arguments),
        Verb::Monitor(arguments) => monitor(&args.socket, arguments),
        Verb::Status(arguments) => status(&args.socket, arguments),
        Verb::Ca(CaVerb::Init { folder, output }) => {
            Versioned::new(ca::init(&folder.dir)?).print(output.format)
        }
        Verb::Ca(CaVerb::Issue(arguments)) => {
            Versioned::new(ca::issue(arguments)?).print(arguments.output.format)
        }
        Verb::Ca(CaVerb::Show { certificate, output }) => {
            Versioned::new(ca::show(certificate)?).print(output.format)
        }
        Verb::Completions { shell } => {
            // It panics if it cannot write, so it writes where it always can.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "ila-ctl", &mut script);
            output::line(String::from_utf8_lossy(&script).trim_end())
        }
        Verb::Man { dir } => fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Args::command(), dir))
            .map_err(ClientError::Output),
    }
}

fn add_container(client: &Client, arguments: &AddArgs) -> Result<(), ClientError> {
    let request = AddContainer {
        name: arguments.name.clone(),
        netns: arguments.netns.clone(),
        interface: arguments.ifname.clone(),
        sir_prefix: arguments.sir_prefix,
        identifier: match arguments.identifier {
            IdentifierChoice::Auto => None,
            IdentifierChoice::Fixed(identifier) => Some(identifier),
        },
        labels: arguments.labels.iter().cloned().collect(),
    };
    let added: Versioned<Container> = client.post("/v1/containers", &request)?;
    added.print(arguments.output.format)
}

fn counters(client: &Client, arguments: &CountersArgs) -> Result<(), ClientError> {
    let mut list = client.get::<CounterList>("/v1/counters")?;
    if arguments.container.is_some() || arguments.uplink.is_some() {
        list.reply.interfaces.retain(|it| match (&it.container, &arguments.container) {
            (Some(container), Some(wanted)) => container == wanted,
            (None, None) => Some(&it.interface) == arguments.uplink.as_ref(),
            _ => false,
        });
        let Some(only) = list.reply.interfaces.first() else { return Err(no_such(arguments)) };
        list.reply.counters.clone_from(&only.counters);
    }
    if !arguments.all && arguments.output.format == Format::Table {
        list.reply.counters.retain(|counter| counter.packets > 0);
        if list.reply.counters.is_empty() {
            return output::line("no packet has met a program yet");
        }
    }
    list.print(arguments.output.format)
}

fn no_such(arguments: &CountersArgs) -> ClientError {
    let (message, hint) = match (&arguments.container, &arguments.uplink) {
        (Some(name), _) => {
            (format!("there is no container named `{name}`"), "ila-ctl container ls")
        }
        (_, Some(name)) => (format!("`{name}` is no uplink"), "ila-ctl status"),
        _ => unreachable!("one of them was asked for"),
    };
    ClientError::Refused(ErrorReply {
        code: ErrorCode::NotFound,
        message,
        hint: Some(format!("see which there are with: {hint}")),
    })
}

fn monitor(socket: &Path, arguments: &MonitorArgs) -> Result<(), ClientError> {
    let mut left = arguments.count;
    Client::new(socket, None).follow("/v1/drops", |packet: Versioned<DroppedPacket>| {
        let line = match arguments.output.format {
            Format::Table => output::sentence(&packet.reply),
            Format::Json => output::json(&packet)?,
        };
        left = left.map(|left| left - 1);
        let go = output::line_if_read(line)?;
        Ok(if left == Some(0) { Go::Home } else { go })
    })
}

fn watch(socket: &Path, output: OutputArgs) -> Result<(), ClientError> {
    Client::new(socket, None).follow("/v1/mapping-changes", |change: Versioned<MappingChange>| {
        output::line_if_read(match output.format {
            Format::Table => output::change(&change.reply),
            Format::Json => output::json(&change)?,
        })
    })
}

fn status(socket: &Path, arguments: &StatusArgs) -> Result<(), ClientError> {
    let ask = |within| Client::new(socket, within).get::<Status>("/v1/status");
    let Some(within) = arguments.wait else {
        return ask(REPLY_TIME)?.print(arguments.output.format);
    };
    let started = Instant::now();
    loop {
        let left = within.saturating_sub(started.elapsed());
        let last = match ask(left.clamp(PAUSE, REPLY_TIME)) {
            Ok(status) => match &status.reply.mesh {
                Some(mesh) if !mesh.converged => not_converged(mesh),
                _ => return status.print(arguments.output.format),
            },
            Err(last @ ClientError::Unreachable { .. }) => last,
            Err(error) => return Err(error),
        };
        if started.elapsed() >= within {
            let within = humantime::format_duration(within);
            return Err(ClientError::NotYet { within, last: last.into() });
        }
        thread::sleep(PAUSE);
    }
}

/// What a mesh waits for.
fn not_converged(mesh: &MeshStatus) -> ClientError {
    let MeshStatus { nodes, links, refused, .. } = mesh;
    let (message, hint) = match refused {
        Some(reason) => (format!("the kernel's tables are behind: {reason}"), None),
        None if *links == 0 => {
            let message = format!("no connection to any other of the {nodes} nodes known");
            (message, Some("see where they are with: ila-ctl node ls"))
        }
        None => (format!("no neighbour knows just the same yet, of {links} connected"), None),
    };
    let hint = hint.map(str::to_owned);
    ClientError::Refused(ErrorReply { code: ErrorCode::Busy, message, hint })
}
