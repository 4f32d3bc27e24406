//! This host as a member of a mesh: what it announces, and what it can say of
//! the others.

use std::{
    collections::BTreeSet,
    fs, io,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ila_proto::{
    addr::{Address, SirPrefix},
    api::{CertificateStatus, Container, Domain},
    gossip::{
        Certified, Change, Owner as Said, Surroundings,
        claim::{Claim, Subject},
        mesh::{Event, Mesh, Settings, change},
    },
};
use tokio::sync::{broadcast, watch};

use super::{
    MeshError, MeshHandle, News, Start, files,
    follow::{Follower, Following},
    snapshot::{self, Heard},
};
use crate::{
    config::MeshConfig,
    enrol::{
        admit::Admission,
        renew::{self, Renewer, State},
    },
    owner::OwnerHandle,
};

/// What this node has said, in the state directory.
const OWN: &str = "said";
/// What others have.
const OTHERS: &str = "heard";
/// How often that is stored, if it has changed.
const KEEP: Duration = Duration::from_secs(30);

/// A member whose tables do not follow the mesh yet.
#[derive(Debug)]
pub struct Joining {
    mesh: MeshHandle,
    news: broadcast::Receiver<News>,
    certified: Certified,
    sir_prefixes: Vec<SirPrefix>,
    grace: Duration,
    has_seeds: bool,
    renewer: Renewer,
    /// The certificate that others are shown.
    shown: Vec<u8>,
    admission: Option<Arc<Admission>>,
    others: PathBuf,
}

/// A member.
#[derive(Clone, Debug)]
pub struct Membership {
    mesh: MeshHandle,
    following: watch::Receiver<Following>,
    renewal: watch::Receiver<Option<renew::State>>,
    admission: Option<Arc<Admission>>,
    others: PathBuf,
}

impl Joining {
    /// Becomes a member, with what is stored below `state_dir`. `address` is that
    /// of the host in the underlay, by which others reach it if nothing else is
    /// configured.
    pub fn start(
        config: &MeshConfig,
        (node, domains): (&str, &[Domain]),
        state_dir: &Path,
        address: Option<Address>,
        admission: Option<Arc<Admission>>,
    ) -> Result<Self, MeshError> {
        let (key, identity, certified) = files::read(&config.identity, node, domains)?;
        fs::create_dir_all(state_dir)
            .map_err(|source| MeshError::Store { path: state_dir.to_owned(), source })?;
        let others = state_dir.join(OTHERS);
        let mut addresses = config.addresses.clone();
        if addresses.is_empty() && config.listen.ip().is_unspecified() {
            let address = Ipv6Addr::from(address.ok_or(MeshError::Unreachable)?);
            addresses.push((address, config.listen.port()).into());
        }
        let shown = identity.certificate.clone();
        let mesh = MeshHandle::start(Start {
            key,
            identity,
            listen: config.listen,
            addresses,
            seeds: config.seeds.clone(),
            file: state_dir.join(OWN),
            remembered: Heard::load(&others),
            settings: Settings::default(),
            speaks: config.max_protocol,
            admission: admission.clone(),
        })?;
        let has_seeds = !config.seeds.is_empty();
        let sir_prefixes = domains.iter().map(|it| it.sir_prefix).collect();
        let (news, grace) = (mesh.watch(), config.grace);
        let renewer = Renewer::of(config);
        Ok(Self {
            mesh,
            news,
            certified,
            sir_prefixes,
            grace,
            has_seeds,
            renewer,
            shown,
            admission,
            others,
        })
    }

    /// What this node's certificate says.
    #[must_use]
    pub const fn certified(&self) -> &Certified {
        &self.certified
    }

    /// Has the tables of `owner` follow the mesh.
    #[must_use]
    pub fn follow(self, owner: OwnerHandle) -> Membership {
        let Self {
            mesh,
            news,
            sir_prefixes,
            grace,
            has_seeds,
            renewer,
            shown,
            admission,
            others,
            ..
        } = self;
        let (follower, following) =
            Follower::new(mesh.clone(), owner, sir_prefixes, grace, has_seeds);
        tokio::spawn(follower.run(news));
        let (states, renewal) = watch::channel(None);
        tokio::spawn(renewer.clone().run(states));
        tokio::spawn(show_renewed(mesh.clone(), renewer, renewal.clone(), shown));
        let member = Membership { mesh, following, renewal, admission, others };
        tokio::spawn(member.clone().keep());
        member
    }
}

impl Membership {
    /// Says that a container is here.
    pub async fn announce(&self, container: &Container) {
        self.claim(container, true).await;
    }

    /// Says that it is not any more.
    pub async fn withdraw(&self, container: &Container) {
        self.claim(container, false).await;
    }

    /// Says that just these containers are here.
    pub async fn announce_only(&self, containers: &[Container]) {
        let wanted: BTreeSet<_> = containers.iter().map(subject).collect();
        let changes = self.mesh.ask(move |mesh| {
            let me = mesh.me();
            let gone: Vec<_> = mesh.claims_of(me).filter(|it| !wanted.contains(it)).collect();
            let new = wanted.into_iter().filter_map(|it| claim(mesh, it, true));
            new.chain(gone.into_iter().filter_map(|it| claim(mesh, it, false))).collect::<Vec<_>>()
        });
        if let Some(changes) = changes.await.filter(|changes| !changes.is_empty()) {
            self.mesh.tell(Event::Say(changes)).await;
        }
    }

    async fn claim(&self, container: &Container, is_here: bool) {
        let subject = subject(container);
        let change = self.mesh.ask(move |mesh| claim(mesh, subject, is_here)).await.flatten();
        if let Some(change) = change {
            self.mesh.tell(Event::Say(vec![change])).await;
        }
    }

    /// How far the tables are.
    #[must_use]
    pub fn following(&self) -> Following {
        self.following.borrow().clone()
    }

    /// How it stands with this node's certificate, as far as that was looked at.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateStatus> {
        let State { until, failed, .. } = self.renewal.borrow().clone()?;
        Some(CertificateStatus {
            valid_until: ila_authority::date(until),
            renewal_failed: failed.map(|(_, reason)| reason),
            untimely: self.mesh.transport().is_untimely(),
        })
    }

    /// How often somebody has shown the secret of a token that is none, or not
    /// any more.
    #[must_use]
    pub fn refused_tokens(&self) -> u64 {
        self.admission.as_ref().map_or(0, |admission| admission.failed())
    }

    /// Waits until the tables hold what others say; whether they do in time.
    pub async fn settled_within(&self, limit: Duration) -> bool {
        let mut following = self.following.clone();
        let settled = following.wait_for(|it| it.is_settled && it.refused.is_none());
        tokio::time::timeout(limit, settled).await.is_ok_and(|settled| settled.is_ok())
    }

    /// The mesh.
    #[must_use]
    pub const fn mesh(&self) -> &MeshHandle {
        &self.mesh
    }

    /// Stores what others have said, and ends.
    pub async fn leave(&self) {
        self.store().await;
        self.mesh.close();
    }

    async fn keep(self) {
        let mut stored = None;
        let _ = self.following.clone().wait_for(|it| it.is_settled).await;
        loop {
            let Some(now) = self.mesh.ask(|mesh| mesh.digest()).await else { return };
            if stored != Some(now) {
                self.store().await;
                stored = Some(now);
            }
            tokio::time::sleep(KEEP).await;
        }
    }

    async fn store(&self) {
        let others = self.mesh.ask(|mesh| {
            let others = mesh.owners().filter(|owner| owner.id() != mesh.me());
            others.cloned().collect::<Vec<Arc<Said>>>()
        });
        let (Some(others), file) = (others.await, self.others.clone()) else { return };
        let stored = tokio::task::spawn_blocking(move || snapshot::save(&file, &others)).await;
        if let Err(error) = stored.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, path = %self.others.display(), "what others have said is not stored");
        }
    }
}

