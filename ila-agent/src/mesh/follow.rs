//! What others say, on its way into the kernel's tables.
//!
//! The tables are wanted to be as the mesh knows it; what they lack is set as
//! news come, and if that fails, or news are missed, all of it is set anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ila_proto::{
    abi::MappingKey,
    addr::{Identifier, Locator, SirPrefix},
    gossip::{
        NodeId, Surroundings,
        claim::Subject,
        holders::Held,
        mesh::{Effect, Mesh},
    },
};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use super::{MeshHandle, News, passed};
use crate::{
    error::{Refusal, chain},
    memory,
    owner::OwnerHandle,
};

/// News that are taken at once.
const BATCH: usize = 4096;
/// How long after the first connection what is known is taken for what holds,
/// even if no neighbour ever knows just the same.
const ENOUGH: Duration = Duration::from_secs(5);
/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(1);

/// How far the tables are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Following {
    /// What an earlier agent has left is not in use any more, unless it is said
    /// still.
    pub is_settled: bool,
    /// The tables would not take what they should hold; why not.
    pub refused: Option<String>,
    /// The nodes whose mappings were taken out, for they are down.
    pub hidden: BTreeSet<NodeId>,
}

/// What brings the tables to what the mesh knows.
#[derive(Debug)]
pub struct Follower {
    mesh: MeshHandle,
    owner: OwnerHandle,
    /// By their domain.
    sir_prefixes: Vec<SirPrefix>,
    /// How long a node may be down until its mappings go.
    grace: Duration,
    /// Whether others are to be found.
    has_seeds: bool,
    down: BTreeMap<NodeId, Instant>,
    hidden: BTreeSet<NodeId>,
    linked: Option<Instant>,
    due: Option<Instant>,
    following: watch::Sender<Following>,
}

/// What is to be looked at again.
#[derive(Debug, Default)]
struct Batch {
    /// Whether tables with nothing in them are to hold all that is known.
    fill: bool,
    all: bool,
    nodes: BTreeSet<NodeId>,
    subjects: BTreeSet<Subject>,
}

/// What is known of a node.
struct Node {
    id: NodeId,
    locators: Vec<(SirPrefix, Locator)>,
    is_down: bool,
}

impl Follower {
    /// One that has not begun, and what it tells of itself.
    pub fn new(
        mesh: MeshHandle,
        owner: OwnerHandle,
        sir_prefixes: Vec<SirPrefix>,
        grace: Duration,
        has_seeds: bool,
    ) -> (Self, watch::Receiver<Following>) {
        let (following, watched) = watch::channel(Following::default());
        let follower = Self {
            mesh,
            owner,
            sir_prefixes,
            grace,
            has_seeds,
            down: BTreeMap::new(),
            hidden: BTreeSet::new(),
            linked: None,
            due: Some(Instant::now()),
            following,
        };
        (follower, watched)
    }

    /// Follows until mesh or owner end.
    pub async fn run(mut self, mut news: broadcast::Receiver<News>) {
        // What is known from before is where the tables start if they are empty; what
        // an earlier agent has left in them is newer than what it has stored.
        let are_empty = self.owner.call(|owner| !owner.knows_others()).await.unwrap_or_default();
        let mut batch = Batch { nodes: self.nodes().await, fill: are_empty, ..Batch::default() };
        loop {
            if self.take(batch).await.is_none() {
                return;
            }
            batch = Batch::default();
            let first = tokio::select! {
                first = news.recv() => Some(first),
                () = passed(self.due) => None,
            };
            match first {
                Some(Ok(first)) => batch.add(&first),
                Some(Err(broadcast::error::RecvError::Lagged(_))) => batch.all = true,
                Some(Err(broadcast::error::RecvError::Closed)) => return,
                None => {}
            }
            while batch.subjects.len() < BATCH {
                match news.try_recv() {
                    Ok(more) => batch.add(&more),
                    Err(broadcast::error::TryRecvError::Lagged(_)) => batch.all = true,
                    Err(_) => break,
                }
            }
        }
    }

