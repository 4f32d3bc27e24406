//! Checks of the source as it is: format, lints, who knows whom, licences.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{
    step::{self, which},
    tally::Tally,
};

/// Who must not know whom, however far away: a package with its features, and
/// what its dependencies must not contain. `*` is any package but itself.
const STRANGERS: [(&str, &[&str], &[&str]); 9] = [
    ("ila-proto", &["--no-default-features"], &["*"]),
    ("ila-proto", &["--features", "std"], IMPURE),
    ("ila-proto", &["--features", "identity"], IMPURE),
    ("ila-proto", &["--features", "sim"], IMPURE),
    ("ila-authority", &[], &["aya", "clap", "ila-agent", "ila-ctl", "quinn", "rtnetlink", "tokio"]),
    ("ila-bpf", &[], &["ila-agent", "ila-ctl", "ila-labs"]),
    ("ila-agent", &[], &["ila-bpf", "ila-ctl", "ila-labs"]),
    ("ila-ctl", &[], &["aya", "ila-agent", "ila-bpf", "ila-labs", "quinn", "rtnetlink", "tokio"]),
    ("ila-labs", &[], &["aya", "ila-agent", "ila-bpf", "ila-ctl", "ila-proto"]),
];

/// What does IO or draws random numbers.
const IMPURE: &[&str] = &[
    "aya",
    "aya-ebpf",
    "getrandom",
    "nix",
    "quinn",
    "rand",
    "ring",
    "rtnetlink",
    "socket2",
    "tokio",
];

/// The only module of the agent that may use aya: a file, and a folder.
const AYA_USER: &str = "ila-agent/src/datapath";

/// Runs all checks.
pub fn run(tally: &mut Tally) {
    let cargo = |args: &[&str]| step::shown(step::cargo().args(args));
    tally.check("cargo fmt", cargo(&["fmt", "--all", "--check"]));
    let clippy = ["clippy", "--all-targets", "--all-features", "--quiet", "--", "-D", "warnings"];
    tally.check("cargo clippy", cargo(&clippy));
    // Only looked at, never linked; but without std nothing can unwind.
    let abort = "profile.dev.panic='abort'";
    let mut clippy_bpf = vec!["clippy", "-p", "ila-bpf", "--lib", "--bins", "--all-features"];
    clippy_bpf.extend(["--quiet", "--config", abort, "--", "-D", "warnings"]);
    tally.check("cargo clippy of the kernel programs", cargo(&clippy_bpf));
    let docs = ["doc", "--no-deps", "--document-private-items", "--quiet"];
    tally.check(
        "cargo doc",
        step::shown(step::cargo().args(docs).env("RUSTDOCFLAGS", "-D warnings")),
    );
    for (package, features, strangers) in STRANGERS {
        let name = format!("{package} {}knows no stranger", features.join(" ") + " ");
        tally.check(&name, knows_none(package, features, strangers));
    }
    tally.check("only the data path knows aya", aya_has_one_user());
    if which("cargo-deny").is_some() {
        tally.check("cargo deny", cargo(&["deny", "check", "licenses", "bans", "sources"]));
    } else {
        tally.skip("cargo deny", "not installed; cargo install cargo-deny");
    }
}

fn knows_none(package: &str, features: &[&str], strangers: &[&str]) -> Result<()> {
    let mut args = vec!["tree", "--package", package, "--edges", "normal", "--prefix", "none"];
    args.extend(["--format", "{p}"]);
    args.extend(features);
    let tree = step::output("cargo", &args).context("cargo tree failed")?;
    let known = tree.lines().filter_map(|line| line.split_whitespace().next());
    let mut met: Vec<_> = known
        .filter(|name| *name != package && (strangers.contains(name) || strangers == ["*"]))
        .collect();
    met.sort_unstable();
    met.dedup();
    if !met.is_empty() {
        bail!("{package} must not depend on {}", met.join(", "));
    }
    Ok(())
}

fn aya_has_one_user() -> Result<()> {
    let mut folders = vec![step::root().join("ila-agent/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.with_extension("").starts_with(step::root().join(AYA_USER))
                && fs::read_to_string(&path)?.contains("aya::")
            {
                bail!("{} uses aya; only {AYA_USER} may", path.display());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_whom_is_seen() {
        knows_none("ila-agent", &[], &["ila-ctl"]).expect("the agent does not know ila-ctl");
        let error = knows_none("ila-agent", &[], &["ila-proto"]).expect_err("it knows ila-proto");
        assert!(error.to_string().contains("must not depend on ila-proto"), "{error}");
        knows_none("ila-proto", &["--features", "std"], &["*"]).expect_err("std needs serde");
    }
}
