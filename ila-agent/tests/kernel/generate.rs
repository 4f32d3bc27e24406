//! Made-up packets with a structure: mostly almost right, each from its seed.

use std::net::Ipv6Addr;

use ila_agent::datapath::Role;
use ila_proto::{
    addr::{Address, Identifier, Locator, SirPrefix},
    translate::{ChecksumMode, to_ila},
};

use crate::{
    harness::{
        ADDRESS, CONTAINER_MAC, ETHERNET, HERE, HOST_MAC, IPV6, OTHER_MAC, PAYLOAD, SECOND_HERE,
        SECOND_SIR, SECOND_THERE, SIR, THERE, address,
    },
    model::upper_sum,
};

/// `SplitMix64`: the same numbers for a seed for ever, which replaying needs.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Seeds that follow each other must not give the same numbers shifted.
        let mut dice = Self(seed);
        Self(dice.next() ^ seed.rotate_left(32))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below")
    }

    fn within(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last + 1 - first)
    }

    pub fn percent(&mut self, of: usize) -> bool {
        self.below(100) < of
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// That of a VLAN or of none, with any priority; never zero.
    pub fn tag(&mut self) -> u16 {
        let most = if self.percent(50) { 0xfff } else { 0 };
        let vlan = u16::try_from(self.within(0, most)).expect("it has twelve bits");
        vlan | u16::try_from(self.within(1, 0xf)).expect("it has four bits") << 12
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        // Sums of nothing but zeroes or carries now and then.
        match self.below(12) {
            0 => vec![0; count],
            1 => vec![0xff; count],
            _ => (0..count).map(|_| self.byte()).collect(),
        }
    }
}

const LOCATORS: [&str; 6] =
    [HERE, THERE, "2001:db8:b:3::/64", SECOND_HERE, SECOND_THERE, "2001:db8:d:d::/64"];
const SIR_PREFIXES: [&str; 3] = [SIR, SECOND_SIR, "fd00:db8:0:3::/64"];
/// The three of [`crate::harness`], one elsewhere, nobody's, and those at the
/// ends of what the low word can be.
const IDENTIFIERS: [u64; 8] = [
    LOCAL_BITS,
    0x2000_0000_0000_00a2,
    REMOTE_BITS,
    0x2000_0000_0000_00c1,
    0x2000_0000_0000_0099,
    0x2fff_ffff_ffff_fffe,
    0x2000_0000_0000_0000,
    0x2000_0000_0000_ffff,
];
const LOCAL_BITS: u64 = 0x2000_0000_0000_00a1;
const REMOTE_BITS: u64 = 0x2000_0000_0000_00b1;
const OTHERS: [&str; 12] = [
    "fe80::1",
    "fe80::a1",
    "fe80::2000:0:0:a1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff02::2",
    "ff0e::1",
    "::",
    "::1",
    "2606:4700::1111",
    ADDRESS,
];

/// What a packet is made for.
pub struct Scene<'a> {
    pub role: Role,
    pub mode: ChecksumMode,
    /// Whole packets to make others of.
    pub corpus: &'a [Vec<u8>],
}

