//! A network of the calling thread's own, for the kernel to find routes in
//! when it runs the programs: one link, and a default route over it.
//!
//! ```text
//!  up0  number UPLINK ── link ── peer0
//!  default via NEXT_HOP, a neighbour that is known
//! ```

use std::{fs, io, net::Ipv6Addr};

use nix::sched::{CloneFlags, unshare};
use rtnetlink::{
    Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteType},
};
use tokio::runtime::{Builder, Runtime};

/// The number of the link's near end.
pub const UPLINK: u32 = 20;

/// The ends of the link.
pub const NEAR: &str = "up0";
pub const FAR: &str = "peer0";
const NEXT_HOP: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xee);
const NEXT_HOP_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xee];

/// The network that the thread is in.
pub struct Network {
    runtime: Runtime,
    handle: Handle,
}

impl Network {
    /// Moves the thread into a new one, whose link carries packets of `mtu`
    /// bytes.
    pub fn enter(mtu: u32) -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let handle = runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            io::Result::Ok(handle)
        })?;
        let network = Self { runtime, handle };
        set("all/forwarding", "1")?;
        network.add_link(UPLINK, [NEAR, FAR], mtu)?;
        let known = network.handle.neighbours().add(UPLINK, NEXT_HOP.into());
        network.wait(known.link_layer_address(&NEXT_HOP_MAC).execute())?;
        network.lead(Ipv6Addr::UNSPECIFIED, 0)?;
        Ok(network)
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, Error>>) -> io::Result<T> {
        self.runtime.block_on(work).map_err(io::Error::other)
    }

    /// Adds a link whose near end has that number.
    pub fn add_link(&self, number: u32, ends: [&str; 2], mtu: u32) -> io::Result<()> {
        let [near, far] = ends;
        let pair = LinkMessageBuilder::<LinkVeth>::new(near, far).index(number).mtu(mtu).build();
        self.wait(self.handle.link().add(pair).execute())?;
        ends.iter().try_for_each(|end| self.set_up(end, true))
    }

    /// Sets an end of a link up or down.
    pub fn set_up(&self, name: &str, is_up: bool) -> io::Result<()> {
        let link = LinkMessageBuilder::<LinkUnspec>::default().name(name);
        let link = if is_up { link.up() } else { link.down() }.build();
        self.wait(self.handle.link().set(link).execute())
    }

    /// Routes a prefix over the link.
    pub fn lead(&self, prefix: Ipv6Addr, length: u8) -> io::Result<()> {
        self.add(to(prefix, length).output_interface(UPLINK).gateway(NEXT_HOP).build())
    }

    /// Routes a prefix over the link, on which packets to there are to be no
    /// larger than `mtu`, whatever the host learns.
    pub fn lead_narrow(&self, prefix: Ipv6Addr, length: u8, mtu: u32) -> io::Result<()> {
        const MTU: u32 = 1 << 2;
        let mut route = to(prefix, length).output_interface(UPLINK).gateway(NEXT_HOP).build();
        let metrics = vec![RouteMetric::Lock(MTU), RouteMetric::Mtu(mtu)];
        route.attributes.push(RouteAttribute::Metrics(metrics));
        self.add(route)
    }

    /// Routes a prefix over another interface, to which it is on the link.
    pub fn lead_by(&self, prefix: Ipv6Addr, length: u8, interface: u32) -> io::Result<()> {
        self.add(to(prefix, length).output_interface(interface).build())
    }

    /// Has the host refuse what is for a prefix.
    pub fn refuse(&self, prefix: Ipv6Addr, length: u8, kind: RouteType) -> io::Result<()> {
        self.add(to(prefix, length).kind(kind).build())
    }

    /// Removes the default route.
    pub fn lead_nowhere(&self) -> io::Result<()> {
        self.wait(self.handle.route().del(to(Ipv6Addr::UNSPECIFIED, 0).build()).execute())
    }

    fn add(&self, route: RouteMessage) -> io::Result<()> {
        self.wait(self.handle.route().add(route).replace().execute())
    }
}

/// Sets a setting of IPv6 in the network of the calling thread.
pub fn set(setting: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv6/conf/{setting}"), value)
}

fn to(prefix: Ipv6Addr, length: u8) -> RouteMessageBuilder<Ipv6Addr> {
    RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(prefix, length)
}
