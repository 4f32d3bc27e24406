//! What can be typed to make a mesh, to join one, and to let others join.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use ila_proto::{
    addr::{Locator, SirPrefix},
    api::{DEFAULT_CONFIG, Domain, InterfaceName, NodeName},
};

use crate::config::DEFAULT_LISTEN;

/// What the agent does instead of serving.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a mesh whose first host this is, and print the token that others join with
    Init(InitArgs),
    /// Join the mesh that a token is of
    Join(JoinArgs),
    /// Print another token, on the host where the mesh was made
    Token(TokenArgs),
}

/// What `init` and `join` have to know of the host.
#[derive(Debug, Args)]
pub struct HostArgs {
    /// The configuration file to write
    #[arg(long, default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// The folder for this node's key and certificate [default: `identity` beside the configuration]
    #[arg(long, value_name = "DIR")]
    pub identity: Option<PathBuf>,
    /// This host's locator, a /64 that the underlay routes to it, or `SIR_PREFIX@LOCATOR` where
    /// there are several SIR prefixes; can be repeated
    #[arg(long = "locator", value_name = "LOCATOR")]
    pub locators: Vec<LocatorArg>,
    /// An underlay interface; can be repeated [default: that of the default route]
    #[arg(long = "uplink", value_name = "INTERFACE")]
    pub uplinks: Vec<InterfaceName>,
    /// The name of this node [default: the host's]
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// Where to listen for other nodes
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = DEFAULT_LISTEN)]
    pub listen: SocketAddr,
    /// How other nodes reach this one; can be repeated [default: an uplink's address]
    #[arg(long = "address", value_name = "ADDRESS:PORT")]
    pub addresses: Vec<SocketAddr>,
}

/// What `init` takes.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The SIR prefix, a /64 that all hosts share
    #[arg(long, value_name = "PREFIX")]
    pub sir_prefix: Option<SirPrefix>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it")]
    pub host: HostArgs,
    /// For how long the token is good: 24h, 30m
    #[arg(long = "for", value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    pub lasts: Duration,
}

/// What `join` takes.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The token; `-` reads it from standard input
    pub token: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it")]
    pub host: HostArgs,
}

/// What `token` takes.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The configuration of this host
    #[arg(long, default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// For how long the token is good: 24h, 30m
    #[arg(long = "for", value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    pub lasts: Duration,
    /// Good for one host only
    #[arg(long)]
    pub once: bool,
    /// The locator that the next host is given, as with `join`, which then needs none; can be
    /// repeated
    #[arg(long = "locator", value_name = "LOCATOR")]
    pub locators: Vec<LocatorArg>,
}

/// A locator, and for which SIR prefix, if that is not clear.
#[derive(Clone, Copy, Debug)]
pub enum LocatorArg {
    /// For the only one.
    Plain(Locator),
    /// For this one.
    In(Domain),
}

impl std::str::FromStr for LocatorArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('@') {
            text.parse().map(Self::In).map_err(|error| format!("{error}"))
        } else {
            text.parse().map(Self::Plain).map_err(|error| format!("{error}"))
        }
    }
}

impl LocatorArg {
    /// The domain that is meant, if these are the SIR prefixes.
    pub fn domain(self, sir_prefixes: &[SirPrefix]) -> Result<Domain, String> {
        match (self, sir_prefixes) {
            (Self::In(domain), _) => Ok(domain),
            (Self::Plain(locator), &[sir_prefix]) => Ok(Domain { sir_prefix, locator }),
            (Self::Plain(locator), []) => {
                Err(format!("say for which SIR prefix {locator} is, with --sir-prefix"))
            }
            (Self::Plain(locator), [first, ..]) => Err(format!(
                "there are several SIR prefixes: say for which one {locator} is, as \
                 --locator {first}@{locator}"
            )),
        }
    }
}
