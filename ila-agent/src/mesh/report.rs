//! What a member can say of the mesh, for people.

use std::collections::{BTreeMap, BTreeSet};

use ila_proto::{
    addr::{Address, SirPrefix},
    api::{Domain, Mapping, MappingOrigin, MeshStatus, Node, NodeList, NodeState, Rejected},
    gossip::{
        NodeId, Refused, Surroundings,
        claim::{Right, Subject},
        frame::Version,
        mesh::Mesh,
    },
};

use super::{Membership, alarms, follow::holder, record};

impl Membership {
    /// All nodes.
    pub async fn nodes(&self) -> NodeList {
        let (hidden, now) = (self.following().hidden, self.mesh().now());
        let versions = self.mesh().versions().await;
        let nodes = self.mesh().ask(move |mesh| {
            let all: Vec<_> = mesh.owners().map(|owner| owner.id()).collect();
            all.into_iter()
                .filter_map(|id| node(mesh, id, &hidden, &versions, now))
                .collect::<Vec<_>>()
        });
        let mut nodes = nodes.await.unwrap_or_default();
        nodes.sort_by(|a, b| (a.name.as_str(), &a.id).cmp(&(b.name.as_str(), &b.id)));
        NodeList { nodes }
    }

    /// How it all is.
    pub async fn status(&self) -> Option<MeshStatus> {
        let following = self.following();
        let transport = self.mesh().transport();
        let (sent_bytes, received_bytes) = transport.counts().bytes();
        let kept_out = transport.counts().all().into_iter();
        let kept_out =
            kept_out.map(|(reason, count)| Rejected { reason: reason.name().to_owned(), count });
        let tokens = self.refused_tokens();
        let tokens = Rejected { reason: "token-refused".to_owned(), count: tokens };
        let tokens = (tokens.count > 0).then_some(tokens);
        let kept_out: Vec<_> = kept_out.chain(tokens).collect();
        let (certificate, now) = (self.certificate(), self.mesh().now());
        let status = self.mesh().ask(move |mesh| {
            let counts = mesh.counts();
            let rejected = counts.refused.iter().filter(|(reason, _)| **reason != Refused::Old);
            let rejected =
                rejected.map(|(reason, &count)| Rejected { reason: reason.to_string(), count });
            let is_alone = mesh.owners().len() == 1;
            MeshStatus {
                // What is not stored is not said.
                converged: mesh.saying().is_none()
                    && following.is_settled
                    && following.refused.is_none()
                    && (is_alone || mesh.agreed().is_some()),
                nodes: mesh.owners().len(),
                down: mesh.down().len(),
                links: mesh.linked().count(),
                refused: following.refused,
                taken: counts.taken,
                duplicates: counts.duplicates,
                repairs: counts.grafts,
                rejected: rejected.chain(kept_out).collect(),
                sent_bytes,
                received_bytes,
                certificate,
                alarms: alarms::report(mesh, now),
            }
        });
        status.await
    }

    /// The same mappings with who says so.
    pub async fn attribute(&self, mappings: Vec<Mapping>) -> Vec<Mapping> {
        let (hidden, now) = (self.following().hidden, self.mesh().now());
        let attribute = move |mesh: &mut Mesh<_>| {
            let attributed = mappings.into_iter().map(|mapping| {
                let subject = subject(&mapping);
                let held = holder(mesh, subject, &hidden);
                let named = held.and_then(|held| {
                    let certified = mesh.certified(held.by)?;
                    let locators = &certified.locators;
                    // What the configuration says may be something else.
                    let says_so = locators.iter().any(|(_, it)| *it == mapping.locator);
                    let age = now.saturating_sub(held.since).as_secs();
                    says_so.then(|| (certified.name.clone(), held.standing.epoch, age))
                });
                let Some((node, epoch, age)) = named else { return mapping };
                let (node, epoch, age_seconds) = (Some(node), Some(epoch), Some(age));
                Mapping { node, epoch, age_seconds, ..mapping }
            });
            attributed.collect()
        };
        self.mesh().ask(attribute).await.unwrap_or_default()
    }

    /// How a mapping has come about, or that there is none.
    pub async fn origin(&self, subject: Subject, mapping: Option<Mapping>) -> MappingOrigin {
        let (hidden, now) = (self.following().hidden, self.mesh().now());
        let versions = self.mesh().versions().await;
        let origin = self.mesh().ask(move |mesh| {
            let held = holder(mesh, subject, &hidden);
            let held = held.or_else(|| mesh.held_despite(subject, &BTreeSet::new()))?;
            let name = |id| mesh.certified(id).map(|it| it.name.clone());
            let right = match held.standing.right {
                Right::Home => "home",
                Right::Granted => "granted",
                Right::None => "none",
            };
            Some(MappingOrigin {
                mapping: None,
                holder: node(mesh, held.by, &hidden, &versions, now),
                right: Some(right.to_owned()),
                by: mesh.comes_by(held.by).and_then(name),
                disputed_by: held.disputed_by.into_iter().filter_map(name).collect(),
                installed_millis: None,
            })
        });
        let origin = origin.await.flatten().unwrap_or_else(unknown);
        MappingOrigin { mapping, ..origin }
    }
}

/// That nobody in a mesh says anything.
#[must_use]
pub fn unknown() -> MappingOrigin {
    MappingOrigin {
        mapping: None,
        holder: None,
        right: None,
        by: None,
        disputed_by: Vec::new(),
        installed_millis: None,
    }
}

fn subject(mapping: &Mapping) -> Subject {
    let prefix = SirPrefix::from_bits(Address::from(mapping.address).high);
    Subject::new(prefix, mapping.identifier)
}

fn node<S: Surroundings>(
    mesh: &Mesh<S>,
    id: NodeId,
    hidden: &BTreeSet<NodeId>,
    versions: &BTreeMap<NodeId, Version>,
    now: std::time::Duration,
) -> Option<Node> {
    let owner = mesh.owner(id)?;
    let certified = owner.certified();
    let record = record(owner);
    let heard = now.saturating_sub(mesh.heard(id).unwrap_or_default());
    let round_trip = mesh.linked().find(|(node, _)| *node == id).map(|(_, it)| it);
    let domain = |&(sir_prefix, locator): &_| Domain { sir_prefix, locator };
    Some(Node {
        name: certified.name.clone(),
        id: id.to_string(),
        state: if id == mesh.me() {
            NodeState::This
        } else if hidden.contains(&id) {
            NodeState::Hidden
        } else if mesh.down().contains(&id) {
            NodeState::Down
        } else {
            NodeState::Alive
        },
        round_trip_micros: round_trip.and_then(|it| it.as_micros().try_into().ok()),
        protocol: round_trip.and_then(|_| versions.get(&id)).map(|it| it.number()),
        heard_millis: heard.as_millis().try_into().unwrap_or(u64::MAX),
        mappings: mesh.claims_of(id).count(),
        version: record.as_ref().map(|it| it.version.clone()).unwrap_or_default(),
        domains: certified.locators.iter().map(domain).collect(),
        addresses: record.map(|it| it.addresses).unwrap_or_default(),
    })
}
