//! What happens to it on both hosts.

use ila_proto::{
    abi::{Domain, Fate, HostConfig, LocatorKey, LocatorValue, MappingKey, MappingValue, Place},
    addr::Address,
    forward::{self, Header, Rewrite, Tables, Verdict},
};

use crate::sent::{End, Sent, to_bytes};

/// Every container's host-side interface.
const INTERFACE: u32 = 7;

/// A host and what it knows: both containers.
struct Host<'a> {
    sent: &'a Sent,
    own: End,
    other: End,
}

impl Host<'_> {
    fn config(&self) -> HostConfig {
        let Sent { mode, source_mode, prefix, .. } = *self.sent;
        let locator = self.own.locator;
        let own = Domain {
            sir_prefix: prefix.bits(),
            locator: locator.bits(),
            to_ila: mode.to_ila_delta(prefix, locator).value(),
            to_sir: mode.to_sir_delta(prefix, locator).value(),
            padding: 0,
        };
        let none = Domain::default();
        HostConfig {
            domains: [own, none, none, none],
            checksum_mode: mode.number(),
            source_mode: source_mode.number(),
            ..HostConfig::default()
        }
    }
}

impl Tables for Host<'_> {
    fn mapping(&self, key: MappingKey) -> Option<MappingValue> {
        let Sent { mode, prefix, .. } = *self.sent;
        let is = |end: End| MappingKey::new(0, end.identifier) == Some(key);
        let locator = self.other.locator;
        let to_ila = mode.to_ila_delta(prefix, locator);
        let here = Place::Here { interface: INTERFACE, mac: [0x02, 0, 0, 0, 0, 7] };
        let there = Place::There { locator, to_ila };
        [(self.own, here), (self.other, there)]
            .into_iter()
            .find(|(end, _)| is(*end))
            .map(|(_, place)| MappingValue::new(place))
    }

    fn locator(&self, key: LocatorKey) -> Option<LocatorValue> {
        let Sent { mode, prefix, .. } = *self.sent;
        [self.own.locator, self.other.locator]
            .into_iter()
            .find(|locator| LocatorKey::from(*locator) == key)
            .map(|locator| LocatorValue {
                domain: 0,
                to_sir: mode.to_sir_delta(prefix, locator).value(),
                padding: 0,
            })
    }

    fn forget(&self, value: u32) -> u32 {
        value
    }
}

impl Sent {
    /// The packet between the hosts.
    fn translated(&self, packet: &[u8]) -> Vec<u8> {
        let sender = Host { sent: self, own: self.from, other: self.to };
        let verdict = forward::egress(&sender.config(), &sender, INTERFACE, &header(packet));
        let Verdict::Send { rewrite, fate: Fate::EgressTranslated } = verdict else {
            panic!("{verdict:?}");
        };
        rewritten(packet, rewrite)
    }

    /// The packet as the other container gets it.
    fn restored(&self, packet: &[u8]) -> Vec<u8> {
        let receiver = Host { sent: self, own: self.to, other: self.from };
        let verdict = forward::ingress(&receiver.config(), &receiver, &header(packet), false);
        let Verdict::Deliver { interface: INTERFACE, rewrite, fate: Fate::IngressRestored, .. } =
            verdict
        else {
            panic!("{verdict:?}");
        };
        rewritten(packet, rewrite)
    }

    pub fn on_the_wire(&self) -> Vec<Vec<u8>> {
        self.packets().iter().map(|packet| self.translated(packet)).collect()
    }

    pub fn received(&self) -> Vec<Vec<u8>> {
        self.on_the_wire().iter().map(|packet| self.restored(packet)).collect()
    }
}

fn header(packet: &[u8]) -> Header {
    let half = |at| packet[at..at + 8].try_into().expect("eight bytes are eight bytes");
    Header {
        payload_length: u16::from_be_bytes([packet[4], packet[5]]),
        next_header: packet[6],
        hop_limit: packet[7],
        source: Address::from_halves(half(8), half(16)),
        destination: Address::from_halves(half(24), half(32)),
    }
}

/// What the kernel programs do for a verdict: store 32 bytes.
fn rewritten(packet: &[u8], rewrite: Rewrite) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[8..24].copy_from_slice(&to_bytes(rewrite.source));
    packet[24..40].copy_from_slice(&to_bytes(rewrite.destination));
    packet
}
