//! The containers' links: a pair of virtual Ethernet interfaces, one end on
//! the host, the other in the container's namespace.
//!
//! ```text
//!   container's namespace                     host's namespace
//!   eth0  SIR address/128  ───────────────  ila…  GATEWAY_MAC, no address
//!         default via fe80::1                     SIR address/128 dev ila…
//!                                                 neighbour entry, permanent
//! ```
//!
//! Both link-layer addresses are fixed, so neither side has to solicit before
//! the first packet, and none of it changes when a container moves.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use ila_proto::{
    abi::{GATEWAY_MAC, Mac},
    addr::{Address, Identifier, Locator, SirAddr},
    api::{ContainerName, InterfaceName, UplinkState},
    ndp::GATEWAY,
};
use nix::errno::Errno;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, MulticastGroup, RouteMessageBuilder,
    packet_route::{
        address::{AddressAttribute, AddressHeaderFlags, AddressScope},
        link::{
            AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoVeth, LinkAttribute,
            LinkFlags, LinkLayerType, LinkMessage,
        },
        route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
    },
};

mod namespace;
mod routes;
mod uplinks;

pub use namespace::Namespace;
pub use routes::{Change, Only, Route};

/// Marks routes as ours among those of others (`ip route … proto 73`).
const ROUTE_PROTOCOL: RouteProtocol = RouteProtocol::Other(73);

/// The metric of a route that any other is preferred to.
const LAST_RESORT: u32 = u32::MAX - 1;

/// Why a link is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The caller named something that is no network namespace.
    #[error("`{path}` is no network namespace")]
    NoNamespace {
        /// What it named.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The caller named the host's own namespace.
    #[error("`{path}` is the host's own network namespace, not a container's")]
    OwnNamespace {
        /// What it named.
        path: PathBuf,
    },
    /// The namespace has such an interface.
    #[error("the container's namespace has an interface `{interface}` already")]
    InterfaceTaken {
        /// Its name.
        interface: InterfaceName,
    },
    /// The namespace has a default route.
    #[error("the container's namespace has a default route already")]
    DefaultRouteTaken,
    /// The host has an interface of the name that ours must have.
    #[error(
        "the host has an interface `{interface}` already, which an agent has left and no \
         record speaks of; remove it with: ip link del {interface}"
    )]
    HostInterfaceTaken {
        /// Its name.
        interface: InterfaceName,
    },
    /// The host has no such interface.
    #[error("there is no interface `{interface}`")]
    NoInterface {
        /// Its name.
        interface: InterfaceName,
    },
    /// The kernel refused.
    #[error("the kernel refused to {what}")]
    Kernel {
        /// To do what.
        what: &'static str,
        /// Its reason.
        #[source]
        source: io::Error,
    },
    /// A file or thread could not be had.
    #[error("cannot {what}")]
    Io {
        /// What could not be done.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a container's link is made of.
#[derive(Clone, Debug)]
pub struct LinkPlan {
    /// Whose link it is.
    pub name: ContainerName,
    /// The container's address.
    pub address: SirAddr,
    /// Its interface.
    pub interface: InterfaceName,
    /// The host's end.
    pub host_interface: InterfaceName,
    /// The largest packet, in bytes.
    pub mtu: u32,
}

/// An interface of the host, as far as the agent cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its link-layer address, if it is an Ethernet interface.
    pub mac: Mac,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Whether its packets start with an Ethernet header.
    pub ethernet: bool,
    /// Whether packets can leave by it.
    pub state: UplinkState,
}

/// The host's end of a container's link: "ila" and the identifier's 60 bits in
/// twelve characters, so that no two containers of a domain share one.
#[must_use]
pub fn host_interface(identifier: Identifier) -> InterfaceName {
    // Crockford's alphabet: digits and letters that are not mistaken.
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let digit = |place: u32| char::from(DIGITS[(identifier.bits() >> (5 * place) & 31) as usize]);
    let name: String = "ila".chars().chain((0..12).rev().map(digit)).collect();
    name.parse().expect("15 letters and digits are an interface's name")
}

/// Whether an interface has a name as [`host_interface`] gives them.
#[must_use]
pub fn is_host_interface(name: &str) -> bool {
    name.len() == 15 && name.starts_with("ila")
}

/// The container's end's link-layer address: locally administered, unicast,
/// and derived from the identifier so that it moves along with it.
#[must_use]
pub const fn container_mac(identifier: Identifier) -> Mac {
    let [_, _, _, a, b, c, d, e] = identifier.bits().to_be_bytes();
    [0x06, a, b, c, d, e]
}

/// The host's side of netlink.
#[derive(Clone, Debug)]
pub struct Links {
    handle: Handle,
}

