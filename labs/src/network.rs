//! The underlay: a router with a link to every host, or several.
//!
//! ```text
//!  host N                                  router
//!  up0  2001:db8:ffff:N::2/64 ── link ── to-NAME  2001:db8:ffff:N::1/64
//!  default via the router                  locator N via host N
//! ```
//!
//! The second link is up1 and to1-NAME, numbered `2001:db8:ffff:1NN::/64` with N
//! in two digits, and so on. In a VLAN these are made on top of another pair:
//! up0.VLAN on up0, and to-NAME on vl-NAME.

use std::{fmt, fs, net::Ipv6Addr, path::Path};

use crate::{
    Error, Host, Topology,
    error::Doing as _,
    ip::Ip,
    plan::{NodeKind, Plan, ROUTER},
};

/// The prefix that the links are numbered from, and its length.
pub const UNDERLAY: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0), 48);

/// Settings of every namespace. Addresses are never looked for on the link
/// before they are used: there is nobody who could have them, and it takes a
/// second.
const EVERYWHERE: [(&str, &str); 2] =
    [("net/ipv6/conf/all/accept_dad", "0"), ("net/ipv6/conf/default/accept_dad", "0")];

/// A setting of those that forward.
const FORWARDING: (&str, &str) = ("net/ipv6/conf/all/forwarding", "1");

/// Settings of the router. Of several links to one host only those count that
/// stand, which elsewhere a routing protocol sees to.
const STANDING: [(&str, &str); 2] = [
    ("net/ipv6/conf/all/ignore_routes_with_linkdown", "1"),
    ("net/ipv6/conf/default/ignore_routes_with_linkdown", "1"),
];

const CONGESTION_CONTROL: &str = "net/ipv4/tcp_congestion_control";

/// The congestion controls that do without a queueing discipline which paces,
/// for a veth has none: the kernel's own default, and what every namespace may
/// be set to. Machines whose default is another one (bbr) forbid the first to
/// all namespaces but their own.
const CONGESTION_CONTROLS: [&str; 2] = ["cubic", "reno"];

/// Sets what a node's namespace needs; to be called on a thread in it.
pub fn settle(kind: NodeKind) -> Result<(), Error> {
    let forwarding = (kind != NodeKind::Container).then_some(FORWARDING);
    let standing = (kind == NodeKind::Router).then_some(STANDING).into_iter().flatten();
    for (key, value) in EVERYWHERE.into_iter().chain(forwarding).chain(standing) {
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
    let path = |node: &str| plan.node(node).expect("the plan has all nodes").path();
    ip.batch(&path(ROUTER), &router_script(plan)).map_err(name_missing_vlans)?;
    for (index, host) in plan.topology.hosts.iter().enumerate() {
        ip.batch(&path(&host.name), &host_script(host, index))?;
    }
    Ok(())
}

/// `ip` does not say which type of device it is that the kernel does not know.
fn name_missing_vlans(error: Error) -> Error {
    match error {
        Error::Helper { program, place, output } if output.contains("Unknown device type") => {
            let output = format!("{output}\nthe kernel may lack VLANs: CONFIG_VLAN_8021Q");
            Error::Helper { program, place, output }
        }
        error => error,
    }
}

/// The address of a host on its first link.
pub fn host_address(topology: &Topology, name: &str) -> Option<Ipv6Addr> {
    let (index, host) = find(topology, name)?;
    links(host, index).next().map(|link| link.host_address())
}

/// The interfaces by which a host reaches the underlay.
pub fn uplinks(host: &Host) -> Vec<String> {
    // Their names are the same wherever the host stands in the topology.
    links(host, 0).map(|link| link.uplink()).collect()
}

fn find<'a>(topology: &'a Topology, name: &str) -> Option<(usize, &'a Host)> {
    topology.hosts.iter().enumerate().find(|(_, host)| host.name == name)
}

/// A link between the router and the host at `index`.
struct Link<'a> {
    host: &'a Host,
    index: usize,
    number: u8,
}

