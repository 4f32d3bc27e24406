//! A lab to send packets through, and programs that send them.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{self, Child, Command},
    thread,
    time::Duration,
};

use ila_labs::{Lab, Node, Options, Stream, Topology, wait_until};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::common::{Mounts, World, ok};

/// How long anything here may take at most.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A lab in a world of its own.
pub struct Overlay {
    pub lab: Lab,
    _world: World,
}

impl Overlay {
    /// Brings up a built-in topology, changed by `change`.
    pub fn up(test: &str, topology: &str, change: impl Fn(&str) -> String) -> Self {
        Self::with(test, topology, change, Options::default())
    }

    /// The same as it is.
    pub fn of(test: &str, topology: &str) -> Self {
        Self::up(test, topology, str::to_owned)
    }

    /// The same with mappings in the agents' configurations, and no mesh.
    pub fn of_static(test: &str, topology: &str) -> Self {
        Self::up(test, topology, with_static)
    }

    /// The same with no container registered.
    pub fn bare(test: &str, topology: &str) -> Self {
        let options = Options { no_register: true, ..Options::default() };
        Self::with(test, topology, str::to_owned, options)
    }

    /// The same with no agent, for tests that start their own.
    pub fn without_agents(test: &str, topology: &str) -> Self {
        let options = Options { no_agents: true, ..Options::default() };
        Self::with(test, topology, str::to_owned, options)
    }

