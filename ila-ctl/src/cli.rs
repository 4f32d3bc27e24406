//! What can be typed. Checking is all that happens here.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ila_proto::{
    addr::{Identifier, SirPrefix},
    api::{ContainerName, Domain, InterfaceName, NodeName},
    gossip::IdentifierRange,
};

/// Registers containers with the overlay and shows what it does
#[derive(Parser)]
#[command(name = "ila-ctl", version)]
pub struct Args {
    /// The agent's socket
    #[arg(long, global = true, env = "ILA_SOCKET", default_value = "/run/ila/agent.sock")]
    pub socket: PathBuf,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Containers of this host
    #[command(subcommand)]
    Container(ContainerVerb),
    /// Which identifier lives on which host
    #[command(subcommand)]
    Mapping(MappingVerb),
    /// The nodes of the mesh
    #[command(subcommand)]
    Node(NodeVerb),
    /// How many packets met which fate on this host
    Counters(CountersArgs),
    /// Show packets as they are dropped, until interrupted
    Monitor(MonitorArgs),
    /// What the agent on this host is doing
    Status(StatusArgs),
    /// The authority (CA) that certifies nodes
    #[command(subcommand)]
    Ca(CaVerb),
    /// Print the completions of a shell
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Write the manual pages
    Man {
        /// Into which folder
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
}

#[derive(Subcommand)]
pub enum ContainerVerb {
    /// Give a network namespace an interface with an address of its own
    Add(AddArgs),
    /// Take the interface away again
    Rm {
        /// The container's name
        name: ContainerName,
    },
    /// List the containers
    Ls(OutputArgs),
    /// Show one container
    Show {
        /// The container's name
        name: ContainerName,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Subcommand)]
pub enum MappingVerb {
    /// List the mappings
    Ls(OutputArgs),
    /// Show one mapping
    Get {
        /// The identifier, such as 2000:0:0:1
        identifier: Identifier,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show mappings as they change, until interrupted
    Watch(OutputArgs),
    /// Show how a mapping has come about, or why there is none
    Why {
        /// The identifier, such as 2000:0:0:1
        identifier: Identifier,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Subcommand)]
pub enum NodeVerb {
    /// List the nodes
    Ls(OutputArgs),
}

#[derive(Subcommand)]
pub enum CaVerb {
    /// Make an authority: a key, which stays in its folder, and a certificate for all nodes
    Init {
        #[command(flatten)]
        folder: CaArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Certify a node: a key, its certificate and the authority's
    Issue(IssueArgs),
    /// Show what a certificate says
    Show {
        /// The certificate, a PEM file
        certificate: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(ClapArgs)]
pub struct CaArgs {
    /// The authority's folder
    #[arg(long, value_name = "DIR", default_value = "/etc/ila/ca")]
    pub dir: PathBuf,
}

#[derive(ClapArgs)]
pub struct IssueArgs {
    /// The node's name
    #[arg(long, value_name = "NAME")]
    pub node: NodeName,
    /// Its locator in a SIR prefix, such as `fd00:db8:0:1::/64@2001:db8:a:1::/64`; can be repeated
    #[arg(long = "locator", value_name = "SIR_PREFIX@LOCATOR", required = true)]
    pub locators: Vec<Domain>,
    /// Identifiers that it is the home of, such as 2000:10:0:0/28, instead of the next free ones;
    /// can be repeated
    #[arg(long = "identifiers", value_name = "IDENTIFIER/LENGTH")]
    pub identifiers: Vec<IdentifierRange>,
    /// For how many days the certificate is valid
    #[arg(long, value_name = "NUMBER", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..))]
    pub days: u16,
    #[command(flatten)]
    pub folder: CaArgs,
    /// Where to write node.key, node.pem and ca.pem; a node.key that is there is kept
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(ClapArgs)]
pub struct AddArgs {
    /// The name under which the container is known on this host
    pub name: ContainerName,
    /// Its network namespace: a path such as /run/netns/NAME, or the PID of a process in it
    #[arg(long, value_name = "PATH|PID", value_parser = parse_netns)]
    pub netns: PathBuf,
    /// The name of its interface inside the namespace
    #[arg(long, default_value = "eth0")]
    pub ifname: InterfaceName,
    /// The SIR prefix of its address, if the host serves several
    #[arg(long, value_name = "PREFIX")]
    pub sir_prefix: Option<SirPrefix>,
    /// The identifier it must have, such as 2000:0:0:1
    #[arg(long, value_name = "auto|HEX", default_value = "auto")]
    pub identifier: IdentifierChoice,
    /// A label to remember; can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(ClapArgs)]
pub struct CountersArgs {
    /// Show fates that no packet has met as well
    #[arg(long)]
    pub all: bool,
    /// Only what came from one container
    #[arg(long, value_name = "NAME", conflicts_with_all = ["uplink", "all"])]
    pub container: Option<ContainerName>,
    /// Only what came in by one uplink
    #[arg(long, value_name = "INTERFACE", conflicts_with = "all")]
    pub uplink: Option<InterfaceName>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(ClapArgs)]
pub struct MonitorArgs {
    /// End after so many packets
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(ClapArgs)]
pub struct StatusArgs {
    /// Wait until the agent answers and, in a mesh, knows what its neighbours do, at most so
    /// long: 5s, 1m
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(ClapArgs, Clone, Copy)]
pub struct OutputArgs {
    /// How to print
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people
    Table,
    /// For programs; versioned, fields are added and never changed
    Json,
}

#[derive(Clone, Copy)]
pub enum IdentifierChoice {
    Auto,
    Fixed(Identifier),
}

impl std::str::FromStr for IdentifierChoice {
    type Err = <Identifier as std::str::FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Fixed) }
    }
}

/// The agent has another working directory, so paths are made absolute.
fn parse_netns(text: &str) -> Result<PathBuf, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return Ok(Path::new("/proc").join(text).join("ns/net"));
    }
    std::path::absolute(text).map_err(|error| error.to_string())
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("labels are written KEY=VALUE".to_owned()),
    }
}
