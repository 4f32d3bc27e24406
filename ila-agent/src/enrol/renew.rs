//! Has this host's certificate renewed before it ends.
//!
//! The key stays: it is what a node is known by. So does all that the
//! certificate says, in the same order. The authority knows the node by its key
//! and its record, and asks for no token as long as the certificate is valid.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ila_authority::{
    CA_PEM, CaError, Denied, Folder, NODE_KEY, NODE_PEM, date,
    files::{self, OPEN},
    now, read_key,
};
use ila_proto::{
    enrol::{Ask, Fingerprint, Renewal, pause},
    gossip::Certified,
    identity::{self, Certificate, CertificateError, Holder, Validity},
};
use tokio::sync::watch;

use super::{
    ask::{AskError, Inquiry, Patience},
    host::authority_beside,
};
use crate::config::MeshConfig;

/// How often it is looked at least: clocks are set, files are put in place by
/// hand.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// A file cannot be used.
    #[error(transparent)]
    Files(#[from] CaError),
    /// A certificate is none.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The authority is on this host, and would not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It is elsewhere, and was not reached or would not.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What came says something else than the certificate that is there.
    #[error("the new certificate says something else than the one that is there")]
    Other,
    /// The authority finds that it is too early.
    #[error(
        "the authority has sent the same certificate again; are the clocks of both hosts right?"
    )]
    Same,
    /// A task has failed.
    #[error("BUG: renewing has failed: {0}")]
    Bug(#[from] tokio::task::JoinError),
}

/// How it stands with this host's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The last second in which it is valid, since 1970-01-01 UTC.
    pub until: u64,
    /// Whether it is time to renew it, or too late.
    pub renewal: Renewal,
    /// How many attempts have failed since it is time, and why the last one has.
    pub failed: Option<(u32, String)>,
}

/// Who renews, and where.
#[derive(Clone, Debug)]
pub struct Renewer {
    /// The folder with this host's key and certificate.
    pub identity: PathBuf,
    /// Hosts that admit.
    pub addresses: Vec<SocketAddr>,
}

impl Renewer {
    /// That of a node that is configured so.
    #[must_use]
    pub fn of(mesh: &MeshConfig) -> Self {
        Self { identity: mesh.identity.clone(), addresses: mesh.seeds.clone() }
    }

    /// Renews for as long as it is polled; the state is told whenever it changes.
    /// It goes on whatever happens. The new certificate is in the folder when
    /// the state says that it is valid longer.
    pub async fn run(self, states: watch::Sender<Option<State>>) {
        let mut failed = 0;
        loop {
            let (wait, state) = self.step(&mut failed).await;
            if state.is_some() {
                states.send_if_modified(|old| {
                    let changes = *old != state;
                    *old = state;
                    changes
                });
            }
            tokio::time::sleep(wait.min(LOOK)).await;
        }
    }

    /// One look, and one attempt if it is time; how long to wait, and how it
    /// stands, as far as that can be told.
    async fn step(&self, failed: &mut u32) -> (Duration, Option<State>) {
        let renewal = match self.there().and_then(|der| read(&der)) {
            Ok((_, validity)) => Renewal::of(validity, now()),
            Err(error) => {
                tracing::error!(%error, "this host's certificate cannot be looked at");
                return (LOOK, None);
            }
        };
        match renewal {
            Renewal::In(seconds) => {
                *failed = 0;
                (Duration::from_secs(seconds), self.state(None))
            }
            Renewal::Ended => {
                tracing::error!(
                    "this host's certificate has ended: nobody lets it into the mesh; have it \
                     join again with a token"
                );
                (LOOK, self.state(None))
            }
            Renewal::Due => self.attempt(failed).await,
        }
    }

    async fn attempt(&self, failed: &mut u32) -> (Duration, Option<State>) {
        match self.renew().await {
            Ok(validity) => {
                tracing::info!(until = %date(validity.until), "certificate renewed");
                *failed = 0;
                (LOOK, self.state(None))
            }
            Err(error) => {
                *failed = failed.saturating_add(1);
                let pause = pause(*failed, rand::random());
                tracing::warn!(%error, failed, ?pause, "certificate not renewed yet");
                (pause, self.state(Some((*failed, error.to_string()))))
            }
        }
    }

    /// Asks for a new certificate and puts it in place of the one that is there,
    /// whole or not at all. Returns when it is valid.
    pub async fn renew(&self) -> Result<Validity, RenewError> {
        let there = self.there()?;
        let key = read_key(&self.identity.join(NODE_KEY))?;
        let authority = authority_beside(&self.identity);
        let der = if authority.exists() {
            let public = key.public();
            tokio::task::spawn_blocking(move || {
                Ok::<_, RenewError>(Folder::open(&authority)?.renew(public)?.der)
            })
            .await??
        } else {
            let ca = identity::from_pem(&files::read(&self.identity.join(CA_PEM))?)?;
            let (authority, patience) = (Fingerprint::of(&ca), Patience::default());
            let inquiry = Inquiry { authority, key: &key, what: &Ask::Renew, patience };
            let given = inquiry.ask(&self.addresses).await?;
            identity::from_pem(&given.admitted.certificate)?
        };
        if der == there {
            return Err(RenewError::Same);
        }
        let (node, validity) = read(&der)?;
        if node != read(&there)?.0 {
            return Err(RenewError::Other);
        }
        let file = self.identity.join(NODE_PEM);
        files::write(&file, identity::to_pem(&der).as_bytes(), OPEN)?;
        Ok(validity)
    }

    /// The certificate that is there, in DER.
    fn there(&self) -> Result<Vec<u8>, RenewError> {
        Ok(identity::from_pem(&files::read(&self.identity.join(NODE_PEM))?)?)
    }

    fn state(&self, failed: Option<(u32, String)>) -> Option<State> {
        let (_, validity) = self.there().and_then(|der| read(&der)).ok()?;
        Some(State { until: validity.until, renewal: Renewal::of(validity, now()), failed })
    }
}

fn read(der: &[u8]) -> Result<(Certified, Validity), RenewError> {
    let Certificate { validity, holder, .. } = Certificate::read(der)?;
    match holder {
        Holder::Node(node) => Ok((node, validity)),
        Holder::Authority(_) => Err(CertificateError::OfAuthority.into()),
    }
}
