//! A loaded pair of programs, packets for it, and what became of them.

use std::{
    io::{self, Write as _},
    net::Ipv6Addr,
    os::fd::BorrowedFd,
    sync::OnceLock,
};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, err::packet::BuildWriteError};
use ila_agent::datapath::{
    Counts, Loaded, Role,
    bpf::{self, CHECKSUM_COMPLETE, TestRun},
};
use ila_proto::{
    abi::{
        Domain, Fate, GATEWAY_MAC, HostConfig, LocatorValue, MappingKey, MappingValue, Place,
        Uplink,
    },
    addr::{Address, Identifier, Locator, SirPrefix},
    forward::{Path, SourceMode},
    translate::{ChecksumMode, to_ila},
};

use crate::{
    model::World,
    network::{Network, UPLINK},
    probe::{Probe, Sum},
};

pub const ETHERNET: usize = 14;
pub const IPV6: usize = 40;
/// Where the upper layer starts.
pub const PAYLOAD: usize = ETHERNET + IPV6;
pub const PAYLOAD_LENGTH: usize = ETHERNET + 4;
pub const NEXT_HEADER: usize = ETHERNET + 6;
const HOP_LIMIT: usize = ETHERNET + 7;
const SOURCE: usize = ETHERNET + 8;
const DESTINATION: usize = ETHERNET + 24;

pub const CONTAINER_MAC: [u8; 6] = [0x06, 0, 0, 0, 0, 0xa1];
pub const OTHER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// The address of the interface that runs the programs, which is loopback.
pub const HOST_MAC: [u8; 6] = [0; 6];

/// The loopback interface, which PROG_TEST_RUN takes if it is told nothing.
pub const TEST_INTERFACE: u32 = 1;

/// What the link to other hosts carries at most.
pub const TEST_MTU: u32 = 1400;

/// What the programs give back (`linux/pkt_cls.h`).
pub const PASS: i32 = -1;
pub const DROP: i32 = 2;
pub const REDIRECT: i32 = 7;

pub const SIR: &str = "fd00:db8:0:1::/64";
pub const HERE: &str = "2001:db8:a:1::/64";
pub const THERE: &str = "2001:db8:b:2::/64";

/// The same in a second SIR prefix, for hosts that have one.
pub const SECOND_SIR: &str = "fd00:db8:0:2::/64";
pub const SECOND_HERE: &str = "2001:db8:a:3::/64";
pub const SECOND_THERE: &str = "2001:db8:b:4::/64";

/// A container on this host, one beside it, and one on another host.
pub const LOCAL: &str = "2000:0:0:a1";
pub const BESIDE: &str = "2000:0:0:a2";
pub const REMOTE: &str = "2000:0:0:b1";

/// The host's own address in the underlay.
pub const ADDRESS: &str = "2001:db8:ffff::2";

/// Its uplink's link-layer address.
pub const UPLINK_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xee];

/// The interface of [`BESIDE`]; nothing has it.
pub const BESIDE_INTERFACE: u32 = 77;

