//! Compiles the kernel programs into `OUT_DIR/ila-bpf`; with the feature `bench`
//! also the objects to measure with, beside it.

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

#[path = "../xtask/src/ebpf_toolchain.rs"]
mod ebpf_toolchain;

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=../xtask/src/ebpf_toolchain.rs");
    println!("cargo:rerun-if-changed=../proto/src");
    let toolchain = ebpf_toolchain::find().context(
        "no Rust toolchain for the kernel programs is installed; run: cargo xtask setup",
    )?;
    // SAFETY: a build script's main has no other thread.
    // Debian's compiler counts as stable; this lets it build `core`.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    let package = Package {
        name: "ila-bpf",
        root_dir: "../ila-bpf",
        no_default_features: false,
        features: if cfg!(feature = "bench") { &["bench"] } else { &[] },
    };
    aya_build::build_ebpf([package], Toolchain::Custom(toolchain))
}
