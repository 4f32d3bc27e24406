//! What it takes to add and to remove a container, in order and with its
//! undoing.
//!
//! ```text
//!  add      claim → make link → mapping, then program → raise link → commit
//!  remove   disconnect → remove link → release
//! ```
//!
//! The container's record is written first and called ready last; an agent
//! that is killed in between leaves a record that says so.

use ila_proto::{
    addr::{Address, SirAddr, SirPrefix},
    api::{AddContainer, Container, ContainerName},
};

use crate::{
    error::Refusal,
    netlink::{LinkPlan, Links, Namespace, NetlinkError},
    owner::OwnerHandle,
    store::Progress,
};

/// What a container's coming and going needs.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// The owner of the state.
    pub owner: OwnerHandle,
    /// The links.
    pub links: Links,
}

impl Lifecycle {
    /// Adds a container: on return it can send and receive. If it fails,
    /// nothing is left of it.
    pub async fn add(&self, request: AddContainer) -> Result<Container, Refusal> {
        let namespace = Namespace::open(&request.netns)?;
        let container = self.owner.call(|owner| owner.claim(request)).await??;
        let plan = link_plan(&container);
        let added = match self.links.make(&plan, &namespace).await {
            Ok(made) => match self.bring_up(&container, &plan, made.index).await {
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
                tracing::info!(name = %container.name, address = %container.address, "container added");
            }
            Err(_) => self.release(&container).await,
        }
        added
    }

    /// Removes a container and its link.
    pub async fn remove(&self, name: ContainerName) -> Result<Container, Refusal> {
        let container = self.owner.call(move |owner| owner.begin_removal(&name)).await??;
        let name = container.name.clone();
        if let Err(error) = self.links.remove(&container.host_interface).await {
            self.owner.call(move |owner| owner.removal_failed(&name)).await?;
            return Err(error.into());
        }
        self.owner.call(move |owner| owner.release(&name)).await??;
        tracing::info!(name = %container.name, "container removed");
        Ok(container)
    }

    /// Takes over the containers that an earlier agent has left, and clears
    /// away what it has left half-made.
    pub async fn adopt(&self, sir_prefix: SirPrefix) -> Result<(), Refusal> {
        for record in self.owner.call(|owner| owner.left_behind()).await?? {
            let container = record.container;
            let in_domain = Address::from(container.address).high == sir_prefix.bits();
            if record.progress == Progress::Ready && in_domain {
                match self.links.interface(&container.host_interface).await {
                    Ok(interface) => {
                        tracing::info!(name = %container.name, "container adopted");
                        let index = interface.index;
                        self.owner.call(move |owner| owner.adopt(container, index)).await??;
                        continue;
                    }
                    Err(NetlinkError::NoInterface { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            tracing::warn!(name = %container.name, "left-over of a container removed");
            self.links.remove(&container.host_interface).await?;
            self.owner.call(move |owner| owner.release(&container.name)).await??;
        }
        Ok(())
    }

    async fn bring_up(
        &self,
        container: &Container,
        plan: &LinkPlan,
        index: u32,
    ) -> Result<Container, Refusal> {
        let name = container.name.clone();
        self.owner.call(move |owner| owner.connect(&name, index)).await??;
        self.links.raise(plan, index).await?;
        let name = container.name.clone();
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

fn link_plan(container: &Container) -> LinkPlan {
    let prefix = SirPrefix::from_bits(Address::from(container.address).high);
    LinkPlan {
        address: SirAddr { prefix, identifier: container.identifier },
        interface: container.interface.clone(),
        host_interface: container.host_interface.clone(),
        mtu: container.mtu,
    }
}
