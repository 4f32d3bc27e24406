//! Brings a machine from "has rustup's stable Rust" to "can build, demo and
//! test everything". Looks first and touches only what is missing, so that a
//! second run does nothing.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    ebpf_toolchain,
    step::{self, which},
};

/// Programs that the demo and the tests run, with the Debian package of each.
const TOOLS: [(&str, &str); 8] = [
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("iperf3", "iperf3"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("ping", "iputils-ping"),
    ("tc", "iproute2"),
    ("tcpdump", "tcpdump"),
];

/// Debian's compiler with its sources, and the LLVM it was built on. The two
/// must match: a linker older than the compiler cannot read its bitcode.
const COMPILER_PACKAGES: [&str; 5] =
    ["rustc-web", "cargo-web", "rust-web-src", "llvm-22-dev", "g++"];
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const LLVM_FEATURE: &str = "llvm-22";
const BPF_LINKER_VERSION: &str = "0.13.0";

/// Makes sure that everything is there, or says what is missing and the
/// command that installs it.
pub fn run() -> Result<()> {
    let own_toolchain =
        ebpf_toolchain::find() == Some(ebpf_toolchain::NIGHTLY) && which("bpf-linker").is_some();
    let mut packages = missing_packages(own_toolchain);
    packages.sort_unstable();
    packages.dedup();
    if !packages.is_empty() {
        install_packages(&packages)?;
    }
    if own_toolchain {
        return Ok(());
    }
    if which("bpf-linker").is_none() {
        install_bpf_linker()?;
    }
    if ebpf_toolchain::find() != Some(ebpf_toolchain::DEBIAN) {
        link_compiler()?;
    }
    Ok(())
}

fn missing_packages(own_toolchain: bool) -> Vec<&'static str> {
    let tools = TOOLS.iter().filter(|(program, _)| which(program).is_none()).map(|&(_, p)| p);
    let compiler = COMPILER_PACKAGES.iter().copied();
    tools.chain(compiler.filter(|p| !own_toolchain && !is_installed(p))).collect()
}

fn is_installed(package: &str) -> bool {
    step::output("dpkg-query", &["--show", "--showformat=${db:Status-Abbrev}", package])
        .is_some_and(|status| status.starts_with("ii"))
}

fn install_packages(packages: &[&str]) -> Result<()> {
    let by_hand =
        format!("apt-get update && apt-get install --no-install-recommends {}", packages.join(" "));
    if which("apt-get").is_none() {
        bail!(
            "missing: {}. This is not a Debian machine, so install what provides them, \
             or see CONTRIBUTING.md",
            packages.join(", ")
        );
    }
    if !step::is_root() && which("sudo").is_none() {
        bail!("missing packages: {}. Install them as root with: {by_hand}", packages.join(" "));
    }
    let apt = |args: &[&str]| {
        let mut command = step::privileged("apt-get");
        command.args(["--quiet", "--yes"]).args(args);
        command
    };
    step::long("apt-update", "Reading Debian's package lists", &mut apt(&["update"]))
        .and_then(|()| {
            step::long(
                "apt-install",
                &format!("Installing Debian packages: {}", packages.join(" ")),
                // Never trades a package of the user's for one of ours.
                apt(&["install", "--no-install-recommends", "--no-remove"]).args(packages),
            )
        })
        .with_context(|| {
            format!(
                "missing packages: {}. Install them as root with: {by_hand}",
                packages.join(" ")
            )
        })
}

fn install_bpf_linker() -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    step::long(
        "bpf-linker",
        &format!("Building bpf-linker {BPF_LINKER_VERSION} with cargo"),
        step::cargo()
            .args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked"])
            .args(["--no-default-features", "--features", LLVM_FEATURE])
            .env("PATH", format!("{LLVM_PREFIX}/bin:{path}"))
            .env("LLVM_PREFIX", LLVM_PREFIX),
    )
    .with_context(|| {
        format!(
            "missing: bpf-linker. Install it with: PATH={LLVM_PREFIX}/bin:$PATH \
             LLVM_PREFIX={LLVM_PREFIX} cargo install bpf-linker --version {BPF_LINKER_VERSION} \
             --locked --no-default-features --features {LLVM_FEATURE}"
        )
    })?;
    if which("bpf-linker").is_none() {
        bail!(
            "bpf-linker was installed, but its folder is not on the PATH; add ~/.cargo/bin to it"
        );
    }
    Ok(())
}

fn link_compiler() -> Result<()> {
    if !Path::new("/usr/bin/rustc").exists() {
        bail!("missing: /usr/bin/rustc. Install it as root with: apt-get install rustc-web");
    }
    step::long(
        "rustup-link",
        "Linking Debian's compiler into rustup",
        Command::new("rustup").args(["toolchain", "link", ebpf_toolchain::DEBIAN, "/usr"]),
    )?;
    if ebpf_toolchain::find() != Some(ebpf_toolchain::DEBIAN) {
        bail!(
            "Debian's compiler lacks the sources of core. \
             Install them as root with: apt-get install --reinstall rust-web-src"
        );
    }
    Ok(())
}
