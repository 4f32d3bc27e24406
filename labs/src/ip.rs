//! `ip`, for what takes netlink.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::{Error, helper, lab_dir::LabDir, netns::Netns};

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
        helper::run(command, "", Path::new("a new namespace")).map(drop)
    }

    /// The alias of the loopback interface of a namespace; none if it is no
    /// network namespace at all.
    pub fn loopback_alias(&self, netns: &Netns, path: &Path) -> Result<Option<String>, Error> {
        let mut command = self.command();
        command.args(["-json", "link", "show", "dev", LOOPBACK]);
        netns.enter(&mut command);
        let output = match helper::run(command, "", path) {
            // Not the right kind of namespace.
            Err(Error::System { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
                return Ok(None);
            }
            output => output?,
        };
        let links: Vec<Link> = serde_json::from_str(&output).map_err(|error| Error::Helper {
            program: "ip".to_owned(),
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
        helper::run(command, script, path).map(drop)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        self.dir.hold_in(&mut command);
        command
    }
}
