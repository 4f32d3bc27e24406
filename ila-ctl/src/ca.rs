//! The authority that certifies nodes: a folder with its key, its certificate
//! and a record of what it has issued. Clock and randomness are here; what is
//! made of them is in `ila_proto::identity`.

mod error;
mod files;
mod issued;

use std::{
    fmt, fs,
    path::Path,
    time::{Duration, SystemTime},
};

use ila_proto::{
    api::{Domain, NodeName},
    gossip::{Certified, IdentifierRange, NodeId},
    identity::{
        self, Authority, Certificate, CertificateError, Holder, KeyPair, RangeError, Validity,
    },
};
use nix::fcntl::{Flock, FlockArg};
use rand::{TryRng as _, rngs::SysRng};
use serde::{Deserialize, Serialize};

use crate::cli::IssueArgs;

pub use error::CaError;
use files::{OPEN, SECRET};
use issued::Issued;

/// The authority's files.
const CA_KEY: &str = "ca.key";
const CA_PEM: &str = "ca.pem";
const ISSUED: &str = "issued";

/// A node's files; the authority's certificate is beside them.
const NODE_KEY: &str = "node.key";
const NODE_PEM: &str = "node.pem";

/// For how long an authority is good.
const CA_DAYS: u16 = 3650;

const DAY: u64 = 24 * 60 * 60;

/// Certificates are valid from so many seconds ago, for hosts whose clock is
/// behind.
const BACKDATED: u64 = 60 * 60;

/// What a certificate says, as it is shown and as it is recorded. Fields are
/// added, never changed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The node's name; none for an authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The digest of its key, by which others know it.
    pub id: String,
    /// Its locators.
    pub domains: Vec<Domain>,
    /// The identifiers that it is the home of.
    pub home: Vec<Range>,
    /// The first second in which it is valid.
    pub valid_from: String,
    /// The last.
    pub valid_until: String,
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// The digest of the key of the authority that has issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

/// A range as its text.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range(pub IdentifierRange);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for Range {
    type Error = RangeError;

    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse().map(Self)
    }
}

/// Makes an authority in a folder that has none.
pub fn init(dir: &Path) -> Result<Summary, CaError> {
    make_folder(dir)?;
    let _lock = lock(dir)?;
    match CaError::unless_whole(dir) {
        Ok(()) => return Err(CaError::Exists(dir.to_owned())),
        Err(CaError::Missing(_)) => {}
        Err(other) => return Err(other),
    }
    let key = KeyPair::from_seed(&random()?);
    let der = Authority::create(&key, random()?, validity(CA_DAYS))
        .map_err(|error| CaError::Refused { error, most: 0 })?;
    files::write(&dir.join(ISSUED), b"", OPEN)?;
    files::write(&dir.join(CA_KEY), key.to_pem().as_bytes(), SECRET)?;
    // Last, for without it nothing is issued.
    files::write(&dir.join(CA_PEM), identity::to_pem(&der).as_bytes(), OPEN)?;
    summary(&dir.join(CA_PEM), &der)
}

/// Certifies a node. One whose key is in the folder already is certified anew,
/// and stays the home of what it was.
pub fn issue(arguments: &IssueArgs) -> Result<Summary, CaError> {
    let (dir, out) = (&arguments.folder.dir, &arguments.out);
    let [ca_key, ca_pem] = [CA_KEY, CA_PEM].map(|file| dir.join(file));
    let [node_key, node_pem] = [NODE_KEY, NODE_PEM].map(|file| out.join(file));
    // Held to the end: of two at once, the second one sees what the first one
    // has given away.
    let _lock = lock(dir).map_err(|error| CaError::unless_whole(dir).err().unwrap_or(error))?;
    CaError::unless_whole(dir)?;
    let key = read_key(&ca_key)?;
    let ca = files::read(&ca_pem)?;
    let authority = identity::from_pem(&ca)
        .and_then(|der| Authority::read(&der))
        .map_err(|error| CaError::unusable(&ca_pem, &error))?;
    let issued = Issued::read(&dir.join(ISSUED))?;

    let exists = node_key.try_exists().map_err(|error| CaError::io("read", &node_key, error))?;
    let node = if exists { read_key(&node_key)? } else { KeyPair::from_seed(&random()?) };
    let id = node.public().node();
    issued.check(id, arguments)?;
    let certified = Certified {
        key: node.public(),
        name: arguments.node.clone(),
        locators: arguments.locators.iter().map(|it| (it.sir_prefix, it.locator)).collect(),
        home: issued.home(id, &arguments.identifiers)?,
    };
    let der = authority.issue(&key, &certified, random()?, validity(arguments.days)).map_err(
        |error| match error {
            CertificateError::OtherKey => CaError::unusable(&ca_key, &error),
            error => CaError::Refused {
                error,
                most: authority.validity().until.saturating_sub(now()) / DAY,
            },
        },
    )?;
    let summary = summary(&node_pem, &der)?;

    make_folder(out)?;
    // The key comes first: if this ends here, the next attempt finds it, and in
    // it the node that the record speaks of.
    if !exists {
        files::write(&node_key, node.to_pem().as_bytes(), SECRET)?;
    }
    issued.append(&summary)?;
    files::write(&out.join(CA_PEM), ca.as_bytes(), OPEN)?;
    files::write(&node_pem, identity::to_pem(&der).as_bytes(), OPEN)?;
    Ok(summary)
}

/// What a certificate says, whoever has issued it.
pub fn show(file: &Path) -> Result<Summary, CaError> {
    let der = identity::from_pem(&files::read(file)?);
    summary(file, &der.map_err(|error| CaError::unusable(file, &error))?)
}

fn summary(file: &Path, der: &[u8]) -> Result<Summary, CaError> {
    let Certificate { serial, validity, issuer, holder } =
        Certificate::read(der).map_err(|error| CaError::unusable(file, &error))?;
    let (key, node) = match holder {
        Holder::Authority(key) => (key, None),
        Holder::Node(node) => (node.key, Some(node)),
    };
    let domains = node.iter().flat_map(|node| &node.locators);
    let home = node.iter().flat_map(|node| &node.home);
    Ok(Summary {
        id: key.node().to_string(),
        domains: domains.map(|&(sir_prefix, locator)| Domain { sir_prefix, locator }).collect(),
        home: home.copied().map(Range).collect(),
        valid_from: date(validity.from),
        valid_until: date(validity.until),
        serial,
        authority: issuer.as_ref().map(NodeId::to_string),
        node: node.map(|node| node.name),
    })
}

fn make_folder(dir: &Path) -> Result<(), CaError> {
    fs::create_dir_all(dir).map_err(|error| CaError::io("make", dir, error))
}

/// Keeps others out of the authority's folder, for as long as it is kept.
fn lock(dir: &Path) -> Result<Flock<fs::File>, CaError> {
    let folder = fs::File::open(dir).map_err(|error| CaError::io("open", dir, error))?;
    Flock::lock(folder, FlockArg::LockExclusive)
        .map_err(|(_, error)| CaError::io("lock", dir, error.into()))
}

fn read_key(file: &Path) -> Result<KeyPair, CaError> {
    KeyPair::from_pem(&files::read(file)?).map_err(|error| CaError::unusable(file, &error))
}

fn random<const N: usize>() -> Result<[u8; N], CaError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| CaError::Random(error.to_string()))?;
    Ok(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

fn validity(days: u16) -> Validity {
    let now = now();
    Validity { from: now.saturating_sub(BACKDATED), until: now + u64::from(days) * DAY }
}

fn date(seconds: u64) -> String {
    // No certificate is valid behind the year 9999, where this would end.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}
