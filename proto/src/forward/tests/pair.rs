//! Two hosts and a third one, that serve two SIR prefixes, with a container on
//! each of the two.

use proptest::prelude::*;

use super::*;
use crate::testing::{Host, class, identifiers, modes, octets, prefixes, source_modes, sum};

/// The host-side interface of either container.
pub const INTERFACE: u32 = 7;
pub const MAC: Mac = [0x02, 0, 0, 0, 0, 7];

#[derive(Clone, Debug)]
pub struct Pair {
    /// Who sends, and where it lives.
    pub from: Address,
    pub sender: Host,
    /// Who receives, and where it lives.
    pub to: Address,
    pub receiver: Host,
    /// A host where neither lives.
    pub third: Host,
}

/// In any modes; the containers may be of different SIR prefixes.
pub fn pairs() -> impl Strategy<Value = Pair> {
    let of = (any::<bool>(), any::<bool>());
    (modes(), source_modes(), prefixes::<8>(), of, identifiers(), identifiers())
        .prop_filter("two containers", |(.., (from, to), first, second)| {
            from != to || first != second
        })
        .prop_map(|(mode, source_mode, highs, (from_second, to_second), first, second)| {
            let [sir_0, sir_1, a_0, a_1, b_0, b_1, c_0, c_1] = highs;
            let sir = |of_second| if of_second { sir_1 } else { sir_0 };
            let from = Address { high: sir(from_second), low: first.bits() };
            let to = Address { high: sir(to_second), low: second.bits() };
            let host = |own: [u64; 2]| {
                let host = Host::new(mode, &[(sir_0, own[0]), (sir_1, own[1])]);
                [(0, a_0), (1, a_1), (0, b_0), (1, b_1), (0, c_0), (1, c_1)]
                    .into_iter()
                    .fold(host, |host, (domain, locator)| host.knows(domain, locator))
                    .with_source_mode(source_mode)
            };
            let at_a = if from_second { a_1 } else { a_0 };
            let at_b = if to_second { b_1 } else { b_0 };
            Pair {
                from,
                sender: host([a_0, a_1]).here(from, INTERFACE, MAC).there(to, at_b),
                to,
                receiver: host([b_0, b_1]).here(to, INTERFACE, MAC).there(from, at_a),
                third: host([c_0, c_1]).there(from, at_a).there(to, at_b),
            }
        })
}

impl Pair {
    pub fn mode(&self) -> ChecksumMode {
        self.sender.mode()
    }

    /// Whether packets keep their checksums on the wire.
    pub fn is_neutral(&self) -> bool {
        self.mode() != ChecksumMode::NoAction
    }

    /// The addresses between the hosts.
    pub fn on_the_wire(&self) -> Rewrite {
        let header = header(self.from, self.to, 64);
        sent(egress(&self.sender.config, &self.sender, INTERFACE, &header))
    }
}

/// What is sent to another host.
pub fn sent(verdict: Verdict) -> Rewrite {
    let Verdict::Send { rewrite, .. } = verdict else { panic!("it is not sent: {verdict:?}") };
    rewrite
}

/// What is delivered to one of the two containers.
pub fn delivered(verdict: Verdict) -> Rewrite {
    let Verdict::Deliver { interface: INTERFACE, mac: MAC, rewrite, .. } = verdict else {
        panic!("it is not delivered: {verdict:?}");
    };
    rewrite
}

/// The sum of both addresses.
pub fn sum_of(source: Address, destination: Address) -> u16 {
    class(sum(&[octets(source), octets(destination)].concat()))
}
