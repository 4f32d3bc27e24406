//! What it takes to add and to remove a container, in order and with its
//! undoing.
//!
//! ```text
//!  add      claim → make link → mapping, then program → raise link → commit → announce
//!  remove   disconnect → withdraw → remove link → release
//! ```
//!
//! The container's record is written first and called ready last; an agent
//! that is killed in between leaves a record that says so.

use std::time::Duration;

use ila_proto::{
    addr::{Address, SirAddr, SirPrefix},
    api::{AddContainer, Container, ContainerName, Domain, ErrorCode},
};

use crate::{
    error::Refusal,
    mesh::{Joining, Membership},
    netlink::{Interface, LinkPlan, Links, Namespace, NetlinkError},
    owner::{Owner, OwnerHandle},
    store::{Progress, Record},
};

/// How long programs of an earlier agent go on by its tables, if there are no
/// others yet.
const LEARNING: Duration = Duration::from_secs(5);

/// What a container's coming and going needs.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// The owner of the state.
    pub owner: OwnerHandle,
    /// The links.
    pub links: Links,
    /// The mesh, if the host is in one.
    pub mesh: Option<Membership>,
}

impl Lifecycle {
    /// Adds a container: on return it can send and receive. If it fails,
    /// nothing is left of it.
    pub async fn add(&self, request: AddContainer) -> Result<Container, Refusal> {
        let namespace = Namespace::open(&request.netns)?;
        let container = self.owner.call(|owner| owner.claim(request)).await??;
        let plan = link_plan(&container);
        let added = match self.links.make(&plan, &namespace).await {
            Ok(made) => match self.bring_up(&plan, made.index).await {
                Ok(added) => Ok(added),
                Err(refusal) => {
                    self.undo(&container).await;
                    Err(refusal)
                }
            },
            // Nothing of the link is there, and what else may have its name
            // is not ours to remove.
            Err(error) => Err(error.into()),
        };
        match &added {
            Ok(container) => {
                if let Some(mesh) = &self.mesh {
                    mesh.announce(container).await;
                }
                tracing::info!(name = %container.name, address = %container.address, "container added");
            }
            Err(_) => self.release(&container).await,
        }
        added
    }

    /// Removes a container and its link.
    pub async fn remove(&self, name: ContainerName) -> Result<Container, Refusal> {
        let container = self.owner.call(move |owner| owner.begin_removal(&name)).await??;
        if let Some(mesh) = &self.mesh {
            mesh.withdraw(&container).await;
        }
        let name = container.name.clone();
        if let Err(error) = self.links.remove(&container.host_interface).await {
            self.owner.call(move |owner| owner.leave(&name)).await?;
            return Err(error.into());
        }
        self.owner.call(move |owner| owner.release(&name)).await??;
        tracing::info!(name = %container.name, "container removed");
        Ok(container)
    }

    /// Takes over the containers that an earlier agent has left, has the uplinks
    /// run the program, and clears away what has been left half-made. Packets
    /// of containers that stay flow on all the while: every mapping is there
    /// before the first program is attached that asks for it, those included that
    /// others in the mesh have to tell of. A container that cannot be taken over is
    /// said in the log and does not keep the others from it.
    pub async fn adopt(
        &mut self,
        records: Vec<Record>,
        mtu: u32,
        joining: Option<Joining>,
    ) -> Result<(), Refusal> {
        let (mut adopted, mut left) = (Vec::new(), Vec::new());
        for Record { progress, container } in records {
            match (progress, self.links.interface(&container.host_interface).await) {
                (Progress::Ready, Ok(interface)) => adopted.push((container, interface)),
                (Progress::Ready, Err(error))
                    if !matches!(error, NetlinkError::NoInterface { .. }) =>
                {
                    tracing::error!(name = %container.name, %error, "container not adopted");
                }
                _ => left.push(container),
            }
        }
        let mut known = Vec::new();
        for (container, interface) in adopted {
            let taken = container.clone();
            let index = interface.index;
            match self.owner.call(move |owner| owner.adopt(taken, index)).await? {
                Ok(()) => known.push((container, interface)),
                Err(error) => {
                    tracing::error!(name = %container.name, %error, "container not adopted");
                }
            }
        }
        if let Some(joining) = joining {
            self.follow(joining, !known.is_empty()).await?;
        }
        self.owner.call(Owner::attach_uplinks).await??;
        for (container, interface) in known {
            let name = container.name.clone();
            if let Err(error) = self.take_over(&container, interface, mtu).await {
                tracing::error!(%name, %error, "container not adopted");
            }
        }
        for container in left {
            let name = container.name.clone();
            if let Err(error) = self.clear_away(container).await {
                tracing::error!(%name, %error, "left-over of a container not removed");
            }
        }
        self.owner.call(Owner::clear_stale).await??;
        if let Some(mesh) = &self.mesh {
            mesh.announce_only(&self.owner.call(|owner| owner.containers()).await?).await;
        }
        Ok(())
    }

