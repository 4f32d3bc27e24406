//! A loaded pair of programs, packets for it, and what became of them.

use std::{
    io::{self, Write as _},
    net::Ipv6Addr,
    os::fd::{AsRawFd as _, BorrowedFd},
    sync::OnceLock,
};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, err::packet::BuildWriteError};
use ila_agent::datapath::{Datapath, Role};
use ila_proto::{
    abi::{Fate, HostConfig, MappingValue},
    addr::{Identifier, Locator, SirPrefix},
    api::Hook,
    translate::ChecksumMode,
};

pub const ETHERNET: usize = 14;
pub const IPV6: usize = 40;
const DESTINATION: usize = ETHERNET + 24;

pub const CONTAINER_MAC: [u8; 6] = [0x06, 0, 0, 0, 0, 0xa1];
pub const OTHER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// The loopback interface, which PROG_TEST_RUN takes if it is told nothing.
pub const TEST_INTERFACE: u32 = 1;

/// What the programs give back (`linux/pkt_cls.h`).
pub const PASS: i32 = -1;
pub const DROP: i32 = 2;
pub const REDIRECT: i32 = 7;

pub const SIR: &str = "fd00:db8:0:1::/64";
pub const HERE: &str = "2001:db8:a:1::/64";
pub const THERE: &str = "2001:db8:b:2::/64";

/// A container on this host, and one on another.
pub const LOCAL: &str = "2000:0:0:a1";
pub const REMOTE: &str = "2000:0:0:b1";

/// One host's programs, with [`LOCAL`] and [`REMOTE`] mapped.
pub struct Host {
    pub mode: ChecksumMode,
    pub sir: SirPrefix,
    pub here: Locator,
    pub there: Locator,
    pub datapath: Datapath,
    flags: u32,
}

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub action: i32,
    pub fate: Fate,
    pub packet: Vec<u8>,
}

impl Host {
    pub fn new(mode: ChecksumMode) -> Self {
        Self::between(mode, SIR, HERE, THERE)
    }

    pub fn between(mode: ChecksumMode, sir: &str, here: &str, there: &str) -> Self {
        let [here, there] = [here, there].map(|text| text.parse::<Locator>().expect("a locator"));
        let sir: SirPrefix = sir.parse().expect("a SIR prefix");
        let config = HostConfig {
            sir_prefix: sir.bits(),
            locator: here.bits(),
            to_sir: mode.to_sir_delta(sir, here).value(),
            checksum_mode: mode.number(),
            padding: 0,
        };
        let datapath = Datapath::load(&config, Hook::Tcx)
            .expect("the programs load; this needs root, see `cargo xtask test --help`");
        let flags = test_flags(datapath.program(Role::Uplink).expect("the program is loaded"));
        let mut host = Self { mode, sir, here, there, datapath, flags };
        host.map(identifier(LOCAL), here, 77);
        host.map(identifier(REMOTE), there, 0);
        host
    }

    pub fn map(&mut self, identifier: Identifier, locator: Locator, interface: u32) {
        let to_ila = self.mode.to_ila_delta(self.sir, locator).value();
        let value = MappingValue { locator: locator.bits(), to_ila, padding: 0, interface };
        self.datapath.set_mapping(identifier, value).expect("the map takes it");
    }

    /// Runs the program for `role` and demands that it counted the packet once,
    /// under one fate, with its length.
    pub fn run(&self, role: Role, packet: &[u8]) -> Outcome {
        let before = self.datapath.fates().expect("counters can be read");
        let program = self.datapath.program(role).expect("the program is loaded");
        let (action, out) = test_run(program, self.flags, packet).expect("the kernel runs it");
        let after = self.datapath.fates().expect("counters can be read");
        let counted: Vec<_> = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after)
            .map(|(&(fate, old), &(_, new))| {
                (fate, new.packets - old.packets, new.bytes - old.bytes)
            })
            .collect();
        let [(fate, 1, bytes)] = counted[..] else { panic!("counted {counted:?}") };
        assert!(bytes == packet.len() as u64 || bytes == out.len() as u64, "{fate}: {bytes}");
        Outcome { action, fate, packet: out }
    }

    pub fn sir_address(&self, identifier: Identifier) -> Ipv6Addr {
        ila_proto::addr::Address::from(self.sir.address(identifier)).into()
    }
}

pub fn identifier(text: &str) -> Identifier {
    text.parse().expect("an identifier")
}

/// An Ethernet frame with a UDP datagram, all checksums right.
pub fn udp(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    write(|packet| ipv6(source, destination).udp(4000, 53).write(packet, payload))
}

