//! The agent of a host: its files, its start, its containers.

use std::{
    fs::{self, File},
    net::SocketAddrV6,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nix::unistd::setsid;
use serde::Serialize;
use std::os::unix::process::CommandExt as _;

use crate::{
    ChecksumMode, Domain, Error, Hook, Host, Identifier, LabName, Mappings, PathMode, Prefix,
    SourceMode, Topology, bpf_dir, error::Doing as _, identity::Authority, lab_dir::LabDir,
    netns::Netns, network, programs, wait_until,
};

/// How long an agent may take to answer after its start, on an emulated machine.
const START: Duration = Duration::from_secs(60);

/// How long it may take to add a container there.
const ADD: Duration = Duration::from_secs(30);

/// How long an agent may take to end once it has left its namespace.
const REAP: Duration = Duration::from_secs(1);

/// How many lines of an agent's log an error shows.
const TAIL_LINES: usize = 15;

/// What an agent did not do as it should. By the time that a user reads it the
/// log is gone with the lab, hence its end is in here.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It ended instead of starting.
    #[error("the agent of host `{host}` ended with {status}; the end of its log:\n{log}")]
    Ended {
        /// Its host.
        host: String,
        /// How.
        status: ExitStatus,
        /// Its last words.
        log: String,
    },
    /// It runs but does not answer.
    #[error("the agent of host `{host}` does not answer: {reason}; the end of its log:\n{log}")]
    Silent {
        /// Its host.
        host: String,
        /// What was tried.
        reason: String,
        /// Its last words.
        log: String,
    },
    /// It did not add a container.
    #[error("container `{container}` was not added: {said}\nthe end of the agent's log:\n{log}")]
    Refused {
        /// The container.
        container: String,
        /// What `ila-ctl` printed.
        said: String,
        /// The agent's last words.
        log: String,
    },
}

/// The files of one agent: the directory that it is told to run in, and the
/// one that it is told to pin in.
#[derive(Clone, Debug)]
pub struct AgentDir {
    path: PathBuf,
    pins: PathBuf,
}

impl AgentDir {
    /// The agent of `host` in a lab.
    pub fn new(lab: &LabName, host: &str) -> Self {
        Self { path: LabDir::path_of(lab).join(host), pins: bpf_dir::of(lab).join(host) }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.path.join("agent.toml")
    }

    /// What it prints.
    pub fn log(&self) -> PathBuf {
        self.path.join("agent.log")
    }

    /// Its key and certificates.
    pub fn identity(&self) -> PathBuf {
        self.path.join("identity")
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.path.join("agent.sock")
    }

    /// The last lines of what it printed.
    fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

/// An agent that this process has started.
#[derive(Debug)]
pub struct Agent {
    host: String,
    dir: AgentDir,
    netns: Netns,
    child: Child,
}

impl Agent {
    /// Writes the configuration of the agent of `host`, has it certified if
    /// there is an authority, and starts it in `netns`.
    pub fn start(
        program: &Path,
        (topology, host): (&Topology, &Host),
        authority: Option<&Authority<'_>>,
        dir: AgentDir,
        netns: Netns,
    ) -> Result<Self, Error> {
        let making = || format!("write into {}", dir.path().display());
        fs::create_dir(dir.path()).doing(making)?;
        if let Some(authority) = authority {
            authority.issue(topology, host, &dir.identity())?;
        }
        fs::write(dir.config(), config(topology, host, &dir)).doing(making)?;
        let log = File::create(dir.log()).doing(making)?;
        let errors = log.try_clone().doing(making)?;

        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(dir.config())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        netns.enter(&mut command);
        let new_session = || {
            setsid()?;
            Ok(())
        };
        // SAFETY: all that happens in the child is one system call; it takes
        // no lock and allocates nothing.
        unsafe { command.pre_exec(new_session) };
        let child = command.spawn().doing(|| format!("run {}", program.display()))?;
        Ok(Self { host: host.name.clone(), dir, netns, child })
    }

    /// Waits until it answers.
    pub fn await_ready(&mut self, ctl: &Path, interrupted: &AtomicBool) -> Result<(), Error> {
        let mut reason = "it has not made its socket".to_owned();
        let ready = wait_until(START, "an answer", || {
            if interrupted.load(Ordering::Relaxed) {
                return Some(Err(Error::Interrupted));
            }
            if let Some(status) = self.child.try_wait().ok().flatten() {
                let (host, log) = (self.host.clone(), self.dir.log_tail());
                return Some(Err(Box::new(AgentError::Ended { host, status, log }).into()));
            }
            if !self.dir.socket().exists() {
                return None;
            }
            let mut status = self.ctl(ctl);
            status.arg("status");
            match programs::run(status, START, interrupted) {
                Ok(output) if output.status.success() => Some(Ok(())),
                Ok(output) => {
                    reason = said(&output);
                    None
                }
                Err(error) => Some(Err(error)),
            }
        });
        ready.unwrap_or_else(|_| {
            let (host, log) = (self.host.clone(), self.dir.log_tail());
            Err(Box::new(AgentError::Silent { host, reason, log }).into())
        })
    }

