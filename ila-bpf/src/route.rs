//! The way out of the host for a packet that goes to another one.

use aya_ebpf::{
    bindings::{BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as FibLookup, bpf_redir_neigh},
    helpers::{bpf_check_mtu, bpf_fib_lookup, bpf_redirect_neigh},
    programs::TcContext,
};
use ila_proto::{
    abi::HostConfig,
    addr::Address,
    forward::{Header, Rewrite},
};

use crate::packet::{self, ETHERNET, Flow};

const AF_INET6: u8 = 10;

/// Every IPv6 link carries packets of this size (RFC 8200, section 5).
const MIN_MTU: u32 = 1280;

/// A neighbour that is not known yet is found on the way out.
const NO_NEIGHBOUR: i64 = aya_ebpf::bindings::BPF_FIB_LKUP_RET_NO_NEIGH as i64;

/// The sizes of what the helpers are handed.
const PARAMETERS: i32 = size_of::<bpf_redir_neigh>().cast_signed() as i32;
const QUERY: i32 = size_of::<FibLookup>().cast_signed() as i32;

/// Ask how large the segments of an aggregated packet are going to be.
const SEGMENTS: u64 = aya_ebpf::bindings::bpf_check_mtu_flags::BPF_MTU_CHK_SEGS as u64;

/// An uplink, and the next hop where the kernel has named one already.
pub struct Route {
    interface: u32,
    next_hop: Option<[u32; 4]>,
}

impl Route {
    /// Sends the packet that way once the program has ended.
    #[inline(always)]
    pub fn take(&self) -> i32 {
        let action = match self.next_hop {
            // SAFETY: without parameters the helper takes numbers only.
            None => unsafe { bpf_redirect_neigh(self.interface, core::ptr::null_mut(), 0, 0) },
            Some(next_hop) => {
                // As words of eight bytes, for that is how the compiler writes
                // it, and the verifier wants them aligned.
                let mut memory = packet::zeroes::<{ size_of::<bpf_redir_neigh>().div_ceil(8) }>();
                let parameters: *mut bpf_redir_neigh = memory.as_mut_ptr().cast();
                // SAFETY: the memory is large enough, lives across the call and
                // its size is told.
                unsafe {
                    (*parameters).nh_family = u32::from(AF_INET6);
                    let words = (&raw mut (*parameters).__bindgen_anon_1.ipv6_nh).cast::<u32>();
                    for (index, word) in next_hop.into_iter().enumerate() {
                        words.add(index).write_volatile(word);
                    }
                    bpf_redirect_neigh(self.interface, parameters, PARAMETERS, 0)
                }
            }
        };
        action as i32
    }
}

/// Why there is no way out.
pub enum NoRoute {
    /// The host has no route.
    None,
    /// The link carries packets of this size only.
    TooBig(u32),
}

/// The way of the packet with the addresses that it is about to get.
#[inline(always)]
pub fn find(
    ctx: &TcContext,
    config: &HostConfig,
    header: &Header,
    rewrite: &Rewrite,
) -> Result<Route, NoRoute> {
    let ends = (rewrite.source, rewrite.destination);
    let flow = packet::flow(ctx, header);
    let route = choose(ctx, config, ends, flow).ok_or(NoRoute::None)?;
    let mut mtu = 0u32;
    // The helper costs as much as a look-up, and small packets fit everywhere.
    if ctx.len() > MIN_MTU + ETHERNET as u32 {
        // SAFETY: the context is valid and the result lives across the call.
        let fits = unsafe {
            bpf_check_mtu(ctx.skb.skb.cast(), route.interface, &raw mut mtu, 0, SEGMENTS)
        };
        if fits > 0 {
            return Err(NoRoute::TooBig(mtu));
        }
    }
    Ok(route)
}

/// The way of a packet of any size from `source` to `destination`. Where there
/// are several that are as good, all packets of a flow take the same, and flows
/// are spread as the host is set up to spread them.
#[inline(always)]
pub fn choose(
    ctx: &TcContext,
    config: &HostConfig,
    (source, destination): (Address, Address),
    flow: Flow,
) -> Option<Route> {
    let [first, second, ..] = config.uplinks;
    if second.interface == 0 {
        // Where there is no choice the route is left to the kernel, which
        // looks it up anyway on the way out.
        return Some(Route { interface: first.interface, next_hop: None });
    }
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
        (*query).__bindgen_anon_2.flowinfo = u32::from_ne_bytes(flow.label);
        (*query).__bindgen_anon_3.ipv6_src = words(source);
        (*query).__bindgen_anon_4.ipv6_dst = words(destination);
        bpf_fib_lookup(ctx.skb.skb.cast(), query, QUERY, 0)
    };
    if found != i64::from(BPF_FIB_LKUP_RET_SUCCESS) && found != NO_NEIGHBOUR {
        return None;
    }
    // SAFETY: the kernel has written the next hop there.
    let (interface, next_hop) = unsafe { ((*query).ifindex, (*query).__bindgen_anon_4.ipv6_dst) };
    Some(Route { interface, next_hop: Some(next_hop) })
}

/// An address as the kernel has it, in network order.
#[inline(always)]
fn words(address: Address) -> [u32; 4] {
    let Address { high, low } = address;
    [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32].map(u32::to_be)
}