/// One host's programs, with [`LOCAL`], whose interface every packet comes in
/// by, [`BESIDE`] and [`REMOTE`] mapped.
pub struct Host {
    pub mode: ChecksumMode,
    pub sir: SirPrefix,
    pub here: Locator,
    pub there: Locator,
    pub programs: Loaded,
    /// The same for the model.
    pub world: World,
    probes: [Probe; 2],
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
        Self::with(mode, |_| {})
    }

    /// A host whose constants are changed by `change`.
    pub fn with(mode: ChecksumMode, change: impl FnOnce(&mut HostConfig)) -> Self {
        let [here, there] = [HERE, THERE].map(|text| text.parse::<Locator>().expect("a locator"));
        let sir: SirPrefix = SIR.parse().expect("a SIR prefix");
        let address = Address::from(address(ADDRESS));
        with_network(|_| Ok(()));
        let mut config = HostConfig {
            address: [address.high, address.low],
            checksum_mode: mode.number(),
            ..HostConfig::default()
        };
        config.domains[0] = domain(mode, sir, here);
        let uplink = |interface| Uplink { interface, mac: UPLINK_MAC, padding: 0 };
        // What packets leave by is never what the test run lets them come in by.
        [config.uplinks[0], config.uplinks[1]] = [TEST_INTERFACE, UPLINK].map(uplink);
        change(&mut config);
        let programs = Loaded::new(&config)
            .expect("the programs load; this needs root, see `cargo xtask test --help`");
        let flags = test_flags(programs.program(Role::Uplink.program()).expect("it is loaded"));
        let world = World { config, ..World::default() };
        let probes = [Role::Container, Role::Uplink].map(|role| {
            let program = programs.program(role.program()).expect("it is loaded");
            Probe::before(program).expect("the kernel takes another program before it")
        });
        let mut host = Self { mode, sir, here, there, programs, world, probes, flags };
        host.programs.tables.count(TEST_INTERFACE).expect("the map takes it");
        for locator in [here, there] {
            host.know(0, sir, locator);
        }
        host.map(identifier(LOCAL), Place::Here { interface: TEST_INTERFACE, mac: CONTAINER_MAC });
        host.map(identifier(BESIDE), Place::Here { interface: BESIDE_INTERFACE, mac: OTHER_MAC });
        host.map(identifier(REMOTE), host.at(there));
        host
    }

    /// The place of what lives at another locator.
    pub fn at(&self, locator: Locator) -> Place {
        Place::There { locator, to_ila: self.mode.to_ila_delta(self.sir, locator) }
    }

    pub fn map(&mut self, identifier: Identifier, place: Place) {
        self.map_in(0, identifier, place);
    }

    /// The same in another SIR prefix.
    pub fn map_in(&mut self, domain: u32, identifier: Identifier, place: Place) {
        let key = MappingKey::new(domain, identifier).expect("it can be mapped");
        let value = MappingValue::new(place);
        self.programs.tables.set_mapping(key, value).expect("the map takes it");
        self.world.mappings.insert(key, value);
    }

    pub fn forget(&mut self, identifier: Identifier) {
        let key = MappingKey::new(0, identifier).expect("it can be mapped");
        self.programs.tables.remove_mapping(key).expect("it can be removed");
        self.world.mappings.remove(&key);
    }

    /// Lets the host know what a locator belongs to.
    pub fn know(&mut self, domain: u32, sir: SirPrefix, locator: Locator) {
        let to_sir = self.mode.to_sir_delta(sir, locator).value();
        let value = LocatorValue { domain, to_sir, padding: 0 };
        self.programs.tables.set_locator(locator.into(), value).expect("the map takes it");
        self.world.locators.insert(locator.into(), value);
    }

    /// Runs the program for `role` and demands that it counted the packet once,
    /// under one fate, with its length.
    pub fn run(&self, role: Role, packet: &[u8]) -> Outcome {
        self.run_after(&mut self.counts(), role, packet, true).expect("the kernel runs it")
    }

    /// The same for a packet that gets another length, of which the test run's
    /// check knows nothing. It is run twice.
    pub fn run_resizing(&self, role: Role, packet: &[u8]) -> Outcome {
        let mut counts = self.counts();
        let outcome = self.run_after(&mut counts, role, packet, false);
        let outcome = outcome.expect("the kernel runs it");
        self.check_sum(&mut counts, role, packet, &outcome).expect("its sum is right");
        outcome
    }

    /// The same as [`Self::run`] for a packet that comes with the tag of a VLAN.
    pub fn run_tagged(&self, role: Role, tag: u16, packet: &[u8]) -> Outcome {
        let counts = &mut self.counts();
        self.run_tagged_after(counts, role, tag, packet, true).expect("the kernel runs it")
    }

    /// The same where the counters stood at `before`, and then stand where it
    /// says, with or without the check of sums; fails if the kernel does not run
    /// it, or finds a sum wrong.
    pub fn run_after(
        &self,
        before: &mut Counts,
        role: Role,
        packet: &[u8],
        checked: bool,
    ) -> io::Result<Outcome> {
        let flags = if checked { self.flags } else { 0 };
        let program = self.programs.program(role.program()).expect("the program is loaded");
        let run = bpf::test_run(program, packet, 1, flags)?;
        Ok(self.outcome(before, packet, run))
    }

    /// The same for a packet that comes with the tag of a VLAN.
    pub fn run_tagged_after(
        &self,
        before: &mut Counts,
        role: Role,
        tag: u16,
        packet: &[u8],
        checked: bool,
    ) -> io::Result<Outcome> {
        let flags = if checked { self.flags } else { 0 };
        let run = self.probe(role).run_tagged(tag, packet, flags)?;
        Ok(self.outcome(before, packet, run))
    }

    /// Runs a packet again that became `outcome`, and demands that the kernel
    /// has no sum of it any more if anything was changed. It would be one from
    /// where the packet's header was, and in front of that errors have theirs.
    pub fn check_sum(
        &self,
        before: &mut Counts,
        role: Role,
        packet: &[u8],
        outcome: &Outcome,
    ) -> io::Result<()> {
        if self.flags == 0 {
            return Ok(());
        }
        let given = self.probe(role).sum_after(packet)?;
        *before = self.counts();
        let expected = if outcome.packet == packet { Sum::Right } else { Sum::None };
        if given == expected {
            return Ok(());
        }
        Err(io::Error::other(format!("its sum of the packet is {given:?}, not {expected:?}")))
    }

    fn probe(&self, role: Role) -> &Probe {
        let [container, uplink] = &self.probes;
        match role {
            Role::Container => container,
            Role::Uplink => uplink,
        }
    }

    fn outcome(&self, before: &mut Counts, packet: &[u8], run: TestRun) -> Outcome {
        let after = self.counts();
        let counted: Vec<_> = Fate::ALL
            .iter()
            .map(|fate| (fate, before[fate.number() as usize], after[fate.number() as usize]))
            .filter(|(_, before, after)| before != after)
            .map(|(fate, old, new)| (*fate, new.packets - old.packets, new.bytes - old.bytes))
            .collect();
        let [(fate, 1, bytes)] = counted[..] else { panic!("counted {counted:?}") };
        assert_eq!(bytes, packet.len() as u64, "{fate}");
        *before = after;
        Outcome { action: run.action, fate, packet: run.packet }
    }

    /// Has the limit of errors start anew.
    pub fn forget_errors(&mut self) {
        let tables = &mut self.programs.tables;
        tables.stop_counting(TEST_INTERFACE).expect("the map gives it up");
        tables.count(TEST_INTERFACE).expect("the map takes it");
    }

    pub fn counts(&self) -> Counts {
        self.programs.tables.counts_of(TEST_INTERFACE).expect("counters can be read")
    }

    pub fn sir_address(&self, identifier: Identifier) -> Ipv6Addr {
        Address::from(self.sir.address(identifier)).into()
    }

    /// The SIR address of what is written so.
    pub fn sir(&self, text: &str) -> Ipv6Addr {
        self.sir_address(identifier(text))
    }

    /// Its ILA address at `locator`.
    pub fn ila(&self, text: &str, locator: Locator) -> Ipv6Addr {
        let delta = self.mode.to_ila_delta(self.sir, locator);
        Address::from(to_ila(self.mode, identifier(text), locator, delta)).into()
    }
}