    /// Registers a container of this host.
    pub fn add(
        &self,
        ctl: &Path,
        container: &crate::Container,
        netns: &Path,
        interrupted: &AtomicBool,
    ) -> Result<(), Error> {
        let mut command = self.ctl(ctl);
        command
            .args(["container", "add", &container.name, "--netns"])
            .arg(netns)
            .args(["--identifier", &container.identifier.to_string()]);
        if let Some(sir_prefix) = container.sir_prefix {
            command.args(["--sir-prefix", &sir_prefix.to_string()]);
        }
        let output = programs::run(command, ADD, interrupted)?;
        if output.status.success() {
            return Ok(());
        }
        let (container, said) = (container.name.clone(), said(&output));
        Err(Box::new(AgentError::Refused { container, said, log: self.dir.log_tail() }).into())
    }

    /// Asks how it ended, once somebody else has brought that about: until
    /// then it stays in the process table.
    pub fn reap(&mut self) {
        wait_until(REAP, "the end", || self.child.try_wait().transpose()).ok();
    }

    /// How many mappings it has.
    pub fn mappings(&self, ctl: &Path, interrupted: &AtomicBool) -> Result<Option<u64>, Error> {
        let mut command = self.ctl(ctl);
        command.args(["status", "-o", "json"]);
        let output = programs::run(command, START, interrupted)?;
        let status: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
        Ok(status.and_then(|status| status["mappings"].as_u64()))
    }

