//! `ila-ctl`: the command line of the overlay.
//!
//! Exit codes: 0 done, 1 refused, 2 wrong usage, 3 agent not
//! reachable, 4 not (yet) true for a `--wait`.

mod ca;
mod cli;
mod client;
mod commands;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Args, client::ClientError};

fn main() -> ExitCode {
    let args = Args::parse();
    match commands::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(match error {
                ClientError::Refused(_) | ClientError::Ca(_) | ClientError::Output(_) => 1,
                ClientError::Unreachable { .. } | ClientError::NotUnderstood { .. } => 3,
                ClientError::NotYet { .. } => 4,
            })
        }
    }
}
