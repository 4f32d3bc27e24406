//! Hosts of a lab with files and a name of their own, as if each were a machine.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use ila_labs::wait_until;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::overlay::{Agent, Overlay, PATIENCE, bin_dir};

/// A host whose agent finds everything where it is without being told.
pub struct Machine {
    host: String,
    node: ila_labs::Node,
    /// Has the namespaces, until its input ends.
    holder: Child,
    agent: Option<Agent>,
}

impl Machine {
    pub fn of(overlay: &Overlay, host: &str) -> Self {
        let node = overlay.node(host);
        let make = format!(
            "for dir in /etc /run /var/lib; do mount -t tmpfs tmpfs $dir; done; \
             mount -t bpf bpf /sys/fs/bpf; \
             echo {host} > /proc/sys/kernel/hostname; echo; exec cat"
        );
        let mut unshare = node.command("unshare");
        unshare.args(["--mount", "--uts", "sh", "-ec", &make]);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = unshare.spawn().expect("unshare can be run");
        let stdout = holder.stdout.take().expect("it is piped");
        let made = BufReader::new(stdout).lines().next();
        made.expect("the files can be mounted").expect("it can be read");
        Self { host: host.to_owned(), node, holder, agent: None }
    }

    /// The process that has its namespaces.
    pub fn id(&self) -> u32 {
        self.holder.id()
    }

    /// A command that runs there.
    pub fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.node.command("nsenter");
        command.env("PATH", format!("{}:{path}", bin_dir().display())).args([
            "--mount",
            "--uts",
            "--target",
            &self.id().to_string(),
            "--",
            program,
        ]);
        command
    }

    /// Words that are a command, without quotes.
    pub fn words(&self, words: &str) -> Command {
        let (program, args) = words.split_once(' ').unwrap_or((words, ""));
        let mut command = self.command(program);
        command.args(args.split_whitespace());
        command
    }

    /// Where one of its files is for others.
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.id()))
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Starts its agent, and waits until it answers.
    pub fn serve(&mut self) {
        assert!(self.agent.is_none(), "{} has an agent", self.host);
        let agent = self.command("ila-agent").spawn().expect("the agent can be run");
        self.agent = Some(Agent(agent));
        wait_until(PATIENCE, "the agent to answer", || {
            let status = self.words("ila-ctl status").output().expect("it can be run");
            status.status.success().then_some(())
        })
        .unwrap_or_else(|error| panic!("{}: {error}", self.host));
    }

    /// Ends its agent.
    pub fn end(&mut self) {
        let mut agent = self.agent.take().expect("it has an agent");
        kill(Pid::from_raw(agent.0.id().cast_signed()), Signal::SIGTERM).expect("it runs");
        let ended = agent.0.wait().expect("it can be waited for");
        assert!(ended.success(), "{}: {ended}", self.host);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.agent = None;
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
