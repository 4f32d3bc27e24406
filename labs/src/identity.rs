//! The identities of a lab's hosts, made the way an operator makes them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, Host, Topology, helper, lab_dir::LabDir};

/// The directory of the authority of the lab in a directory.
pub fn authority(lab: &Path) -> PathBuf {
    lab.join("ca")
}

/// An authority of a lab's own, and where it puts what it makes.
#[derive(Debug)]
pub struct Authority<'a> {
    ctl: &'a Path,
    lab: &'a LabDir,
}

impl<'a> Authority<'a> {
    /// Makes one in a directory of its own below that of `lab`.
    pub fn make(ctl: &'a Path, lab: &'a LabDir) -> Result<Self, Error> {
        let authority = Self { ctl, lab };
        let mut command = authority.command("init");
        command.arg("--dir").arg(authority.dir());
        authority.run(command)?;
        Ok(authority)
    }

    /// Certifies a host with all its locators.
    pub fn issue(&self, topology: &Topology, host: &Host, out: &Path) -> Result<(), Error> {
        let mut command = self.command("issue");
        command.args(["--node", &host.name, "--days", "30", "--dir"]).arg(self.dir());
        for domain in topology.domains(host) {
            command.arg(format!("--locator={}@{}", domain.sir_prefix, domain.locator));
        }
        command.arg("--out").arg(out);
        self.run(command)
    }

    fn dir(&self) -> PathBuf {
        authority(self.lab.path())
    }

    /// Holds the lab as well: whoever takes down what is left of a killed `up`
    /// waits until nothing more is written.
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(self.ctl);
        command.args(["ca", verb]);
        self.lab.hold_in(&mut command);
        command
    }

    fn run(&self, command: Command) -> Result<(), Error> {
        helper::run(command, "", &self.dir()).map(drop)
    }
}
