//! The kernel programs as they ship, run by the kernel on made-up packets.
//!
//! Each run has the kernel treat the packet as one whose checksum a device has
//! summed up (`CHECKSUM_COMPLETE`) and refuse the result if that sum no longer
//! fits the bytes; of a packet that gets another length, the kernel must have no
//! sum any more. Kernels that cannot (6.1.170) run the packet without, which is
//! said. Needs root; without it the tests fail and say so.
//!
//! Beside them, what the agent makes of the kernel's tables.

mod budget;
mod corpus;
mod differential;
mod errors;
mod fates;
mod generate;
mod harness;
mod model;
mod monitor;
mod ndp;
mod network;
mod owner;
mod probe;
mod routes;
mod translation;
