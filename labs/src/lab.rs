//! A lab: going up, standing, going down.

use std::{
    fs,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    Error, Host, LabName, Mappings, Topology,
    agent::{self, Agent, AgentDir},
    error::Doing as _,
    identity::Authority,
    ip::Ip,
    lab_dir::{self, LabDir},
    netns::{self, Netns},
    network, nft,
    plan::{NodeKind, Plan, PlannedNode, ROUTER},
    process, programs, take_down, wait_until,
};

/// How a lab is brought up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Leave the containers for somebody else to register.
    pub no_register: bool,
    /// Start no agents, for the hosts to be connected by something else. The
    /// containers have no links then.
    pub no_agents: bool,
    /// Where `ila-agent` and `ila-ctl` are, if not where they are looked for.
    pub bin_dir: Option<PathBuf>,
    /// Set by somebody, a signal handler for instance, who wants the lab to
    /// go down again before it is up.
    pub interrupted: Arc<AtomicBool>,
}

/// A lab that is up. Dropped, it goes down, unless it was opened or
/// [kept](Lab::keep).
#[derive(Debug)]
pub struct Lab {
    plan: Plan,
    bin_dir: Option<PathBuf>,
    agents: Vec<Agent>,
    goes_down: bool,
}

impl Lab {
    /// Brings a lab up. If that fails, whatever had been made is taken down
    /// again.
    pub fn up(topology: &Topology, name: &str, options: &Options) -> Result<Self, Error> {
        let plan = Plan::new(name.parse()?, topology.clone());
        programs::require_root()?;
        let programs = Programs::find(topology, options)?;
        let dir = LabDir::create(&plan.lab)?;
        if Plan::read(dir.path())?.is_some() {
            return Err(Error::Exists(plan.lab));
        }
        if let Err(error) = refuse_taken(&plan) {
            dir.remove()?;
            return Err(error);
        }

        let bin_dir = options.bin_dir.clone();
        let mut lab = Self { plan, bin_dir, agents: Vec::new(), goes_down: false };
        match lab.make(&programs, &dir, options) {
            Ok(()) => {
                lab.goes_down = true;
                Ok(lab)
            }
            Err(cause) => Err(lab.undo(cause, dir, programs.ip)),
        }
    }

    /// Opens a lab that is there. Dropping it changes nothing.
    pub fn open(name: &str) -> Result<Self, Error> {
        let lab: LabName = name.parse()?;
        match Plan::read(&LabDir::path_of(&lab))? {
            Some(plan) => Ok(Self { plan, bin_dir: None, agents: Vec::new(), goes_down: false }),
            None => Err(Error::NoSuchLab(lab)),
        }
    }

    /// Takes the lab down. Dropping it does so as well, but cannot say that
    /// it failed.
    pub fn down(mut self) -> Result<(), Error> {
        self.goes_down = false;
        self.take_down()
    }

    /// Leaves the lab up, for `ila-lab down`.
    pub fn keep(mut self) {
        self.goes_down = false;
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &LabName {
        &self.plan.lab
    }

    /// What it was made from.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.plan.topology
    }

