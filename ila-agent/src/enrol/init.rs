//! `ila-agent init` and `ila-agent token`: the first host of a mesh, and what
//! lets others in.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use ila_authority::{
    CA_PEM, CaError, Folder, NODE_KEY, NODE_PEM, Terms, date,
    files::{self, OPEN, SECRET},
    make_folder, now, random, read_key,
};
use ila_proto::{
    addr::SirPrefix,
    api::{DEFAULT_CONFIG, Domain},
    enrol::{Fingerprint, MAX_ADDRESSES, MAX_SIR_PREFIXES, Secret, Settings, Token},
    identity::{self, KeyPair},
};

use super::{
    admit::Rules,
    cli::{InitArgs, LocatorArg, TokenArgs},
    host::{self, Contents, Places, Undo},
};
use crate::{config::Config, netlink::Links};

/// Makes a mesh, and prints what to type next. If it fails, nothing is left.
pub async fn init(arguments: &InitArgs) -> Result<()> {
    let places = Places::of(&arguments.host)?;
    if places.config.try_exists()? {
        bail!(
            "there is a configuration already: {0}; to write another one, move it away with: \
             mv {0} {0}.old; for another token: {1}",
            places.config.display(),
            agent("token", &places.config)
        );
    }
    let contents = look_around(arguments).await?;
    // Whatever is wrong with it is said before anything is made.
    contents.text(&places)?;
    let undo = Undo::of([
        places.config.clone(),
        places.authority(),
        places.identity.join(NODE_PEM),
        places.identity.join(CA_PEM),
        places.identity.join(NODE_KEY),
        places.identity.clone(),
    ]);
    let token = make(&places, &contents, arguments.lasts)?;
    contents.write(&places)?;
    undo.done();
    print(&places, &contents, &token, arguments.lasts);
    Ok(())
}

async fn look_around(arguments: &InitArgs) -> Result<Contents> {
    let given = &arguments.host;
    let links = Links::open()?;
    let uplinks = host::uplinks(&links, &given.uplinks).await?;
    if given.locators.is_empty() {
        bail!(host::no_locator(&links, &uplinks).await?);
    }
    let domains = domains(&given.locators, arguments.sir_prefix.as_slice())?;
    let addresses =
        host::addresses(&links, &uplinks, &domains, given.listen, &given.addresses).await?;
    Ok(Contents {
        node: host::name(given.node.as_ref())?,
        domains,
        uplinks,
        listen: given.listen,
        addresses,
        seeds: Vec::new(),
        settings: Settings::default(),
    })
}

/// What was typed, for these SIR prefixes.
pub fn domains(typed: &[LocatorArg], sir_prefixes: &[SirPrefix]) -> Result<Vec<Domain>> {
    typed.iter().map(|it| it.domain(sir_prefixes).map_err(anyhow::Error::msg)).collect()
}

/// The authority, this host's certificate and a token. What an attempt that was
/// interrupted has left is gone on with.
fn make(places: &Places, contents: &Contents, lasts: Duration) -> Result<Token> {
    let dir = places.authority();
    match ila_authority::init(&dir) {
        Ok(_) | Err(CaError::Exists(_)) => {}
        Err(other) => return Err(other.into()),
    }
    // For others there is nothing to look for.
    fs::set_permissions(&dir, Permissions::from_mode(0o700))
        .with_context(|| format!("cannot set the mode of {}", dir.display()))?;
    let key_file = places.identity.join(NODE_KEY);
    let key = if key_file.try_exists()? {
        read_key(&key_file)?
    } else {
        let key = KeyPair::from_seed(&random()?);
        make_folder(&places.identity)?;
        files::write(&key_file, key.to_pem().as_bytes(), SECRET)?;
        key
    };
    let mut folder = Folder::open(&dir)?;
    let (node, domains) = (contents.node.clone(), contents.domains.clone());
    let issue = folder.admit(key.public(), node, domains)?;
    let [pem, ca] = [NODE_PEM, CA_PEM].map(|file| places.identity.join(file));
    files::write(&ca, folder.pem().as_bytes(), OPEN)?;
    files::write(&pem, identity::to_pem(&issue.der).as_bytes(), OPEN)?;
    let terms = Terms { until: until(lasts), ..Terms::default() };
    new_token(&mut folder, &terms, &contents.addresses, &contents.domains)
}

fn until(lasts: Duration) -> u64 {
    // The year 9999 is as far as times are written.
    now().saturating_add(lasts.as_secs()).min(253_402_300_799)
}

fn new_token(
    folder: &mut Folder,
    terms: &Terms,
    addresses: &[SocketAddr],
    domains: &[Domain],
) -> Result<Token> {
    let secret = Secret(random()?);
    folder.add_token(&secret, terms)?;
    let authority = Fingerprint::of(&identity::from_pem(folder.pem())?);
    let mut addresses = host::of_ipv6(addresses);
    addresses.truncate(MAX_ADDRESSES);
    let mut sir_prefixes: Vec<_> = domains.iter().map(|domain| domain.sir_prefix).collect();
    sir_prefixes.truncate(MAX_SIR_PREFIXES);
    Ok(Token { authority, secret, addresses, sir_prefixes })
}

fn print(places: &Places, contents: &Contents, token: &Token, lasts: Duration) {
    let authority = places.authority();
    println!("The mesh is made, and {} is its first host.\n", contents.node);
    println!("{}  its settings", places.config.display());
    println!("{}  its key and certificate", places.identity.display());
    println!(
        "{}  the authority: keep a copy where nobody else comes to, for whoever has it lets \
         hosts in\n",
        authority.display()
    );
    println!("Start the agent:\n\n    {}\n", agent("", &places.config));
    println!("Then, on each host that is to join, with a locator of its own:\n");
    println!("    ila-agent join {token} --locator LOCATOR\n");
    let until = date(until(lasts));
    println!("The token is a secret. It is good until {until}, for any number of hosts.");
    println!("For another one:\n\n    {}", agent("token", &places.config));
}

/// How the agent is started with a configuration, or told to do something else.
#[must_use]
pub fn agent(verb: &str, config: &Path) -> String {
    let config = if config == Path::new(DEFAULT_CONFIG) {
        String::new()
    } else {
        format!("--config {}", config.display())
    };
    let words = ["ila-agent", verb, &config].into_iter().filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Prints another token, and nothing else.
pub async fn token(arguments: &TokenArgs) -> Result<()> {
    let config = Config::read(&arguments.config)?;
    let mesh =
        config.mesh.as_ref().context("this host is in no mesh: make one with ila-agent init")?;
    let dir = host::authority_beside(&mesh.identity);
    let sir_prefixes: Vec<_> = config.domains.iter().map(|domain| domain.sir_prefix).collect();
    let domains = domains(&arguments.locators, &sir_prefixes)?;
    let rules = Rules::of(&config);
    for domain in &domains {
        rules.check_domain(domain).map_err(anyhow::Error::msg)?;
    }
    let links = Links::open()?;
    let (uplinks, given) = (&config.uplinks, &mesh.addresses);
    let addresses = host::addresses(&links, uplinks, &config.domains, mesh.listen, given).await?;
    let mut folder = Folder::open(&dir).map_err(|error| match error {
        CaError::Missing(_) | CaError::Io { .. } => anyhow::anyhow!(
            "this host has no authority in {}: run this where the mesh was made",
            dir.display()
        ),
        other => other.into(),
    })?;
    let terms = Terms { until: until(arguments.lasts), once: arguments.once, domains };
    let token = new_token(&mut folder, &terms, &addresses, &config.domains)?;
    println!("{token}");
    Ok(())
}
