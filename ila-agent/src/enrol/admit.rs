//! Answers hosts that want to join, or to have their certificate renewed, where
//! the authority's folder is.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ila_authority::{CA_KEY, CA_PEM, CaError, Denied, Folder, Issue, files, read_key};
use ila_proto::{
    addr::{Address, SirPrefix},
    api::Domain,
    enrol::{Admitted, Answer, Ask, Greeting, Refusal, Refused, Request, Settings},
    identity::{self, KeyPair},
};
use ipnet::Ipv6Net;
use quinn::{Connection, VarInt};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    host::authority_beside,
    tries::Tries,
    wire::{self, WireError},
};
use crate::config::Config;

/// How many are answered at once; more are told to come again.
const AT_ONCE: usize = 64;
/// How long somebody may take to ask …
const ASKS: Duration = Duration::from_secs(5);
/// … and to take the answer.
const TAKES: Duration = Duration::from_secs(5);
/// How many seeds a host is told.
const SEEDS: usize = 16;

/// What a host that joins has to agree with.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The SIR prefixes that there are.
    pub sir_prefixes: Vec<SirPrefix>,
    /// What is the same on all hosts.
    pub settings: Settings,
}

/// The side that admits, for as long as the agent serves.
pub struct Admission {
    dir: PathBuf,
    key: KeyPair,
    authority: String,
    rules: Rules,
    tries: Mutex<Tries>,
    places: Semaphore,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Admission {
    /// Of the authority in a folder; none if there is none.
    pub fn open(dir: &Path, rules: Rules) -> Result<Option<Self>, CaError> {
        if matches!(dir.join(CA_KEY).try_exists(), Ok(false)) {
            return Ok(None);
        }
        Ok(Some(Self {
            key: read_key(&dir.join(CA_KEY))?,
            authority: files::read(&dir.join(CA_PEM))?,
            dir: dir.to_owned(),
            rules,
            tries: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
        }))
    }

    /// Of the authority that lies beside the identity of a configuration; none if
    /// there is none, as on most hosts.
    pub fn of(config: &Config) -> Result<Option<Self>, CaError> {
        let Some(mesh) = &config.mesh else { return Ok(None) };
        Self::open(&authority_beside(&mesh.identity), Rules::of(config))
    }

    /// How many have shown a secret that is none.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).failed()
    }

    /// Answers whoever is at the other end of a connection with the protocol of
    /// `ila_proto::enrol`, and ends the connection. `seeds` are addresses of the
    /// mesh, this host's first.
    pub async fn admit(&self, connection: Connection, seeds: Vec<SocketAddr>) {
        let from = connection.remote_address().ip();
        let Ok(_place) = self.places.try_acquire() else {
            connection.close(VarInt::from_u32(1), b"busy");
            return;
        };
        if let Err(error) = self.converse(&connection, from, seeds).await {
            tracing::debug!(%from, %error, "somebody who was to join has gone");
        }
        connection.close(VarInt::from_u32(0), b"");
    }

    async fn converse(
        &self,
        connection: &Connection,
        from: IpAddr,
        seeds: Vec<SocketAddr>,
    ) -> Result<(), WireError> {
        let exporter = wire::exporter(connection)?;
        let asks = async {
            let (mut sender, mut receiver) = connection.open_bi().await?;
            wire::send(&mut sender, &Greeting::new(&self.key, &exporter)).await?;
            let request: Request = wire::receive(&mut receiver).await?;
            Ok::<_, WireError>((sender, request))
        };
        let Ok(asked) = timeout(ASKS, asks).await else { return Ok(()) };
        let (mut sender, request) = asked?;
        let answer = if request.is_proven(&exporter) {
            self.answer(request, from, seeds).await
        } else {
            refused(Refusal::Wrong, "the request is not signed with its key")
        };
        if let Answer::Refused(Refused { why, message }) = &answer {
            tracing::warn!(%from, ?why, %message, "a host is not let in");
        }
        let takes = async {
            wire::send(&mut sender, &answer).await?;
            let _ = sender.finish();
            // It closes the connection once it has read.
            connection.closed().await;
            Ok(())
        };
        timeout(TAKES, takes).await.unwrap_or(Ok(()))
    }