/// The same with a TCP segment.
pub fn tcp(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    write(|packet| ipv6(source, destination).tcp(4000, 80, 1, 0xffff).write(packet, payload))
}

/// The same with an ICMPv6 echo request.
pub fn echo(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    write(|packet| ipv6(source, destination).icmpv6_echo_request(7, 1).write(packet, payload))
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr) -> PacketBuilderStep<IpHeaders> {
    PacketBuilder::ethernet2(CONTAINER_MAC, OTHER_MAC).ipv6(
        source.octets(),
        destination.octets(),
        64,
    )
}

fn write(build: impl FnOnce(&mut Vec<u8>) -> Result<(), BuildWriteError>) -> Vec<u8> {
    let mut packet = Vec::new();
    build(&mut packet).expect("the packet fits");
    packet
}

/// Where the packet goes.
pub fn destination(packet: &[u8]) -> Ipv6Addr {
    let bytes: [u8; 16] = packet[DESTINATION..DESTINATION + 16].try_into().expect("16 bytes");
    bytes.into()
}

/// The packet with another destination and nothing else changed.
pub fn redirected(packet: &[u8], destination: Ipv6Addr) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[DESTINATION..DESTINATION + 16].copy_from_slice(&destination.octets());
    packet
}

/// Whether the transport checksum is right, computed from zero.
pub fn checksum_is_valid(packet: &[u8]) -> bool {
    let parsed = etherparse::PacketHeaders::from_ethernet_slice(packet).expect("it can be parsed");
    let Some(etherparse::NetHeaders::Ipv6(ip, _)) = &parsed.net else { panic!("not IPv6") };
    let payload = parsed.payload.slice();
    let transport = parsed.transport.expect("it has a transport header");
    match transport {
        etherparse::TransportHeader::Udp(udp) => {
            udp.calc_checksum_ipv6(ip, payload).expect("short") == udp.checksum
        }
        etherparse::TransportHeader::Tcp(tcp) => {
            tcp.calc_checksum_ipv6(ip, payload).expect("short") == tcp.checksum
        }
        etherparse::TransportHeader::Icmpv6(icmp) => {
            let of_type = icmp.icmp_type.calc_checksum(ip.source, ip.destination, payload);
            of_type.expect("short") == icmp.checksum
        }
        other => panic!("{other:?} in IPv6"),
    }
}

/// `CHECKSUM_COMPLETE` if the kernel has that check, else nothing; found out
/// once, before anything is counted.
fn test_flags(program: BorrowedFd<'_>) -> u32 {
    const CHECKSUM_COMPLETE: u32 = 1 << 2;
    static FLAGS: OnceLock<u32> = OnceLock::new();

    *FLAGS.get_or_init(|| {
        let packet = udp(Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, b"x");
        let runs = |flags| test_run(program, flags, &packet);
        let refused = runs(CHECKSUM_COMPLETE)
            .is_err_and(|error| error.raw_os_error() == Some(nix::libc::EINVAL));
        if !(refused && runs(0).is_ok()) {
            return CHECKSUM_COMPLETE;
        }
        // Unlike eprintln, past the harness, which shows what failed tests say.
        let _ = writeln!(
            io::stderr(),
            "note: this kernel cannot check its own sum of a packet \
             (BPF_F_TEST_SKB_CHECKSUM_COMPLETE); the tests go without"
        );
        0
    })
}

/// `BPF_PROG_TEST_RUN` on an skb; aya's wrapper takes no flags.
fn test_run(program: BorrowedFd<'_>, flags: u32, packet: &[u8]) -> io::Result<(i32, Vec<u8>)> {
    const BPF_PROG_TEST_RUN: nix::libc::c_int = 10;

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

    let mut out = vec![0u8; packet.len() + 256];
    let mut attributes = Attributes {
        program: u32::try_from(program.as_raw_fd()).expect("descriptors are not negative"),
        size_in: u32::try_from(packet.len()).expect("packets are small"),
        size_out: u32::try_from(out.len()).expect("packets are small"),
        data_in: packet.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        repeat: 1,
        flags,
        ..Attributes::default()
    };
    // SAFETY: the attributes have the kernel's layout for this command and
    // their size is told; both buffers live across the call and their sizes
    // are those of the allocations.
    let done = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            &raw mut attributes,
            size_of::<Attributes>(),
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    out.truncate(attributes.size_out as usize);
    Ok((attributes.result.cast_signed(), out))
}
