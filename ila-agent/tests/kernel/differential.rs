//! The kernel's programs against the model, on packets that are made up from
//! seeds and on the corpus, on hosts of every kind.
//!
//! | variable | meaning |
//! |---|---|
//! | `ILA_PACKETS` | how many packets are made up |
//! | `ILA_SEED` | the seed of the first; each further one has the next number |
//!
//! A failure says how to run its packet alone, and what to put in the corpus so
//! that it is run for ever.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use ila_agent::datapath::{Counts, Role};
use ila_proto::{
    abi::{Fate, LocatorSpace, Place},
    addr::{Address, SirPrefix},
    forward::{Path, SourceMode},
    translate::ChecksumMode,
};

use crate::{
    budget::series,
    corpus,
    generate::{Dice, Scene, is_run},
    harness::{
        BESIDE, BESIDE_INTERFACE, CONTAINER_MAC, DROP, Host, LOCAL, OTHER_MAC, Outcome, REMOTE,
        SECOND_HERE, SECOND_SIR, SECOND_THERE, TEST_INTERFACE, address, domain, identifier,
    },
};

/// A twentieth of what is made up no kernel would run.
const PACKETS: u64 = 1_060_000;
const SEED: u64 = 1;

/// As many errors are answered in a row before the limit starts anew; a second
/// has room for twice as many, and each is run twice.
const ERRORS: u64 = 45;

/// On the second kernel. Emulated, a packet takes a processor half a
/// millisecond: a quarter for running it, the rest for making it up.
const FEWER: u64 = 300_000;

/// So many packets meet every fate but these, which take other routes, a header
/// cut short or a kernel that refuses.
const ENOUGH: u64 = 200_000;
const NEVER_MET: [Fate; 11] = [
    Fate::EgressNoRoute,
    Fate::EgressProhibited,
    Fate::EgressNotUplink,
    Fate::EgressTruncated,
    Fate::EgressStoreFailed,
    Fate::NdpReplyFailed,
    Fate::IngressNoRoute,
    Fate::IngressProhibited,
    Fate::IngressNotUplink,
    Fate::IngressTruncated,
    Fate::IngressStoreFailed,
];

/// What hosts differ in, all of it in their number.
const KINDS: usize = 3 * 2 * 2 * 2;

/// A host of a kind, and where its counters stand.
struct Pair {
    kind: usize,
    host: Host,
    counts: Counts,
    errors: u64,
}

impl Pair {
    fn new(kind: usize) -> Self {
        let mode = ChecksumMode::ALL[kind % 3];
        let is = |bit: usize| (kind / 3) >> bit & 1 == 1;
        let second = parse::<SirPrefix>(SECOND_SIR);
        let own = parse(SECOND_HERE);
        let mut host = Host::with(mode, |config| {
            config.path = if is(0) { Path::Slow } else { Path::Fast }.number();
            config.source_mode = if is(1) { SourceMode::Locator } else { SourceMode::Sir }.number();
            if is(2) {
                config.domains[1] = domain(mode, second, own);
                // Of whose locators one is known to nobody.
                let bits = Address::from(address("2001:db8:d::")).high;
                config.locator_spaces[0] = LocatorSpace { bits, mask: u64::MAX << 16 };
                // And where the SIR prefixes are, too.
                let bits = Address::from(address("fd00:db8::")).high;
                config.locator_spaces[1] = LocatorSpace { bits, mask: u64::MAX << 32 };
            }
        });
        let third = parse("2001:db8:b:3::/64");
        let sir = host.sir;
        host.know(0, sir, third);
        host.map(identifier("2000:0:0:c1"), host.at(third));
        host.map(identifier("2fff:ffff:ffff:fffe"), host.at(third));
        if is(2) {
            // Others under the identifiers of the first, and one container with
            // an address in either.
            let there = parse(SECOND_THERE);
            host.know(1, second, own);
            host.know(1, second, there);
            let remote = Place::There { locator: there, to_ila: mode.to_ila_delta(second, there) };
            host.map_in(1, identifier(BESIDE), remote);
            host.map_in(
                1,
                identifier(REMOTE),
                Place::Here { interface: BESIDE_INTERFACE, mac: OTHER_MAC },
            );
            host.map_in(
                1,
                identifier("2000:0:0:c1"),
                Place::Here { interface: TEST_INTERFACE, mac: CONTAINER_MAC },
            );
            host.map_in(1, identifier(LOCAL), remote);
        }
        Self { kind, counts: host.counts(), host, errors: 0 }
    }

    /// Whether kernel and model agree on a packet, and under which fate; none if
    /// the kernel does not run it.
    fn agree(
        &mut self,
        role: Role,
        tag: Option<u16>,
        packet: &[u8],
    ) -> Result<Option<Fate>, String> {
        if !is_run(packet) {
            return Ok(None);
        }
        let predicted = self.host.world.predict(role, tag, packet);
        let is_resized = predicted.is_refused || predicted.packet.len() != packet.len();
        if predicted.is_refused {
            if self.errors == ERRORS {
                self.host.forget_errors();
                self.counts = self.host.counts();
                self.errors = 0;
            }
            self.errors += 1;
        }
        let mut outcome = match tag {
            Some(tag) => {
                self.host.run_tagged_after(&mut self.counts, role, tag, packet, !is_resized)
            }
            None => self.host.run_after(&mut self.counts, role, packet, !is_resized),
        };
        if let Ok(given) = &outcome
            && is_resized
            && tag.is_none()
        {
            let checked = self.host.check_sum(&mut self.counts, role, packet, given);
            outcome = outcome.and_then(|given| checked.map(|()| given));
        }
        let expected =
            Outcome { action: predicted.action, fate: predicted.fate, packet: predicted.packet };
        match outcome {
            Ok(given) if given == expected => Ok(Some(given.fate)),
            Ok(given) => Err(format!(
                "the kernel gives {} {} and\n  {}\nthe model {} {} and\n  {}",
                given.action,
                given.fate,
                hex(&given.packet),
                expected.action,
                expected.fate,
                hex(&expected.packet),
            )),
            Err(error) => Err(format!("the kernel fails: {error}")),
        }
    }