    async fn nodes(&self) -> BTreeSet<NodeId> {
        let nodes = self.mesh.ask(|mesh| mesh.owners().map(|owner| owner.id()).collect());
        nodes.await.unwrap_or_default()
    }

    /// Takes notice of news and of time; none once there is nobody to tell.
    async fn take(&mut self, mut batch: Batch) -> Option<()> {
        if batch.all {
            batch.nodes = self.nodes().await;
        }
        self.look_at_nodes(&mut batch).await?;
        let may_settle = self.following.borrow().is_settled || self.may_settle().await?;
        let is_due = may_settle && !self.following.borrow().is_settled;
        let was_refused = self.following.borrow().refused.is_some();
        let done = if is_due || batch.fill || (may_settle && (batch.all || was_refused)) {
            self.settle().await?
        } else {
            self.learn(batch.subjects).await?
        };
        let refused = done.err().map(|error| chain(&error));
        if let Some(error) = &refused
            && !was_refused
        {
            tracing::error!(%error, "mappings are not as the mesh knows them; trying again");
        }
        let now = Following { is_settled: may_settle, refused, hidden: self.hidden.clone() };
        self.following.send_if_modified(|it| std::mem::replace(it, now.clone()) != now);
        let is_waiting =
            !may_settle || now.refused.is_some() || self.down.len() > self.hidden.len();
        self.due = is_waiting.then(|| Instant::now() + LOOK);
        Some(())
    }

    /// Learns where nodes are, and hides those that have been down for too long.
    async fn look_at_nodes(&mut self, batch: &mut Batch) -> Option<()> {
        let asked = std::mem::take(&mut batch.nodes);
        let (nodes, is_linked) = self
            .mesh
            .ask(move |mesh| {
                let nodes: Vec<_> = asked.into_iter().filter_map(|id| node(mesh, id)).collect();
                (nodes, mesh.linked().next().is_some())
            })
            .await?;
        let now = Instant::now();
        let mut locators = Vec::new();
        for Node { id, locators: its, is_down } in nodes {
            locators.extend(its.into_iter().filter_map(|(sir_prefix, locator)| {
                Some((self.domain(sir_prefix.bits())?, locator))
            }));
            if is_down {
                self.down.entry(id).or_insert(now);
            } else {
                self.down.remove(&id);
                self.hidden.remove(&id);
            }
        }
        // A link that did not last has not brought everything.
        self.linked = is_linked.then(|| self.linked.unwrap_or(now));
        if is_linked {
            let is_over = |since: Instant| now.saturating_duration_since(since) >= self.grace;
            let over = self.down.iter().filter(|(_, since)| is_over(**since)).map(|(id, _)| *id);
            let new: Vec<_> = over.filter(|id| !self.hidden.contains(id)).collect();
            self.hidden.extend(&new);
            let claims = move |mesh: &mut Mesh<_>| -> Vec<_> {
                new.into_iter().flat_map(|id| mesh.claims_of(id).collect::<Vec<_>>()).collect()
            };
            batch.subjects.extend(self.mesh.ask(claims).await?);
        } else {
            // A node that is cut off from all others knows nothing of them.
            self.down.values_mut().for_each(|since| *since = now);
        }
        let learned = self.owner.call(move |owner| owner.learn_locators(&locators)).await.ok()?;
        if let Err(error) = learned {
            tracing::error!(error = chain(&error), "a node's locator is not known to the programs");
        }
        Some(())
    }

    /// Whether what is known of others is not less than what they say.
    async fn may_settle(&self) -> Option<bool> {
        let known = self.mesh.ask(|mesh| (mesh.agreed().is_some(), mesh.owners().len()));
        let (has_agreed, nodes) = known.await?;
        let is_alone = nodes == 1 && !self.has_seeds;
        Some(has_agreed || is_alone || self.linked.is_some_and(|since| since.elapsed() >= ENOUGH))
    }