pub fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
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
    PacketBuilder::ethernet2(CONTAINER_MAC, HOST_MAC).ipv6(
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

/// The packet with another destination and nothing else changed.
pub fn redirected(packet: &[u8], destination: Ipv6Addr) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[DESTINATION..DESTINATION + 16].copy_from_slice(&destination.octets());
    packet
}

/// The packet with both addresses changed and nothing else.
pub fn readdressed(packet: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut packet = redirected(packet, destination);
    packet[SOURCE..SOURCE + 16].copy_from_slice(&source.octets());
    packet
}

/// The packet with another hop limit.
pub fn with_hop_limit(packet: &[u8], hop_limit: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[HOP_LIMIT] = hop_limit;
    packet
}

/// The packet as it leaves by the fast path: one hop further.
pub fn forwarded(packet: &[u8]) -> Vec<u8> {
    with_hop_limit(packet, packet[HOP_LIMIT] - 1)
}

/// The packet as it enters a container by the fast path.
pub fn delivered(packet: &[u8], mac: [u8; 6]) -> Vec<u8> {
    let mut packet = forwarded(packet);
    packet[..6].copy_from_slice(&mac);
    packet[6..12].copy_from_slice(&GATEWAY_MAC);
    packet
}

/// A change of a host's constants: the slow path.
pub fn slow(config: &mut HostConfig) {
    config.path = Path::Slow.number();
}

/// Another: sources at their locator.
pub fn sources_at_locator(config: &mut HostConfig) {
    config.source_mode = SourceMode::Locator.number();
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

/// A SIR prefix and this host's locator in it.
pub fn domain(mode: ChecksumMode, sir: SirPrefix, locator: Locator) -> Domain {
    Domain {
        sir_prefix: sir.bits(),
        locator: locator.bits(),
        to_ila: mode.to_ila_delta(sir, locator).value(),
        to_sir: mode.to_sir_delta(sir, locator).value(),
        padding: 0,
    }
}

/// What `work` makes of the network of this thread, which has one of its own:
/// PROG_TEST_RUN takes the loopback interface of the caller's.
pub fn with_network<T>(work: impl FnOnce(&Network) -> io::Result<T>) -> T {
    thread_local!(static NETWORK: io::Result<Network> = Network::enter(TEST_MTU));

    NETWORK.with(|network| {
        let network = network.as_ref().expect("this needs root, and a kernel with veth");
        work(network).expect("the kernel takes it")
    })
}

/// `CHECKSUM_COMPLETE` if the kernel has that check, else nothing; found out
/// once, before anything is counted.
fn test_flags(program: BorrowedFd<'_>) -> u32 {
    static FLAGS: OnceLock<u32> = OnceLock::new();

    *FLAGS.get_or_init(|| {
        let packet = udp(Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, b"x");
        let runs = |flags| bpf::test_run(program, &packet, 1, flags);
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
