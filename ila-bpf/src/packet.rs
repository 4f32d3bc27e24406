//! Packet memory: the only file that reads or writes it.
//!
//! Every access is at a constant offset behind one comparison with the end of
//! the packet, the form that the verifier follows without help. Helpers that
//! may move the packet are called between accesses, never during one.
//!
//! What is written changes either nothing of the packet's sum or an amount
//! that is told to the kernel, for a device may have summed it up already
//! (`CHECKSUM_COMPLETE`).

use core::{hint::black_box, mem::MaybeUninit, ptr};

use aya_ebpf::{
    bindings::bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    helpers::{
        bpf_csum_diff, bpf_csum_update, bpf_skb_adjust_room, bpf_skb_change_tail,
        bpf_skb_load_bytes, bpf_skb_store_bytes, bpf_skb_vlan_pop,
    },
    programs::TcContext,
};
use ila_proto::{
    abi::{GATEWAY_MAC, Mac},
    addr::Address,
    checksum::{ChecksumDelta, Sum},
    extension::{self, Upper},
    forward::{Header, Quote, Rewrite},
    icmp::{self, MAX_QUOTE},
    ndp::{self, Advertisement, Solicitation},
};

/// Bytes of the Ethernet header; tags of VLANs stand outside the packet.
pub const ETHERNET: usize = 14;
const ETHERNET_SOURCE: usize = 6;
const ETHERNET_TYPE: usize = 12;
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

const IPV6: usize = 40;
const VERSION: u8 = 6;
const PAYLOAD_LENGTH: usize = ETHERNET + 4;
const NEXT_HEADER: usize = ETHERNET + 6;
const HOP_LIMIT: usize = ETHERNET + 7;
const SOURCE: usize = ETHERNET + 8;
const DESTINATION: usize = ETHERNET + 24;
const PAYLOAD: usize = ETHERNET + IPV6;

const TCP: u8 = 6;
const UDP: u8 = 17;

const QUOTE: usize = PAYLOAD + icmp::HEADER;

/// Why there is no IPv6 header.
pub enum NoIpv6 {
    /// The packet is of another protocol, or of another version of this one.
    Other,
    /// The packet says that it is IPv6, yet ends before its header does.
    Truncated,
}

/// Whether the packet has the tag of a VLAN, which stands outside of it. One
/// that only states a priority is taken off: such a frame is of no VLAN (IEEE
/// 802.1Q, section 9.6).
#[inline(always)]
pub fn is_tagged(ctx: &TcContext) -> bool {
    const VLAN: u32 = 0xfff;
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid for as long as the program runs; packet
    // pointers are read anew afterwards.
    let (has_tag, is_of_vlan, take_off) = unsafe {
        (|| (*skb).vlan_present != 0, || (*skb).vlan_tci & VLAN != 0, || bpf_skb_vlan_pop(skb) == 0)
    };
    has_tag() && (is_of_vlan() || !take_off() || has_tag())
}

/// Whether the frame is for another station, or for many though the packet is
/// for one. A router hands on neither.
#[inline(always)]
pub fn is_misaddressed(ctx: &TcContext, destination: Address) -> bool {
    /// `linux/if_packet.h`
    const PACKET_HOST: u32 = 0;
    const PACKET_OTHERHOST: u32 = 3;
    // SAFETY: the context is valid for as long as the program runs.
    match unsafe { (*ctx.skb.skb).pkt_type } {
        PACKET_HOST => false,
        PACKET_OTHERHOST => true,
        _ => !destination.is_multicast(),
    }
}