fn links(host: &Host, index: usize) -> impl Iterator<Item = Link<'_>> {
    (0..host.uplinks).map(move |number| Link { host, index, number })
}

impl Link<'_> {
    /// The host's end of the pair.
    fn cable(&self) -> String {
        format!("up{}", self.number)
    }

    /// What the host sends by.
    fn uplink(&self) -> String {
        let vlan = self.host.vlan.map(|vlan| format!(".{vlan}"));
        self.cable() + &vlan.unwrap_or_default()
    }

    /// The router's end of the pair.
    fn router_cable(&self) -> String {
        self.at_router(if self.host.vlan.is_some() { "vl" } else { "to" })
    }

    /// What the router sends by.
    fn router_end(&self) -> String {
        self.at_router("to")
    }

    fn at_router(&self, kind: &str) -> String {
        let number = Some(self.number).filter(|it| *it > 0).map(|it| it.to_string());
        format!("{kind}{}-{}", number.unwrap_or_default(), self.host.name)
    }

    fn router_address(&self) -> Ipv6Addr {
        self.address(1)
    }

    fn host_address(&self) -> Ipv6Addr {
        self.address(2)
    }

    fn address(&self, end: u16) -> Ipv6Addr {
        let [a, b, c, ..] = UNDERLAY.0.segments();
        let host = u8::try_from(self.index + 1).expect("the number of hosts is checked");
        Ipv6Addr::new(a, b, c, u16::from_be_bytes([self.number, host]), 0, 0, 0, end)
    }

    /// The steps that put an address on `end`, which is made on top of `cable`
    /// if it is another one, and set it up.
    fn steps(&self, cable: &str, end: &str, address: Ipv6Addr) -> Vec<String> {
        let vlan = self.host.vlan.map(|vlan| {
            [
                format!("link set {cable} up"),
                format!("link add link {cable} name {end} type vlan id {vlan}"),
            ]
        });
        let address =
            [format!("address add {address}/64 dev {end} nodad"), format!("link set {end} up")];
        vlan.into_iter().flatten().chain(address).collect()
    }
}

/// A route over all links to a host, or from it: `hop` says by which way each
/// of them leads.
fn route(
    to: impl fmt::Display,
    host: &Host,
    index: usize,
    hop: impl Fn(&Link<'_>) -> String,
) -> String {
    let hops: Vec<_> = links(host, index).map(|link| hop(&link)).collect();
    match &hops[..] {
        [hop] => format!("route add {to} {hop}"),
        hops => format!("route add {to} nexthop {}", hops.join(" nexthop ")),
    }
}

fn router_script(plan: &Plan) -> String {
    let (topology, router) = (&plan.topology, &plan.topology.router);
    let via = |link: &Link<'_>| format!("via {} dev {}", link.host_address(), link.router_end());
    let to_locator = |link: &Link<'_>| {
        if router.on_link_locators { format!("dev {}", link.router_end()) } else { via(link) }
    };
    let mut steps = Vec::new();
    for (index, host) in topology.hosts.iter().enumerate() {
        let netns = &plan.node(&host.name).expect("the plan has all hosts").netns;
        let mtu = host.mtu.unwrap_or(topology.mtu);
        for link in links(host, index) {
            let (cable, peer) = (link.router_cable(), link.cable());
            steps.push(format!(
                "link add {cable} mtu {mtu} type veth peer name {peer} mtu {mtu} netns {netns}"
            ));
            steps.extend(link.steps(&cable, &link.router_end(), link.router_address()));
        }
        let locators = topology.domains(host).map(|domain| domain.locator);
        steps.extend(locators.map(|locator| route(locator, host, index, to_locator)));
    }
    if let Some((index, host)) = router.sir_via.as_ref().and_then(|name| find(topology, name)) {
        let prefixes = topology.sir_prefixes().into_iter();
        steps.extend(prefixes.map(|prefix| route(prefix, host, index, via)));
    }
    steps.join("\n") + "\n"
}

