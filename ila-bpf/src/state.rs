//! What the programs know and what they count.

use core::hint::black_box;

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::bpf_ktime_get_coarse_ns,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, ProgramArray, RingBuf},
    programs::TcContext,
};
use ila_proto::{
    abi::{
        EVENT_BYTES, Event, Fate, HostConfig, InterfaceCounts, LocatorKey, LocatorValue,
        MAX_INTERFACES, MAX_LOCATORS, MAX_MAPPINGS, MappingKey, MappingValue, Tail,
    },
    addr::Address,
    forward::{Header, Tables},
    icmp::ERRORS_PER_SECOND,
};

use crate::packet;

const NANOSECONDS: u64 = 1_000_000_000;

/// Written by the agent before loading; the verifier then knows it as constant
/// and removes the branches that this host never takes.
#[unsafe(no_mangle)]
static ILA_CONFIG: HostConfig = EMPTY;

const EMPTY: HostConfig = {
    use ila_proto::abi::{
        Domain, LocatorSpace, MAX_DOMAINS, MAX_LOCATOR_SPACES, MAX_UPLINKS, Uplink,
    };
    const DOMAIN: Domain = Domain { sir_prefix: 0, locator: 0, to_ila: 0, to_sir: 0, padding: 0 };
    const UPLINK: Uplink = Uplink { interface: 0, mac: [0; 6], padding: 0 };
    const SPACE: LocatorSpace = LocatorSpace { bits: 0, mask: 0 };
    HostConfig {
        domains: [DOMAIN; MAX_DOMAINS],
        uplinks: [UPLINK; MAX_UPLINKS],
        locator_spaces: [SPACE; MAX_LOCATOR_SPACES],
        address: [0; 2],
        checksum_mode: 0,
        source_mode: 0,
        path: 0,
        padding: 0,
    }
};

/// Not preallocated: removed entries are then freed after a grace period, so
/// that a value cannot turn into another mapping's while it is being read.
#[map]
static ILA_MAPPINGS: HashMap<MappingKey, MappingValue> =
    HashMap::with_max_entries(MAX_MAPPINGS, BPF_F_NO_PREALLOC);

/// Not preallocated for the same reason.
#[map]
static ILA_LOCATORS: HashMap<LocatorKey, LocatorValue> =
    HashMap::with_max_entries(MAX_LOCATORS, BPF_F_NO_PREALLOC);

/// The agent makes an interface's entry before it attaches a program to it.
#[map]
static ILA_COUNTS: PerCpuHashMap<u32, InterfaceCounts> =
    PerCpuHashMap::with_max_entries(MAX_INTERFACES, BPF_F_NO_PREALLOC);

#[map]
static ILA_WANTED: Array<u64> = Array::with_max_entries(1, 0);

#[map]
static ILA_PLAIN: Array<u64> = Array::with_max_entries(1, 0);

#[map]
static ILA_MISSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[map]
static ILA_EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_BYTES, 0);

/// One per object, unlike the other maps: programs go on in those that they
/// were loaded with.
#[map]
static ILA_TAILS: ProgramArray = ProgramArray::with_max_entries(Tail::ALL.len() as u32, 0);

/// Goes on in another program; comes back only if that is not there.
#[inline(always)]
pub fn go_on(ctx: &TcContext, tail: Tail) {
    // SAFETY: nothing here waits to be dropped.
    unsafe { ILA_TAILS.tail_call(ctx, tail as u32) };
}

/// The host's configuration.
#[must_use]
#[inline(always)]
pub fn config() -> &'static HostConfig {
    // Keeps the compiler from folding in the zeroes above, which the agent
    // replaces in the object.
    black_box(&ILA_CONFIG)
}

/// The kernel's tables, as the program for a packet sees them.
pub struct Kernel<'a>(pub &'a TcContext);