    fn with(test: &str, topology: &str, change: impl Fn(&str) -> String, options: Options) -> Self {
        let world = World::enter(Mounts::Private);
        let path = format!("{}/topologies/{topology}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = change(&std::fs::read_to_string(&path).expect("the topology is there"));
        let topology = Topology::parse(&path, &text).expect("the topology is valid");
        let options = Options { bin_dir: Some(bin_dir()), ..options };
        let lab = Lab::up(&topology, &format!("t{}-{test}", process::id()), &options);
        Self { lab: lab.unwrap_or_else(|error| panic!("{error}")), _world: world }
    }

    pub fn node(&self, name: &str) -> Node {
        self.lab.node(name).expect("the topology has the node")
    }

    pub fn address(&self, container: &str) -> Ipv6Addr {
        self.lab.address(container).expect("the topology has the container")
    }

    /// `ila-ctl` on a host.
    pub fn ctl(&self, host: &str, args: &[&str]) -> Command {
        let mut command = self.lab.ctl(host).expect("the topology has the host");
        command.args(args);
        command
    }

    /// Pings once; whether an answer came.
    pub fn pings(&self, from: &str, to: &str) -> bool {
        let to = self.address(to).to_string();
        let ping = self.node(from).command("ping").args(["-c1", "-W3", &to]).output();
        ping.expect("ping can be run").status.success()
    }

    /// Starts a stream between two containers, and waits until it flows.
    pub fn stream(&self, from: &str, to: &str, rate: u32) -> Stream {
        let stream = Stream::start(&self.node(from), &self.node(to), self.address(to), rate);
        let stream = stream.expect("it can be sent");
        flows_on(&stream, u64::from(rate) / 10);
        stream
    }

    /// How many packets a host has counted under a fate.
    pub fn count(&self, host: &str, fate: &str) -> u64 {
        let json = ok(&mut self.ctl(host, &["counters", "-o", "json"]));
        let reply: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        let counters = reply["counters"].as_array().expect("it has counters");
        let counter = counters.iter().find(|it| it["name"] == fate).expect("the fate exists");
        counter["packets"].as_u64().expect("packets are counted")
    }

    /// What all hosts have counted, for people.
    pub fn counters(&self) -> String {
        let of = |host: &str| host.to_owned() + "\n" + &ok(&mut self.ctl(host, &["counters"]));
        self.lab.topology().hosts.iter().map(|host| of(&host.name)).collect()
    }

    /// Ends the agent of a host by `signal` and waits until it is gone.
    pub fn end_agent(&self, host: &str, signal: Signal) {
        let node = self.node(host);
        for pid in node.processes().expect("processes can be listed") {
            kill(Pid::from_raw(pid.cast_signed()), signal).expect("the agent runs");
        }
        // The last that goes of a process are its files, and with them the lock.
        let lock = self.lab.runtime_dir(host).expect("the host is there").join("agent.lock");
        let ended = wait_until(PATIENCE, "the agent to end", || {
            let file = File::open(&lock).expect("the agent has made it");
            Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()
        });
        if let Err(error) = ended {
            panic!("{error}\n{}", self.log(host));
        }
    }

    /// Starts the agent of a host again and waits until it answers and knows
    /// what the others do.
    pub fn start_agent(&self, host: &str) -> Agent {
        let agent = self.start_agent_alone(host);
        ok(&mut self.ctl(host, &["status", "--wait", "20s"]));
        agent
    }

    /// Starts it and waits until it answers, whether there are others or not.
    pub fn start_agent_alone(&self, host: &str) -> Agent {
        let config = self.config(host);
        let agent = self
            .node(host)
            .command(bin_dir().join("ila-agent"))
            .arg("--config")
            .arg(config)
            .spawn();
        let agent = Agent(agent.expect("the agent can be run"));
        wait_until(PATIENCE, "the agent to answer", || {
            let status = self.ctl(host, &["status"]).output().expect("it can be run");
            status.status.success().then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.log(host)));
        agent
    }

    /// `ila-agent --detach` on a host.
    pub fn detach(&self, host: &str) -> Command {
        let mut command = self.node(host).command(bin_dir().join("ila-agent"));
        command.arg("--detach").arg("--config").arg(self.config(host));
        command
    }

    /// Waits until a host knows where an identifier is, or that it is nowhere.
    pub fn await_mapping(&self, host: &str, identifier: &str, is_there: bool) {
        let get = || self.ctl(host, &["mapping", "get", identifier]).output();
        let is_so = || get().expect("ila-ctl can be run").status.success() == is_there;
        wait_until(PATIENCE, "a mapping to spread", || is_so().then_some(()))
            .unwrap_or_else(|error| panic!("{host}, {identifier}: {error}"));
    }

    /// The folder below which the agent of a host pins what outlives it.
    pub fn pins(&self, host: &str) -> PathBuf {
        let config = std::fs::read_to_string(self.config(host)).expect("the lab has written it");
        let config: toml::Table = config.parse().expect("it is TOML");
        config["bpf_dir"].as_str().expect("it is a path").into()
    }

    /// Changes the configuration that the next agent of a host reads.
    pub fn configure(&self, host: &str, change: impl FnOnce(String) -> String) {
        let path = self.config(host);
        let text = std::fs::read_to_string(&path).expect("the lab has written it");
        std::fs::write(&path, change(text)).expect("it can be written");
    }

    pub fn config(&self, host: &str) -> PathBuf {
        self.lab.runtime_dir(host).expect("the host is there").join("agent.toml")
    }

    /// What a node's kernel has for a setting.
    pub fn setting(&self, node: &str, path: &str) -> String {
        let value = inside(&self.node(node), || {
            std::fs::read_to_string(Path::new("/proc/sys/net/ipv6/conf").join(path))
        });
        value.expect("the setting exists").trim().to_owned()
    }

    pub fn set(&self, node: &str, path: &str, value: &str) {
        inside(&self.node(node), || {
            std::fs::write(Path::new("/proc/sys/net/ipv6/conf").join(path), value)
        })
        .expect("root may set it");
    }

    pub fn log(&self, host: &str) -> String {
        self.lab.agent_log(host).unwrap_or_default()
    }

    /// The names of a node's interfaces.
    pub fn interfaces(&self, node: &str) -> Vec<String> {
        let links = ok(self.node(node).command("ip").args(["-json", "link"]));
        let links: serde_json::Value = serde_json::from_str(&links).expect("it is JSON");
        let links = links.as_array().expect("it is a list").iter();
        links.map(|it| it["ifname"].as_str().expect("it has a name").to_owned()).collect()
    }
}

/// The text of a topology whose agents are told of each other by their
/// configurations.
pub fn with_static(text: &str) -> String {
    format!("mappings = \"static\"\n{text}")
}

/// The text of a topology whose router is told `lines`.
pub fn with_router(text: &str, lines: &str) -> String {
    text.replacen("[[host]]", &format!("[router]\n{lines}\n[[host]]"), 1)
}

/// The text of a topology whose host `name` is told `lines`.
pub fn with_host(text: &str, name: &str, lines: &str) -> String {
    let name = format!("name = \"{name}\"\n");
    text.replacen(&name, &format!("{name}{lines}\n"), 1)
}

/// A namespace of the test's own, by a name that `ip` knows.
pub struct Netns(pub String);

impl Netns {
    pub fn add(name: &str) -> Self {
        ok(Command::new("ip").args(["netns", "add", name]));
        Self(name.to_owned())
    }

    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }

