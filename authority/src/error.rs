//! What can go wrong with an authority.

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

use crate::{CA_KEY, CA_PEM, ISSUED};

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
    /// The system has refused to do something with a file.
    #[must_use]
    pub fn io(what: &'static str, path: &Path, error: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), error }
    }

    /// A file has something else than it should.
    #[must_use]
    pub fn unusable(file: &Path, reason: &impl ToString) -> Self {
        Self::Unusable { file: file.to_owned(), reason: reason.to_string() }
    }

    /// Whether a folder has all files of an authority; `Missing` if it has none.
    pub(crate) fn unless_whole(dir: &Path) -> Result<(), Self> {
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
}
