//! The mesh of this host: the machine of `ila_proto::gossip` with connections,
//! a clock and a disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ila_proto::{
    gossip::{
        Certified, Change, Key, NodeId, NodeRecord, Owner, PublicKey, Refused, Signature,
        Surroundings,
        frame::{Frame, Version},
        mesh::{Effect, Event, Fault, LinkId, Mesh, Settings},
        wire,
    },
    identity::{Authority, CertificateError, KeyPair, is_signed},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot},
    time::Instant,
};

use crate::{
    enrol::admit::Admission,
    transport::{Arrival, Identity, Peer, Reason, Speaks, Transport, TransportError, Underlay},
};

mod alarms;
mod files;
mod follow;
mod member;
pub mod own;
mod report;
pub mod snapshot;
mod store;

pub use files::IdentityError;
pub use member::{Joining, Membership};
pub use report::unknown;
use snapshot::Heard;
pub use store::Store;

/// Events that may wait for the machine; more make whoever brings them wait.
const WAITING: usize = 1024;
/// Frames of one link that may wait for it, so that one which brings many does
/// not make others wait for long.
const UNHANDLED: usize = 8;
/// Events that a watcher may be behind.
const NEWS: usize = 4096;
/// Between two attempts to store what this node says, on a disk that is full for
/// one.
const STORE_AGAIN: Duration = Duration::from_secs(1);
/// Bytes that a link is given at once, so that what comes next is not behind
/// much that is not urgent.
const BATCH: usize = 1 << 16;

/// Why there is no mesh.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// There is no way to be reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// What the authority has made is not as it should be.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// What this node has said cannot be stored.
    #[error("cannot store {path}, which must not be lost: {source}")]
    Store {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What this node has said is no more as it was.
    #[error("{0} is damaged; move it away, and this node starts anew with what it holds")]
    Damaged(PathBuf),
    /// The node has no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Nobody would know where to connect to.
    #[error(
        "no uplink has a global address; say by `addresses` in [mesh] how others reach this host"
    )]
    Unreachable,
    /// A certificate for a node that goes on says something else of it.
    #[error("the certificate does not say of this node what the former one did")]
    Other,
    /// The mesh was closed.
    #[error("this node is no longer in the mesh")]
    Closed,
    /// The node's own state is not one that others would take.
    #[error("what this node has to say is not true: {0}")]
    Own(#[from] Refused),
}

impl MeshError {
    /// Whether somebody else has the port.
    #[must_use]
    pub fn is_port_taken(&self) -> bool {
        let Self::Transport(TransportError::Bind { source, .. }) = self else { return false };
        source.kind() == io::ErrorKind::AddrInUse
    }
}

/// What a node starts with.
#[derive(Debug)]
pub struct Start {
    /// Its key.
    pub key: KeyPair,
    /// Its certificate and the authority's.
    pub identity: Identity,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where others reach it; where it listens if there is none.
    pub addresses: Vec<SocketAddr>,
    /// Where it looks for others, as long as it knows none.
    pub seeds: Vec<SocketAddr>,
    /// Where what it says is stored.
    pub file: PathBuf,
    /// What it knows of others from before.
    pub remembered: Heard,
    /// How the mesh behaves.
    pub settings: Settings,
    /// The latest version that it speaks.
    pub speaks: Version,
    /// What admits hosts, where the authority is.
    pub admission: Option<Arc<Admission>>,
}

/// What a node has of its host; tests make it up.
#[derive(Debug)]
pub struct Host {
    /// What connections go by.
    pub underlay: Underlay,
    /// Where what the node says is stored.
    pub store: Arc<dyn Store>,
    /// What the node's random numbers come from.
    pub random: StdRng,
}

/// What has come of one event in the mesh: a whole state brings thousands at once.
pub type News = Arc<BTreeSet<Effect>>;

type Call = Box<dyn FnOnce(&mut Mesh<Agent>) + Send>;

enum Input {
    Event(Event),
    /// A connection that stands, and whether it was made here.
    Connected(Peer, bool),
    /// A frame, and the place that it has among those of its link.
    Received(LinkId, Frame, OwnedSemaphorePermit),
    /// What a link is to be sent.
    Pull(LinkId, oneshot::Sender<Vec<Frame>>),
    /// What is spoken with whom.
    Versions(oneshot::Sender<BTreeMap<NodeId, Version>>),
    Call(Call),
}

