//! The vectors of `vectors.json`, in both directions: what other
//! implementations of the draft put on the wire, this one does as well.

use std::{collections::BTreeMap, net::Ipv6Addr};

use ila_proto::{
    addr::{Address, Identifier, IlaAddr, Locator, SirPrefix},
    translate::{ChecksumMode, to_ila, to_sir},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    #[serde(rename = "about")]
    _about: String,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    sir: Ipv6Addr,
    locator: Ipv6Addr,
    mode: ChecksumMode,
    ila: Ipv6Addr,
    restores_to: Ipv6Addr,
    verified: Verified,
}

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
enum Verified {
    Kernel,
    Computed,
}

impl Vector {
    fn sir_prefix(&self) -> SirPrefix {
        SirPrefix::from_bits(Address::from(self.sir).high)
    }

    fn locator(&self) -> Locator {
        let Address { high, low } = self.locator.into();
        assert_eq!(low, 0, "{} is a prefix", self.locator);
        Locator::from_bits(high)
    }
}

fn vectors() -> Vec<Vector> {
    let vectors: Vectors =
        serde_json::from_str(include_str!("vectors.json")).expect("vectors.json is valid");
    vectors.vectors
}

/// The one's complement sum of an address; 0000 and ffff mean the same and
/// come out as 0.
fn sum(address: Ipv6Addr) -> u32 {
    let mut sum: u32 = address.segments().into_iter().map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum % 0xffff
}

#[test]
fn all_vectors_are_there() {
    let mut count = BTreeMap::new();
    for Vector { mode, verified, .. } in vectors() {
        *count.entry((mode.number(), verified)).or_insert(0) += 1;
    }
    let expected = [
        ((ChecksumMode::NeutralMap.number(), Verified::Kernel), 5),
        ((ChecksumMode::NeutralMap.number(), Verified::Computed), 2),
        ((ChecksumMode::NoAction.number(), Verified::Kernel), 1),
        ((ChecksumMode::NeutralMapAuto.number(), Verified::Kernel), 3),
    ];
    assert_eq!(count, expected.into());
    assert_eq!(vectors().len(), 11);
}

#[test]
fn a_sir_address_becomes_the_ila_address_of_the_vector() {
    for vector in vectors() {
        let Vector { sir, mode, ila, .. } = vector;
        let delta = mode.to_ila_delta(vector.sir_prefix(), vector.locator());
        let identifier = Identifier::from_bits(Address::from(sir).low);
        let given = to_ila(mode, identifier, vector.locator(), delta);
        assert_eq!(Ipv6Addr::from(Address::from(given)), ila, "{mode:?}: {sir}");
    }
}

#[test]
fn an_ila_address_is_restored_to_the_sir_address_of_the_vector() {
    for vector in vectors() {
        let Vector { mode, ila, restores_to, .. } = vector;
        let delta = mode.to_sir_delta(vector.sir_prefix(), vector.locator());
        let Address { high, low } = ila.into();
        assert_eq!(high, vector.locator().bits(), "{ila}");
        let wire = IlaAddr { locator: vector.locator(), identifier: Identifier::from_bits(low) };
        let given = to_sir(mode, wire, vector.sir_prefix(), delta);
        assert_eq!(Ipv6Addr::from(Address::from(given)), restores_to, "{mode:?}: {ila}");
    }
}

#[test]
fn only_a_low_word_of_zero_is_not_restored() {
    for Vector { sir, restores_to, .. } in vectors() {
        assert_eq!(restores_to != sir, sir.segments()[7] == 0, "{sir}");
    }
}

#[test]
fn the_sum_of_the_address_is_the_same_on_both_sides_in_the_neutral_modes() {
    for Vector { sir, mode, ila, restores_to, .. } in vectors() {
        match mode {
            ChecksumMode::NeutralMap | ChecksumMode::NeutralMapAuto => {
                assert_eq!(sum(ila), sum(sir), "{mode:?}: {sir} to {ila}");
                assert_eq!(sum(restores_to), sum(ila), "{mode:?}: {ila} to {restores_to}");
            }
            ChecksumMode::NoAction => assert_ne!(sum(ila), sum(sir), "{sir} to {ila}"),
        }
    }
}
