//! `ila-agent join`: this host becomes one of a mesh.

use std::{io, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result, bail};
use ila_authority::{
    CA_PEM, NODE_KEY, NODE_PEM,
    files::{self, OPEN, SECRET},
    make_folder, random, read_key,
};
use ila_proto::{
    api::Domain,
    enrol::{Ask, Fingerprint, Settings, Token},
    identity::{self, KeyPair},
};

use super::{
    ask::{AskError, Given, Inquiry, Patience},
    cli::JoinArgs,
    host::{self, Contents, Places, Undo},
    init::{agent, domains},
};
use crate::netlink::Links;

/// Joins, and prints what to type next. The configuration is written last:
/// without it nothing was joined, and the same can be typed again.
pub async fn join(arguments: &JoinArgs) -> Result<()> {
    let token = read_token(&arguments.token)?;
    let places = Places::of(&arguments.host)?;
    check_unused(&places, &token)?;
    let contents = look_around(arguments, &token).await?;
    if !contents.domains.is_empty() {
        // Whatever is wrong with it is said before anybody is asked.
        contents.text(&places)?;
    }
    let mut undo = Undo::of([
        places.config.clone(),
        places.identity.join(NODE_PEM),
        places.identity.join(CA_PEM),
        places.identity.join(NODE_KEY),
        places.identity.clone(),
    ]);
    let key = key(&places.identity)?;
    let addresses: Vec<_> = token.addresses.iter().copied().map(SocketAddr::V6).collect();
    let what = Ask::Join {
        secret: token.secret.clone(),
        node: contents.node.clone(),
        locators: contents.domains.clone(),
    };
    let (authority, patience) = (token.authority, Patience::default());
    let given = Inquiry { authority, key: &key, what: &what, patience }.ask(&addresses).await;
    // From here on the mesh may know this key: with it, the same is had again.
    if !matches!(given, Err(AskError::Refused(_) | AskError::Unreached(_) | AskError::Transport(_)))
    {
        undo.keep(&places.identity.join(NODE_KEY));
    }
    let given = given.context("this host has not joined")?;
    let contents = store(&places, contents, &given).context(
        "the mesh has let this host in, but not all of it could be written; run the \
                  same again",
    )?;
    undo.done();
    print(&places, &contents, &given);
    Ok(())
}

fn read_token(typed: &str) -> Result<Token> {
    let mut line = String::new();
    if typed == "-" {
        io::stdin().read_line(&mut line).context("cannot read the token")?;
    }
    let text = if typed == "-" { line.trim() } else { typed };
    Ok(text.parse()?)
}

/// Whether this host is free to join.
fn check_unused(places: &Places, token: &Token) -> Result<()> {
    let (config, ca) = (&places.config, places.identity.join(CA_PEM));
    if config.try_exists()? {
        bail!(
            "this host has a configuration already: {0}; to join with it moved away, as the node \
             that it is: mv {0} {0}.old",
            config.display()
        );
    }
    if ca.try_exists()? {
        let der = identity::from_pem(&files::read(&ca)?);
        if der.ok().is_none_or(|der| Fingerprint::of(&der) != token.authority) {
            bail!(
                "{0} is that of a node of another mesh; to leave it: mv {0} {0}.old",
                places.identity.display()
            );
        }
    }
    Ok(())
}

async fn look_around(arguments: &JoinArgs, token: &Token) -> Result<Contents> {
    let given = &arguments.host;
    let domains = domains(&given.locators, &token.sir_prefixes)?;
    let links = Links::open()?;
    let uplinks = host::uplinks(&links, &given.uplinks).await?;
    let addresses =
        host::addresses(&links, &uplinks, &domains, given.listen, &given.addresses).await?;
    Ok(Contents {
        node: host::name(given.node.as_ref())?,
        domains,
        uplinks,
        listen: given.listen,
        addresses,
        seeds: token.addresses.iter().copied().map(SocketAddr::V6).collect(),
        settings: Settings::default(),
    })
}

/// This host's key: the one that it has, or a new one.
fn key(identity: &Path) -> Result<KeyPair> {
    let file = identity.join(NODE_KEY);
    if file.try_exists()? {
        return Ok(read_key(&file)?);
    }
    let key = KeyPair::from_seed(&random()?);
    make_folder(identity)?;
    files::write(&file, key.to_pem().as_bytes(), SECRET)?;
    Ok(key)
}

fn store(places: &Places, contents: Contents, given: &Given) -> Result<Contents> {
    let locators = given.node.locators.iter();
    let domains = locators.map(|&(sir_prefix, locator)| Domain { sir_prefix, locator }).collect();
    let admitted = &given.admitted;
    let seeds = if admitted.seeds.is_empty() { contents.seeds } else { admitted.seeds.clone() };
    let contents = Contents { domains, seeds, settings: admitted.settings.clone(), ..contents };
    files::write(&places.identity.join(CA_PEM), admitted.authority.as_bytes(), OPEN)?;
    files::write(&places.identity.join(NODE_PEM), admitted.certificate.as_bytes(), OPEN)?;
    if let Some(folder) = places.config.parent() {
        make_folder(folder)?;
    }
    contents.write(places)?;
    Ok(contents)
}

fn print(places: &Places, contents: &Contents, given: &Given) {
    println!("{} is in the mesh.\n", contents.node);
    println!("{}  its settings", places.config.display());
    println!("{}  its key and certificate", places.identity.display());
    let until = ila_authority::date(given.certificate.validity.until);
    println!("\nThe certificate is good until {until}, and is renewed by the agent.");
    println!("Start it:\n\n    {}", agent("", &places.config));
}
