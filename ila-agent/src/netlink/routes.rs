//! What the host's routing says, and when it may say something else.

use std::{collections::BTreeSet, net::Ipv6Addr};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use ila_proto::addr::Address;
use nix::errno::Errno;
use rtnetlink::{
    IpVersion, MulticastGroup, RouteMessageBuilder,
    packet_core::NetlinkPayload,
    packet_route::{
        RouteNetlinkMessage,
        route::{
            RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHopFlags,
            RouteType,
        },
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};

use super::{Links, NetlinkError, errno, kernel};

/// What routing depends on, and has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface, by its number.
    Interface(u32),
    /// A route to a prefix of so many bits.
    Route(Ipv6Addr, u8),
    /// A rule, or something that got lost.
    Other,
}

/// A route, as far as the agent cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub prefix: (Ipv6Addr, u8),
    /// Whether packets are sent on by it, as they are.
    pub forwards: bool,
    /// By which interfaces.
    pub interfaces: BTreeSet<u32>,
    /// Whether all of these are as they should be.
    pub alive: bool,
    /// The largest packet, in bytes, if it has one of its own.
    pub mtu: Option<u32>,
    /// For what it is only, if not for all packets at all times.
    pub only: Option<Only>,
}

/// For what a route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// For packets from some sources.
    Sources,
    /// Until a moment, of which the kernel tells later.
    Lifetime,
}

impl Links {
    /// Tells of every change of any interface, IPv6 route, next hop or rule of the host
    /// from now on. To be read for as long as it is there: what is not is kept.
    pub fn routing_changes() -> Result<impl Stream<Item = Change> + Unpin, NetlinkError> {
        // Of routes that name a next hop by its number, no change is told when that
        // one changes, unless the host is told to (`nexthop_compat_mode`).
        const GROUPS: [MulticastGroup; 4] = [
            MulticastGroup::Link,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv6Rule,
            MulticastGroup::Nexthop,
        ];
        let (connection, _, changes) = rtnetlink::new_multicast_connection(&GROUPS)
            .map_err(|source| NetlinkError::Io { what: "watch the host's routes", source })?;
        tokio::spawn(connection);
        Ok(changes.map(|(message, _)| Change::from(&message.payload)))
    }

    /// The route of packets between two addresses. Fails with what their sender
    /// would be told.
    pub async fn route(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Result<Route, Errno> {
        let mut query = RouteMessageBuilder::<Ipv6Addr>::new()
            .source_prefix(source, 128)
            .destination_prefix(destination, 128)
            .build();
        // The route itself, with all its ways, not what becomes of one packet.
        query.header.flags = RouteFlags::FibMatch;
        match self.handle.route().get(query).execute().try_next().await {
            Ok(Some(message)) => Ok(Route::from(&message)),
            Ok(None) => Err(Errno::ENETUNREACH),
            Err(error) => Err(errno(&error)),
        }
    }

    /// The routes to less than a whole /64, where the first half of their prefix
    /// is one of these, and those for some sources only that lead to one.
    pub async fn routes_within(&self, halves: &BTreeSet<u64>) -> Result<Vec<Route>, NetlinkError> {
        let all = self.handle.route().get(RouteMessageBuilder::<Ipv6Addr>::new().build());
        let within = all.execute().try_filter_map(async |message| {
            let route = Route::from(&message);
            let (prefix, length) = route.prefix;
            let first = Address::from(prefix).high;
            let rest = u64::MAX.checked_shr(length.into()).unwrap_or(0);
            let leads = halves.range(first & !rest..=first | rest).next().is_some();
            Ok((leads && (length > 64 || route.only == Some(Only::Sources))).then_some(route))
        });
        within.try_collect().await.map_err(kernel("list routes"))
    }

    /// Whether there are rules besides those that every host has, so that routes
    /// depend on more than the destination.
    pub async fn has_rules(&self) -> Result<bool, NetlinkError> {
        let rules = self.handle.rule().get(IpVersion::V6).execute();
        match rules.try_collect::<Vec<_>>().await {
            Ok(rules) => Ok(!rules.iter().all(is_common)),
            // A kernel without tables to choose from.
            Err(error) if errno(&error) == Errno::EOPNOTSUPP => Ok(false),
            Err(error) => Err(kernel("list rules")(error)),
        }
    }

    /// The name of an interface, or its number in words if there is none.
    pub async fn name(&self, index: u32) -> String {
        use rtnetlink::packet_route::link::LinkAttribute;

        let found = self.handle.link().get().match_index(index).execute().try_next().await;
        let names = found.ok().flatten().map(|message| message.attributes);
        let name = names.into_iter().flatten().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
        name.unwrap_or_else(|| format!("interface number {index}"))
    }
}

/// Whether a rule is "look in the table of this number", for all packets and one
/// of the tables that every host looks in.
fn is_common(rule: &RuleMessage) -> bool {
    const LOCAL: u8 = 255;
    const MAIN: u8 = 254;
    const DEFAULT: u8 = 253;
    let header = &rule.header;
    header.action == RuleAction::ToTable
        && [LOCAL, MAIN, DEFAULT].contains(&header.table)
        && (header.dst_len, header.src_len, header.tos) == (0, 0, 0)
        && rule.attributes.iter().all(|attribute| {
            matches!(
                attribute,
                RuleAttribute::Table(_)
                    | RuleAttribute::Priority(_)
                    | RuleAttribute::Protocol(_)
                    // That is none.
                    | RuleAttribute::SuppressPrefixLen(u32::MAX)
            )
        })
}

impl From<&NetlinkPayload<RouteNetlinkMessage>> for Change {
    fn from(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Self {
        use RouteNetlinkMessage as Message;

        let NetlinkPayload::InnerMessage(message) = payload else { return Self::Other };
        match message {
            Message::NewLink(link) | Message::DelLink(link) => Self::Interface(link.header.index),
            Message::NewRoute(route) | Message::DelRoute(route) => {
                let (prefix, length) = Route::from(route).prefix;
                Self::Route(prefix, length)
            }
            _ => Self::Other,
        }
    }
}

impl From<&RouteMessage> for Route {
    fn from(message: &RouteMessage) -> Self {
        let RouteMessage { header, attributes, .. } = message;
        let mut route = Self {
            prefix: (Ipv6Addr::UNSPECIFIED, header.destination_prefix_length),
            forwards: header.kind == RouteType::Unicast,
            interfaces: BTreeSet::new(),
            alive: !header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown),
            mtu: None,
            only: (header.source_prefix_length > 0).then_some(Only::Sources),
        };
        for attribute in attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet6(prefix)) => {
                    route.prefix.0 = *prefix;
                }
                RouteAttribute::Oif(index) => {
                    route.interfaces.insert(*index);
                }
                RouteAttribute::MultiPath(hops) => {
                    const GONE: RouteNextHopFlags =
                        RouteNextHopFlags::Dead.union(RouteNextHopFlags::Linkdown);
                    route.interfaces.extend(hops.iter().map(|hop| hop.interface_index));
                    route.alive &= !hops.iter().any(|hop| hop.flags.intersects(GONE));
                    let is_wrapped =
                        |it: &RouteAttribute| matches!(it, RouteAttribute::EncapType(_));
                    route.forwards &= !hops.iter().flat_map(|hop| &hop.attributes).any(is_wrapped);
                }
                RouteAttribute::EncapType(_) => route.forwards = false,
                RouteAttribute::CacheInfo(info) if info.expires != 0 => {
                    route.only.get_or_insert(Only::Lifetime);
                }
                RouteAttribute::Metrics(metrics) => {
                    route.mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        route
    }
}