/// The packet's IPv6 header.
#[inline(always)]
pub fn header(ctx: &TcContext) -> Result<Header, NoIpv6> {
    pull(ctx, PAYLOAD);
    let kind: [u8; 2] = read(ctx, ETHERNET_TYPE).ok_or(NoIpv6::Other)?;
    if kind != ETHERTYPE_IPV6 {
        return Err(NoIpv6::Other);
    }
    let version: [u8; 1] = read(ctx, ETHERNET).ok_or(NoIpv6::Truncated)?;
    if version[0] >> 4 != VERSION {
        return Err(NoIpv6::Other);
    }
    // Reaches to the end of the header, so the shorter offsets follow.
    let destination = address(ctx, DESTINATION).ok_or(NoIpv6::Truncated)?;
    let source = address(ctx, SOURCE).ok_or(NoIpv6::Truncated)?;
    let payload_length = read(ctx, PAYLOAD_LENGTH).ok_or(NoIpv6::Truncated)?;
    Ok(Header {
        payload_length: u16::from_be_bytes(payload_length),
        next_header: read(ctx, NEXT_HEADER).ok_or(NoIpv6::Truncated)?,
        hop_limit: read(ctx, HOP_LIMIT).ok_or(NoIpv6::Truncated)?,
        source,
        destination,
    })
}

/// What hosts spread packets over several ways by, besides addresses, as it
/// stands in the packet.
#[derive(Clone, Copy, Default)]
pub struct Flow {
    /// Traffic class and flow label, the version in front of them left out.
    pub label: [u8; 4],
    /// The next header.
    pub protocol: u8,
    /// Source and destination; zeroes for other protocols.
    pub ports: [[u8; 2]; 2],
}

/// The flow that the packet is part of.
#[inline(always)]
pub fn flow(ctx: &TcContext, header: &Header) -> Flow {
    let mut label: [u8; 4] = read(ctx, ETHERNET).unwrap_or_default();
    label[0] &= 0xf;
    let mut flow = Flow { label, protocol: header.next_header, ports: Default::default() };
    if matches!(header.next_header, TCP | UDP) {
        flow.ports = read(ctx, PAYLOAD).unwrap_or_default();
    }
    flow
}

/// Whether the packet is going to be several on the wire.
#[inline(always)]
pub fn is_aggregated(ctx: &TcContext) -> bool {
    segment(ctx) != 0
}

/// Bytes from the IPv6 header on; of an aggregated packet, those of each of the
/// packets that it is going to be. Behind extension headers, and for protocols
/// other than TCP and UDP, these are longer than is said here.
#[inline(always)]
pub fn length(ctx: &TcContext, header: &Header) -> u16 {
    const DATA_OFFSET: usize = PAYLOAD + 12;
    let payload = segment(ctx);
    if payload == 0 {
        return (ctx.len() as usize).saturating_sub(ETHERNET) as u16;
    }
    let upper = match header.next_header {
        TCP => read(ctx, DATA_OFFSET).map_or(0, |offset: u8| u32::from(offset >> 4) * 4),
        UDP => 8,
        _ => 0,
    };
    (IPV6 as u32 + upper + payload) as u16
}

/// Bytes of payload in each packet that an aggregated one is going to be; zero
/// for any other.
#[inline(always)]
fn segment(ctx: &TcContext) -> u32 {
    // SAFETY: the context is valid for as long as the program runs.
    unsafe { (*ctx.skb.skb).gso_size }
}

/// The `ICMPv6` type, for a packet whose next header says that it has one.
#[inline(always)]
pub fn icmp_type(ctx: &TcContext) -> Option<u8> {
    pull(ctx, PAYLOAD + 1);
    read(ctx, PAYLOAD)
}

/// The `ICMPv6` type behind whatever extension headers there are; none if the
/// packet carries something else, or nobody can tell.
#[inline(always)]
pub fn upper(ctx: &TcContext, header: &Header) -> Upper {
    extension::upper(header.next_header, |offset| ctx.load(PAYLOAD + offset).ok())
}

/// One byte behind the IPv6 header, at an offset known only now.
#[inline(always)]
pub fn byte(ctx: &TcContext, offset: usize) -> Option<u8> {
    ctx.load(PAYLOAD + offset).ok()
}

