//! Every command in the documentation, run as it stands there.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::{
    common::{Mounts, TestLab, World, ok},
    join::token_in,
    machine::Machine,
    overlay::{Overlay, bin_dir},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("labs lies in the workspace").to_owned()
}

/// A shell that is fed one block of commands after the other.
struct Shell {
    bash: Child,
    answers: BufReader<ChildStdout>,
}

impl Shell {
    /// `command` starts bash. In it `sudo` is whoever runs this already, and
    /// cargo has built already.
    fn start(command: &mut Command) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut bash = command
            .env("PATH", format!("{}:{path}", bin_dir().display()))
            .current_dir(root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash can be run");
        let answers = BufReader::new(bash.stdout.take().expect("it is piped"));
        let mut shell = Self { bash, answers };
        shell.run("sudo() { [ \"$1\" = -E ] && shift; \"$@\"; }; cargo() { :; }; exec 2>&1");
        shell
    }

    /// Runs a block; a command that fails, fails it. Returns what it printed.
    fn run(&mut self, block: &str) -> String {
        let stdin = self.bash.stdin.as_mut().expect("it is piped");
        let guarded =
            format!("trap 'echo FAILED: $BASH_COMMAND' ERR\n{block}\necho END-OF-BLOCK\n");
        stdin.write_all(guarded.as_bytes()).expect("bash reads it");
        let mut said = String::new();
        for line in (&mut self.answers).lines().map_while(Result::ok) {
            if line == "END-OF-BLOCK" {
                assert!(!said.contains("FAILED: "), "{block}\n{said}");
                return said;
            }
            said.push_str(&line);
            said.push('\n');
        }
        panic!("bash ended in\n{block}\n{said}");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.bash.stdin.take());
        let _ = self.bash.kill();
        let _ = self.bash.wait();
    }
}

/// The blocks of a page that are commands, each with what stands behind `sh`.
pub fn blocks(page: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(page)).expect(page);
    let mut found = Vec::new();
    let mut block: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(info)) => block = Some((info.to_owned(), String::new())),
            (Some((_, commands)), None) => commands.extend([line, "\n"]),
            (Some(_), Some(_)) => found.extend(block.take()),
            (None, None) => {}
        }
    }
    found.retain(|(info, _)| info.split(' ').next() == Some("sh"));
    found.into_iter().map(|(info, text)| (info[2..].trim().to_owned(), text)).collect()
}

/// No page has commands that no test below runs.
#[test]
fn every_page_with_commands_is_known() {
    let mut pages = Vec::new();
    let mut folders = vec![root().join("docs"), root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() && folder != root() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                let page = path.strip_prefix(root()).expect("it lies there").display().to_string();
                if !blocks(&page).is_empty() {
                    pages.push(page);
                }
            }
        }
    }
    pages.sort();
    // That of the kernel's own ILA is run by the scenario of its name.
    let known = [
        "README.md",
        "docs/how-to/join.md",
        "docs/how-to/kernel-ila.md",
        "docs/how-to/lab.md",
        "docs/how-to/two-hosts.md",
    ];
    assert_eq!(pages, known);
}

/// The first is run by the test below, by way of what it calls; the second is
/// what runs this test.
#[test]
fn the_readme_has_two_commands() {
    let commands: Vec<_> = blocks("README.md").into_iter().map(|(_, text)| text).collect();
    assert_eq!(commands, ["cargo xtask demo\n", "cargo xtask test\n"]);
}

#[test]
fn the_demo_shows_real_packets_and_leaves_nothing() {
    let world = World::enter(Mounts::Private);
    let before = world.look();
    let lab = TestLab::new("demo");
    let said = ok(Command::new(bin_dir().join("ila-lab")).args(["demo", "--name", &lab.name]));
    for line in [
        "destination      fd00:db8:0:1:2000::b1  2001:db8:b:1:3000::cda5  fd00:db8:0:1:2000::b1",
        "But for the hop limit, b1 received what a1 sent: yes.",
        "3 packets transmitted, 3 received",
        "Gbits/sec",
        "egress-translated",
        "Nothing is left.",
    ] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    assert!(!said.contains("WRONG"), "{said}");
    before.assert_same(&world.look(), "the demo");
}

#[test]
fn the_lab_how_to() {
    let world = World::enter(Mounts::Private);
    let before = world.look();
    let mut shell = Shell::start(&mut Command::new("bash"));
    // The page says target/debug, which is where cargo builds by default.
    let mut said = String::new();
    for (_, block) in blocks("docs/how-to/lab.md") {
        said += &shell.run(&block.replace("target/debug", &bin_dir().to_string_lossy()));
    }
    drop(shell);
    assert_eq!(said.matches("3 received").count(), 2, "{said}");
    before.assert_same(&world.look(), "the lab how-to");
}

