//! Which Rust toolchain can compile the kernel programs.
//!
//! The BPF target has no prebuilt `core`, so the compiler needs its sources at
//! hand. rustup's stable lacks them for the target's `-Z build-std`; a nightly
//! with `rust-src`, or the compiler that Debian builds for its browsers, does
//! not. `ila-agent`'s build script and `xtask setup` share this file, so that
//! what is set up is what is used.

use std::{path::PathBuf, process::Command};

/// rustup's name for Debian's compiler, linked there by `cargo xtask setup`.
pub const DEBIAN: &str = "ila-ebpf";

/// rustup's own nightly, used where it comes with `rust-src`.
pub const NIGHTLY: &str = "nightly";

/// The first toolchain that is installed together with the sources of `core`.
/// Debian's is linked only where a nightly did not do, for want of a linker,
/// and the linker that was built then is for it.
pub fn find() -> Option<&'static str> {
    [DEBIAN, NIGHTLY].into_iter().find(|name| has_core_sources(name))
}

fn has_core_sources(toolchain: &str) -> bool {
    Command::new("rustup")
        .args(["run", toolchain, "rustc", "--print", "sysroot"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|sysroot| {
            PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs")
        })
        .is_some_and(|core| core.exists())
}
