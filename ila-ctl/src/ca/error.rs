//! What can go wrong with an authority, and what to type then.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use ila_proto::{
    addr::{Locator, SirPrefix},
    api::NodeName,
    gossip::IdentifierRange,
    identity::CertificateError,
};

use super::{CA_KEY, CA_PEM, ISSUED};

/// Why nothing was made, issued or shown.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// There is an authority already.
    #[error("there is an authority in {0} already")]
    Exists(PathBuf),
    /// There is none.
    #[error("there is no authority in {0}")]
    Missing(PathBuf),
    /// There is a part of one.
    #[error("the authority in {dir} is not whole: it has no {missing}")]
    NotWhole {
        /// Where.
        dir: PathBuf,
        /// The file that is not there.
        missing: &'static str,
    },
    /// A file has something else than it should.
    #[error("{file} cannot be used: {reason}")]
    Unusable {
        /// Which.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another node has what is asked for.
    #[error("the node {by} has {what}")]
    Taken {
        /// What.
        what: Thing,
        /// Who.
        by: NodeName,
        /// Where that is recorded.
        file: PathBuf,
        /// In which line.
        number: usize,
        /// Where the node's files were to go.
        out: PathBuf,
    },
    /// All ranges of identifiers are given away.
    #[error("no range of identifiers is left")]
    NoRange,
    /// A line of the record is none.
    #[error("line {number} of {file} is not understood: {reason}")]
    Line {
        /// The record.
        file: PathBuf,
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Such a certificate cannot be.
    #[error("{error}")]
    Refused {
        /// Why.
        error: CertificateError,
        /// For how many days it could be.
        most: u64,
    },
    /// The system has refused something.
    #[error("cannot {what} {path}: {error}")]
    Io {
        /// What it was to do.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// The system has no random numbers.
    #[error("the system has no random numbers for a key: {0}")]
    Random(String),
}

/// What only one node can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// Its name.
    Name,
    /// Its key.
    Key,
    /// A locator.
    Locator(Locator),
    /// A prefix as a locator that others have as a SIR prefix, or the other way
    /// round: nobody could tell what an address under it is.
    Prefix(SirPrefix),
    /// Identifiers.
    Identifiers(IdentifierRange),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("a certificate already"),
            Self::Key => f.write_str("this node.key"),
            Self::Locator(locator) => write!(f, "the locator {locator}"),
            Self::Prefix(prefix) => {
                write!(f, "{prefix}: one as its locator, the other as its SIR prefix")
            }
            Self::Identifiers(range) => write!(f, "identifiers of {range}"),
        }
    }
}

impl CaError {
    pub(super) fn io(what: &'static str, path: &Path, error: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), error }
    }

    pub(super) fn unusable(file: &Path, reason: &impl ToString) -> Self {
        Self::Unusable { file: file.to_owned(), reason: reason.to_string() }
    }

    /// Whether a folder has all files of an authority; `Missing` if it has none.
    pub(super) fn unless_whole(dir: &Path) -> Result<(), Self> {
        let files = [CA_KEY, CA_PEM, ISSUED];
        // A file that cannot be looked at is there for all we know.
        let is_missing = |file: &&str| matches!(dir.join(file).try_exists(), Ok(false));
        match files.iter().filter(|file| is_missing(file)).count() {
            0 => Ok(()),
            all if all == files.len() => Err(Self::Missing(dir.to_owned())),
            _ => {
                let missing = files.into_iter().find(|file| is_missing(file)).unwrap_or_default();
                Err(Self::NotWhole { dir: dir.to_owned(), missing })
            }
        }
    }

    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Exists(dir) => format!(
                "certify nodes with: ila-ctl ca issue --dir {}, or make another authority in \
                 another folder with: ila-ctl ca init --dir DIR",
                dir.display()
            ),
            Self::Missing(dir) => {
                format!("make one with: ila-ctl ca init --dir {}", dir.display())
            }
            Self::NotWhole { dir, missing } => format!(
                "put {missing} back from a copy; if nothing was issued yet, begin anew with: \
                 rm -r {0} && ila-ctl ca init --dir {0}",
                dir.display()
            ),
            Self::Taken { what: Thing::Name, file, number, out, .. } => format!(
                "to renew its certificate, put its node.key into {}; if that is lost, forget it \
                 with: sed -i {number}d {}",
                out.display(),
                file.display()
            ),
            Self::Taken { what: Thing::Key, out, .. } => {
                format!(
                    "name a folder for each node with --out; {} has a node's key",
                    out.display()
                )
            }
            Self::Taken { by, file, number, .. } => format!(
                "ask for another one; if {by} is no more, forget it with: sed -i {number}d {}",
                file.display()
            ),
            Self::NoRange => "name one with --identifiers".to_owned(),
            Self::Line { file, .. } => {
                format!("put {} back from a copy: it has one JSON object a line", file.display())
            }
            Self::Refused { error: CertificateError::OutlivesAuthority, most: 0 } => {
                "its time is over; make another one with: ila-ctl ca init --dir DIR".to_owned()
            }
            Self::Refused { error: CertificateError::OutlivesAuthority, most } => {
                format!("ask for fewer days, at most: --days {most}")
            }
            Self::Refused { error: CertificateError::TooLong(_), .. } => {
                "name fewer and larger ranges with --identifiers".to_owned()
            }
            Self::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                "run ila-ctl as root, or name folders of your own".to_owned()
            }
            Self::Unusable { .. } | Self::Refused { .. } | Self::Io { .. } | Self::Random(_) => {
                return None;
            }
        })
    }
}
