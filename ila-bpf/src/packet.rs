//! Packet memory: the only file that reads or writes it.
//!
//! Every access is at a constant offset behind one comparison with the end of
//! the packet, the form that the verifier follows without help. Helpers that
//! may move the packet are called between accesses, never during one.

use core::ptr;

use aya_ebpf::{
    bindings::BPF_F_RECOMPUTE_CSUM,
    helpers::{bpf_redirect, bpf_skb_change_tail},
    programs::TcContext,
};
use ila_proto::{addr::Address, ndp::Solicitation};

/// Bytes of the Ethernet header; tags of VLANs stand outside the packet.
const ETHERNET: usize = 14;
const ETHERNET_SOURCE: usize = 6;
const ETHERNET_TYPE: usize = 12;
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

const PAYLOAD_LENGTH: usize = ETHERNET + 4;
const NEXT_HEADER: usize = ETHERNET + 6;
const HOP_LIMIT: usize = ETHERNET + 7;
const SOURCE: usize = ETHERNET + 8;
const DESTINATION: usize = ETHERNET + 24;
const ICMP: usize = ETHERNET + 40;
const ICMP_CODE: usize = ICMP + 1;
const TARGET: usize = ICMP + 8;
const SOLICITATION_END: usize = ICMP + ila_proto::ndp::SOLICITATION_LENGTH;

/// What an IPv6 header holds that decides on a packet's way.
pub struct Ipv6 {
    /// The header behind it.
    pub next_header: u8,
    /// Where it goes.
    pub destination: Address,
}

/// Why there is no IPv6 header.
pub enum NoIpv6 {
    /// The packet is of another protocol.
    Other,
    /// The packet says that it is IPv6, yet ends before its header does.
    Truncated,
}

/// The packet's IPv6 header.
#[inline(always)]
pub fn ipv6(ctx: &TcContext) -> Result<Ipv6, NoIpv6> {
    pull(ctx, ICMP);
    let kind: [u8; 2] = read(ctx, ETHERNET_TYPE).ok_or(NoIpv6::Other)?;
    if kind != ETHERTYPE_IPV6 {
        return Err(NoIpv6::Other);
    }
    // Reaches to the end of the header, so the shorter offsets follow.
    let destination = address(ctx, DESTINATION).ok_or(NoIpv6::Truncated)?;
    let next_header = read::<u8>(ctx, NEXT_HEADER).ok_or(NoIpv6::Truncated)?;
    Ok(Ipv6 { next_header, destination })
}

/// The `ICMPv6` type, for a packet whose next header says that it has one.
#[inline(always)]
pub fn icmp_type(ctx: &TcContext) -> Option<u8> {
    read(ctx, ICMP)
}

/// The neighbour solicitation that the packet is.
#[inline(always)]
pub fn solicitation(ctx: &TcContext) -> Option<Solicitation> {
    pull(ctx, SOLICITATION_END);
    Some(Solicitation {
        target: address(ctx, TARGET)?,
        source: address(ctx, SOURCE)?,
        hop_limit: read(ctx, HOP_LIMIT)?,
        payload_length: u16::from_be_bytes(read(ctx, PAYLOAD_LENGTH)?),
        code: read(ctx, ICMP_CODE)?,
    })
}

/// Replaces the destination address by another of the same checksum.
#[inline(always)]
pub fn set_destination_neutral(ctx: &TcContext, destination: Address) -> Result<(), ()> {
    // A direct write, allowed because the sum of the packet stays the same:
    // whatever the stack or the device knows of it stays true.
    write(ctx, DESTINATION, bytes(destination)).ok_or(())
}

/// Replaces the destination address by any other; the transport checksum is
/// left to be wrong.
#[inline(always)]
pub fn set_destination(ctx: &TcContext, destination: Address) -> Result<(), ()> {
    // The sum changes, so a device's CHECKSUM_COMPLETE must change with it.
    let flags = u64::from(BPF_F_RECOMPUTE_CSUM);
    ctx.store(DESTINATION, &bytes(destination), flags).map_err(|_| ())
}

/// Turns the packet into the one whose IPv6 header and payload are `packet`,
/// each eight bytes as the number that they spell, from `source_mac` back to the link-layer address that it
/// came from, and sends it out of the interface where it came in.
#[inline(always)]
pub fn reply<const HALVES: usize>(
    ctx: &TcContext,
    source_mac: [u8; 6],
    packet: &[u64; HALVES],
) -> Result<i32, ()> {
    let asker: [u8; 6] = read(ctx, ETHERNET_SOURCE).ok_or(())?;
    let length = (ETHERNET + 8 * HALVES) as u32;
    // SAFETY: the context is valid; packet pointers are read anew below.
    if unsafe { bpf_skb_change_tail(ctx.skb.skb, length, 0) } != 0 {
        return Err(());
    }
    ctx.store(0, &asker, 0).map_err(|_| ())?;
    ctx.store(ETHERNET_SOURCE, &source_mac, 0).map_err(|_| ())?;
    ctx.store(ETHERNET, &packet.map(u64::to_be), 0).map_err(|_| ())?;
    // SAFETY: the helper takes numbers only.
    Ok(unsafe { bpf_redirect(interface(ctx), 0) } as i32)
}

/// The interface that the packet came in by.
#[inline(always)]
pub fn interface(ctx: &TcContext) -> u32 {
    // SAFETY: the context is valid for as long as the program runs.
    unsafe { (*ctx.skb.skb).ifindex }
}

#[inline(always)]
fn address(ctx: &TcContext, offset: usize) -> Option<Address> {
    let low = read(ctx, offset + 8)?;
    Some(Address::from_halves(read(ctx, offset)?, low))
}

#[inline(always)]
fn bytes(address: Address) -> [[u8; 8]; 2] {
    [address.high.to_be_bytes(), address.low.to_be_bytes()]
}

/// Brings the first `end` bytes into linear memory where they are not there
/// yet. If the packet is shorter, the reads that follow find out.
#[inline(always)]
fn pull(ctx: &TcContext, end: usize) {
    if ctx.data() + end > ctx.data_end() {
        let _ = ctx.pull_data(end as u32);
    }
}

/// A copy of the bytes at `offset`, if the packet reaches that far.
#[inline(always)]
fn read<T: Plain>(ctx: &TcContext, offset: usize) -> Option<T> {
    // SAFETY: `at` has checked that the packet holds the value; any bytes are
    // a value of a plain type and it has no alignment.
    at(ctx, offset).map(|at: *mut T| unsafe { ptr::read(at) })
}

/// Writes `value` at `offset`, if the packet reaches that far.
#[inline(always)]
fn write<T: Plain>(ctx: &TcContext, offset: usize, value: T) -> Option<()> {
    // SAFETY: `at` has checked that the packet holds the value, and no
    // reference to packet memory is ever made.
    at(ctx, offset).map(|at| unsafe { ptr::write(at, value) })
}

#[inline(always)]
fn at<T: Plain>(ctx: &TcContext, offset: usize) -> Option<*mut T> {
    let (start, end) = (ctx.data(), ctx.data_end());
    (start + offset + size_of::<T>() <= end).then_some((start + offset) as *mut T)
}

/// Bytes, and arrays of bytes: no alignment, no padding, no invalid values.
trait Plain: Copy {}

impl Plain for u8 {}
impl<T: Plain, const N: usize> Plain for [T; N] {}