    fn describe(&self, role: Role, tag: Option<u16>, packet: &[u8], why: &str) -> String {
        let config = &self.host.world.config;
        format!(
            "host {} ({}, source mode {}, path {}), {role:?}, tag {tag:?}: {why}\n\
             for the packet\n  {}\n\
             which belongs in ila-agent/tests/kernel/corpus/NAME.hex, with a line that starts \
             with # and says what it is, and in the list in corpus.rs",
            self.kind,
            self.host.mode.name(),
            config.source_mode,
            config.path,
            hex(packet),
        )
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Has cargo run a test on the second kernel.
const RUNNER: &str = r#"--config "target.'cfg(all())'.runner='target/debug/ila-vm'" "#;

/// The second kernel runs in qemu, and there a packet takes many times as long.
fn is_slow() -> bool {
    series() == "6.1"
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text}")))
}

/// Has each of two threads go about half of the hosts, which are of every
/// `step`th kind.
fn on_hosts(step: usize, work: impl Fn(&mut [Pair]) + Sync) {
    thread::scope(|scope| {
        for half in 0..2 {
            let work = &work;
            scope.spawn(move || {
                let kinds = (half * step..KINDS).step_by(2 * step);
                let mut hosts: Vec<_> = kinds.map(Pair::new).collect();
                work(&mut hosts);
            });
        }
    });
}

#[test]
fn made_up_packets_become_what_the_model_says() {
    let packets = number("ILA_PACKETS").unwrap_or(if is_slow() { FEWER } else { PACKETS });
    let first = number("ILA_SEED").unwrap_or(SEED);
    let corpus: Vec<_> = corpus::packets().into_iter().map(|(_, packet)| packet).collect();
    let met: Vec<_> = Fate::ALL.iter().map(|_| AtomicU64::new(0)).collect();
    let skipped = AtomicU64::new(0);
    on_hosts(1, |hosts| {
        let mut seed = first;
        let mut left = packets;
        while left > 0 {
            let mut dice = Dice::new(seed);
            let kind = dice.below(KINDS);
            if let Some(pair) = hosts.iter_mut().find(|pair| pair.kind == kind) {
                let role = dice.pick(&[Role::Container, Role::Uplink]);
                let scene = Scene { role, mode: pair.host.mode, corpus: &corpus };
                let packet = scene.frame(&mut dice);
                let tag = dice.percent(1).then(|| dice.tag());
                match pair.agree(role, tag, &packet) {
                    Ok(Some(fate)) => {
                        let place = Fate::ALL.iter().position(|it| *it == fate);
                        met[place.expect("it is one of all")].fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(None) => drop(skipped.fetch_add(1, Ordering::Relaxed)),
                    Err(why) => panic!(
                        "{}\nto run it alone, as root:\n  ILA_SEED={seed} ILA_PACKETS=1 \
                         cargo test {}-p ila-agent --test kernel made_up",
                        pair.describe(role, tag, &packet, &why),
                        if is_slow() { RUNNER } else { "" },
                    ),
                }
            }
            seed = seed.wrapping_add(1);
            left -= 1;
        }
    });
    let skipped = skipped.into_inner();
    let run: u64 = met.iter().map(|it| it.load(Ordering::Relaxed)).sum();
    println!("{run} packets from seed {first}, {skipped} more that no kernel runs");
    for (fate, count) in Fate::ALL.iter().zip(met) {
        let count = count.into_inner();
        println!("{count:9} {fate}");
        let is_never_met = NEVER_MET.contains(fate);
        assert!(count == 0 || !is_never_met, "{fate} was met {count} times");
        assert!(count > 0 || is_never_met || packets < ENOUGH, "{fate} was never met");
    }
}

#[test]
fn every_packet_of_the_corpus_becomes_what_the_model_says_wherever_it_is_cut() {
    let corpus = corpus::packets();
    // Five that have each mode, path and source mode, where loading them takes long.
    on_hosts(if is_slow() { 5 } else { 1 }, |hosts| {
        for (number, (name, packet)) in corpus.iter().enumerate() {
            for pair in &mut *hosts {
                for role in [Role::Container, Role::Uplink] {
                    let step = if is_slow() { 7 } else { 1 };
                    let first = (pair.kind + number) % step + 1;
                    for length in (first..=packet.len()).step_by(step) {
                        if let Err(why) = pair.agree(role, None, &packet[..length]) {
                            let what = pair.describe(role, None, &packet[..length], &why);
                            panic!("{name}, {length} bytes: {what}");
                        }
                    }
                }
            }
        }
    });
}

/// The model is one more opinion: that packets can differ from it is seen.
#[test]
fn a_difference_is_seen() {
    let mut pair = Pair::new(0);
    let packet = crate::harness::udp(pair.host.sir(LOCAL), pair.host.sir(REMOTE), b"x");
    let agreed = pair.agree(Role::Container, None, &packet);
    assert_eq!(agreed, Ok(Some(Fate::EgressTranslated)));
    pair.host.world.mappings.clear();
    let why = pair.agree(Role::Container, None, &packet).expect_err("they differ");
    let model = format!("the model {DROP} egress-source");
    assert!(why.contains("egress-translated") && why.contains(&model), "{why}");
}
