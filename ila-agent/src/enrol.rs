//! How a host comes into the mesh and stays there.
//!
//! | module | what it does |
//! |---|---|
//! | [`tls`] | who shows which certificate to whom, and who believes it |
//! | [`ask`] | asks a host that admits, to be let in or for a certificate anew |
//! | [`admit`] | answers on a host that has the authority's folder |
//! | [`renew`] | has this host's certificate renewed before it ends |
//! | [`cli`], [`init`], [`join`] | `ila-agent init`, `token` and `join` |
//! | [`host`] | what these find out about the host, and write there |
//! | [`tries`] | how often who has shown a secret that is none |
//!
//! What is said is in `ila_proto::enrol`. The connection is one of QUIC, on the
//! port of the mesh.

pub mod admit;
pub mod ask;
pub mod cli;
pub mod host;
pub mod init;
pub mod join;
pub mod renew;
pub mod tls;
pub mod tries;
mod wire;

use anyhow::Result;
use cli::Verb;

/// Does what was typed instead of serving.
pub fn run(verb: &Verb) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match verb {
            Verb::Init(arguments) => init::init(arguments).await,
            Verb::Join(arguments) => join::join(arguments).await,
            Verb::Token(arguments) => init::token(arguments).await,
        }
    })
}

#[cfg(test)]
mod tests;
