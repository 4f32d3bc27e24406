//! A program before another, for what a test run has no field for: it gives
//! the packet the tag of a VLAN, and tells what has become of the kernel's own
//! sum of the packet. The instructions are few and written out: nothing but the
//! kernel has to understand them.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

use ila_agent::datapath::bpf::{self, CHECKSUM_COMPLETE, TestRun};
use nix::libc;

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;

const ARRAY: u32 = 2;
const PROGRAM_ARRAY: u32 = 3;
const CLASSIFIER: u32 = 3;

/// What the helper gives back for a packet without a sum.
const ENOTSUPP: i64 = -524;

/// The program.
pub struct Probe {
    program: OwnedFd,
    memory: OwnedFd,
    /// Leads to the other program for as long as somebody holds it.
    _next: OwnedFd,
}

/// What the kernel has of a packet that a program has run on.
#[derive(Debug, PartialEq, Eq)]
pub enum Sum {
    /// None any more: whoever wants one computes it.
    None,
    /// One that fits the bytes.
    Right,
    /// One that does not.
    Wrong,
}

/// What program and test tell each other.
#[repr(C)]
#[derive(Default)]
struct Memory {
    /// The tag that a packet gets, zero for none.
    tag: u32,
    padding: u32,
    /// The sum that the kernel has of it, or why it has none.
    sum: i64,
}

impl Probe {
    /// One that goes before `program`.
    pub fn before(program: BorrowedFd<'_>) -> io::Result<Self> {
        let (memory, next) = (map(ARRAY, size_of::<Memory>())?, map(PROGRAM_ARRAY, 4)?);
        element(MAP_UPDATE, &next, &mut program.as_raw_fd())?;
        let program = load(&code(memory.as_raw_fd(), next.as_raw_fd()))?;
        Ok(Self { program, memory, _next: next })
    }

    /// Runs the other program on a packet with a tag, which must not be zero.
    pub fn run_tagged(&self, tag: u16, packet: &[u8], flags: u32) -> io::Result<TestRun> {
        element(MAP_UPDATE, &self.memory, &mut Memory { tag: tag.into(), ..Memory::default() })?;
        bpf::test_run(self.program.as_fd(), packet, 1, flags)
    }

    /// Runs the other program on a packet whose sum the kernel has.
    pub fn sum_after(&self, packet: &[u8]) -> io::Result<Sum> {
        let mut memory = Memory::default();
        element(MAP_UPDATE, &self.memory, &mut memory)?;
        // The second time round it looks at what the first has left.
        let run = bpf::test_run(self.program.as_fd(), packet, 2, CHECKSUM_COMPLETE);
        element(MAP_LOOKUP, &self.memory, &mut memory)?;
        match run {
            // The kernel compares what it no longer uses, too.
            _ if memory.sum == ENOTSUPP => Ok(Sum::None),
            Ok(_) => Ok(Sum::Right),
            Err(error) if error.raw_os_error() == Some(libc::EBADMSG) => Ok(Sum::Wrong),
            Err(error) => Err(error),
        }
    }
}

/// The first time that it sees a packet, which it marks, it goes on to the other
/// program; the second time it puts down the sum.
fn code(memory: RawFd, next: RawFd) -> Vec<u64> {
    const MARK: i16 = 8;
    const VLAN_PUSH: i32 = 18;
    const TAIL_CALL: i32 = 12;
    const CSUM_UPDATE: i32 = 40;
    const TPID: i32 = 0x8100_u16.to_be() as i32;
    let word = |code: u8, to: u8, from: u8, offset: i16, value: i32| {
        let [low, high] = offset.to_le_bytes();
        let [a, b, c, d] = value.to_le_bytes();
        u64::from_le_bytes([code, from << 4 | to, low, high, a, b, c, d])
    };
    let copy = |to, from| word(0xbf, to, from, 0, 0);
    let set = |to, value| word(0xb7, to, 0, 0, value);
    let load = |to, from, offset| word(0x61, to, from, offset, 0);
    let is_not = |what, value, skip| word(0x55, what, 0, skip, value);
    let call = |helper| word(0x85, 0, 0, 0, helper);
    let exit = || word(0x95, 0, 0, 0, 0);
    // Of a map its values, or the map.
    let values = |to, map| [word(0x18, to, 2, 0, map), 0];
    let map = |to, map| [word(0x18, to, 1, 0, map), 0];
    [
        &[copy(6, 1)][..],
        &values(7, memory),
        &[load(2, 6, MARK), is_not(2, 0, 14)],
        &[set(2, 1), word(0x63, 6, 2, MARK, 0)],
        &[load(3, 7, 0), word(0x15, 3, 0, 3, 0)],
        &[copy(1, 6), set(2, TPID), call(VLAN_PUSH)],
        &[copy(1, 6)],
        &map(2, next),
        &[set(3, 0), call(TAIL_CALL), set(0, 0), exit()],
        &[copy(1, 6), set(2, 0), call(CSUM_UPDATE), word(0x7b, 7, 0, 8, 0), set(0, 0), exit()],
    ]
    .concat()
}

fn map(kind: u32, value_size: usize) -> io::Result<OwnedFd> {
    let value_size = u32::try_from(value_size).expect("it is small");
    create(MAP_CREATE, &mut [kind, 4, value_size, 1])
}

/// Sets or reads the only entry of a map, whose values are of this type.
fn element<T>(command: libc::c_int, map: &OwnedFd, value: &mut T) -> io::Result<()> {
    let key = 0u32;
    let map = u64::try_from(map.as_raw_fd()).expect("descriptors are not negative");
    call(command, &mut [map, &raw const key as u64, &raw mut *value as u64, 0]).map(drop)
}

fn load(code: &[u64]) -> io::Result<OwnedFd> {
    let count = u64::try_from(code.len()).expect("it is short") << 32;
    let kind_and_count = u64::from(CLASSIFIER) | count;
    create(PROG_LOAD, &mut [kind_and_count, code.as_ptr() as u64, c"GPL".as_ptr() as u64])
}

fn create<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    let descriptor = call(command, attributes)?;
    // SAFETY: the kernel has just made the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// `T` is laid out as the kernel reads it for `command`.
fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: all callers are above; what they point to is alive across the
    // call and as large as the kernel takes it to be.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}