    async fn answer(&self, request: Request, from: IpAddr, seeds: Vec<SocketAddr>) -> Answer {
        if !self.tries().may(from, Instant::now()) {
            return refused(Refusal::Busy, "too many tries have failed; try again in a minute");
        }
        if let Err(refused) = self.rules.check(&request.ask) {
            return Answer::Refused(refused);
        }
        let dir = self.dir.clone();
        // Disks and locks take their time.
        let issued = tokio::task::spawn_blocking(move || issue(&dir, request)).await;
        match issued {
            Ok(Ok(Issue { der, summary })) => {
                let node = summary.node.as_ref().map_or("", |node| node.as_str());
                let home: Vec<_> = summary.home.iter().map(ToString::to_string).collect();
                let (home, until) = (home.join(" "), &summary.valid_until);
                tracing::info!(node, %home, %until, "a certificate is handed out");
                Answer::Admitted(Admitted {
                    certificate: identity::to_pem(&der),
                    authority: self.authority.clone(),
                    seeds: seeds.into_iter().take(SEEDS).collect(),
                    settings: self.rules.settings.clone(),
                })
            }
            Ok(Err(Denied::Refused(refused))) => {
                if refused.why == Refusal::Secret {
                    self.tries().fail(from, Instant::now());
                }
                Answer::Refused(refused)
            }
            Ok(Err(Denied::Failed(error))) => {
                tracing::error!(%error, "the authority cannot certify");
                refused(Refusal::Authority, "the authority cannot certify now; its host says why")
            }
            Err(error) => {
                tracing::error!(%error, "BUG: certifying has failed");
                refused(Refusal::Authority, "the authority cannot certify now; its host says why")
            }
        }
    }

    fn tries(&self) -> std::sync::MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn issue(dir: &Path, request: Request) -> Result<Issue, Denied> {
    let mut folder = Folder::open(dir)?;
    match request.ask {
        Ask::Join { secret, node, locators } => folder.join(request.key, &secret, node, locators),
        Ask::Renew => folder.renew(request.key),
    }
}

fn refused(why: Refusal, message: &str) -> Answer {
    Answer::Refused(Refused { why, message: message.to_owned() })
}

impl Rules {
    /// Those of the mesh that a configuration is of.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            sir_prefixes: config.domains.iter().map(|domain| domain.sir_prefix).collect(),
            settings: Settings {
                checksum_mode: config.checksum_mode,
                source: config.source,
                locator_spaces: config.locator_spaces.clone(),
            },
        }
    }

    fn check(&self, ask: &Ask) -> Result<(), Refused> {
        match ask {
            Ask::Join { locators, .. } => {
                locators.iter().try_for_each(|domain| self.check_domain(domain))
            }
            Ask::Renew => Ok(()),
        }
    }

    /// Whether a host can have a locator in this mesh, for all that the mesh
    /// cares who has it.
    pub fn check_domain(&self, domain: &Domain) -> Result<(), Refused> {
        let wrong = |message| Err(Refused { why: Refusal::Wrong, message });
        if !self.sir_prefixes.contains(&domain.sir_prefix) {
            return wrong(format!("{} is no SIR prefix of this mesh", domain.sir_prefix));
        }
        let spaces = &self.settings.locator_spaces;
        let address = Address { high: domain.locator.bits(), low: 0 };
        let locator = Ipv6Net::new_assert(address.into(), 64);
        if !spaces.is_empty() && !spaces.iter().any(|space| space.contains(&locator)) {
            return wrong(format!("{locator} is in none of the `locator_spaces` of this mesh"));
        }
        Ok(())
    }
}
