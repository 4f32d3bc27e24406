//! Programs that make parts of a lab on behalf of whoever holds it.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::{Error, error::Doing as _};

/// Runs a command with `input`, and returns what it prints. `place` is where it
/// does its work, in the words of the error.
pub fn run(mut command: Command, input: &str, place: &Path) -> Result<String, Error> {
    let program = command.get_program();
    let program = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
    // In a group of its own, Ctrl-C does not reach it: a lab goes up and comes
    // down by whole steps.
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| format!("run {program} in {}", place.display()))?;
    // It may end before it has read everything; then it says why.
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().doing(|| format!("wait for {program}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.is_empty() {
        said = output.status.to_string();
    }
    Err(Error::Helper { program, place: place.display().to_string(), output: said })
}