fn host_script(host: &Host, index: usize) -> String {
    let mut steps = Vec::new();
    for link in links(host, index) {
        steps.extend(link.steps(&link.cable(), &link.uplink(), link.host_address()));
    }
    let via = |link: &Link<'_>| format!("via {} dev {}", link.router_address(), link.uplink());
    steps.push(route("default", host, index, via));
    steps.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(change: impl FnOnce(&mut Topology)) -> Plan {
        let mut topology = Topology::builtin("two-hosts").unwrap();
        change(&mut topology);
        Plan::new("try".parse().unwrap(), topology)
    }

    #[test]
    fn the_links_of_two_hosts() {
        let plan = plan(|_| {});
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
            host_script(&plan.topology.hosts[0], 199),
            "address add 2001:db8:ffff:c8::2/64 dev up0 nodad\n\
             link set up0 up\n\
             route add default via 2001:db8:ffff:c8::1 dev up0\n"
        );
        assert_eq!(uplinks(&plan.topology.hosts[0]), ["up0"]);
    }

    #[test]
    fn a_host_with_two_links_in_a_vlan_and_one_with_a_smaller_packet_size() {
        let plan = plan(|topology| {
            topology.hosts[0].uplinks = 2;
            topology.hosts[0].vlan = Some(100);
            topology.hosts[1].mtu = Some(1400);
            topology.router.sir_via = Some("h1".to_owned());
        });
        assert_eq!(
            router_script(&plan),
            "link add vl-h1 mtu 1500 type veth peer name up0 mtu 1500 netns ila-try-h1\n\
             link set vl-h1 up\n\
             link add link vl-h1 name to-h1 type vlan id 100\n\
             address add 2001:db8:ffff:1::1/64 dev to-h1 nodad\n\
             link set to-h1 up\n\
             link add vl1-h1 mtu 1500 type veth peer name up1 mtu 1500 netns ila-try-h1\n\
             link set vl1-h1 up\n\
             link add link vl1-h1 name to1-h1 type vlan id 100\n\
             address add 2001:db8:ffff:101::1/64 dev to1-h1 nodad\n\
             link set to1-h1 up\n\
             route add 2001:db8:a:1::/64 nexthop via 2001:db8:ffff:1::2 dev to-h1 \
             nexthop via 2001:db8:ffff:101::2 dev to1-h1\n\
             link add to-h2 mtu 1400 type veth peer name up0 mtu 1400 netns ila-try-h2\n\
             address add 2001:db8:ffff:2::1/64 dev to-h2 nodad\n\
             link set to-h2 up\n\
             route add 2001:db8:b:1::/64 via 2001:db8:ffff:2::2 dev to-h2\n\
             route add fd00:db8:0:1::/64 nexthop via 2001:db8:ffff:1::2 dev to-h1 \
             nexthop via 2001:db8:ffff:101::2 dev to1-h1\n"
        );
        assert_eq!(
            host_script(&plan.topology.hosts[0], 0),
            "link set up0 up\n\
             link add link up0 name up0.100 type vlan id 100\n\
             address add 2001:db8:ffff:1::2/64 dev up0.100 nodad\n\
             link set up0.100 up\n\
             link set up1 up\n\
             link add link up1 name up1.100 type vlan id 100\n\
             address add 2001:db8:ffff:101::2/64 dev up1.100 nodad\n\
             link set up1.100 up\n\
             route add default nexthop via 2001:db8:ffff:1::1 dev up0.100 \
             nexthop via 2001:db8:ffff:101::1 dev up1.100\n"
        );
        assert_eq!(uplinks(&plan.topology.hosts[0]), ["up0.100", "up1.100"]);
    }

    #[test]
    fn a_router_that_has_locators_on_its_links() {
        let script = router_script(&plan(|topology| topology.router.on_link_locators = true));
        assert!(script.contains("\nroute add 2001:db8:a:1::/64 dev to-h1\n"), "{script}");
    }
}