impl Links {
    /// Opens a netlink socket in the namespace of this process. Needs a tokio
    /// runtime, on which the socket is served.
    pub fn open() -> Result<Self, NetlinkError> {
        let (connection, handle, _) = rtnetlink::new_connection()
            .map_err(|source| NetlinkError::Io { what: "open a netlink socket", source })?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Tells of every change of any interface of the host from now on. To be
    /// read for as long as it is there: what is not is kept.
    pub fn changes() -> Result<impl Stream<Item = ()> + Unpin, NetlinkError> {
        let (connection, _, changes) = rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
            .map_err(|source| NetlinkError::Io { what: "watch the host's interfaces", source })?;
        tokio::spawn(connection);
        Ok(changes.map(|_| ()))
    }

    /// The host's interface of that name.
    pub async fn interface(&self, name: &InterfaceName) -> Result<Interface, NetlinkError> {
        let found =
            self.handle.link().get().match_name(name.to_string()).execute().try_next().await;
        match found {
            Ok(Some(message)) => Ok(Interface::from(&message)),
            Ok(None) => Err(NetlinkError::NoInterface { interface: name.clone() }),
            Err(error) if errno(&error) == Errno::ENODEV => {
                Err(NetlinkError::NoInterface { interface: name.clone() })
            }
            Err(error) => Err(kernel("list interfaces")(error)),
        }
    }

    /// The global addresses of an interface, first those that were set, then
    /// those that come and go.
    pub async fn global_addresses(&self, index: u32) -> Result<Vec<Ipv6Addr>, NetlinkError> {
        let all = self.handle.address().get().set_link_index_filter(index).execute();
        let all: Vec<_> =
            all.try_collect().await.map_err(kernel("list the addresses of an uplink"))?;
        let mut global: Vec<_> =
            all.iter().filter(|it| it.header.scope == AddressScope::Universe).collect();
        global.sort_by_key(|it| !it.header.flags.contains(AddressHeaderFlags::Permanent));
        let attributes = global.iter().flat_map(|it| &it.attributes);
        let addresses = attributes.filter_map(|attribute| match attribute {
            AddressAttribute::Address(IpAddr::V6(address)) => Some(*address),
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// Ends here what is addressed under this host's locator and to nothing
    /// that the host knows. Without it, such a packet follows the default route
    /// back to the router that sent it here, and round again until its hop
    /// limit is used up. Any other route under the locator is preferred to
    /// this one. That of a former locator is removed: it may be another host's
    /// by now.
    pub async fn end_here(&self, locators: &[Locator]) -> Result<(), NetlinkError> {
        let prefix = |locator: &Locator| Ipv6Addr::from(Address { high: locator.bits(), low: 0 });
        let prefixes: Vec<_> = locators.iter().map(prefix).collect();
        for route in self.last_resorts().await? {
            let is_ours = |prefix: &Ipv6Addr| {
                route.attributes.contains(&RouteAttribute::Destination((*prefix).into()))
            };
            if !prefixes.iter().any(is_ours) {
                let removed = self.handle.route().del(route).execute().await;
                removed.map_err(kernel("remove the route of a former locator"))?;
            }
        }
        for prefix in prefixes {
            let route = RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(prefix, 64)
                .kind(RouteType::Unreachable)
                .protocol(ROUTE_PROTOCOL)
                .priority(LAST_RESORT)
                .build();
            let added = self.handle.route().add(route).replace().execute().await;
            added.map_err(kernel("add the route that ends packets to unknown identifiers"))?;
        }
        Ok(())
    }

    async fn last_resorts(&self) -> Result<Vec<RouteMessage>, NetlinkError> {
        let all = self.handle.route().get(RouteMessageBuilder::<Ipv6Addr>::new().build());
        let mut routes: Vec<RouteMessage> =
            all.execute().try_collect().await.map_err(kernel("list routes"))?;
        routes.retain(|route| {
            route.header.protocol == ROUTE_PROTOCOL && route.header.kind == RouteType::Unreachable
        });
        Ok(routes)
    }

    /// Makes the pair, the container's end in its namespace and ready there,
    /// the host's end still down: nothing passes yet. If it fails, nothing of
    /// it is left.
    pub async fn make(
        &self,
        plan: &LinkPlan,
        namespace: &Namespace,
    ) -> Result<Interface, NetlinkError> {
        let pair = pair_message(plan, namespace);
        match self.handle.link().add(pair).execute().await {
            Err(error) if errno(&error) == Errno::EEXIST => return Err(self.taken(plan).await),
            other => other.map_err(kernel("make a pair of virtual Ethernet interfaces"))?,
        }
        let inside = plan.clone();
        let made = match namespace.run(async move |links| links.set_up_inside(&inside).await).await
        {
            Ok(()) => self.interface(&plan.host_interface).await,
            Err(error) => Err(error),
        };
        if made.is_err() {
            self.remove(&plan.host_interface).await?;
        }
        made
    }

    /// Lets packets pass: the host's end up, with a route and a neighbour entry.
    pub async fn raise(&self, plan: &LinkPlan, index: u32) -> Result<(), NetlinkError> {
        let address = Ipv6Addr::from(Address::from(plan.address));
        namespace::enable_ipv6(&plan.host_interface)?;
        namespace::forward(&plan.host_interface)?;
        // The host needs no address of its own on this link.
        let bare = LinkUnspec::new_with_index(index)
            .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![
                AfSpecInet6::AddrGenMode(In6AddrGenMode::None),
            ])]))
            .up()
            .build();
        let raised = self.handle.link().set(bare).execute().await;
        raised.map_err(kernel("set the host's interface up"))?;
        self.handle
            .neighbours()
            .add(index, address.into())
            .link_layer_address(&container_mac(plan.address.identifier))
            .replace()
            .execute()
            .await
            .map_err(kernel("add the container's neighbour entry"))?;
        let route = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(address, 128)
            .output_interface(index)
            .protocol(ROUTE_PROTOCOL)
            .scope(RouteScope::Link)
            .build();
        self.handle
            .route()
            .add(route)
            .replace()
            .execute()
            .await
            .map_err(kernel("add the container's route"))
    }

