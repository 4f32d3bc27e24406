//! What each verb does: one request, one output.

use std::{
    fs, io, thread,
    time::{Duration, Instant},
};

use clap::CommandFactory as _;
use ila_proto::api::{
    AddContainer, Container, ContainerList, CounterList, Mapping, MappingList, Status, Versioned,
};

use crate::{
    cli::{
        AddArgs, Args, ContainerVerb, CountersArgs, IdentifierChoice, MappingVerb, StatusArgs, Verb,
    },
    client::{Client, ClientError},
    output::{self, Print as _},
};

/// Between two attempts of a `--wait`.
const PAUSE: Duration = Duration::from_millis(20);

/// Does what was typed.
pub fn run(args: &Args) -> Result<(), ClientError> {
    let client = Client::new(&args.socket);
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
        Verb::Counters(arguments) => counters(&client, arguments),
        Verb::Status(arguments) => status(&client, arguments),
        Verb::Completions { shell } => {
            clap_complete::generate(*shell, &mut Args::command(), "ila-ctl", &mut io::stdout());
            Ok(())
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
    if !arguments.all && arguments.output.format == crate::cli::Format::Table {
        list.reply.counters.retain(|counter| counter.packets > 0);
        if list.reply.counters.is_empty() {
            return output::line("no packet has met a program yet");
        }
    }
    list.print(arguments.output.format)
}

fn status(client: &Client, arguments: &StatusArgs) -> Result<(), ClientError> {
    let ask = || client.get::<Status>("/v1/status");
    let Some(within) = arguments.wait else { return ask()?.print(arguments.output.format) };
    let deadline = Instant::now() + within;
    loop {
        match ask() {
            Ok(status) => return status.print(arguments.output.format),
            Err(last @ ClientError::Unreachable { .. }) if Instant::now() >= deadline => {
                let within = humantime::format_duration(within);
                return Err(ClientError::NotYet { within, last: last.into() });
            }
            Err(ClientError::Unreachable { .. }) => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
}
