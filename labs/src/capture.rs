//! What really crosses an interface: captured by tcpdump, then taken apart.

use std::{
    fs,
    io::{BufRead as _, BufReader, Cursor},
    net::Ipv6Addr,
    process::{Child, Stdio},
    time::Duration,
};

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pcap_file::pcap::PcapReader;
use tempfile::NamedTempFile;

use crate::{Error, Node, error::Doing as _, wait_until};

const ETHERNET: usize = 14;
const HOP_LIMIT: usize = ETHERNET + 7;
const DESTINATION: usize = ETHERNET + 24;

/// How long a packet may take from an interface into the capture.
const ARRIVAL: Duration = Duration::from_secs(10);

/// A capture under way; dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Child,
    file: NamedTempFile,
    what: String,
}

impl Capture {
    /// Captures what crosses `interface` of `node` and matches `filter`, in the
    /// language of pcap. On return tcpdump is listening. Of a packet it keeps
    /// 9,216 bytes at most; the buffer has a place of that size for each of
    /// 1,700 packets, and loses what comes when all are taken.
    pub fn start(node: &Node, interface: &str, filter: &str) -> Result<Self, Error> {
        let what = format!("packets `{filter}` on {interface} in {}", node.netns().display());
        let file = NamedTempFile::new().doing(|| "make a file for a capture".to_owned())?;
        let mut tcpdump = node
            .command("tcpdump")
            .args(["-i", interface, "-s9216", "-B16384", "-U", "--immediate-mode", "-Zroot", "-w"])
            .arg(file.path())
            .arg(filter)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .doing(|| "run tcpdump; it is in Debian's package tcpdump".to_owned())?;
        let mut said = String::new();
        for line in BufReader::new(tcpdump.stderr.take().expect("it is piped")).lines() {
            let line = line.doing(|| "read what tcpdump says".to_owned())?;
            if line.contains("listening on") {
                return Ok(Self { tcpdump, file, what });
            }
            said.push_str(&line);
        }
        let _ = tcpdump.wait();
        Err(Error::System { doing: format!("capture {what}"), source: std::io::Error::other(said) })
    }

    /// Waits until the captured packets are what is `wanted`, and returns them.
    pub fn wait(self, wanted: impl Fn(&[Packet]) -> bool) -> Result<Vec<Packet>, Error> {
        wait_until(ARRIVAL, &self.what, || Some(self.packets()).filter(|packets| wanted(packets)))
    }

    /// What has been captured so far.
    #[must_use]
    pub fn packets(&self) -> Vec<Packet> {
        // The last packet may be written this very moment; it is there next time.
        let bytes = fs::read(self.file.path()).unwrap_or_default();
        let Ok(mut reader) = PcapReader::new(Cursor::new(bytes)) else { return Vec::new() };
        let mut packets = Vec::new();
        while let Some(Ok(packet)) = reader.next_packet() {
            packets.push(Packet { bytes: packet.data.into_owned() });
        }
        packets
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.tcpdump.id().cast_signed());
        // It has not been waited for, so the number is still its own.
        let _ = kill(pid, Signal::SIGINT);
        let _ = self.tcpdump.wait();
    }
}

/// An Ethernet frame that holds an IPv6 packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    bytes: Vec<u8>,
}

impl Packet {
    /// All of it, from the Ethernet header on.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The IPv6 packet.
    #[must_use]
    pub fn ipv6(&self) -> &[u8] {
        &self.bytes[ETHERNET..]
    }

    /// The IPv6 packet as it would be with another destination and hop limit.
    #[must_use]
    pub fn ipv6_with(&self, destination: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[HOP_LIMIT] = hop_limit;
        bytes[DESTINATION..DESTINATION + 16].copy_from_slice(&destination.octets());
        bytes.split_off(ETHERNET)
    }

    /// Where it comes from.
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        self.address(DESTINATION - 16)
    }

    /// Where it goes.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        self.address(DESTINATION)
    }

    /// How many more routers may hand it on.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.bytes[HOP_LIMIT]
    }

    /// The transport checksum that it carries, and the one that its bytes have,
    /// computed from zero. `None` for a packet without one, such as a fragment.
    #[must_use]
    pub fn checksums(&self) -> Option<(u16, u16)> {
        let headers = PacketHeaders::from_ethernet_slice(&self.bytes).ok()?;
        let NetHeaders::Ipv6(ip, extensions) = headers.net? else { return None };
        if extensions.fragment.is_some() {
            return None;
        }
        let payload = headers.payload.slice();
        match headers.transport? {
            TransportHeader::Tcp(tcp) => {
                Some((tcp.checksum, tcp.calc_checksum_ipv6(&ip, payload).ok()?))
            }
            TransportHeader::Udp(udp) => {
                Some((udp.checksum, udp.calc_checksum_ipv6(&ip, payload).ok()?))
            }
            TransportHeader::Icmpv6(icmp) => {
                let sum = icmp.icmp_type.calc_checksum(ip.source, ip.destination, payload);
                Some((icmp.checksum, sum.ok()?))
            }
            _ => None,
        }
    }

    fn address(&self, offset: usize) -> Ipv6Addr {
        let bytes: [u8; 16] = self.bytes[offset..offset + 16].try_into().expect("16 bytes are 16");
        bytes.into()
    }
}
