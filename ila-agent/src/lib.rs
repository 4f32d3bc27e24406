//! The daemon of a host, in parts that tests can take by themselves.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | reads and checks the configuration |
//! | [`datapath`] | the kernel programs and their tables, pinned and attached; the only user of aya |
//! | [`desired`] | what the tables should hold, and the programs' constants |
//! | [`netlink`] | makes, wires and removes the containers' links |
//! | [`owner`] | the one owner of all state: claims, containers, mappings |
//! | [`lifecycle`] | what it takes to add and to remove a container, in order, with its undoing |
//! | [`uplinks`] | how the uplinks are, for people |
//! | [`routes`] | whether the routes to other hosts are plain, for the programs |
//! | [`store`] | which containers there are, for the agent that comes next |
//! | [`runtime_dir`] | the agent's place: one agent each, socket, left-overs |
//! | [`monitor`] | dropped packets, told to whoever listens |
//! | [`mesh`] | the mesh of this host: who says what, with connections, clock and disk |
//! | [`transport`] | connections to other agents; with `enrol` the only user of quinn |
//! | [`enrol`] | how a host is let into the mesh, and stays in it |
//! | [`memory`] | its heap |
//! | [`api`] | the local API on the socket |

pub mod api;
pub mod config;
pub mod datapath;
pub mod desired;
pub mod enrol;
pub mod error;
pub mod lifecycle;
pub mod memory;
pub mod mesh;
pub mod monitor;
pub mod netlink;
pub mod owner;
pub mod routes;
pub mod runtime_dir;
pub mod store;
pub mod transport;
pub mod uplinks;
