//! The daemon of a host, in parts that tests can take by themselves.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | reads and checks the configuration |
//! | [`datapath`] | loads and attaches the kernel programs, fills their maps; the only user of aya |
//! | [`netlink`] | makes, wires and removes the containers' links |
//! | [`owner`] | the one owner of all state: claims, containers, mappings |
//! | [`lifecycle`] | what it takes to add and to remove a container, in order, with its undoing |
//! | [`store`] | which containers there are, for the agent that comes next |
//! | [`runtime_dir`] | the agent's place: one agent each, socket, left-overs |
//! | [`api`] | the local API on the socket |

pub mod api;
pub mod config;
pub mod datapath;
pub mod error;
pub mod lifecycle;
pub mod netlink;
pub mod owner;
pub mod runtime_dir;
pub mod store;
