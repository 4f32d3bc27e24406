//! The few commands of bpf(2) that aya has no functions for: batches of map
//! entries, looking at a link and giving it another program, and test runs
//! with the kernel's check of checksums.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use ila_proto::abi::Layout;
use nix::libc;

const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const PROG_TEST_RUN: libc::c_int = 10;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const MAP_UPDATE_BATCH: libc::c_int = 26;
const MAP_DELETE_BATCH: libc::c_int = 27;
const LINK_UPDATE: libc::c_int = 29;
const LINK_DETACH: libc::c_int = 34;

/// `BPF_F_TEST_SKB_CHECKSUM_COMPLETE`: the packet is treated as one whose sum a
/// device has computed, and the run fails if that no longer fits the bytes.
pub const CHECKSUM_COMPLETE: u32 = 1 << 2;

/// The attributes of the commands on pins.
#[repr(C)]
#[derive(Default)]
struct Pin {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// The object that is pinned at `path`.
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Pin { path: text.as_ptr() as u64, ..Pin::default() };
    let descriptor = call(OBJ_GET, &mut attributes)?;
    // SAFETY: the kernel has just made the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Pins an object at `path`.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    let path = text.as_ptr() as u64;
    call(OBJ_PIN, &mut Pin { path, descriptor: number(object), flags: 0 }).map(|_| ())
}

/// What a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The program that it runs, by its number.
    pub program: u32,
    /// The interface that it is attached to; zero once that is gone.
    pub interface: u32,
}

/// Looks at a TCX link.
pub fn link_state(link: BorrowedFd<'_>) -> io::Result<LinkState> {
    /// The head of `bpf_link_info`, with the union as TCX has it.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        number: u32,
        program: u32,
        padding: u32,
        interface: u32,
        attach_type: u32,
    }
    let mut info = Info::default();
    information(link, &mut info)?;
    Ok(LinkState { program: info.program, interface: info.interface })
}

/// The number of a program or a map; each kind has numbers of its own.
pub fn object_number(object: BorrowedFd<'_>) -> io::Result<u32> {
    /// The head of `bpf_prog_info` and of `bpf_map_info`.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        number: u32,
    }
    let mut info = Info::default();
    information(object, &mut info)?;
    Ok(info.number)
}

/// Has a link run another program from the next packet on.
pub fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        link: u32,
        program: u32,
        flags: u32,
        old_program: u32,
    }
    let mut attributes =
        Attributes { link: number(link), program: number(program), ..Attributes::default() };
    call(LINK_UPDATE, &mut attributes).map(|_| ())
}

/// Takes a link off its interface, now and not when nobody holds it any more.
pub fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        link: u32,
    }
    call(LINK_DETACH, &mut Attributes { link: number(link) }).map(|_| ())
}

/// The attributes of the commands on many entries of a map.
#[repr(C)]
#[derive(Default)]
struct Batch {
    /// Where the previous call ended; null at first.
    after: u64,
    /// Where this one ends.
    last: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Sets many entries of a map. If it fails, those before the one that the
/// kernel refused are set.
pub fn update_batch<K: Layout, V: Layout>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> io::Result<()> {
    assert_eq!(keys.len(), values.len(), "every key has a value");
    batch(MAP_UPDATE_BATCH, map, keys, values.as_ptr() as u64)
}

/// Removes many entries of a map, all of which must be there.
pub fn delete_batch<K: Layout>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<()> {
    batch(MAP_DELETE_BATCH, map, keys, 0)
}

fn batch<K: Layout>(
    command: libc::c_int,
    map: BorrowedFd<'_>,
    keys: &[K],
    values: u64,
) -> io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let count = u32::try_from(keys.len()).map_err(io::Error::other)?;
    let mut attributes =
        Batch { keys: keys.as_ptr() as u64, values, count, map: number(map), ..Batch::default() };
    call(command, &mut attributes).map(|_| ())
}

/// All entries of a hash map of which nobody else adds or removes any.
pub fn entries<K: Layout, V: Layout>(map: BorrowedFd<'_>, none: (K, V)) -> io::Result<Vec<(K, V)>> {
    const CHUNK: usize = 1 << 16;
    let (mut keys, mut values) = (vec![none.0; CHUNK], vec![none.1; CHUNK]);
    let mut all = Vec::new();
    let mut position = 0u32;
    let mut is_first = true;
    loop {
        let before = position;
        let mut attributes = Batch {
            after: if is_first { 0 } else { &raw const before as u64 },
            last: &raw mut position as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(CHUNK).expect("it is small"),
            map: number(map),
            ..Batch::default()
        };
        let result = call(MAP_LOOKUP_BATCH, &mut attributes);
        let is_last = matches!(&result, Err(error) if error.raw_os_error() == Some(libc::ENOENT));
        if !is_last {
            result?;
        }
        let count = attributes.count as usize;
        all.extend(keys[..count].iter().copied().zip(values[..count].iter().copied()));
        if is_last {
            return Ok(all);
        }
        is_first = false;
    }
}

/// Bytes of kernel memory that a map takes, as the kernel reckons.
pub fn memory(map: BorrowedFd<'_>) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
    bytes.ok_or_else(|| io::Error::other("the kernel does not tell"))
}

/// What a test run gave.
#[derive(Debug, Default)]
pub struct TestRun {
    /// What the program returned.
    pub action: i32,
    /// The packet as it was left.
    pub packet: Vec<u8>,
    /// Nanoseconds of a run, on average.
    pub nanoseconds: u32,
}

/// Runs a program `repeat` times on one packet, which is not made anew in
/// between.
pub fn test_run(
    program: BorrowedFd<'_>,
    packet: &[u8],
    repeat: u32,
    flags: u32,
) -> io::Result<TestRun> {
    /// How much a program may add to a packet.
    const ROOM: usize = 256;
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        program: u32,
        result: u32,
        size_in: u32,
        size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
        context_size_in: u32,
        context_size_out: u32,
        context_in: u64,
        context_out: u64,
        flags: u32,
        cpu: u32,
        batch_size: u32,
        padding: u32,
    }
    let mut out = vec![0u8; packet.len() + ROOM];
    let size = |length: usize| u32::try_from(length).map_err(io::Error::other);
    let mut attributes = Attributes {
        program: number(program),
        size_in: size(packet.len())?,
        size_out: size(out.len())?,
        data_in: packet.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        repeat,
        flags,
        ..Attributes::default()
    };
    call(PROG_TEST_RUN, &mut attributes)?;
    out.truncate(attributes.size_out as usize);
    Ok(TestRun {
        action: attributes.result.cast_signed(),
        packet: out,
        nanoseconds: attributes.duration,
    })
}

fn information<T>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        object: u32,
        length: u32,
        info: u64,
    }
    let length = u32::try_from(size_of::<T>()).expect("it is small");
    let info = &raw mut *info as u64;
    call(OBJ_GET_INFO_BY_FD, &mut Attributes { object: number(object), length, info }).map(|_| ())
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    u32::try_from(descriptor.as_raw_fd()).expect("descriptors are not negative")
}

/// `T` has the layout that the kernel reads for `command`, and its pointers are
/// to memory of the sizes that it tells.
fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: all callers are above; each keeps what it points to alive across
    // the call and tells its true size. The kernel reads no more of the
    // attributes than it is told here.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}