/// The neighbour solicitation that the packet is, if it is as it must be.
#[inline(always)]
pub fn solicitation(ctx: &TcContext, header: &Header) -> Option<Solicitation> {
    let mut message = zeroes::<{ ndp::MAX_UNITS }>();
    // From one to all, which is how the verifier wants to see what the helper
    // writes; a longer message is refused below.
    let most = size_of_val(&message) as u32;
    let length = (u32::from(header.payload_length).wrapping_sub(1) & (most - 1)) + 1;
    // SAFETY: the context is valid and the memory holds what is asked for.
    let loaded = unsafe {
        let message = message.as_mut_ptr().cast();
        bpf_skb_load_bytes(ctx.skb.skb.cast(), PAYLOAD as u32, message, length)
    };
    if loaded != 0 {
        return None;
    }
    Solicitation::read(header, |index| message.get(index).copied().map(u64::from_be))
}

/// As many zeroes. The compiler does not know that they are: it would make a
/// loop over bytes of them, which the verifier goes through step by step.
#[inline(always)]
pub fn zeroes<const N: usize>() -> [u64; N] {
    [black_box(0); N]
}

/// Gives the packet its new addresses. `rest` makes up for what their sum has
/// changed.
#[inline(always)]
pub fn set_addresses(ctx: &TcContext, rewrite: &Rewrite, rest: ChecksumDelta) -> Result<(), ()> {
    write_address(ctx, DESTINATION, rewrite.destination).ok_or(())?;
    write_address(ctx, SOURCE, rewrite.source).ok_or(())?;
    if !rewrite.neutral {
        tell(ctx, !rest.value());
    }
    Ok(())
}

/// Takes one from the hop limit, which was `before`.
#[inline(always)]
pub fn decrement_hop_limit(ctx: &TcContext, before: u8) -> Result<(), ()> {
    write(ctx, HOP_LIMIT, before.wrapping_sub(1)).ok_or(())?;
    // It is the lower byte of its word.
    tell(ctx, !1);
    Ok(())
}

/// Addresses the frame to a container.
#[inline(always)]
pub fn set_link_layer(ctx: &TcContext, destination: Mac) -> Result<(), ()> {
    write(ctx, 0, destination).ok_or(())?;
    write(ctx, ETHERNET_SOURCE, GATEWAY_MAC).ok_or(())
}

/// The addresses of the packet that is quoted by the `ICMPv6` error which begins
/// so many bytes behind the IPv6 header.
#[inline(always)]
pub fn quote(ctx: &TcContext, error: u32) -> Option<(Address, Address)> {
    let halves: [u64; 4] = ctx.load(quoted_addresses(error)).ok()?;
    let [a, b, c, d] = halves.map(u64::from_be);
    Some((Address { high: a, low: b }, Address { high: c, low: d }))
}

/// Replaces them, and adjusts the checksum that covers them.
#[inline(always)]
pub fn set_quote(ctx: &TcContext, error: u32, quote: &Quote) -> Result<(), ()> {
    let Quote { source, destination, .. } = quote;
    let halves = [source.high, source.low, destination.high, destination.low].map(u64::to_be);
    ctx.store(quoted_addresses(error), &halves, 0).map_err(|_| ())?;
    if !quote.checksum.is_zero() {
        let offset = PAYLOAD + error as usize + 2;
        let checksum = u16::from_be(ctx.load(offset).map_err(|_| ())?);
        ctx.store(offset, &quote.checksum.adjust(checksum).to_be(), 0).map_err(|_| ())?;
    }
    Ok(())
}

/// Where they are.
#[inline(always)]
fn quoted_addresses(error: u32) -> usize {
    PAYLOAD + error as usize + icmp::HEADER + 8
}