/// What the page says for the two hosts: with a mesh, and with mappings by hand.
/// Each block with the host that it is for.
pub fn two_hosts(is_in_mesh: bool) -> Vec<(String, String)> {
    let (by_hand, mut mesh): (Vec<_>, Vec<_>) =
        blocks("docs/how-to/two-hosts.md").into_iter().partition(|(on, _)| on.contains(' '));
    if is_in_mesh {
        return mesh;
    }
    mesh.retain(|(_, block)| {
        !["ca init", "agent.toml", "node ls"].iter().any(|it| block.contains(it))
    });
    let by_hand = by_hand.into_iter().map(|(on, block)| (on.replace(" by hand", ""), block));
    by_hand.chain(mesh).collect()
}

/// Hosts of a lab with shells, by name.
struct Shells {
    by_host: BTreeMap<String, Shell>,
    machines: BTreeMap<String, Machine>,
    _overlay: Overlay,
}

impl Shells {
    fn on(test: &str, hosts: &[&str]) -> Self {
        let overlay = Overlay::without_agents(test, "three-hosts");
        let machines = hosts.iter().map(|host| ((*host).to_owned(), Machine::of(&overlay, host)));
        let machines: BTreeMap<_, _> = machines.collect();
        let shell = |machine: &Machine| Shell::start(&mut machine.command("bash"));
        let by_host = machines.iter().map(|(host, it)| (host.clone(), shell(it))).collect();
        Self { by_host, machines, _overlay: overlay }
    }

    fn run(&mut self, host: &str, block: &str) -> String {
        self.by_host.get_mut(host).expect("the page says on which host").run(block)
    }
}

#[test]
fn the_two_hosts_how_to() {
    for is_in_mesh in [true, false] {
        let mut hosts = Shells::on("how-to", &["h1", "h2"]);
        let h2 = hosts.machines["h2"].id();
        let ssh = format!("ssh() {{ [ $1 = h2 ] && nsenter --mount --target {h2} sh -c \"$2\"; }}");
        hosts.run("h1", &ssh);
        let mut said = String::new();
        for (host, block) in two_hosts(is_in_mesh) {
            if block.contains("ping -c") {
                // A reader takes longer than a mapping.
                hosts.run("h1", "until ila-ctl mapping get 2000:0:0:b1; do :; done");
            }
            said += &hosts.run(&host, &block);
        }
        assert!(said.contains("3 received"), "{said}");
        assert!(said.contains("egress-translated") && said.contains("ingress-restored"), "{said}");
        assert_eq!(said.contains("by right of"), is_in_mesh, "{said}");
    }
}

/// What stands for the token there is what the first command has printed.
#[test]
fn the_join_how_to() {
    let mut hosts = Shells::on("how-to-join", &["h1", "h2", "h3"]);
    hosts.run("h3", "cd /run");
    let (mut said, mut token) = (String::new(), None::<String>);
    for (on, block) in blocks("docs/how-to/join.md") {
        let host = if on == "elsewhere" { "h3" } else { &on };
        let block = match &token {
            Some(token) => block.replace("TOKEN", token),
            None => block,
        };
        let printed = hosts.run(host, &block);
        token = token.or_else(|| token_in(&printed));
        said += &printed;
    }
    // It joins, and joins again as what it was.
    assert_eq!(said.matches("h2 is in the mesh.").count(), 2, "{said}");
    for (host, other) in [("h1", "h2"), ("h2", "h1")] {
        let alive = format!("until ila-ctl node ls | grep \"{other}.*alive\"; do :; done");
        hosts.run(host, &alive);
    }
}

/// The compliance page says which test shows what: behind each file the names
/// of tests in it, up to the next cell or paragraph.
#[test]
fn the_tests_that_the_compliance_page_names_exist() {
    let page = fs::read_to_string(root().join("docs/ila-compliance.md")).expect("it is there");
    let mut named = 0;
    for part in page.replace("\n\n", "|").split('|') {
        let mut file = None;
        // What stands between backticks.
        for word in part.split('`').skip(1).step_by(2) {
            if word.strip_suffix(".rs").is_some() {
                let path = root().join(in_full(word));
                file = Some(fs::read_to_string(&path).unwrap_or_else(|error| {
                    panic!("{word}, which is {}: {error}", path.display());
                }));
            } else if let Some(source) = &file
                && word.contains('_')
                && word.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
            {
                assert!(source.contains(&format!("fn {word}(")), "no test {word} in its file");
                named += 1;
            }
        }
    }
    assert!(named > 100, "the page is read: {named} tests");
}

/// A file as the page says at its top that it names them.
fn in_full(file: &str) -> PathBuf {
    match file.split_once('/') {
        Some(("labs", name)) => Path::new("labs/tests/scenarios").join(name),
        Some(("proto", name)) if !name.starts_with("tests/") => Path::new("proto/src").join(name),
        Some(_) => file.into(),
        None => Path::new("ila-agent/tests/kernel").join(file),
    }
}
