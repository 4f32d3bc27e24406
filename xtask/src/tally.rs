//! Counting what passed, what failed and what was skipped, and why.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::step;

/// The sum of a test run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Tally {
    /// Whether nothing failed and something passed.
    pub fn is_good(&self) -> bool {
        self.failed.is_empty() && self.passed > 0
    }

    /// Counts a check that either holds or says why not.
    pub fn check(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                println!("check {name} ... ok");
                self.passed += 1;
            }
            Err(error) => {
                println!("check {name} ... FAILED\n{error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// Counts what was not run, with the reason.
    pub fn skip(&mut self, name: &str, reason: &str) {
        println!("check {name} ... skipped: {reason}");
        self.skipped.push(format!("{name}: {reason}"));
    }

    /// Runs a `cargo test`, shows its output and counts what it counts.
    pub fn cargo_test(&mut self, command: &mut Command) -> Result<()> {
        println!("$ {command:?}");
        let mut child = command
            .current_dir(step::root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let stdout = child.stdout.take().context("the command has no output")?;
        let failed_before = self.failed.len();
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            self.test_line(&line);
        }
        let status = child.wait()?;
        if !status.success() && self.failed.len() == failed_before {
            self.failed.push(format!("{command:?} ended with {status}"));
        }
        Ok(())
    }

    /// Reads one line of a test harness's output.
    fn test_line(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test ") else { return };
        let Some((name, result)) = result.rsplit_once(" ... ") else { return };
        match result {
            "ok" => self.passed += 1,
            "FAILED" => self.failed.push(name.to_owned()),
            _ => {
                if let Some(reason) = result.strip_prefix("ignored") {
                    self.skipped.push(format!("{name}: {}", reason.trim_start_matches(", ")));
                }
            }
        }
    }

    /// Prints the reasons and, last, the counts.
    pub fn print(&self) {
        println!();
        for name in &self.failed {
            println!("failed: {name}");
        }
        for reason in &self.skipped {
            println!("skipped: {reason}");
        }
        println!(
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harness_is_counted_line_by_line() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test a::b ... ok",
            "test a::with ... dots ... ok",
            "test c ... FAILED",
            "test d ... ignored, needs a second kernel",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored",
            "some output of a test ... ok",
        ] {
            tally.test_line(line);
        }
        let expected = Tally {
            passed: 2,
            failed: vec!["c".to_owned()],
            skipped: vec!["d: needs a second kernel".to_owned()],
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn a_run_of_nothing_is_no_success() {
        assert!(!Tally::default().is_good());
    }

    #[test]
    fn a_check_counts_either_way() {
        let mut tally = Tally::default();
        tally.check("holds", Ok(()));
        assert!(tally.is_good());
        tally.check("does not", Err(anyhow::anyhow!("because")));
        assert!(!tally.is_good());
    }
}