    fn ctl(&self, program: &Path) -> Command {
        ctl(program, &self.dir, &self.netns)
    }
}

/// `ila-ctl`, told whose agent it is to ask. It runs beside the agent, so that
/// it ends with the lab.
pub fn ctl(program: &Path, dir: &AgentDir, netns: &Netns) -> Command {
    let mut command = Command::new(program);
    command.arg("--socket").arg(dir.socket());
    netns.enter(&mut command);
    command
}

fn said(output: &std::process::Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    format!("{} ({})", said.trim(), output.status)
}

#[derive(Serialize)]
struct Config<'a> {
    node: &'a str,
    sir_prefix: Prefix,
    locator: Prefix,
    uplinks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum_mode: Option<ChecksumMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<Hook>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceMode>,
    runtime_dir: &'a Path,
    bpf_dir: &'a Path,
    state_dir: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    locator_spaces: Option<[&'static str; 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mesh: Option<Mesh>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    domain: &'a Vec<Domain>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mapping: Vec<Mapping>,
}

#[derive(Serialize)]
struct Mesh {
    identity: PathBuf,
    seeds: Vec<SocketAddrV6>,
}

#[derive(Serialize)]
struct Mapping {
    #[serde(skip_serializing_if = "Option::is_none")]
    sir_prefix: Option<Prefix>,
    identifier: Identifier,
    locator: Prefix,
}

/// How many others an agent is told of, to find the mesh by: more than one, as
/// that may be down.
const SEEDS: usize = 2;

/// The UDP port of the mesh.
const PORT: u16 = 7741;

/// The configuration of the agent of `host`.
fn config(topology: &Topology, host: &Host, dir: &AgentDir) -> String {
    let config = Config {
        node: &host.name,
        sir_prefix: topology.sir_prefix,
        locator: host.locator,
        uplinks: network::uplinks(host),
        checksum_mode: topology.checksum_mode,
        hook: topology.hook,
        path: topology.path,
        source: topology.source,
        runtime_dir: dir.path(),
        bpf_dir: &dir.pins,
        state_dir: dir.path().join("state"),
        // All locators that there are have a mapping.
        locator_spaces: (topology.mappings == Mappings::Static).then_some([]),
        mesh: (topology.mappings == Mappings::Mesh)
            .then(|| Mesh { identity: dir.identity(), seeds: seeds(topology, host) }),
        domain: &host.domains,
        mapping: match topology.mappings {
            Mappings::Mesh => Vec::new(),
            Mappings::Static => mappings(topology, host),
        },
    };
    toml::to_string(&config).expect("these values are what TOML has")
}

/// Where the first other hosts are.
fn seeds(topology: &Topology, host: &Host) -> Vec<SocketAddrV6> {
    let others = topology.hosts.iter().filter(|other| other.name != host.name);
    let addresses = others.filter_map(|other| network::host_address(topology, &other.name));
    addresses.take(SEEDS).map(|address| SocketAddrV6::new(address, PORT, 0, 0)).collect()
}

/// Where the containers of all other hosts are, as far as this one serves their
/// SIR prefixes.
fn mappings(topology: &Topology, host: &Host) -> Vec<Mapping> {
    topology
        .containers()
        .filter(|(other, _)| other.name != host.name)
        .map(|(other, container)| (container, topology.domain_of(other, container)))
        .filter(|(_, there)| topology.domains(host).any(|it| it.sir_prefix == there.sir_prefix))
        .map(|(container, there)| Mapping {
            sir_prefix: container.sir_prefix,
            identifier: container.identifier,
            locator: there.locator,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_told_who_it_is_and_where_others_are() {
        let topology = Topology::builtin("three-hosts").unwrap();
        let dir = AgentDir::new(&"try".parse().unwrap(), "h2");
        let told = config(&topology, &topology.hosts[1], &dir);
        let expected = r#"
[mesh]
identity = "/run/ila-lab/try/h2/identity"
seeds = ["[2001:db8:ffff:1::2]:7741", "[2001:db8:ffff:3::2]:7741"]
"#;
        assert!(told.ends_with(expected), "{told}");
    }

    #[test]
    fn an_agent_is_told_of_the_other_hosts_containers() {
        let mut topology = Topology::builtin("two-hosts").unwrap();
        topology.mappings = Mappings::Static;
        let dir = AgentDir::new(&"try".parse().unwrap(), "h1");
        let expected = r#"node = "h1"
sir_prefix = "fd00:db8:0:1::/64"
locator = "2001:db8:a:1::/64"
uplinks = ["up0"]
runtime_dir = "/run/ila-lab/try/h1"
bpf_dir = "/sys/fs/bpf/ila-lab/try/h1"
state_dir = "/run/ila-lab/try/h1/state"
locator_spaces = []

[[mapping]]
identifier = "2000:0:0:b1"
locator = "2001:db8:b:1::/64"

[[mapping]]
identifier = "2000:0:0:b2"
locator = "2001:db8:b:1::/64"
"#;
        assert_eq!(config(&topology, &topology.hosts[0], &dir), expected);

        topology.checksum_mode = Some(ChecksumMode::NoAction);
        topology.hook = Some(Hook::Clsact);
        topology.path = Some(PathMode::Slow);
        topology.source = Some(SourceMode::Locator);
        topology.hosts[0].uplinks = 2;
        let modes = "checksum_mode = \"no-action\"\nhook = \"clsact\"\npath = \"slow\"\n\
                     source = \"locator\"\nruntime_dir";
        assert_eq!(
            config(&topology, &topology.hosts[0], &dir),
            expected.replace("runtime_dir", modes).replace(r#"["up0"]"#, r#"["up0", "up1"]"#)
        );
    }

    #[test]
    fn an_agent_is_told_of_the_sir_prefixes_that_its_host_serves() {
        let mut topology = Topology::builtin("two-hosts").unwrap();
        topology.mappings = Mappings::Static;
        let dir = AgentDir::new(&"try".parse().unwrap(), "h1");
        let domain = |sir_prefix: &str, locator: &str| Domain {
            sir_prefix: sir_prefix.parse().unwrap(),
            locator: locator.parse().unwrap(),
        };
        topology.hosts[0].domains = vec![domain("fd00:db8:0:2::/64", "2001:db8:a:2::/64")];
        topology.hosts[1].domains = vec![
            domain("fd00:db8:0:2::/64", "2001:db8:b:2::/64"),
            domain("fd00:db8:0:3::/64", "2001:db8:b:3::/64"),
        ];
        for (index, prefix) in [(0, "fd00:db8:0:2::/64"), (1, "fd00:db8:0:3::/64")] {
            topology.hosts[1].containers[index].sir_prefix = Some(prefix.parse().unwrap());
        }
        let told = config(&topology, &topology.hosts[0], &dir);
        let expected = r#"
[[domain]]
sir_prefix = "fd00:db8:0:2::/64"
locator = "2001:db8:a:2::/64"

[[mapping]]
sir_prefix = "fd00:db8:0:2::/64"
identifier = "2000:0:0:b1"
locator = "2001:db8:b:2::/64"
"#;
        assert!(told.ends_with(expected), "{told}");
    }
}
