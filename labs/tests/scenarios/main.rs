//! Scenarios with the real binaries: hosts and containers in namespaces.
//!
//! Each test has a world of its own (see [`common::World`]), so that all of
//! them run side by side, and next to other runs of the same.

#![allow(
    clippy::cast_possible_truncation,
    reason = "bytes to send are cut out of counters, and sizes of C structures are small"
)]

mod agent;
mod agent_killed;
mod agent_upgraded;
mod bad_input;
mod bench;
mod common;
mod containers;
mod docs;
mod domains;
mod guards;
mod hostile;
mod join;
mod kernel_ila;
mod large;
mod lifecycle;
mod machine;
mod mesh;
mod monitor;
mod moved;
mod on_link;
mod overlay;
mod pmtu;
mod rpf_underlay;
mod stream;
mod traceroute;
mod traffic;
mod underlay;
mod wire;