    /// Removes the pair by the host's end; one that is gone is fine.
    pub async fn remove(&self, host_interface: &InterfaceName) -> Result<(), NetlinkError> {
        match self.interface(host_interface).await {
            Ok(Interface { index, .. }) => match self.handle.link().del(index).execute().await {
                Err(error) if errno(&error) != Errno::ENODEV => {
                    Err(kernel("remove a container's link")(error))
                }
                _ => Ok(()),
            },
            Err(NetlinkError::NoInterface { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Which end of the pair could not be made because its name is taken.
    async fn taken(&self, plan: &LinkPlan) -> NetlinkError {
        match self.interface(&plan.host_interface).await {
            Ok(_) => NetlinkError::HostInterfaceTaken { interface: plan.host_interface.clone() },
            Err(_) => NetlinkError::InterfaceTaken { interface: plan.interface.clone() },
        }
    }

    async fn set_up_inside(&self, plan: &LinkPlan) -> Result<(), NetlinkError> {
        namespace::enable_ipv6(&plan.interface)?;
        let index = self.interface(&plan.interface).await?.index;
        let up = LinkUnspec::new_with_index(index).up().build();
        let raised = self.handle.link().set(up).execute().await;
        raised.map_err(kernel("set the container's interface up"))?;
        let address = Ipv6Addr::from(Address::from(plan.address));
        let mut add = self.handle.address().add(index, address.into(), 128);
        // Nobody else on this link can have it: the agent has claimed it.
        add.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        add.execute().await.map_err(kernel("set the container's address"))?;
        let route = RouteMessageBuilder::<Ipv6Addr>::new()
            .gateway(Address::into(GATEWAY))
            .output_interface(index)
            .protocol(ROUTE_PROTOCOL)
            .build();
        self.handle.route().add(route).execute().await.map_err(|error| match errno(&error) {
            Errno::EEXIST => NetlinkError::DefaultRouteTaken,
            _ => kernel("set the container's default route")(error),
        })
    }
}

impl From<&LinkMessage> for Interface {
    fn from(message: &LinkMessage) -> Self {
        let mtu = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => Mac::try_from(bytes.as_slice()).ok(),
            _ => None,
        });
        Self {
            index: message.header.index,
            mac: mac.unwrap_or_default(),
            mtu: mtu.unwrap_or_default(),
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            state: match message.header.flags {
                flags if !flags.contains(LinkFlags::Up) => UplinkState::Down,
                flags if !flags.contains(LinkFlags::LowerUp) => UplinkState::NoCarrier,
                _ => UplinkState::Up,
            },
        }
    }
}

/// The request that makes both ends at once, the container's one at its final
/// place and name: there is no moment at which it could be mistaken for an
/// interface of the host's.
fn pair_message(plan: &LinkPlan, namespace: &Namespace) -> LinkMessage {
    let inside = LinkMessageBuilder::<LinkUnspec>::default()
        .name(plan.interface.to_string())
        .mtu(plan.mtu)
        .address(container_mac(plan.address.identifier).to_vec())
        .setns_by_fd(namespace.raw_fd())
        .build();
    LinkMessageBuilder::<LinkVeth>::new(plan.host_interface.as_str(), "")
        .mtu(plan.mtu)
        .address(GATEWAY_MAC.to_vec())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(inside)))
        .build()
}

fn errno(error: &rtnetlink::Error) -> Errno {
    match error {
        rtnetlink::Error::NetlinkError(message) => Errno::from_raw(-message.raw_code()),
        _ => Errno::UnknownErrno,
    }
}

fn kernel(what: &'static str) -> impl Fn(rtnetlink::Error) -> NetlinkError {
    move |error| {
        let source = match &error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other.to_string()),
        };
        NetlinkError::Kernel { what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_interfaces_differ_wherever_identifiers_do() {
        let a = host_interface(Identifier::locally_unique(1));
        assert_eq!(a.as_str(), "ila000000000001");
        let most = host_interface(Identifier::locally_unique(u64::MAX));
        assert_eq!(most.as_str(), "ilazzzzzzzzzzzz");
        let high = host_interface(Identifier::locally_unique(1 << 59 | 1));
        assert_ne!(a, high);
    }

    #[test]
    fn container_macs_are_local_and_unicast() {
        let [first, ..] = container_mac(Identifier::locally_unique(u64::MAX));
        assert_eq!(first & 0b11, 0b10);
    }
}
