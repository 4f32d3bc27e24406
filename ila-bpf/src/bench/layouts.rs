//! The object that compares ways to lay out the table of mappings: each
//! program draws an identifier and looks it up in another one.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the macro that makes a program's entry drops its comment")]
#![allow(clippy::needless_pass_by_value, reason = "the macro hands the context over by value")]
#![allow(
    clippy::inline_always,
    reason = "a call would make the verifier forget what it knows of packet pointers"
)]
#![allow(clippy::cast_possible_truncation, reason = "any number will do as a program's result")]

#[path = "../object.rs"]
mod object;
#[expect(dead_code, reason = "no packet is looked at here")]
mod sample;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, TC_ACT_SHOT},
    macros::{classifier, map},
    maps::{Array, HashMap, LruHashMap},
    programs::TcContext,
};
use ila_bpf::Kernel;
use ila_proto::{
    abi::{MAX_MAPPINGS, MappingKey, MappingValue, Place},
    addr::Identifier,
    bench::{Sample, scattered},
    forward::Tables as _,
};

#[map]
static PREALLOCATED: HashMap<MappingKey, MappingValue> = HashMap::with_max_entries(MAX_MAPPINGS, 0);

/// By SIR prefix and identifier.
#[map]
static WIDE: HashMap<[u64; 2], MappingValue> =
    HashMap::with_max_entries(MAX_MAPPINGS, BPF_F_NO_PREALLOC);

#[map]
static LRU: LruHashMap<MappingKey, MappingValue> = LruHashMap::with_max_entries(MAX_MAPPINGS, 0);

#[map]
static INDEX: Array<MappingValue> = Array::with_max_entries(MAX_MAPPINGS, 0);

#[classifier]
pub fn draw(_ctx: TcContext) -> i32 {
    by_key(|key| Some(MappingValue::new(Place::Here { interface: key.0 as u32 | 1, mac: [0; 6] })))
}

#[classifier]
pub fn shipped(ctx: TcContext) -> i32 {
    by_key(|key| Kernel(&ctx).mapping(key))
}

#[classifier]
pub fn preallocated(_ctx: TcContext) -> i32 {
    // SAFETY: measuring removes nothing meanwhile, here and below.
    by_key(|key| unsafe { PREALLOCATED.get(key) }.copied())
}

#[classifier]
pub fn wide(_ctx: TcContext) -> i32 {
    // SAFETY: as above.
    by_key(|key| unsafe { WIDE.get([ila_bpf::config().domains[0].sir_prefix, key.0]) }.copied())
}

#[classifier]
pub fn lru(_ctx: TcContext) -> i32 {
    // SAFETY: as above.
    by_key(|key| unsafe { LRU.get(key) }.copied())
}

#[classifier]
pub fn index(_ctx: TcContext) -> i32 {
    look_up(|index, _| INDEX.get(index).copied())
}

#[inline(always)]
fn by_key(table: impl Fn(MappingKey) -> Option<MappingValue>) -> i32 {
    look_up(|_, identifier| table(MappingKey::new(0, identifier)?))
}

/// Looks up what is drawn and uses what is found.
#[inline(always)]
fn look_up(table: impl Fn(u32, Identifier) -> Option<MappingValue>) -> i32 {
    let Some(sample) = sample::sample() else { return TC_ACT_SHOT };
    let like = u64::from_be_bytes(sample.packet[Sample::DESTINATION]);
    let index = sample::draw(sample);
    match table(index, scattered(Identifier::from_bits(like), index)).map(|it| it.place()) {
        None => TC_ACT_SHOT,
        Some(Place::Here { interface, .. }) => interface.cast_signed(),
        Some(Place::There { locator, to_ila }) => locator.bits() as i32 ^ i32::from(to_ila.value()),
    }
}