/// How to reach the mesh.
#[derive(Clone, Debug)]
pub struct MeshHandle {
    epoch: Instant,
    inputs: mpsc::Sender<Input>,
    news: broadcast::Sender<News>,
    transport: Transport,
}

impl MeshHandle {
    /// Starts a node, which goes on until [`Self::close`].
    pub fn start(start: Start) -> Result<Self, MeshError> {
        let host = Host {
            underlay: Underlay::bind(start.listen)?,
            store: Arc::new(start.file.clone()),
            random: StdRng::from_rng(&mut rand::rng()),
        };
        Self::start_on(host, start)
    }

    /// Starts a node on a host of its own, whose network and store are used
    /// instead of those that `start` names.
    pub fn start_on(host: Host, start: Start) -> Result<Self, MeshError> {
        let Host { underlay, store, random } = host;
        let speaks = Speaks { latest: start.speaks, admits: start.admission.is_some() };
        let transport = Transport::speaking(underlay, &start.identity, speaks)?;
        let listens = transport
            .address()
            .map_err(|source| TransportError::Bind { address: start.listen, source })?;
        let addresses = if start.addresses.is_empty() { vec![listens] } else { start.addresses };
        let authority = Authority::read(&start.identity.authority)?;
        let mut agent = Agent { authority, key: start.key, random };
        let record = NodeRecord {
            certificate: start.identity.certificate,
            addresses,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let own = own::resume(&*store, &record, &mut agent)?;
        let epoch = Instant::now();
        let mut mesh = Mesh::new(own, agent, start.settings, Duration::ZERO);
        for delta in start.remembered.parts() {
            if let Err(refused) = mesh.remember(delta, Duration::ZERO) {
                tracing::warn!(%refused, "what was stored of a node is left out");
            }
        }
        let (inputs, waiting) = mpsc::channel(WAITING);
        let (news, _) = broadcast::channel(NEWS);
        let handle = Self { epoch, inputs, news, transport };
        let runner = Runner {
            mesh,
            handle: handle.clone(),
            links: BTreeMap::new(),
            count: 0,
            seeds: start.seeds,
            store,
        };
        tokio::spawn(handle.clone().accept(start.admission));
        tokio::spawn(runner.run(waiting));
        Ok(handle)
    }

    /// Has something done with the machine, and returns what came of it; none
    /// once the mesh is closed.
    pub async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Mesh<Agent>) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let call = move |mesh: &mut Mesh<Agent>| drop(reply.send(what(mesh)));
        self.inputs.send(Input::Call(Box::new(call))).await.ok()?;
        answer.await.ok()
    }

    /// What is spoken with the nodes that there is a connection to.
    pub async fn versions(&self) -> BTreeMap<NodeId, Version> {
        let (reply, answer) = oneshot::channel();
        let _ = self.inputs.send(Input::Versions(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// The moment, as the machine counts.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Tells the machine of something.
    pub async fn tell(&self, event: Event) {
        let _ = self.inputs.send(Input::Event(event)).await;
    }

    /// What happens from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Shows another certificate from now on, and says so to all; connections
    /// that stand go on. It has to say the same of this node as the former one:
    /// with one that does not, the node is started anew.
    pub async fn renew(&self, identity: Identity) -> Result<(), MeshError> {
        let authority = Authority::read(&identity.authority)?;
        let certified = authority.certified(&identity.certificate, None)?;
        let own = self.ask(|mesh| (mesh.own().certified().clone(), record(mesh.own()))).await;
        let Some((former, Some(record))) = own else { return Err(MeshError::Closed) };
        if certified != former {
            return Err(MeshError::Other);
        }
        self.transport.renew(&identity)?;
        let record = NodeRecord { certificate: identity.certificate, ..record };
        let change = Change { key: Key::RECORD, value: Some(own::value(&record)?) };
        self.tell(Event::Say(vec![change])).await;
        Ok(())
    }

    /// How peers are doing.
    #[must_use]
    pub const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Ends all connections and the node.
    pub fn close(&self) {
        self.transport.close();
    }

    async fn accept(self, admission: Option<Arc<Admission>>) {
        while let Some(handshake) = self.transport.accept().await {
            let (handle, admission) = (self.clone(), admission.clone());
            tokio::spawn(async move {
                match handshake.await {
                    Ok(Arrival::Node(peer)) => {
                        drop(handle.inputs.send(Input::Connected(peer, false)).await);
                    }
                    Ok(Arrival::Joins(connection)) => {
                        if let Some(admission) = admission {
                            admission.admit(connection, handle.seeds().await).await;
                        }
                    }
                    Err(error) => tracing::debug!(%error, "nobody was let in"),
                }
            });
        }
    }

    /// Where the mesh is found: this node's addresses, then those of others that
    /// live.
    async fn seeds(&self) -> Vec<SocketAddr> {
        let seeds = self.ask(|mesh| {
            let living = mesh.owners().filter(|it| !mesh.down().contains(&it.id()));
            let (own, others): (Vec<_>, Vec<_>) = living.partition(|it| it.id() == mesh.me());
            let records = own.into_iter().chain(others).filter_map(|owner| record(owner));
            records.flat_map(|record| record.addresses).collect()
        });
        seeds.await.unwrap_or_default()
    }
}

/// What the mesh needs of the host.
#[derive(Debug)]
pub struct Agent {
    authority: Authority,
    key: KeyPair,
    random: StdRng,
}

impl Surroundings for Agent {
    fn certified(&mut self, certificate: &[u8]) -> Option<Certified> {
        self.authority.certified(certificate, None).ok()
    }

    fn is_signed(&mut self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        is_signed(key, message, signature)
    }

    fn is_granted(&mut self, message: &[u8], signature: &Signature) -> bool {
        is_signed(&self.authority.key(), message, signature)
    }

    fn sign(&mut self, message: &[u8]) -> Signature {
        self.key.sign(message)
    }

    fn random(&mut self) -> u64 {
        self.random.random()
    }
}

struct Link {
    peer: Arc<Peer>,
    wake: Arc<Notify>,
}

struct Runner {
    mesh: Mesh<Agent>,
    handle: MeshHandle,
    links: BTreeMap<LinkId, Link>,
    count: u64,
    seeds: Vec<SocketAddr>,
    store: Arc<dyn Store>,
}

impl Runner {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        loop {
            let due = self.mesh.next_deadline().map(|deadline| self.handle.epoch + deadline);
            // Always in this order, so that the same happens again if it is the
            // same that comes. Time passes, however much comes.
            let input = tokio::select! {
                biased;
                () = passed(due) => Some(Input::Event(Event::Passed)),
                input = inputs.recv() => input,
            };
            match input {
                None => return,
                Some(Input::Event(event)) => self.handle(event),
                Some(Input::Connected(peer, is_ours)) => self.connected(peer, is_ours),
                Some(Input::Received(link, frame, _place)) => {
                    self.handle(Event::Received(link, frame));
                }
                Some(Input::Pull(link, reply)) => drop(reply.send(self.pull(link))),
                Some(Input::Versions(reply)) => drop(reply.send(self.versions())),
                Some(Input::Call(call)) => call(&mut self.mesh),
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let gone = if let Event::Down(link) = event { Some(link) } else { None };
        let effects = self.mesh.handle(event, self.handle.now());
        for &effect in &effects {
            match effect {
                Effect::Wake(link) => {
                    if let Some(link) = self.links.get(&link) {
                        link.wake.notify_one();
                    }
                }
                Effect::Dial(node) if self.handle.transport.has_banned(node) => {}
                Effect::Dial(node) => self.dial(self.addresses_of(node)),
                // All at once: one that is down would keep the others waiting.
                Effect::Seek => self.seeds.iter().for_each(|seed| self.dial(vec![*seed])),
                Effect::Close(link, fault) => {
                    tracing::debug!(?link, ?fault, "link ended");
                    self.end(link, fault);
                }
                Effect::Store => self.store(),
                Effect::Alarm(alarm) => alarms::log(&self.mesh, alarm),
                Effect::Held(_) | Effect::Node(_) | Effect::Agreed => {}
            }
        }
        if !effects.is_empty() {
            // Nobody may be watching.
            let _ = self.handle.news.send(effects.into());
        }
        if let Some(link) = gone {
            self.links.remove(&link);
        }
    }

    fn connected(&mut self, peer: Peer, is_ours: bool) {
        self.count += 1;
        let (id, peer, wake) = (LinkId(self.count), Arc::new(peer), Arc::new(Notify::new()));
        let (node, round_trip) = (peer.node.key.node(), peer.round_trip());
        self.links.insert(id, Link { peer: Arc::clone(&peer), wake: Arc::clone(&wake) });
        self.handle(Event::Up { link: id, node, round_trip, is_ours });
        let inputs = self.handle.inputs.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                biased;
                ended = write(id, &peer, &wake, &inputs) => ended,
                ended = read(id, &peer, &inputs) => ended,
                () = peer.closed() => Ok(()),
            };
            if let Err(error) = ended {
                tracing::debug!(link = ?id, %error, "link broken");
            }
            peer.close(0);
            let _ = inputs.send(Input::Event(Event::Down(id))).await;
        });
    }

    fn end(&self, link: LinkId, fault: Fault) {
        let Some(Link { peer, .. }) = self.links.get(&link) else { return };
        let transport = &self.handle.transport;
        match fault {
            Fault::Done | Fault::Twice | Fault::Full => {}
            Fault::Stalled => transport.counts().count(Reason::Stalled),
            Fault::Protocol => transport.counts().count(Reason::OutOfPlace),
            Fault::Untrue(_) => {
                transport.counts().count(Reason::Lied);
                transport.ban(peer.node.key.node());
            }
        }
        peer.close(1);
    }

    fn pull(&mut self, link: LinkId) -> Vec<Frame> {
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH
            && let Some(frame) = self.mesh.transmit(link)
        {
            bytes += frame.about_bytes();
            frames.push(frame);
        }
        frames
    }

    fn versions(&self) -> BTreeMap<NodeId, Version> {
        // One that ends may not be gone yet.
        let links = self.links.iter().filter(|(id, _)| self.mesh.has(**id));
        links.map(|(_, Link { peer, .. })| (peer.node.key.node(), peer.version)).collect()
    }

    fn addresses_of(&self, node: NodeId) -> Vec<SocketAddr> {
        let record = self.mesh.owner(node).and_then(|owner| record(owner));
        record.map(|record| record.addresses).unwrap_or_default()
    }

    fn dial(&self, addresses: Vec<SocketAddr>) {
        let (transport, inputs) = (self.handle.transport.clone(), self.handle.inputs.clone());
        let me = self.mesh.me();
        tokio::spawn(async move {
            for address in addresses {
                match transport.connect(address).await {
                    // Where all look for each other, this one is looked for too.
                    Ok(peer) if peer.node.key.node() == me => peer.close(0),
                    Ok(peer) => return drop(inputs.send(Input::Connected(peer, true)).await),
                    Err(error) => tracing::debug!(%address, %error, "nobody reached"),
                }
            }
        });
    }

    fn store(&self) {
        let Some(saying) = self.mesh.saying() else { return };
        let (whole, store, inputs) =
            (saying.since(None), Arc::clone(&self.store), self.handle.inputs.clone());
        tokio::spawn(async move {
            let (position, mut failed) = (whole.to, 0);
            let whole = Arc::new(whole);
            loop {
                let (store, whole) = (Arc::clone(&store), Arc::clone(&whole));
                let blocks = store.blocks();
                let save = move || own::save(&*store, &whole);
                let stored =
                    if blocks { tokio::task::spawn_blocking(save).await } else { Ok(save()) };
                match stored {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) if failed == 0 => {
                        tracing::error!(%error, "nobody is told what is not stored; trying again");
                        let _ = inputs.send(Input::Event(Event::NotStored)).await;
                    }
                    Ok(Err(_)) => {}
                    Err(error) => return tracing::error!(%error, "BUG: storing has failed"),
                }
                failed += 1;
                tokio::time::sleep(STORE_AGAIN).await;
            }
            if failed > 0 {
                tracing::info!(failed, "what this node says is stored again");
            }
            let _ = inputs.send(Input::Event(Event::Stored(position))).await;
        });
    }
}

/// What a node says of itself.
#[must_use]
pub fn record(owner: &Owner) -> Option<NodeRecord> {
    wire::decode(owner.state().get(&Key::RECORD)?).ok()
}

async fn passed(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn write(
    id: LinkId,
    peer: &Peer,
    wake: &Notify,
    inputs: &mpsc::Sender<Input>,
) -> Result<(), TransportError> {
    let mut writer = peer.writer().await?;
    loop {
        wake.notified().await;
        loop {
            let (reply, answer) = oneshot::channel();
            if inputs.send(Input::Pull(id, reply)).await.is_err() {
                return Ok(());
            }
            let Ok(frames) = answer.await else { return Ok(()) };
            if frames.is_empty() {
                break;
            }
            for frame in frames {
                writer.write(frame).await?;
            }
        }
    }
}

async fn read(id: LinkId, peer: &Peer, inputs: &mpsc::Sender<Input>) -> Result<(), TransportError> {
    let mut reader = peer.reader().await?;
    let places = Arc::new(Semaphore::new(UNHANDLED));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let frame = reader.read().await?;
        if inputs.send(Input::Received(id, frame, place)).await.is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
