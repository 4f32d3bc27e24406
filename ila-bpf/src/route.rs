//! The way out of the host for a packet that goes to another one.

use core::ptr;

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_BLACKHOLE, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED,
        BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_PROHIBIT, BPF_FIB_LKUP_RET_SUCCESS,
        BPF_FIB_LKUP_RET_UNSUPP_LWT, bpf_check_mtu_flags::BPF_MTU_CHK_SEGS,
        bpf_fib_lookup as FibLookup, bpf_redir_neigh,
    },
    helpers::{bpf_check_mtu, bpf_fib_lookup, bpf_redirect_neigh},
    programs::TcContext,
};
use ila_proto::{
    abi::HostConfig,
    addr::Address,
    forward::{Header, Rewrite},
};

use crate::{
    packet::{self, ETHERNET, Flow},
    state,
};

const AF_INET6: u8 = 10;

/// Every IPv6 link carries packets of this size (RFC 8200, section 5).
const MIN_MTU: u32 = 1280;

/// The sizes of what the helpers are handed.
const PARAMETERS: i32 = size_of::<bpf_redir_neigh>().cast_signed() as i32;
const QUERY: i32 = size_of::<FibLookup>().cast_signed() as i32;

/// An uplink, and the next hop there where the kernel has named one already.
pub struct Route {
    interface: u32,
    next_hop: Option<[u32; 4]>,
}

impl Route {
    /// Sends the packet that way once the program has ended. A neighbour that
    /// is not known yet is found on the way out.
    #[inline(always)]
    pub fn take(&self) -> i32 {
        let Some(next_hop) = self.next_hop else {
            // SAFETY: without parameters the helper takes numbers only.
            return unsafe { bpf_redirect_neigh(self.interface, ptr::null_mut(), 0, 0) as i32 };
        };
        // As words of eight bytes, for that is how the compiler writes it, and
        // the verifier wants them aligned.
        let mut memory = packet::zeroes::<{ size_of::<bpf_redir_neigh>().div_ceil(8) }>();
        let parameters: *mut bpf_redir_neigh = memory.as_mut_ptr().cast();
        // SAFETY: the memory is large enough, lives across the call and its
        // size is told.
        let action = unsafe {
            (*parameters).nh_family = u32::from(AF_INET6);
            let words = (&raw mut (*parameters).__bindgen_anon_1.ipv6_nh).cast::<u32>();
            for (index, word) in next_hop.into_iter().enumerate() {
                words.add(index).write_volatile(word);
            }
            bpf_redirect_neigh(self.interface, parameters, PARAMETERS, 0)
        };
        action as i32
    }
}

/// Why there is no way out.
pub enum NoRoute {
    /// The host has no route. It has none over an uplink that is down or has no
    /// carrier.
    None,
    /// A route says that there is to be none, or the host may not forward.
    Prohibited,
    /// The same, and nobody is to be told.
    Blackhole,
    /// The route leads to what is none of the uplinks, or through a tunnel of
    /// its own: an answer would not come back through a program of ours.
    Elsewhere,
    /// The way carries packets of this size only.
    TooBig(u32),
}

/// The way of the packet to a locator with the addresses that it is about to
/// get.
#[inline(always)]
pub fn find(
    ctx: &TcContext,
    config: &HostConfig,
    header: &Header,
    rewrite: &Rewrite,
) -> Result<Route, NoRoute> {
    let [first, second, ..] = config.uplinks;
    let (route, may_be_large) = if second.interface == 0 && state::are_routes_plain() {
        // The kernel looks the route up anyway on the way out.
        let route = Route { interface: first.interface, next_hop: None };
        (route, ctx.len() > MIN_MTU + ETHERNET as u32)
    } else {
        let ends = (rewrite.source, rewrite.destination);
        let (flow, length) = (packet::flow(ctx, header), packet::length(ctx, header));
        (ask(ctx, config, ends, flow, length)?, packet::is_aggregated(ctx))
    };
    // The helper costs as much as a look-up.
    if may_be_large {
        let mut mtu = 0u32;
        // SAFETY: the context is valid and the result lives across the call.
        let fits = unsafe {
            let segments = u64::from(BPF_MTU_CHK_SEGS);
            bpf_check_mtu(ctx.skb.skb.cast(), route.interface, &raw mut mtu, 0, segments)
        };
        if fits > 0 {
            return Err(NoRoute::TooBig(mtu));
        }
    }
    Ok(route)
}

/// What the kernel says is the way of a packet of `length` bytes from `source` to
/// `destination`. Where there are several that are as good, all packets of a flow
/// take the same, and flows are spread as the host is set up to spread them.
#[inline(always)]
pub fn ask(
    ctx: &TcContext,
    config: &HostConfig,
    (source, destination): (Address, Address),
    flow: Flow,
    length: u16,
) -> Result<Route, NoRoute> {
    let mut memory = packet::zeroes::<{ size_of::<FibLookup>() / 8 }>();
    let query: *mut FibLookup = memory.as_mut_ptr().cast();
    // SAFETY: the memory has the structure's size and lives across the call,
    // all zeroes are a value of it, and the context is valid.
    let found = unsafe {
        (*query).family = AF_INET6;
        (*query).ifindex = packet::interface(ctx);
        (*query).l4_protocol = flow.protocol;
        // One by one, for as one write they are where the verifier wants none.
        let [sport, dport] = flow.ports.map(u16::from_ne_bytes);
        (&raw mut (*query).sport).write_volatile(sport);
        (&raw mut (*query).dport).write_volatile(dport);
        (&raw mut (*query).__bindgen_anon_1.tot_len).write_volatile(length);
        (*query).__bindgen_anon_2.flowinfo = u32::from_ne_bytes(flow.label);
        (*query).__bindgen_anon_3.ipv6_src = words(source);
        (*query).__bindgen_anon_4.ipv6_dst = words(destination);
        bpf_fib_lookup(ctx.skb.skb.cast(), query, QUERY, 0)
    };
    // SAFETY: the kernel has written these, or they are what they were.
    let (interface, next_hop, mtu) = unsafe {
        ((*query).ifindex, (*query).__bindgen_anon_4.ipv6_dst, (*query).__bindgen_anon_1.mtu_result)
    };
    match u32::try_from(found) {
        Ok(BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH) => {
            let is_uplink = config.uplinks.iter().any(|uplink| uplink.interface == interface);
            if is_uplink {
                Ok(Route { interface, next_hop: Some(next_hop) })
            } else {
                Err(NoRoute::Elsewhere)
            }
        }
        Ok(BPF_FIB_LKUP_RET_FRAG_NEEDED) => Err(NoRoute::TooBig(u32::from(mtu))),
        Ok(BPF_FIB_LKUP_RET_BLACKHOLE) => Err(NoRoute::Blackhole),
        Ok(BPF_FIB_LKUP_RET_PROHIBIT | BPF_FIB_LKUP_RET_FWD_DISABLED) => Err(NoRoute::Prohibited),
        Ok(BPF_FIB_LKUP_RET_UNSUPP_LWT) => Err(NoRoute::Elsewhere),
        _ => Err(NoRoute::None),
    }
}

/// An address as the kernel has it, in network order.
#[inline(always)]
fn words(address: Address) -> [u32; 4] {
    let Address { high, low } = address;
    [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32].map(u32::to_be)
}
