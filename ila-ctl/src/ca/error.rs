//! What to type when an authority refuses.

use std::{io, path::PathBuf};

use ila_authority::{CaError, Thing};
use ila_proto::identity::CertificateError;

/// Why nothing was made, issued or shown.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Why.
    pub error: CaError,
    /// Where a node's files were to go.
    pub out: PathBuf,
}

impl From<CaError> for Failure {
    fn from(error: CaError) -> Self {
        Self { error, out: PathBuf::new() }
    }
}

impl Failure {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        Some(match &self.error {
            CaError::Exists(dir) => format!(
                "certify nodes with: ila-ctl ca issue --dir {}, or make another authority in \
                 another folder with: ila-ctl ca init --dir DIR",
                dir.display()
            ),
            CaError::Missing(dir) => {
                format!("make one with: ila-ctl ca init --dir {}", dir.display())
            }
            CaError::NotWhole { dir, missing } => format!(
                "put {missing} back from a copy; if nothing was issued yet, begin anew with: \
                 rm -r {0} && ila-ctl ca init --dir {0}",
                dir.display()
            ),
            CaError::Taken { what: Thing::Name, file, number, .. } => format!(
                "to renew its certificate, put its node.key into {}; if that is lost, forget it \
                 with: sed -i {number}d {}",
                self.out.display(),
                file.display()
            ),
            CaError::Taken { what: Thing::Key, .. } => {
                format!(
                    "name a folder for each node with --out; {} has a node's key",
                    self.out.display()
                )
            }
            CaError::Taken { by, file, number, .. } => format!(
                "ask for another one; if {by} is no more, forget it with: sed -i {number}d {}",
                file.display()
            ),
            CaError::NoRange => "name one with --identifiers".to_owned(),
            CaError::Line { file, .. } => {
                format!("put {} back from a copy: it has one JSON object a line", file.display())
            }
            CaError::Refused { error: CertificateError::OutlivesAuthority, most: 0 } => {
                "its time is over; make another one with: ila-ctl ca init --dir DIR".to_owned()
            }
            CaError::Refused { error: CertificateError::OutlivesAuthority, most } => {
                format!("ask for fewer days, at most: --days {most}")
            }
            CaError::Refused { error: CertificateError::TooLong(_), .. } => {
                "name fewer and larger ranges with --identifiers".to_owned()
            }
            CaError::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                "run ila-ctl as root, or name folders of your own".to_owned()
            }
            CaError::Unusable { .. }
            | CaError::Refused { .. }
            | CaError::Io { .. }
            | CaError::Random(_) => {
                return None;
            }
        })
    }
}
