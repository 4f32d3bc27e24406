//! Labs on one machine: `ila-lab --help`.

mod bench;
mod cli;
mod demo;
mod listing;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use cli::{Args, Verb};
use ila_labs::{Lab, Options, Topology, take_down};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What shells exit with when a command is missing, or cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

fn main() -> ExitCode {
    match run(Args::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ila-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Up { topology, name, no_register } => up(&topology, name, no_register)?,
        Verb::Down { lab } => down(&lab)?,
        Verb::Ls { output } => say(&listing::labs(output)?)?,
        Verb::Exec { lab, node, command } => return exec(&lab, &node, &command),
        Verb::Demo { name } => demo::run(&name, &interruptible(Options::default())?)?,
        Verb::Bench(args) => {
            say(bench::run(&args, &interruptible(Options::default())?)?.trim_end())?;
        }
        Verb::Validate { topology } => {
            say(&listing::contents(&Topology::load(&topology)?))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(topology: &str, name: Option<String>, no_register: bool) -> Result<()> {
    let topology = Topology::load(topology)?;
    let options = interruptible(Options { no_register, ..Options::default() })?;
    let started = Instant::now();
    let name = name.unwrap_or_else(|| topology.name.clone());
    let lab = Lab::up(&topology, &name, &options)?;
    let seconds = started.elapsed().as_secs_f64();
    // It is up, whether or not anybody wants to know.
    lab.keep();
    say(&format!(
        "lab `{name}` is up in {seconds:.2} s: {}\n{}\n\
         take it down with: ila-lab down {name}",
        listing::contents(&topology),
        listing::containers(&topology)
    ))
}

/// From here on a signal asks to stop, and what was made is taken down first.
fn interruptible(options: Options) -> Result<Options> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&options.interrupted))
            .context("cannot catch signals")?;
    }
    Ok(options)
}

fn down(lab: &str) -> Result<()> {
    for path in take_down(&lab.parse()?)? {
        eprintln!("ila-lab: left alone, for it is not of this lab: {}", path.display());
    }
    say(&format!("lab `{lab}` is down"))
}

fn exec(lab: &str, node: &str, command: &[OsString]) -> Result<ExitCode> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    let node = Lab::open(lab)?.node(node)?;
    // Only returns if it fails: the command takes this process over, with its
    // terminal and its exit code.
    let error = node.command(program).args(arguments).exec();
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    eprintln!("ila-lab: cannot run {}: {error}", program.display());
    Ok(code.into())
}

/// Prints a text, unless its reader has heard enough.
fn say(text: &str) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}
