//! Which interfaces lead to the underlay, for hosts that are not told.

use std::net::Ipv6Addr;

use futures_util::TryStreamExt as _;
use ila_proto::api::InterfaceName;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::{
        link::LinkAttribute,
        route::{RouteAttribute, RouteHeader, RouteMessage, RouteType},
    },
};

use super::{Links, NetlinkError, kernel};

impl Links {
    /// The interfaces of the default route that is preferred; none if there is
    /// no default route.
    pub async fn default_uplinks(&self) -> Result<Vec<InterfaceName>, NetlinkError> {
        let all = self.handle.route().get(RouteMessageBuilder::<Ipv6Addr>::new().build());
        let routes: Vec<RouteMessage> =
            all.execute().try_collect().await.map_err(kernel("list routes"))?;
        let mut names = Vec::new();
        for index in outgoing(&routes) {
            let found = self.handle.link().get().match_index(index).execute().try_next().await;
            let message = found.map_err(kernel("list interfaces"))?;
            let attributes = message.into_iter().flat_map(|message| message.attributes);
            names.extend(attributes.filter_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => name.parse::<InterfaceName>().ok(),
                _ => None,
            }));
        }
        Ok(names)
    }
}

/// The interfaces of the default routes in the main table that no other is
/// preferred to, each once.
fn outgoing(routes: &[RouteMessage]) -> Vec<u32> {
    let metric = |route: &RouteMessage| {
        route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Priority(metric) => Some(*metric),
            _ => None,
        })
    };
    let defaults: Vec<_> = routes
        .iter()
        .filter(|route| {
            route.header.destination_prefix_length == 0
                && route.header.table == RouteHeader::RT_TABLE_MAIN
                && route.header.kind == RouteType::Unicast
        })
        .collect();
    let best = defaults.iter().map(|route| metric(route)).min();
    let mut indices = Vec::new();
    for route in defaults.iter().filter(|route| Some(metric(route)) == best) {
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Oif(index) => indices.push(*index),
                RouteAttribute::MultiPath(hops) => {
                    indices.extend(hops.iter().map(|hop| hop.interface_index));
                }
                _ => {}
            }
        }
    }
    let mut seen = Vec::new();
    indices.retain(|index| {
        !seen.contains(index) && {
            seen.push(*index);
            true
        }
    });
    indices
}