/// Turns the packet into the advertisement that answers it.
#[inline(always)]
pub fn reply(ctx: &TcContext, advertisement: &Advertisement) -> Result<(), ()> {
    let to = if advertisement.to == ndp::ALL_NODES {
        ndp::ALL_NODES_MAC
    } else {
        read(ctx, ETHERNET_SOURCE).ok_or(())?
    };
    set_length(ctx, ETHERNET + Advertisement::LENGTH)?;
    ctx.store(0, &to, 0).map_err(|_| ())?;
    ctx.store(ETHERNET_SOURCE, &advertisement.mac, 0).map_err(|_| ())?;
    let mut packet = advertisement.packet();
    for half in &mut packet {
        *half = half.to_be();
    }
    // The packet is as another one now; if a device has summed up the old one,
    // its sum is made that of the new one.
    ctx.store(ETHERNET, &packet, RECOMPUTE).map_err(|_| ())
}

const RECOMPUTE: u64 = aya_ebpf::bindings::BPF_F_RECOMPUTE_CSUM as u64;

/// Turns the packet into the error that quotes it, from `source` to
/// `destination`, and the frame into one back to where it came from. On the
/// wire the error goes to `wire`, which is the destination or stands for it;
/// the checksum is over the destination.
#[inline(always)]
pub fn refuse(
    ctx: &TcContext,
    error: icmp::Error,
    source: Address,
    destination: Address,
    wire: Address,
) -> Result<(), ()> {
    let back: Mac = read(ctx, ETHERNET_SOURCE).ok_or(())?;
    let length = (ctx.len() as usize).saturating_sub(ETHERNET).min(MAX_QUOTE);
    // If a device is still to finish a checksum (`CHECKSUM_PARTIAL`), it is in
    // what remains, or the kernel refuses.
    set_length(ctx, ETHERNET + MAX_QUOTE)?;
    // As long as can be, so that one sum fits all: what is added is zero. And a
    // byte more, so that it is always cut: then the kernel forgets a sum that a
    // device made, which knows nothing of the headers.
    set_length(ctx, SHED + QUOTE + MAX_QUOTE + 1)?;
    let sum = copy_quote(ctx)?;
    shed(ctx)?;
    set_length(ctx, QUOTE + length)?;
    let headers = error.headers(source, destination, length as u16, sum);
    write(ctx, 0, back).ok_or(())?;
    write(ctx, ETHERNET_SOURCE, GATEWAY_MAC).ok_or(())?;
    write(ctx, ETHERNET_TYPE, ETHERTYPE_IPV6).ok_or(())?;
    for (unit, half) in headers.iter().enumerate() {
        write(ctx, ETHERNET + unit * 8, half.to_be_bytes()).ok_or(())?;
    }
    write_address(ctx, DESTINATION, wire).ok_or(())
}

/// Bytes that a packet sheds when it is made into an error: those in front of
/// the copy of it that is the quote, and at least as many as it had. Whole
/// words, so that headers stay aligned.
const SHED: usize = (ETHERNET + MAX_QUOTE).next_multiple_of(16);

/// Takes as many bytes from behind the Ethernet header. Of a checksum that a
/// device is to finish the kernel forgets as soon as it would be in front of
/// the packet; nothing else in reach of a program makes it.
#[inline(always)]
fn shed(ctx: &TcContext) -> Result<(), ()> {
    const FEWER: i32 = -(SHED.cast_signed() as i32);
    // SAFETY: the context is valid; packet pointers are read anew afterwards.
    match unsafe { bpf_skb_adjust_room(ctx.skb.skb, FEWER, BPF_ADJ_ROOM_MAC, 0) } {
        0 => Ok(()),
        _ => Err(()),
    }
}

