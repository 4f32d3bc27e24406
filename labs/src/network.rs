//! The underlay: a router with a link to every host.
//!
//! ```text
//!  host N                                  router
//!  up0  2001:db8:ffff:N::2/64 ── link ── to-NAME  2001:db8:ffff:N::1/64
//!  default via the router                  locator N via host N
//! ```

use std::{fmt::Write as _, fs, net::Ipv6Addr, path::Path};

use crate::{
    Error, Topology,
    error::Doing as _,
    ip::Ip,
    plan::{NodeKind, Plan, ROUTER},
};

/// The prefix that the links are numbered from, and its length.
pub const UNDERLAY: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0), 48);

/// What a host's end of its link is called.
pub const UPLINK: &str = "up0";

/// Settings of every namespace. Addresses are never looked for on the link
/// before they are used: there is nobody who could have them, and it takes a
/// second.
const EVERYWHERE: [(&str, &str); 2] =
    [("net/ipv6/conf/all/accept_dad", "0"), ("net/ipv6/conf/default/accept_dad", "0")];

const FORWARDING: (&str, &str) = ("net/ipv6/conf/all/forwarding", "1");

const CONGESTION_CONTROL: &str = "net/ipv4/tcp_congestion_control";

/// The congestion controls that do without a queueing discipline which paces,
/// for a veth has none: the kernel's own default, and what every namespace may
/// be set to. Machines whose default is another one (bbr) forbid the first to
/// all namespaces but their own.
const CONGESTION_CONTROLS: [&str; 2] = ["cubic", "reno"];

/// Sets what a node's namespace needs; to be called on a thread in it.
pub fn settle(kind: NodeKind) -> Result<(), Error> {
    let forwarding = (kind != NodeKind::Container).then_some(FORWARDING);
    for (key, value) in EVERYWHERE.into_iter().chain(forwarding) {
        set(key, value)?;
    }
    let [best, other] = CONGESTION_CONTROLS;
    set(CONGESTION_CONTROL, best).or_else(|_| set(CONGESTION_CONTROL, other))
}

fn set(key: &str, value: &str) -> Result<(), Error> {
    let path = Path::new("/proc/sys").join(key);
    fs::write(&path, value).doing(|| format!("set {} to {value}", path.display()))
}

/// Makes the links and routes, all between namespaces that are there.
pub fn connect(plan: &Plan, ip: &Ip<'_>) -> Result<(), Error> {
    let router = plan.node(ROUTER).expect("every plan has a router");
    ip.batch(&router.path(), &router_script(plan))?;
    for (index, node) in plan.nodes_of(NodeKind::Host).enumerate() {
        ip.batch(&node.path(), &host_script(index))?;
    }
    Ok(())
}

/// The address of a host on its link.
pub fn host_address(topology: &Topology, name: &str) -> Option<Ipv6Addr> {
    topology.hosts.iter().position(|host| host.name == name).map(|index| link_address(index, 2))
}

fn router_script(plan: &Plan) -> String {
    let mtu = plan.topology.mtu;
    let mut script = String::new();
    let hosts = plan.topology.hosts.iter().zip(plan.nodes_of(NodeKind::Host));
    for (index, (host, node)) in hosts.enumerate() {
        let (name, netns, locator) = (&host.name, &node.netns, host.locator);
        let (router, host) = (link_address(index, 1), link_address(index, 2));
        writeln!(
            script,
            "link add to-{name} mtu {mtu} type veth peer name {UPLINK} mtu {mtu} netns {netns}\n\
             address add {router}/64 dev to-{name} nodad\n\
             link set to-{name} up\n\
             route add {locator} via {host} dev to-{name}"
        )
        .expect("a string takes everything");
    }
    script
}

fn host_script(index: usize) -> String {
    let (router, host) = (link_address(index, 1), link_address(index, 2));
    format!(
        "address add {host}/64 dev {UPLINK} nodad\n\
         link set {UPLINK} up\n\
         route add default via {router} dev {UPLINK}\n"
    )
}

/// The address of one end of the link to the host at `index`.
fn link_address(index: usize, end: u16) -> Ipv6Addr {
    let [a, b, c, ..] = UNDERLAY.0.segments();
    let link = u16::try_from(index + 1).expect("the number of hosts is checked");
    Ipv6Addr::new(a, b, c, link, 0, 0, 0, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_two_hosts() {
        let topology = Topology::builtin("two-hosts").unwrap();
        let plan = Plan::new("try".parse().unwrap(), topology);
        assert_eq!(
            router_script(&plan),
            "link add to-h1 mtu 1500 type veth peer name up0 mtu 1500 netns ila-try-h1\n\
             address add 2001:db8:ffff:1::1/64 dev to-h1 nodad\n\
             link set to-h1 up\n\
             route add 2001:db8:a:1::/64 via 2001:db8:ffff:1::2 dev to-h1\n\
             link add to-h2 mtu 1500 type veth peer name up0 mtu 1500 netns ila-try-h2\n\
             address add 2001:db8:ffff:2::1/64 dev to-h2 nodad\n\
             link set to-h2 up\n\
             route add 2001:db8:b:1::/64 via 2001:db8:ffff:2::2 dev to-h2\n"
        );
        assert_eq!(
            host_script(199),
            "address add 2001:db8:ffff:c8::2/64 dev up0 nodad\n\
             link set up0 up\n\
             route add default via 2001:db8:ffff:c8::1 dev up0\n"
        );
    }
}
