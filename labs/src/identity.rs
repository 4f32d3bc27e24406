//! The identities of a lab's hosts, made the way an operator makes them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
    time::Duration,
};

use crate::{Error, Host, Topology, error::Doing as _, programs};

/// How long making a key and a certificate may take, on an emulated machine.
const MAKE: Duration = Duration::from_secs(30);

/// The directory of the authority of the lab in a directory.
pub fn authority(lab: &Path) -> PathBuf {
    lab.join("ca")
}

/// An authority of a lab's own, and where it puts what it makes.
#[derive(Debug)]
pub struct Authority<'a> {
    ctl: &'a Path,
    dir: PathBuf,
    interrupted: &'a AtomicBool,
}

impl<'a> Authority<'a> {
    /// Makes one in a directory of its own below `lab`.
    pub fn make(ctl: &'a Path, lab: &Path, interrupted: &'a AtomicBool) -> Result<Self, Error> {
        let authority = Self { ctl, dir: authority(lab), interrupted };
        authority.run(&["init"], &[])?;
        Ok(authority)
    }

    /// Certifies a host with all its locators.
    pub fn issue(&self, topology: &Topology, host: &Host, out: &Path) -> Result<(), Error> {
        let locators = topology.domains(host);
        let locators = locators.map(|it| format!("--locator={}@{}", it.sir_prefix, it.locator));
        let locators: Vec<_> = locators.collect();
        let node = format!("--node={}", host.name);
        let mut arguments = vec!["issue", &node, "--days=30"];
        arguments.extend(locators.iter().map(String::as_str));
        self.run(&arguments, &[("--out", out)])
    }

    fn run(&self, verb: &[&str], paths: &[(&str, &Path)]) -> Result<(), Error> {
        let mut command = Command::new(self.ctl);
        command.arg("ca").args(verb).arg("--dir").arg(&self.dir);
        for (key, path) in paths {
            command.arg(key).arg(path);
        }
        let what = format!("certify the hosts in {}", self.dir.display());
        let output = programs::run(command, MAKE, self.interrupted)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(std::io::Error::other(said)).doing(|| what)
    }
}
