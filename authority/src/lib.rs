//! The authority that certifies nodes: a folder with its key, its certificate
//! and a record of what it has issued. Clock and randomness are here; what is
//! made of them is in `ila_proto::identity`.

mod admit;
mod error;
pub mod files;
mod issued;
mod summary;
mod tokens;

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use ila_proto::{
    api::{Domain, NodeName},
    gossip::{Certified, IdentifierRange, PublicKey},
    identity::{self, Authority, CertificateError, KeyPair, Validity},
};
use nix::fcntl::{Flock, FlockArg};
use rand::{TryRng as _, rngs::SysRng};

pub use admit::Denied;
pub use error::{CaError, Thing};
use files::{OPEN, SECRET};
use issued::Issued;
pub use summary::{Range, Summary, date};
pub use tokens::Terms;

/// The authority's key.
pub const CA_KEY: &str = "ca.key";
/// Its certificate, in its own folder and in each node's.
pub const CA_PEM: &str = "ca.pem";
/// The record.
pub const ISSUED: &str = "issued";
/// The tokens that let hosts in, by their hashes.
pub const TOKENS: &str = "tokens";
/// A node's key.
pub const NODE_KEY: &str = "node.key";
/// A node's certificate.
pub const NODE_PEM: &str = "node.pem";

/// For how long an authority is good.
const CA_DAYS: u16 = 3650;

const DAY: u64 = 24 * 60 * 60;

/// Certificates are valid from so many seconds ago, for hosts whose clock is
/// behind.
const BACKDATED: u64 = 60 * 60;

/// What a node is to be certified to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name.
    pub node: NodeName,
    /// Its locators, in the order in which they are numbered in the mesh.
    pub locators: Vec<Domain>,
    /// The identifiers that it is the home of; if there are none, those that it
    /// was last, or the next free ones.
    pub identifiers: Vec<IdentifierRange>,
    /// For how many days.
    pub days: u16,
}

/// A certificate that is made, and recorded only with [`Folder::record`].
#[derive(Debug)]
pub struct Issue {
    /// The certificate, in DER.
    pub der: Vec<u8>,
    /// What it says.
    pub summary: Summary,
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
    Summary::of(&der).map_err(|error| CaError::unusable(&dir.join(CA_PEM), &error))
}

/// A whole authority, which nobody else uses for as long as this is kept: of
/// two at once, the second one sees what the first one has given away.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    key: KeyPair,
    pem: String,
    authority: Authority,
    issued: Issued,
    _lock: Flock<fs::File>,
}

impl Folder {
    /// Opens it; waits until nobody else has it open.
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        let lock = lock(dir).map_err(|error| CaError::unless_whole(dir).err().unwrap_or(error))?;
        CaError::unless_whole(dir)?;
        let (pem_file, dir) = (dir.join(CA_PEM), dir.to_owned());
        let pem = files::read(&pem_file)?;
        let authority = identity::from_pem(&pem)
            .and_then(|der| Authority::read(&der))
            .map_err(|error| CaError::unusable(&pem_file, &error))?;
        let key = read_key(&dir.join(CA_KEY))?;
        let issued = Issued::read(&dir.join(ISSUED))?;
        Ok(Self { dir, key, pem, authority, issued, _lock: lock })
    }

    /// The authority's certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate of a node, if what is wanted is no other node's.
    pub fn certify(&self, node: PublicKey, wanted: &Wanted) -> Result<Issue, CaError> {
        let id = node.node();
        self.issued.check(id, wanted)?;
        let certified = Certified {
            key: node,
            name: wanted.node.clone(),
            locators: wanted.locators.iter().map(|it| (it.sir_prefix, it.locator)).collect(),
            home: self.issued.home(id, &wanted.identifiers)?,
        };
        let made = self
            .authority
            .issue(&self.key, &certified, random()?, validity(wanted.days))
            .and_then(|der| Ok(Issue { summary: Summary::of(&der)?, der }));
        made.map_err(|error| match error {
            CertificateError::OtherKey => CaError::unusable(&self.dir.join(CA_KEY), &error),
            error => CaError::Refused { error, most: self.days_left() },
        })
    }

    /// For how many more days certificates can be.
    #[must_use]
    pub fn days_left(&self) -> u64 {
        self.authority.validity().until.saturating_sub(now()) / DAY
    }

    /// Writes down that a certificate is handed out, and returns when that is on
    /// the disk.
    pub fn record(&mut self, issue: &Issue) -> Result<(), CaError> {
        self.issued.append(&issue.summary)
    }
}

/// Makes a folder, and those that it lies in.
pub fn make_folder(dir: &Path) -> Result<(), CaError> {
    fs::create_dir_all(dir).map_err(|error| CaError::io("make", dir, error))
}

/// Keeps others out of the authority's folder, for as long as it is kept.
fn lock(dir: &Path) -> Result<Flock<fs::File>, CaError> {
    let folder = fs::File::open(dir).map_err(|error| CaError::io("open", dir, error))?;
    Flock::lock(folder, FlockArg::LockExclusive)
        .map_err(|(_, error)| CaError::io("lock", dir, error.into()))
}

/// The key of a file.
pub fn read_key(file: &Path) -> Result<KeyPair, CaError> {
    KeyPair::from_pem(&files::read(file)?).map_err(|error| CaError::unusable(file, &error))
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> Result<[u8; N], CaError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| CaError::Random(error.to_string()))?;
    Ok(bytes)
}

/// Seconds since 1970-01-01 UTC.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

fn validity(days: u16) -> Validity {
    let now = now();
    Validity { from: now.saturating_sub(BACKDATED), until: now + u64::from(days) * DAY }
}