    /// Its directory: one file with the plan, and one directory per agent.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        LabDir::path_of(&self.plan.lab)
    }

    /// The router, a host or a container.
    pub fn node(&self, name: &str) -> Result<Node, Error> {
        programs::require_root()?;
        let node = self.plan.node(name).ok_or_else(|| {
            self.no_such("node", name, self.plan.nodes.iter().map(|it| it.name.as_str()))
        })?;
        Ok(Node { netns: Netns::open(&node.path())?, path: node.path(), kind: node.kind })
    }

    /// The SIR address of a container.
    pub fn address(&self, container: &str) -> Result<Ipv6Addr, Error> {
        let mut containers = self.plan.topology.containers().map(|(_, it)| it);
        let found = containers.find(|it| it.name == container).ok_or_else(|| {
            let all = self.plan.topology.containers().map(|(_, it)| it.name.as_str());
            self.no_such("container", container, all)
        })?;
        Ok(self.plan.topology.address(found))
    }

    /// The address of a host on its link to the router: what reaches the host
    /// itself by plain routing.
    pub fn host_address(&self, host: &str) -> Result<Ipv6Addr, Error> {
        network::host_address(&self.plan.topology, host).ok_or_else(|| self.no_such_host(host))
    }

    /// `ila-ctl` for the agent of a host.
    pub fn ctl(&self, host: &str) -> Result<Command, Error> {
        let program = programs::ours(CTL, self.bin_dir.as_deref())?;
        Ok(agent::ctl(&program, &self.agent_dir(host)?, &self.node(host)?.netns))
    }

    /// The directory that the agent of a host runs in.
    pub fn runtime_dir(&self, host: &str) -> Result<PathBuf, Error> {
        self.agent_dir(host).map(|dir| dir.path().to_owned())
    }

    /// The socket of a host's agent.
    pub fn socket(&self, host: &str) -> Result<PathBuf, Error> {
        self.agent_dir(host).map(|dir| dir.socket())
    }

    /// All that the agent of a host has printed.
    pub fn agent_log(&self, host: &str) -> Result<String, Error> {
        let path = self.agent_dir(host)?.log();
        let log = fs::read(&path).doing(|| format!("read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    fn agent_dir(&self, host: &str) -> Result<AgentDir, Error> {
        self.host(host).map(|host| AgentDir::new(&self.plan.lab, &host.name))
    }

    fn host(&self, name: &str) -> Result<&Host, Error> {
        let found = self.plan.topology.hosts.iter().find(|host| host.name == name);
        found.ok_or_else(|| self.no_such_host(name))
    }

    fn no_such_host(&self, name: &str) -> Error {
        self.no_such("host", name, self.plan.topology.hosts.iter().map(|it| it.name.as_str()))
    }

    fn no_such<'a>(
        &self,
        wanted: &'static str,
        node: &str,
        all: impl Iterator<Item = &'a str>,
    ) -> Error {
        Error::NoSuchNode {
            lab: self.plan.lab.clone(),
            wanted,
            node: node.to_owned(),
            nodes: all.collect::<Vec<_>>().join(", "),
        }
    }

    fn make(&mut self, programs: &Programs, dir: &LabDir, options: &Options) -> Result<(), Error> {
        let interrupted = &*options.interrupted;
        let check = || {
            if interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
        };
        self.plan.write(dir)?;
        lab_dir::prepare_shared(&self.plan.lab)?;

        let ip = Ip::new(programs.ip.clone(), dir);
        let mark = self.plan.mark();
        for node in &self.plan.nodes {
            check()?;
            netns::create(&node.path(), &mark, &ip, || network::settle(node.kind))?;
        }
        network::connect(&self.plan, &ip)?;
        if let Some(nft) = &programs.nft {
            let router = self.plan.node(ROUTER).expect("every plan has a router");
            nft::refuse_sources(nft, dir, &router.path())?;
        }

        if !options.no_agents {
            self.start_agents(programs, dir, options)?;
        }
        check()?;
        self.plan.ready = true;
        self.plan.write(dir)
    }

    fn start_agents(
        &mut self,
        programs: &Programs,
        dir: &LabDir,
        options: &Options,
    ) -> Result<(), Error> {
        let interrupted = &*options.interrupted;
        let topology = &self.plan.topology;
        let authority = (topology.mappings == Mappings::Mesh)
            .then(|| Authority::make(&programs.ctl, dir))
            .transpose()?;
        for host in &topology.hosts {
            let (dir, netns) = (self.agent_dir(&host.name)?, self.node(&host.name)?.netns);
            let it = (topology, host);
            self.agents.push(Agent::start(&programs.agent, it, authority.as_ref(), dir, netns)?);
        }
        for agent in &mut self.agents {
            agent.await_ready(&programs.ctl, interrupted)?;
        }
        if !options.no_register {
            self.register(&programs.ctl, interrupted)?;
            self.await_mappings(&programs.ctl, interrupted)?;
        }
        Ok(())
    }

    /// Registers all containers, those of different hosts at the same time.
    fn register(&self, ctl: &Path, interrupted: &AtomicBool) -> Result<(), Error> {
        let register = |host: &Host, agent: &Agent| {
            host.containers.iter().try_for_each(|container| {
                let node = self.plan.node(&container.name).expect("the plan has all containers");
                agent.add(ctl, container, &node.path(), interrupted)
            })
        };
        thread::scope(|scope| {
            let hosts = self.plan.topology.hosts.iter().zip(&self.agents);
            let threads: Vec<_> =
                hosts.map(|(host, agent)| scope.spawn(move || register(host, agent))).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    /// Waits until each host knows all containers that it can reach.
    pub fn await_containers(&self) -> Result<(), Error> {
        let ctl = programs::ours(CTL, self.bin_dir.as_deref())?;
        self.await_mappings(&ctl, &AtomicBool::new(false))
    }

    fn await_mappings(&self, ctl: &Path, interrupted: &AtomicBool) -> Result<(), Error> {
        const SPREADING: Duration = Duration::from_secs(30);
        let topology = &self.plan.topology;
        for (host, agent) in topology.hosts.iter().zip(&self.agents) {
            let is_reached = |(other, it): &(&Host, &crate::Container)| {
                let wanted = topology.domain_of(other, it).sir_prefix;
                topology.domains(host).any(|domain| domain.sir_prefix == wanted)
            };
            let wanted = topology.containers().filter(is_reached).count() as u64;
            let what = format!("{wanted} mappings at host `{}`", host.name);
            wait_until(SPREADING, &what, || {
                let known = agent.mappings(ctl, interrupted).transpose()?;
                known.map(|known| (known >= wanted).then_some(())).transpose()
            })??;
        }
        Ok(())
    }

    fn undo(&mut self, cause: Error, dir: LabDir, ip: PathBuf) -> Error {
        let (lab, cause) = (self.plan.lab.clone(), Box::new(cause));
        let undone = take_down::clear(dir, ip);
        self.reap();
        match undone {
            Ok(_) => Error::Undone { lab, cause },
            Err(undoing) => Error::NotUndone { lab, cause, undoing: Box::new(undoing) },
        }
    }

    fn take_down(&mut self) -> Result<(), Error> {
        take_down::take_down(&self.plan.lab)?;
        self.reap();
        Ok(())
    }

    fn reap(&mut self) {
        for mut agent in self.agents.drain(..) {
            agent.reap();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.goes_down {
            return;
        }
        if let Err(error) = self.take_down() {
            eprintln!("lab `{}` could not be taken down: {error}", self.plan.lab);
        }
    }
}

/// A node of a lab: its namespace.
#[derive(Debug)]
pub struct Node {
    pub(crate) netns: Netns,
    path: PathBuf,
    kind: NodeKind,
}

impl Node {
    /// A command that will run in the node's namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        self.netns.enter(&mut command);
        command
    }

    /// Does `work` on a thread inside the node's namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let inside = || self.netns.enter_here().map(|()| work());
        thread::scope(|scope| {
            scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Where its namespace is published.
    #[must_use]
    pub fn netns(&self) -> &Path {
        &self.path
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> NodeKind {
        self.kind
    }

    /// Waits until somebody in its namespace listens on a TCP port.
    pub fn wait_for_listener(&self, port: u16) -> Result<(), Error> {
        const STARTING: Duration = Duration::from_secs(10);
        let what = format!("somebody to listen on port {port} in {}", self.path.display());
        wait_until(STARTING, &what, || {
            let listening = self.command("ss").args(["-Hltn", &format!("sport = {port}")]).output();
            listening.is_ok_and(|output| !output.stdout.is_empty()).then_some(())
        })
    }

    /// The processes that are in its namespace, this one excepted.
    pub fn processes(&self) -> Result<Vec<u32>, Error> {
        let id = self.netns.id().doing(|| format!("look at {}", self.path.display()))?;
        process::all_in(&[id].into())
    }
}

/// A lab as [`list`] finds it.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its name.
    pub name: LabName,
    /// How far it is.
    pub state: State,
    /// What it was made from; without it nothing was made yet.
    pub topology: Option<Topology>,
}

/// How far a lab is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All of it was made.
    Up,
    /// Somebody brings it up or takes it down at this moment.
    Busy,
    /// An `up` or a `down` was cut short.
    Unfinished,
}

/// All labs of this machine, by name.
pub fn list() -> Result<Vec<Summary>, Error> {
    let summary = |name: LabName| {
        let plan = Plan::read(&LabDir::path_of(&name))?;
        let whole = plan.as_ref().is_some_and(|plan| {
            plan.ready && plan.nodes.iter().map(PlannedNode::path).all(|it| netns::is_taken(&it))
        });
        let state = match (LabDir::is_busy(&name), whole) {
            (true, _) => State::Busy,
            (false, true) => State::Up,
            (false, false) => State::Unfinished,
        };
        Ok(Summary { name, state, topology: plan.map(|plan| plan.topology) })
    };
    lab_dir::names()?.into_iter().map(summary).collect()
}

/// The programs that bringing up a lab takes, found before anything is made.
struct Programs {
    ip: PathBuf,
    nft: Option<PathBuf>,
    agent: PathBuf,
    ctl: PathBuf,
}

const CTL: &str = "ila-ctl";

impl Programs {
    fn find(topology: &Topology, options: &Options) -> Result<Self, Error> {
        let bin_dir = options.bin_dir.as_deref();
        Ok(Self {
            ip: programs::ip()?,
            nft: topology.router.strict_sources.then(programs::nft).transpose()?,
            agent: programs::ours("ila-agent", bin_dir)?,
            ctl: programs::ours(CTL, bin_dir)?,
        })
    }
}

fn refuse_taken(plan: &Plan) -> Result<(), Error> {
    let taken: Vec<_> = plan
        .nodes
        .iter()
        .map(PlannedNode::path)
        .filter(|path| netns::is_taken(path))
        .map(|path| path.display().to_string())
        .collect();
    if taken.is_empty() {
        return Ok(());
    }
    Err(Error::Taken { lab: plan.lab.clone(), names: taken.join(", ") })
}