    async fn learn(&self, subjects: BTreeSet<Subject>) -> Option<Result<(), Refusal>> {
        if subjects.is_empty() {
            return Some(Ok(()));
        }
        let (hidden, sir_prefixes) = (self.hidden.clone(), self.sir_prefixes.clone());
        let places = self.mesh.ask(move |mesh| {
            let place =
                |subject| Some((key(&sir_prefixes, subject)?, place(mesh, subject, &hidden)));
            subjects.into_iter().filter_map(place).collect::<Vec<_>>()
        });
        let places = places.await?;
        let learned = self.owner.call(move |owner| owner.learn(&places)).await.ok()?;
        Some(learned.map_err(Refusal::from))
    }

    async fn settle(&self) -> Option<Result<(), Refusal>> {
        let (hidden, sir_prefixes) = (self.hidden.clone(), self.sir_prefixes.clone());
        let known = self.mesh.ask(move |mesh| {
            let mappings = mesh.subjects().filter_map(|subject| {
                Some((key(&sir_prefixes, subject)?, place(mesh, subject, &hidden)?))
            });
            // Given back in one piece, which a map of a million would not be.
            let mappings: Vec<_> = mappings.collect();
            let others = mesh.owners().filter(|owner| owner.id() != mesh.me());
            let locators = others.flat_map(|owner| &owner.certified().locators);
            let locators: Vec<_> = locators
                .filter_map(|(sir_prefix, locator)| {
                    Some((domain(&sir_prefixes, sir_prefix.bits())?, *locator))
                })
                .collect();
            (mappings, locators)
        });
        let (mappings, locators) = known.await?;
        let settled = self.owner.call(move |owner| owner.settle(mappings, &locators)).await.ok()?;
        memory::give_back();
        Some(settled.map_err(Refusal::from))
    }

    fn domain(&self, sir_prefix: u64) -> Option<u32> {
        domain(&self.sir_prefixes, sir_prefix)
    }
}

impl Batch {
    fn add(&mut self, news: &News) {
        for effect in news.iter() {
            match *effect {
                Effect::Held(subject) => drop(self.subjects.insert(subject)),
                Effect::Node(node) => drop(self.nodes.insert(node)),
                _ => {}
            }
        }
    }
}

fn domain(sir_prefixes: &[SirPrefix], sir_prefix: u64) -> Option<u32> {
    (0..).zip(sir_prefixes).find(|(_, it)| it.bits() == sir_prefix).map(|(domain, _)| domain)
}

fn key(sir_prefixes: &[SirPrefix], subject: Subject) -> Option<MappingKey> {
    let domain = domain(sir_prefixes, subject.sir_prefix)?;
    MappingKey::new(domain, Identifier::from_bits(subject.identifier))
}

/// Another node.
fn node<S: Surroundings>(mesh: &Mesh<S>, id: NodeId) -> Option<Node> {
    let locators = mesh.certified(id)?.locators.clone();
    (id != mesh.me()).then(|| Node { id, locators, is_down: mesh.down().contains(&id) })
}

/// Who has an identifier: of those that live, unless one that is down, and not
/// hidden yet, has a better right. An agent that is down is no container that is
/// down, and must not be a moment to take what is its.
pub fn holder<S: Surroundings>(
    mesh: &Mesh<S>,
    subject: Subject,
    hidden: &BTreeSet<NodeId>,
) -> Option<Held> {
    if mesh.down().is_empty() && hidden.is_empty() {
        return mesh.held(subject);
    }
    match (mesh.held(subject), mesh.held_despite(subject, hidden)) {
        (Some(living), Some(any)) if any.standing > living.standing => Some(any),
        (Some(living), _) => Some(living),
        (None, any) => any,
    }
}

/// Where an identifier is, unless it is here or nowhere.
fn place<S: Surroundings>(
    mesh: &Mesh<S>,
    subject: Subject,
    hidden: &BTreeSet<NodeId>,
) -> Option<Locator> {
    let held = holder(mesh, subject, hidden)?;
    let locators = &mesh.certified(held.by).filter(|_| held.by != mesh.me())?.locators;
    locators.iter().find(|(sir, _)| sir.bits() == subject.sir_prefix).map(|(_, locator)| *locator)
}
