//! `ip`, for what takes netlink.

use std::{
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{Error, error::Doing as _, lab_dir::LabDir, netns::Netns};

const LOOPBACK: &str = "lo";

/// `ip`, run on behalf of whoever holds a lab.
#[derive(Debug)]
pub struct Ip<'a> {
    program: PathBuf,
    dir: &'a LabDir,
}

#[derive(Deserialize)]
struct Link {
    ifalias: Option<String>,
}

impl<'a> Ip<'a> {
    /// The program at that path.
    pub fn new(program: PathBuf, dir: &'a LabDir) -> Self {
        Self { program, dir }
    }

    /// Gives the loopback interface of this thread's namespace an alias, and
    /// sets it up.
    pub fn set_up_loopback(&self, alias: &str) -> Result<(), Error> {
        let mut command = self.command();
        command.args(["link", "set", "dev", LOOPBACK, "up", "alias", alias]);
        run(command, "", Path::new("a new namespace")).map(drop)
    }

    /// The alias of the loopback interface of a namespace; none if it is no
    /// network namespace at all.
    pub fn loopback_alias(&self, netns: &Netns, path: &Path) -> Result<Option<String>, Error> {
        let mut command = self.command();
        command.args(["-json", "link", "show", "dev", LOOPBACK]);
        netns.enter(&mut command);
        let output = match run(command, "", path) {
            // Not the right kind of namespace.
            Err(Error::System { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
                return Ok(None);
            }
            output => output?,
        };
        let links: Vec<Link> = serde_json::from_str(&output).map_err(|error| Error::Ip {
            place: path.display().to_string(),
            output: format!("its output is not understood: {error}"),
        })?;
        Ok(links.into_iter().find_map(|link| link.ifalias))
    }

    /// Runs a script in the namespace at `path`.
    pub fn batch(&self, path: &Path, script: &str) -> Result<(), Error> {
        let mut command = self.command();
        command.args(["-6", "-batch", "-"]);
        Netns::open(path)?.enter(&mut command);
        run(command, script, path).map(drop)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        self.dir.hold_in(&mut command);
        command
    }
}

/// Runs a command with `input`, and returns what it prints.
fn run(mut command: Command, input: &str, place: &Path) -> Result<String, Error> {
    // In a group of its own, Ctrl-C does not reach it: a lab goes up and comes
    // down by whole steps.
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| format!("run ip in {}", place.display()))?;
    // It may end before it has read everything; then it says why.
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().doing(|| "wait for ip".to_owned())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.is_empty() {
        said = output.status.to_string();
    }
    Err(Error::Ip { place: place.display().to_string(), output: said })
}