impl Scene<'_> {
    /// A frame, not always one that the kernel runs.
    pub fn frame(&self, dice: &mut Dice) -> Vec<u8> {
        let mut frame = if !self.corpus.is_empty() && dice.percent(15) {
            let mut frame = self.corpus[dice.below(self.corpus.len())].clone();
            if dice.percent(30) && frame.len() >= PAYLOAD {
                let (source, destination) = self.addresses(dice);
                frame[22..38].copy_from_slice(&source.octets());
                frame[38..54].copy_from_slice(&destination.octets());
            }
            for _ in 0..dice.below(4) {
                let at = dice.below(frame.len());
                frame[at] =
                    if dice.percent(50) { dice.byte() } else { frame[at] ^ 1 << dice.below(8) };
            }
            frame
        } else {
            self.packet(dice)
        };
        match dice.below(20) {
            0 | 1 => frame.truncate(dice.below(frame.len()) + 1),
            2 => {
                let count = dice.within(1, 80);
                frame.extend(dice.bytes(count));
            }
            // Ethernet pads what is short.
            3 => frame.resize(frame.len().max(60), 0),
            _ => {}
        }
        frame
    }

    fn packet(&self, dice: &mut Dice) -> Vec<u8> {
        let (source, destination) = self.addresses(dice);
        let (source, destination, mut next, mut body) = match dice.below(10) {
            0..2 => self.solicitation(dice, source, destination),
            2..4 => self.error(dice, source, destination),
            _ => (source, destination, dice.byte(), upper(dice)),
        };
        if next != 58 {
            next = dice.pick(&[6, 17, 58, 59, 50, next]);
        }
        let mut chain = Vec::new();
        if dice.percent(25) {
            let most = if dice.percent(80) { 3 } else { 9 };
            for _ in 0..dice.within(1, most) {
                let kind = dice.pick(&[0, 43, 44, 51, 60]);
                chain.splice(0..0, extension(dice, kind, next));
                next = kind;
            }
        }
        chain.append(&mut body);
        let length = match dice.below(20) {
            0 => u16::from_le_bytes([dice.byte(), dice.byte()]),
            1 => u16::try_from(chain.len()).expect("it is short").wrapping_add(8),
            2 => u16::try_from(chain.len() / 2).expect("it is short"),
            _ => u16::try_from(chain.len()).expect("it is short"),
        };
        let hop_limit = if next == 58 && dice.percent(80) { 255 } else { hop_limit(dice) };
        let to = match dice.below(40) {
            0 => OTHER_MAC,
            1 => [0xff; 6],
            2 => [0x33, 0x33, 0, 0, 0, 1],
            _ => HOST_MAC,
        };
        let mut frame = [&to, &CONTAINER_MAC, &[0x86, 0xdd][..]].concat();
        frame.extend([0x60 | dice.byte() & 0xf, dice.byte(), 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([next, hop_limit]);
        frame.extend(source.octets());
        frame.extend(destination.octets());
        frame.append(&mut chain);
        match dice.below(60) {
            0 => frame[13] = dice.byte(),
            3 => frame[14] = dice.byte(),
            1 => frame[12..14].copy_from_slice(&[0x08, 0x06]),
            // With a tag in the frame.
            2 => frame.splice(12..12, [0x81, 0, 0, 7]).for_each(drop),
            _ => {}
        }
        frame
    }

    /// From whom to whom, so that most packets get past the first check.
    fn addresses(&self, dice: &mut Dice) -> (Ipv6Addr, Ipv6Addr) {
        let own = |who| sir(SIR, who);
        let (source, destination) = (self.address(dice), self.address(dice));
        match self.role {
            Role::Container if dice.percent(40) => {
                (own(LOCAL_BITS), sir(dice.pick(&SIR_PREFIXES[..2]), dice.pick(&IDENTIFIERS[..5])))
            }
            Role::Container if dice.percent(70) => (own(LOCAL_BITS), destination),
            Role::Uplink if dice.percent(60) => {
                let who = dice.pick(&IDENTIFIERS[..3]);
                (source, self.ila(who, SIR, HERE))
            }
            _ => (source, destination),
        }
    }

    fn address(&self, dice: &mut Dice) -> Ipv6Addr {
        let who = dice.pick(&IDENTIFIERS);
        match dice.below(10) {
            0..4 => self.ila(who, dice.pick(&SIR_PREFIXES[..2]), dice.pick(&LOCATORS)),
            4..7 => sir(dice.pick(&SIR_PREFIXES), who),
            7 => address(dice.pick(&OTHERS)),
            8 => {
                // Another type or the C-bit, under any prefix.
                let prefix = dice.pick(&[&LOCATORS[..], &SIR_PREFIXES].concat());
                let given = Address::from(sir(prefix, who));
                let low = given.low << 4 >> 4 | dice.next() << 60;
                Address { low, ..given }.into()
            }
            _ => {
                let low = dice.next();
                let given = Address::from(sir(dice.pick(&LOCATORS), who));
                Address { low: low & 0xffff | given.low, ..given }.into()
            }
        }
    }

    fn ila(&self, who: u64, prefix: &str, locator: &str) -> Ipv6Addr {
        let prefix: SirPrefix = prefix.parse().expect("a SIR prefix");
        let locator: Locator = locator.parse().expect("a locator");
        let identifier = Identifier::from_bits(who);
        let delta = self.mode.to_ila_delta(prefix, locator);
        Address::from(to_ila(self.mode, identifier, locator, delta)).into()
    }

    /// Almost always with the right checksum.
    fn solicitation(
        &self,
        dice: &mut Dice,
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> (Ipv6Addr, Ipv6Addr, u8, Vec<u8>) {
        let target = match dice.below(5) {
            0 => address("fe80::1"),
            1 => self.ila(dice.pick(&IDENTIFIERS[..3]), SIR, HERE),
            2 => sir(dice.pick(&SIR_PREFIXES[..2]), dice.pick(&IDENTIFIERS[..5])),
            _ => self.address(dice),
        };
        let source = match dice.below(4) {
            0 | 1 => address("fe80::a1"),
            2 => Ipv6Addr::UNSPECIFIED,
            _ => source,
        };
        let mut group = address("ff02::1:ff00:0").octets();
        group[13..].copy_from_slice(&target.octets()[13..]);
        let destination = if dice.percent(80) { group.into() } else { destination };
        let kind = if dice.percent(85) { 135 } else { dice.within(132, 138) };
        let kind = u8::try_from(kind).expect("it is a byte");
        let mut body = vec![kind, u8::from(dice.percent(5)), 0, 0, 0, 0, 0, 0];
        body.extend(target.octets());
        for _ in 0..dice.below(4) {
            let units = if dice.percent(90) { dice.within(1, 3) } else { dice.within(0, 255) };
            let said = if dice.percent(90) { units } else { dice.within(0, 255) };
            let kind = dice.pick(&[1, 2, 13, 14, 200]);
            body.extend([kind, u8::try_from(said).expect("it is a byte")]);
            let count = (units.min(12) * 8).saturating_sub(2);
            body.extend(dice.bytes(count));
        }
        if dice.percent(90) {
            checksum(source, destination, &mut body);
        }
        (source, destination, 58, body)
    }

    /// About a packet as it was on the wire, or was not.
    fn error(
        &self,
        dice: &mut Dice,
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> (Ipv6Addr, Ipv6Addr, u8, Vec<u8>) {
        let from = match dice.below(3) {
            0 => self.ila(LOCAL_BITS, SIR, HERE),
            1 => sir(SIR, LOCAL_BITS),
            _ => self.address(dice),
        };
        let to = match dice.below(3) {
            0 => self.ila(REMOTE_BITS, SIR, THERE),
            _ => self.address(dice),
        };
        let mut quote = vec![0x60, 0, 0, 0, 0, 40, dice.pick(&[6, 17, 58]), hop_limit(dice)];
        quote.extend(from.octets());
        quote.extend(to.octets());
        quote.extend(upper(dice));
        if dice.percent(40) {
            quote.truncate(dice.below(quote.len() + 1));
        }
        let kind = if dice.percent(85) { dice.within(1, 4) } else { dice.below(256) };
        let mut body = vec![u8::try_from(kind).expect("it is a byte"), dice.byte() & 7, 0, 0];
        body.extend(dice.bytes(4));
        body.extend(quote);
        let outer = if dice.percent(70) { from } else { destination };
        let source = if dice.percent(50) { address("2606:4700::1111") } else { source };
        if dice.percent(90) {
            checksum(source, outer, &mut body);
        }
        (source, outer, 58, body)
    }
}

/// Of a SIR prefix, or of any other.
fn sir(prefix: &str, who: u64) -> Ipv6Addr {
    let high = Address::from(address(prefix.trim_end_matches("/64"))).high;
    Address { high, low: who }.into()
}

fn hop_limit(dice: &mut Dice) -> u8 {
    dice.pick(&[0, 1, 1, 2, 64, 64, 64, 255])
}

/// A transport header that nobody reads, and something behind it.
fn upper(dice: &mut Dice) -> Vec<u8> {
    let length = match dice.below(20) {
        // From less than an error quotes to more than the uplink carries.
        0 | 1 => dice.within(1150, 1500),
        2 => 0,
        _ => dice.below(100),
    };
    dice.bytes(length)
}

fn extension(dice: &mut Dice, kind: u8, next: u8) -> Vec<u8> {
    let units = dice.below(3);
    let said = u8::try_from(if dice.percent(95) { units } else { dice.below(256) });
    let length = match kind {
        44 => 8,
        51 => 8 + 4 * units,
        _ => 8 + 8 * units,
    };
    let mut header = dice.bytes(length);
    (header[0], header[1]) = (next, said.expect("it is a byte"));
    if kind == 44 && dice.percent(60) {
        header[2..4].copy_from_slice(&[0, dice.pick(&[0, 1, 7, 8])]);
    }
    header
}

/// Fills in the checksum of an `ICMPv6` message.
pub fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &mut [u8]) {
    message[2..4].fill(0);
    let mut packet = vec![0, 0, 0, 0, 0, 0, 58, 0];
    packet.extend([source.octets(), destination.octets()].concat());
    assert_eq!(packet.len(), IPV6);
    packet.extend(&*message);
    message[2..4].copy_from_slice(&(!upper_sum(&packet)).to_be_bytes());
}

/// Whether the kernel runs a program on such a frame: not without the whole
/// header of what it says that it is.
pub fn is_run(frame: &[u8]) -> bool {
    const IPV4: usize = 20;
    let header = match frame.get(12..14) {
        Some([0x86, 0xdd]) => IPV6,
        Some([0x08, 0x00]) => IPV4,
        _ => 1,
    };
    frame.len() >= ETHERNET + header
}