/// Copies the longest possible quote, which starts behind the Ethernet header,
/// to where it is going to be an error's, and sums it up.
#[inline(always)]
fn copy_quote(ctx: &TcContext) -> Result<Sum, ()> {
    /// What the stack has room for, in whole words of four.
    const CHUNK: usize = MAX_QUOTE / 4;
    let skb = ctx.skb.skb;
    let mut memory = MaybeUninit::<[u32; CHUNK / 4]>::uninit();
    let memory = memory.as_mut_ptr();
    let mut sum = 0u32;
    for chunk in (0..MAX_QUOTE).step_by(CHUNK) {
        let (from, to) = ((ETHERNET + chunk) as u32, (SHED + QUOTE + chunk) as u32);
        // SAFETY: the context is valid, the memory holds a chunk, and it is read
        // only once it does.
        unsafe {
            if bpf_skb_load_bytes(skb.cast(), from, memory.cast(), CHUNK as u32) != 0 {
                return Err(());
            }
            let added = bpf_csum_diff(ptr::null_mut(), 0, memory.cast(), CHUNK as u32, sum);
            sum = added.cast_unsigned() as u32;
            if bpf_skb_store_bytes(skb, to, memory.cast(), CHUNK as u32, 0) != 0 {
                return Err(());
            }
        }
    }
    // The helper sums up words as they lie in memory, and does not fold them.
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    Ok(Sum::new().word(u16::from_be(folded as u16)))
}

/// The interface that the packet came in by.
#[inline(always)]
pub fn interface(ctx: &TcContext) -> u32 {
    // SAFETY: the context is valid for as long as the program runs.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// `value` by way of the memory that a packet carries for programs, of which
/// the verifier does not follow what it holds.
#[inline(always)]
pub fn by_way_of_scratch(ctx: &TcContext, value: u32) -> u32 {
    // SAFETY: the context is valid for as long as the program runs, and the
    // memory is there for this. Volatile, or there would be no way.
    unsafe {
        let scratch = &raw mut (*ctx.skb.skb).cb[0];
        scratch.write_volatile(value);
        scratch.read_volatile()
    }
}

/// Leaves numbers in that memory for the program that goes on with the packet.
#[inline(always)]
pub fn remember(ctx: &TcContext, numbers: [u32; 3]) {
    for (index, number) in numbers.into_iter().enumerate() {
        // SAFETY: as above. Two in one write are what the kernel refuses.
        unsafe { (&raw mut (*ctx.skb.skb).cb[index]).write_volatile(number) };
    }
}

/// What was left there.
#[inline(always)]
pub fn remembered(ctx: &TcContext) -> [u32; 3] {
    // SAFETY: as above.
    [0, 1, 2].map(|index| unsafe { (&raw const (*ctx.skb.skb).cb[index]).read_volatile() })
}

/// Tells the kernel by how much the sum of the packet has changed, in network
/// order; it cares only if a device has summed the packet up.
#[inline(always)]
fn tell(ctx: &TcContext, change: u16) {
    // SAFETY: the context is valid and the helper moves nothing.
    unsafe { bpf_csum_update(ctx.skb.skb, u32::from(change.to_be())) };
}

#[inline(always)]
fn set_length(ctx: &TcContext, length: usize) -> Result<(), ()> {
    // SAFETY: the context is valid; packet pointers are read anew afterwards.
    if unsafe { bpf_skb_change_tail(ctx.skb.skb, length as u32, 0) } == 0 {
        Ok(())
    } else {
        Err(())
    }
}

#[inline(always)]
fn address(ctx: &TcContext, offset: usize) -> Option<Address> {
    let low = read(ctx, offset + 8)?;
    Some(Address::from_halves(read(ctx, offset)?, low))
}

#[inline(always)]
fn write_address(ctx: &TcContext, offset: usize, address: Address) -> Option<()> {
    write(ctx, offset, [address.high.to_be_bytes(), address.low.to_be_bytes()])
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
pub fn write<T: Plain>(ctx: &TcContext, offset: usize, value: T) -> Option<()> {
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
pub trait Plain: Copy {}

impl Plain for u8 {}
impl<T: Plain, const N: usize> Plain for [T; N] {}
