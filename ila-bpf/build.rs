//! Tells the linker, which is where the code is generated, that the machines
//! we run on load unaligned words. The fields of an IPv6 header lie two bytes
//! off their alignment, and would otherwise be put together byte by byte.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
}