    /// Has the tables know what the mesh does from now on; at once, if there are
    /// containers that need it and an earlier agent has left nothing.
    async fn follow(&mut self, joining: Joining, has_containers: bool) -> Result<(), Refusal> {
        let knows_others = self.owner.call(|owner| owner.knows_others()).await?;
        let mesh = joining.follow(self.owner.clone());
        if has_containers && !knows_others && !mesh.settled_within(LEARNING).await {
            tracing::warn!("the mesh is not found; packets to other hosts may be lost");
        }
        self.mesh = Some(mesh);
        Ok(())
    }

    async fn take_over(
        &self,
        container: &Container,
        interface: Interface,
        mtu: u32,
    ) -> Result<(), Refusal> {
        let plan = link_plan(container);
        if let Err(refusal) = self.bring_up(&plan, interface.index).await {
            let name = plan.name.clone();
            self.owner.call(move |owner| owner.leave(&name)).await?;
            return Err(refusal);
        }
        tracing::info!(name = %plan.name, "container adopted");
        if interface.mtu != mtu {
            tracing::warn!(
                name = %plan.name,
                "container keeps packets of {} bytes, the uplinks carry {mtu}; \
                 remove and add it to change that",
                interface.mtu
            );
        }
        Ok(())
    }

    async fn clear_away(&self, container: Container) -> Result<(), Refusal> {
        tracing::warn!(name = %container.name, "left-over of a container removed");
        self.links.remove(&container.host_interface).await?;
        self.owner.call(move |owner| owner.release(&container.name)).await?
    }

    /// What is left to do once there is a link: for a new container, and for
    /// one that an earlier agent has left, whatever state that is in.
    async fn bring_up(&self, plan: &LinkPlan, index: u32) -> Result<Container, Refusal> {
        let name = plan.name.clone();
        self.owner.call(move |owner| owner.connect(&name, index)).await??;
        self.links.raise(plan, index).await?;
        let name = plan.name.clone();
        self.owner.call(move |owner| owner.commit(&name)).await?
    }

    /// Best effort: what cannot be undone now is still recorded as unfinished,
    /// and is cleared away when the agent starts the next time.
    async fn undo(&self, container: &Container) {
        let made = container.clone();
        let disconnected = self.owner.call(move |owner| owner.disconnect(&made)).await;
        if let Ok(Err(error)) | Err(error) = disconnected {
            tracing::error!(%error, "a half-made container could not be disconnected");
        }
        if let Err(error) = self.links.remove(&container.host_interface).await {
            tracing::error!(%error, "the link of a half-made container could not be removed");
        }
    }

    async fn release(&self, container: &Container) {
        let name = container.name.clone();
        let released = self.owner.call(move |owner| owner.release(&name)).await;
        if let Ok(Err(error)) | Err(error) = released {
            tracing::error!(%error, "a half-made container could not be released");
        }
    }
}

/// Fails if a container that an earlier agent has left is of none of these SIR
/// prefixes: it is the configuration that is more likely wrong, and containers
/// that were cleared away for it would not come back when it is put right.
pub fn check_prefixes(records: &[Record], domains: &[Domain]) -> Result<(), Refusal> {
    let is_foreign = |container: &&Container| {
        let prefix = Address::from(container.address).high;
        domains.iter().all(|domain| domain.sir_prefix.bits() != prefix)
    };
    let ready = records.iter().filter(|record| record.progress == Progress::Ready);
    let mut containers = ready.map(|record| &record.container);
    match containers.find(is_foreign) {
        None => Ok(()),
        Some(Container { name, address, .. }) => {
            let served: Vec<_> = domains.iter().map(|it| it.sir_prefix.to_string()).collect();
            let message = format!(
                "container `{name}` has the address {address}, which is not of `sir_prefix` {}",
                served.join(" or ")
            );
            Err(Refusal::new(ErrorCode::BadRequest, message).hint(
                "put `sir_prefix` right, or remove the containers with an agent of their prefix first",
            ))
        }
    }
}

fn link_plan(container: &Container) -> LinkPlan {
    let prefix = SirPrefix::from_bits(Address::from(container.address).high);
    LinkPlan {
        name: container.name.clone(),
        address: SirAddr { prefix, identifier: container.identifier },
        interface: container.interface.clone(),
        host_interface: container.host_interface.clone(),
        mtu: container.mtu,
    }
}