    /// A command that runs in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("--").arg(program);
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// An agent that a test started; killed if the test ends before it.
pub struct Agent(pub Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where cargo has put the binaries.
pub fn bin_dir() -> PathBuf {
    let lab = Path::new(env!("CARGO_BIN_EXE_ila-lab"));
    lab.parent().expect("it lies in a folder").to_owned()
}

/// Does `work` on a thread inside the node's network namespace.
pub fn inside<T: Send>(node: &Node, work: impl FnOnce() -> T + Send) -> T {
    node.inside(work).expect("root may enter it")
}

/// Waits until a stream has brought as many datagrams more.
pub fn flows_on(stream: &Stream, datagrams: u64) {
    let goal = stream.received() + datagrams;
    wait_until(PATIENCE, "datagrams", || (stream.received() >= goal).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {} of {goal} came", stream.received()));
}

/// Answers every datagram with itself until the socket times out.
pub struct UdpEcho {
    pub to: SocketAddr,
    thread: Option<thread::JoinHandle<()>>,
}

impl UdpEcho {
    pub fn start(node: &Node, address: Ipv6Addr) -> Self {
        let socket = inside(node, || UdpSocket::bind((address, 0)).expect("the address is there"));
        let to = socket.local_addr().expect("it is bound");
        let echo = move || {
            let mut buffer = vec![0; 1 << 16];
            // An empty datagram ends it.
            while let Ok((length @ 1.., from)) = socket.recv_from(&mut buffer) {
                socket.send_to(&buffer[..length], from).expect("it can be sent");
            }
        };
        Self { to, thread: Some(thread::spawn(echo)) }
    }

    /// Sends datagrams of these lengths, one after the other, and demands each
    /// back, unchanged.
    pub fn exchange(&self, node: &Node, lengths: &[usize]) {
        inside(node, || {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port is free");
            socket.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
            socket.connect(self.to).expect("there is a route");
            let mut buffer = vec![0; 1 << 16];
            for &length in lengths {
                let sent: Vec<u8> = (0..length).map(|at| (at * 31 + length) as u8).collect();
                socket.send(&sent).expect("it can be sent");
                let received = socket.recv(&mut buffer).expect("it comes back");
                assert!(buffer[..received] == sent[..], "{length} bytes came back changed");
            }
        });
    }

    pub fn end(mut self, node: &Node) {
        inside(node, || {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port is free");
            socket.send_to(&[], self.to).expect("it can be sent");
        });
        self.thread.take().expect("it runs").join().expect("it has not panicked");
    }
}

/// Opens `connections` at once from `from` to `to`, sends `bytes` on each, and
/// demands them back, unchanged.
pub fn tcp_exchange(from: &Node, to: &Node, address: Ipv6Addr, connections: usize, bytes: usize) {
    let listener = inside(to, || TcpListener::bind((address, 0)).expect("the address is there"));
    let target = listener.local_addr().expect("it is bound");
    let server = thread::spawn(move || {
        let mut echoes = Vec::new();
        for stream in listener.incoming().take(connections) {
            let mut stream = stream.expect("a connection comes");
            echoes.push(thread::spawn(move || {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).expect("all of it comes");
                stream.write_all(&all).expect("it can be sent");
            }));
        }
        for echo in echoes {
            echo.join().expect("it has not panicked");
        }
    });
    inside(from, || {
        let streams: Vec<_> = (0..connections)
            .map(|_| TcpStream::connect_timeout(&target, PATIENCE).expect("it connects"))
            .collect();
        thread::scope(|scope| {
            for (number, mut stream) in streams.into_iter().enumerate() {
                scope.spawn(move || {
                    let sent: Vec<u8> = (0..bytes).map(|at| (at * 7 + number) as u8).collect();
                    stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
                    stream.write_all(&sent).expect("it can be sent");
                    stream.shutdown(Shutdown::Write).expect("it is connected");
                    let mut received = Vec::new();
                    stream.read_to_end(&mut received).expect("all of it comes back");
                    assert!(received == sent, "connection {number} brought back something else");
                });
            }
        });
    });
    server.join().expect("it has not panicked");
}
