//! `ila-agent init`, `token` and `join`, as they are typed, with the side that
//! admits from the library. Each test has a network of its own, for which it
//! needs root.

use std::{
    cell::OnceCell,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use ila_agent::{
    config::Config,
    enrol::{admit::Admission, tls},
    transport::Identity,
};
use ila_proto::{
    enrol::{ALPN, Token},
    identity::{self, Authority, Certificate, Holder, KeyPair},
};
use nix::sched::{CloneFlags, unshare};
use tokio::runtime::Runtime;

const SIR: &str = "fd00:db8:0:1::/64";
const FIRST: &str = "[::1]:7741";

/// Folders of hosts, in a network where all of them are one machine.
struct World {
    dir: tempfile::TempDir,
    runtime: Runtime,
    /// What admits on h1, from the first time that it is needed.
    first: OnceCell<(quinn::Endpoint, Arc<Admission>)>,
}

impl World {
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("this needs root");
        for args in [
            "link set lo up",
            "link add up0 type veth peer name up1",
            "link set up0 up",
            "link set up1 up",
            "-6 address add 2001:db8:1::1/64 dev up0 nodad",
        ] {
            let ran = Command::new("ip").args(args.split(' ')).status().expect("ip can be run");
            assert!(ran.success(), "{args}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let dir = tempfile::tempdir().expect("a folder");
        Self { dir, runtime: runtime.expect("it can be made"), first: OnceCell::new() }
    }

    /// One with a mesh whose first host is h1, and a token.
    fn with_mesh() -> (Self, String) {
        let world = Self::new();
        let said = ok(&world.init(&[]));
        let token = said.split_whitespace().find(|word| word.starts_with("ila1"));
        let token = token.expect("it is printed").to_owned();
        (world, token)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        self.path(file).to_string_lossy().into_owned()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).expect(file)
    }

    fn agent(args: &[&str]) -> Output {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_ila-agent"));
        agent.args(args).output().expect("it can be run")
    }

    fn init(&self, more: &[&str]) -> Output {
        let config = self.text("h1/agent.toml");
        let args = ["init", "--config", &config, "--node", "h1", "--uplink", "up0"];
        let mesh = ["--sir-prefix", SIR, "--locator", &at(1), "--address", FIRST];
        Self::agent(&[&args[..], &mesh, more].concat())
    }

    /// Has a host join while h1 admits.
    fn join(&self, host: &str, token: &str, more: &[&str]) -> Output {
        self.run(self.join_command(host, token, more))
    }

    fn join_command(&self, host: &str, token: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ila-agent"));
        command.args(["join", token, "--node", host, "--uplink", "up0"]);
        command.args(["--config", &self.text(&format!("{host}/agent.toml"))]).args(more);
        command
    }

    /// Runs a command while h1 admits.
    fn run(&self, mut command: Command) -> Output {
        self.runtime.block_on(async {
            let (endpoint, admission) = self.first.get_or_init(|| self.serve());
            let accepts = async {
                while let Some(incoming) = endpoint.accept().await {
                    let Ok(connection) = incoming.await else { continue };
                    let seeds = vec![FIRST.parse().expect("an address")];
                    admission.admit(connection, seeds).await;
                }
            };
            let runs = tokio::task::spawn_blocking(move || command.output());
            tokio::select! {
                output = runs => output.expect("it ends").expect("it can be run"),
                () = accepts => panic!("it is open"),
            }
        })
    }

    fn serve(&self) -> (quinn::Endpoint, Arc<Admission>) {
        let config = Config::read(&self.path("h1/agent.toml")).expect("it is good");
        let admission = Admission::of(&config).expect("it is good");
        let admission = Arc::new(admission.expect("it is there"));
        let server = tls::server(&self.identity("h1"), &[ALPN]).expect("it is good");
        let address = FIRST.parse().expect("an address");
        (quinn::Endpoint::server(server, address).expect("the port is free"), admission)
    }

    fn der(&self, file: &str) -> Vec<u8> {
        identity::from_pem(&self.read(file)).expect("it is one")
    }

    fn identity(&self, host: &str) -> Identity {
        let file = |name| format!("{host}/identity/{name}");
        let key = KeyPair::from_pem(&self.read(&file("node.key"))).expect("it is one");
        Identity {
            certificate: self.der(&file("node.pem")),
            key: key.to_der(),
            authority: self.der(&file("ca.pem")),
        }
    }

    /// Its files, with their modes.
    fn files(&self, folder: &str) -> Vec<(String, u32)> {
        let mut found = Vec::new();
        let mut folders = vec![self.path(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.expect("it can be read").path();
                let mode = path.metadata().expect("it is there").permissions().mode() & 0o7777;
                let name = path.strip_prefix(self.dir.path()).expect("it lies there");
                found.push((name.display().to_string(), mode));
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

fn at(number: u8) -> String {
    format!("2001:db8:a:{number}::/64")
}

fn ok(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn two_hosts_are_a_mesh_by_two_commands() {
    let (world, token) = World::with_mesh();
    let read: Token = token.parse().expect("it is one");
    assert_eq!(read.addresses, [FIRST.parse().expect("an address")]);
    assert_eq!(read.sir_prefixes, [SIR.parse().expect("a prefix")]);
    let said = ok(&world.join("h2", &token, &["--locator", &at(2)]));
    assert!(said.contains("h2 is in the mesh") && said.contains("h2/agent.toml"), "{said}");

    let files = world.files("h2").into_iter().map(|(name, mode)| format!("{name} {mode:o}"));
    let expected = [
        "h2/agent.toml 644",
        "h2/identity 755",
        "h2/identity/ca.pem 644",
        "h2/identity/node.key 600",
        "h2/identity/node.pem 644",
    ];
    assert_eq!(files.collect::<Vec<_>>(), expected);
    let mode = |file: &str| world.path(file).metadata().expect(file).permissions().mode() & 0o777;
    assert_eq!([mode("h1/authority"), mode("h1/authority/ca.key")], [0o700, 0o600]);
    assert_eq!(mode("h1/authority/tokens"), 0o600);

    let authority = Authority::read(&world.der("h1/authority/ca.pem")).expect("it is one");
    let mut homes = Vec::new();
    for (host, number) in [("h1", 1), ("h2", 2)] {
        let node = authority.certified(&world.der(&format!("{host}/identity/node.pem")), None);
        let node = node.expect("it is of this mesh");
        assert_eq!(node.name.as_str(), host);
        assert_eq!(node.locators[0].1.to_string(), at(number));
        homes.extend(node.home);
        // The agent finds nothing wrong with it.
        let config = world.text(&format!("{host}/agent.toml"));
        ok(&World::agent(&["--config", &config, "--check"]));
        let config = Config::read(Path::new(&config)).expect("it is good");
        let mesh = config.mesh.clone().expect("it is in one");
        assert_eq!(mesh.identity, world.path(&format!("{host}/identity")));
        let admits = Admission::of(&config).expect("it can be looked at").is_some();
        assert_eq!(admits, host == "h1");
        let seeds: &[SocketAddr] = if host == "h1" { &[] } else { &[FIRST.parse().expect("one")] };
        assert_eq!(mesh.seeds, seeds);
    }
    assert!(!homes[0].overlaps(homes[1]));
    // Without --address it is that of the uplink.
    assert!(world.read("h2/agent.toml").contains("[2001:db8:1::1]:7741"));
}

#[test]
fn what_must_be_the_same_on_all_hosts_is_the_same() {
    let (world, token) = World::with_mesh();
    let text = world.read("h1/agent.toml").replace("source = \"sir\"", "source = \"locator\"");
    let text = text.replace("\"neutral-map\"", "\"neutral-map-auto\"");
    fs::write(world.path("h1/agent.toml"), format!("locator_spaces = [\"2001:db8::/32\"]\n{text}"))
        .expect("it can be written");
    ok(&world.join("h2", &token, &["--locator", &at(2)]));
    let [one, other] = ["h1", "h2"]
        .map(|host| Config::read(&world.path(&format!("{host}/agent.toml"))).expect("it is good"));
    assert_eq!(one.source, other.source);
    assert_eq!(one.checksum_mode, other.checksum_mode);
    assert_eq!(one.locator_spaces, other.locator_spaces);
    assert!(world.read("h2/agent.toml").contains("neutral-map-auto"));
}

#[test]
fn nothing_is_made_twice_and_nothing_overwritten() {
    let (world, token) = World::with_mesh();
    ok(&world.join("h2", &token, &["--locator", &at(2)]));
    let before = (world.files(""), world.read("h1/agent.toml"), world.read("h1/authority/issued"));
    let said = refused(&world.init(&[]));
    assert!(said.contains("there is a configuration already") && said.contains("mv "), "{said}");
    let said = refused(&world.join("h2", &token, &["--locator", &at(3)]));
    assert!(said.contains("has a configuration already") && said.contains("mv "), "{said}");
    let now = (world.files(""), world.read("h1/agent.toml"), world.read("h1/authority/issued"));
    assert_eq!(before, now);
    // As it says: the same node again.
    let id = |file| match Certificate::read(&world.der(file)).expect("it is one").holder {
        Holder::Node(node) => node.key.node(),
        Holder::Authority(_) => panic!("it is a node's"),
    };
    let former = id("h2/identity/node.pem");
    fs::rename(world.path("h2/agent.toml"), world.path("h2/agent.toml.old")).expect("it can be");
    ok(&world.join("h2", &token, &["--locator", &at(2)]));
    assert_eq!(id("h2/identity/node.pem"), former);
    // And of another mesh it cannot be one by mistake.
    fs::remove_file(world.path("h2/agent.toml")).expect("it is there");
    let other = ila_authority::init(&world.path("other")).expect("it can be made");
    assert_ne!(other.id, id("h1/identity/node.pem").to_string());
    fs::copy(world.path("other/ca.pem"), world.path("h2/identity/ca.pem")).expect("it can be");
    let said = refused(&world.join("h2", &token, &["--locator", &at(2)]));
    assert!(said.contains("of another mesh"), "{said}");
}

#[test]
fn a_token_for_a_locator_needs_nothing_else_and_once_is_once() {
    let (world, _) = World::with_mesh();
    let config = world.text("h1/agent.toml");
    let token = |more: &[&str]| {
        let said = ok(&World::agent(&[&["token", "--config", &config], more].concat()));
        said.trim().to_owned()
    };
    ok(&world.join("h2", &token(&["--locator", &at(2)]), &[]));
    let text = world.read("h2/agent.toml");
    assert!(text.contains(&format!("locator = \"{}\"", at(2))), "{text}");
    let once = token(&["--once"]);
    ok(&world.join("h3", &once, &["--locator", &at(3)]));
    let said = refused(&world.join("h4", &once, &["--locator", &at(4)]));
    assert!(said.contains("the token was for one host"), "{said}");
    // Where no authority is, there are no tokens.
    let config = world.text("h2/agent.toml");
    let said = refused(&World::agent(&["token", "--config", &config]));
    assert!(said.contains("run this where the mesh was made"), "{said}");
    // By way of standard input it is in no list of processes.
    fs::write(world.path("token"), token(&[])).expect("it can be written");
    let mut command = world.join_command("h5", "-", &["--locator", &at(5)]);
    command.stdin(fs::File::open(world.path("token")).expect("it is there"));
    ok(&world.run(command));
}

#[test]
fn who_is_refused_is_left_as_it_was() {
    let (world, token) = World::with_mesh();
    let other = token.parse::<Token>().expect("it is one");
    let wrong = Token { secret: ila_proto::enrol::Secret([0; 16]), ..other.clone() }.to_string();
    let nobody = Token { addresses: vec!["[::1]:1".parse().expect("an address")], ..other };
    let damaged = token.replacen('0', "1", 1);
    for (token, locator, says) in [
        (&wrong, at(2), "this host has not joined: the token is none of this mesh"),
        (&token, at(1), "the node h1 has the locator"),
        (&token, SIR.to_owned(), "a SIR prefix"),
        (&nobody.to_string(), at(2), "no host that admits was reached"),
        (&damaged, at(2), "the token is damaged"),
    ] {
        let said = refused(&world.join("h2", token, &["--locator", &locator]));
        assert!(said.contains(says), "{said}");
        assert_eq!(world.files("h2"), [], "{says}");
    }
    ok(&world.join("h2", &token, &["--locator", &at(2)]));
}

/// As on a disk that is full: no file takes a byte.
fn with_full_disk(command: &Command) -> Command {
    let mut full = Command::new("sh");
    full.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""]);
    full.arg(command.get_program()).args(command.get_args());
    full
}

#[test]
fn where_nothing_can_be_written_nothing_is_left() {
    let world = World::new();
    let config = world.text("h1/agent.toml");
    let mut init = Command::new(env!("CARGO_BIN_EXE_ila-agent"));
    init.args(["init", "--config", &config, "--uplink", "up0", "--sir-prefix", SIR]);
    init.args(["--locator", &at(1), "--address", FIRST, "--node", "h1"]);
    let said = refused(&with_full_disk(&init).output().expect("sh can be run"));
    assert!(said.contains("cannot write"), "{said}");
    assert_eq!(world.files("h1"), []);
    // The last of its files cannot be written.
    fs::create_dir_all(world.path("h1/.agent.toml.new/in-the-way")).expect("it can be made");
    let said = refused(&world.init(&[]));
    assert!(said.contains("cannot write") && said.contains("agent.toml"), "{said}");
    assert!(!world.path("h1/authority").exists() && !world.path("h1/identity").exists());
    fs::remove_dir_all(world.path("h1")).expect("it is there");
    let said = ok(&world.init(&[]));
    let token = said.split_whitespace().find(|word| word.starts_with("ila1")).expect("it is there");

    let join = world.join_command("h2", token, &["--locator", &at(2)]);
    let said = refused(&world.run(with_full_disk(&join)));
    assert!(said.contains("cannot write"), "{said}");
    assert_eq!(world.files("h2"), []);
    // The last of its files: the mesh knows the key by then, so it stays, and
    // the same again goes on from there.
    fs::create_dir_all(world.path("h2/.agent.toml.new/in-the-way")).expect("it can be made");
    let said = refused(&world.join("h2", token, &["--locator", &at(2)]));
    assert!(said.contains("run the same again"), "{said}");
    fs::remove_dir_all(world.path("h2/.agent.toml.new")).expect("it is there");
    let left: Vec<_> = world.files("h2").into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["h2/identity", "h2/identity/node.key"]);
    let record = world.read("h1/authority/issued");
    ok(&world.join("h2", token, &["--locator", &at(2)]));
    assert_eq!(world.read("h1/authority/issued"), record);
}

#[test]
fn what_can_be_told_is_not_asked_for_and_what_cannot_is() {
    let world = World::new();
    let config = world.text("h1/agent.toml");
    let init = |more: &[&str]| {
        let base = ["init", "--config", &config, "--node", "h1", "--sir-prefix", SIR];
        World::agent(&[&base[..], more].concat())
    };
    let said = refused(&init(&["--locator", &at(1)]));
    assert!(said.contains("name it with --uplink"), "{said}");
    for args in ["route add default via fe80::9 dev up0", "route add default dev up1 metric 9999"] {
        let ran = Command::new("ip").arg("-6").args(args.split(' ')).status();
        assert!(ran.expect("ip can be run").success(), "{args}");
    }
    // Which prefix is this host's alone, nobody can tell.
    let said = refused(&init(&[]));
    assert!(said.contains("--locator 2001:db8:1::/64"), "{said}");
    let said = refused(&init(&["--locator", &at(1), "--uplink", "lo"]));
    assert!(said.contains("lo is no Ethernet interface"), "{said}");
    assert_eq!(world.files(""), []);
    ok(&init(&["--locator", &at(1)]));
    let config = Config::read(&world.path("h1/agent.toml")).expect("it is good");
    assert_eq!(config.uplinks, ["up0".parse().expect("a name")]);
    let addresses = config.mesh.expect("it is there").addresses;
    assert_eq!(addresses, ["[2001:db8:1::1]:7741".parse().expect("an address")]);
}
