//! The protocol of the overlay, pure: values in, values out.
//!
//! A container keeps one *SIR address* for life, SIR prefix (64 bits) |
//! identifier (64 bits). On the wire between hosts its place is taken by an
//! *ILA address*, locator (64 bits) | identifier, where the locator names the
//! host that holds the identifier. The rules are those of
//! draft-herbert-intarea-ila-01, in short "the draft" below.
//!
//! | module | what it holds | known to |
//! |---|---|---|
//! | [`addr`] | prefixes, locators, identifiers and the addresses made of them | all |
//! | [`checksum`] | one's complement sums: deltas that are added, checksums that are sent | all |
//! | [`translate`] | from SIR to ILA address and back | kernel programs, agent |
//! | [`forward`] | what happens to a packet, decided from its header | kernel programs, tests |
//! | [`icmp`] | errors that are sent, errors whose quoted packet is restored | kernel programs, tests |
//! | [`extension`] | the way past extension headers | kernel programs, tests |
//! | [`ndp`] | which neighbour solicitations are answered, and the answer | kernel programs, tests |
//! | [`abi`] | what kernel programs and agent share in memory | kernel programs, agent |
//! | `bench` | what is shared for measuring only (feature `bench`) | kernel programs, benchmark |
//! | `gossip` | the mesh: which node says what, and how all come to know it (feature `mesh`) | agent |
//! | [`api`] | what agent and its clients say to each other (feature `std`) | agent, ila-ctl |
//! | `gossip` | which node says what, and how all come to know it (feature `mesh`) | agent |
//! | `identity` | keys and certificates of nodes (feature `identity`) | agent, ila-ctl |
//! | `enrol` | how a host is let in, and when certificates are renewed (feature `identity`) | agent |
//!
//! Without features the crate is `no_std` and free of dependencies; the kernel
//! programs run the very functions that the native tests run.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
#![allow(
    clippy::inline_always,
    reason = "a function of a kernel program takes five arguments; ours are spread over many values"
)]

pub mod abi;
pub mod addr;
#[cfg(feature = "bench")]
pub mod bench;
pub mod checksum;
#[cfg(feature = "identity")]
pub mod enrol;
pub mod extension;
pub mod forward;
#[cfg(feature = "mesh")]
pub mod gossip;
pub mod icmp;
#[cfg(feature = "identity")]
pub mod identity;
pub mod ndp;
pub mod translate;

#[cfg(feature = "std")]
pub mod api;
#[cfg(feature = "std")]
mod text;

#[cfg(all(test, feature = "std"))]
mod testing;