impl Tables for Kernel<'_> {
    #[inline(always)]
    fn mapping(&self, key: MappingKey) -> Option<MappingValue> {
        // SAFETY: the map frees entries after a grace period (see above), and
        // the value is copied out before the program ends.
        unsafe { ILA_MAPPINGS.get(key) }.copied()
    }

    #[inline(always)]
    fn locator(&self, key: LocatorKey) -> Option<LocatorValue> {
        // SAFETY: as above.
        unsafe { ILA_LOCATORS.get(key) }.copied()
    }

    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        packet::by_way_of_scratch(self.0, value)
    }
}

/// Counts a packet of `length` bytes under its one fate.
#[inline(always)]
pub fn count(ctx: &TcContext, fate: Fate, length: u32) {
    // The compiler knows that no fate is out of bounds and would not check; the
    // verifier does not know.
    let number = black_box(fate.number()) as usize;
    let Some(counts) = counts(ctx) else { return };
    // SAFETY: see `counts`.
    let counts = unsafe { &mut *counts };
    if let Some(slot) = counts.fates.get_mut(number) {
        slot.packets += 1;
        slot.bytes += u64::from(length);
    }
}

/// Whether one more ICMPv6 error may be sent on behalf of the interface.
#[inline(always)]
pub fn may_send_error(ctx: &TcContext) -> bool {
    let Some(counts) = counts(ctx) else { return false };
    // SAFETY: see `counts`.
    let counts = unsafe { &mut *counts };
    // SAFETY: the helper takes nothing.
    let second = unsafe { bpf_ktime_get_coarse_ns() } / NANOSECONDS;
    if counts.error_second != second {
        counts.error_second = second;
        counts.errors = 0;
    }
    counts.errors += 1;
    counts.errors <= ERRORS_PER_SECOND
}

/// What this CPU keeps of the packet's interface: this CPU's value, where no
/// other program runs at the same time, for tc programs are not preempted by
/// each other.
#[inline(always)]
fn counts(ctx: &TcContext) -> Option<*mut InterfaceCounts> {
    ILA_COUNTS.get_ptr_mut(packet::interface(ctx))
}

/// Tells of a packet that is about to be dropped, if anybody listens.
#[inline(always)]
pub fn report(ctx: &TcContext, fate: Fate) {
    if !is_wanted() {
        return;
    }
    let none = Address::UNSPECIFIED;
    let (mut source, mut destination, mut next_header, mut hop_limit) = (none, none, 0, 0);
    if let Ok(header) = packet::header(ctx) {
        Header { source, destination, next_header, hop_limit, .. } = header;
    }
    let event = Event {
        fate: fate.number(),
        interface: packet::interface(ctx),
        source: [source.high, source.low],
        destination: [destination.high, destination.low],
        length: ctx.len(),
        next_header,
        hop_limit,
        padding: 0,
    };
    if ILA_EVENTS.output::<Event>(&event, 0).is_err()
        && let Some(missed) = ILA_MISSED.get_ptr_mut(0)
    {
        // SAFETY: this CPU's value, as in `counts`.
        unsafe { *missed += 1 };
    }
}

/// Whether the routes to all locators are known to be plain.
#[inline(always)]
pub fn are_routes_plain() -> bool {
    // SAFETY: the pointer is to the map's one value, which the agent writes at
    // the same time; one that is late by a packet does no harm.
    ILA_PLAIN.get_ptr(0).is_some_and(|plain| unsafe { plain.read_volatile() } != 0)
}

/// Whether anybody listens to events. The clock is looked at only if somebody
/// has: an agent that was killed cannot say that nobody does any more.
#[inline(always)]
fn is_wanted() -> bool {
    let Some(until) = ILA_WANTED.get_ptr(0) else { return false };
    // SAFETY: the pointer is to the map's one value, which the agent writes at
    // the same time; one that is late by a packet does no harm.
    let until = unsafe { until.read_volatile() };
    // SAFETY: the helper takes nothing.
    let is_wanted = until != 0 && unsafe { bpf_ktime_get_coarse_ns() } < until;
    // Brings both reasons for a no together; apart, the verifier goes through
    // the rest of the program once for each.
    black_box(is_wanted)
}
