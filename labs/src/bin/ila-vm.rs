//! Runs a program on Linux 6.1: `ila-vm PROGRAM [ARGUMENT…]`.
//!
//! As cargo's runner, it runs tests there:
//! `cargo test --config "target.'cfg(all())'.runner='target/debug/ila-vm'"`.

use std::{
    env,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use ila_labs::{Vm, quote};

/// How long the program may run, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(900);

/// How the names start of those variables that the program finds there as well.
const HANDED_ON: &str = "ILA_";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ila-vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let words: Vec<_> = env::args().skip(1).collect();
    let (program, arguments) = words.split_first().context("usage: ila-vm PROGRAM [ARGUMENT…]")?;
    let program = Path::new(program);
    let name = program.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} is no program", program.display()))?;
    let command = [name].into_iter().chain(arguments.iter().map(String::as_str));
    let command: Vec<_> = command.map(quote).collect();
    let variables = env::vars().filter(|(name, _)| name.starts_with(HANDED_ON));
    let variables: Vec<_> = variables.map(|(name, value)| name + "=" + &quote(&value)).collect();

    let mut vm = Vm::boot(&[program], None)?;
    let command = [variables, command].concat().join(" ");
    let answer = vm.run(&format!("uname -sr; {command}"), PATIENCE)?;
    io::stdout().write_all(answer.said.as_bytes())?;
    Ok(u8::try_from(answer.code).map_or(ExitCode::FAILURE, ExitCode::from))
}