/// Has others shown each certificate that is put in place of the one which they
/// are shown, `shown` at first. One that could not be shown is tried again when
/// the renewer says the next time how it stands.
async fn show_renewed(
    mesh: MeshHandle,
    renewer: Renewer,
    mut states: watch::Receiver<Option<State>>,
    mut shown: Vec<u8>,
) {
    while states.changed().await.is_ok() {
        let renewed = match files::identity(&renewer.identity) {
            Ok((_, identity, _)) if identity.certificate == shown => continue,
            Ok((_, identity, _)) => {
                let certificate = identity.certificate.clone();
                mesh.renew(identity).await.map(|()| certificate)
            }
            Err(error) => Err(error.into()),
        };
        match renewed {
            Ok(certificate) => shown = certificate,
            Err(error) => tracing::error!(%error, "the new certificate is not shown to others"),
        }
    }
}

/// What changes whether this node claims an identifier; none if nothing does.
fn claim<S: Surroundings>(mesh: &Mesh<S>, subject: Subject, is_here: bool) -> Option<Change> {
    let claim = is_here.then(Claim::default);
    let change = change(mesh.own().certified(), subject, claim.as_ref())?;
    // A claim that came with a right to it stays as it is.
    (mesh.says(&change.key).is_some() != is_here).then_some(change)
}

fn subject(container: &Container) -> Subject {
    let prefix = SirPrefix::from_bits(Address::from(container.address).high);
    Subject::new(prefix, container.identifier)
}
