//! What the programs know and what they count.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::map,
    maps::{HashMap, PerCpuArray},
    programs::TcContext,
};
use ila_proto::{
    abi::{FATE_SLOTS, Fate, FateCount, HostConfig, MAX_MAPPINGS, MappingKey, MappingValue},
    addr::Identifier,
};

/// Written by the agent before loading; the verifier then knows it as constant
/// and removes the branches that this host never takes.
#[unsafe(no_mangle)]
static ILA_CONFIG: HostConfig =
    HostConfig { sir_prefix: 0, locator: 0, to_sir: 0, checksum_mode: 0, padding: 0 };

/// Not preallocated: removed entries are then freed after a grace period, so
/// that a value cannot turn into another mapping's while it is being read.
#[map]
static ILA_MAPPINGS: HashMap<MappingKey, MappingValue> =
    HashMap::with_max_entries(MAX_MAPPINGS, BPF_F_NO_PREALLOC);

#[map]
static ILA_FATES: PerCpuArray<FateCount> = PerCpuArray::with_max_entries(FATE_SLOTS, 0);

/// The host's configuration.
#[inline(always)]
pub fn config() -> HostConfig {
    // SAFETY: the static is valid and never written while programs run. The
    // volatile read keeps the compiler from folding in the zeroes above, which
    // the agent replaces in the object.
    unsafe { ptr::read_volatile(&raw const ILA_CONFIG) }
}

/// Where `identifier` lives.
#[inline(always)]
pub fn mapping(identifier: Identifier) -> Option<MappingValue> {
    // SAFETY: the map frees entries after a grace period (see above), and the
    // value is copied out before the program ends.
    unsafe { ILA_MAPPINGS.get(MappingKey::from(identifier)) }.copied()
}

/// Counts the packet and hands it on: to later programs, then to the stack.
#[inline(always)]
pub fn pass(ctx: &TcContext, fate: Fate) -> i32 {
    count(ctx, fate);
    // Anything else would end the chain and skip the programs behind ours.
    TC_ACT_UNSPEC
}

/// Counts the packet and drops it.
#[inline(always)]
pub fn drop(ctx: &TcContext, fate: Fate) -> i32 {
    count(ctx, fate);
    TC_ACT_SHOT
}

/// Counts the packet under its one fate.
#[inline(always)]
pub fn count(ctx: &TcContext, fate: Fate) {
    if let Some(slot) = ILA_FATES.get_ptr_mut(fate.number()) {
        // SAFETY: the pointer is to this CPU's slot, where no other program
        // runs at the same time: tc programs are not preempted by each other.
        let slot = unsafe { &mut *slot };
        slot.packets += 1;
        slot.bytes += u64::from(ctx.len());
    }
}
