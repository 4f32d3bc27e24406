//! What holds between any hosts with any mappings.

use proptest::prelude::*;

use super::{
    pair::{INTERFACE, Pair, delivered, pairs, sent, sum_of},
    *,
};
use crate::testing::{addresses, identifiers, modes, prefixes, source_modes};

proptest! {
    #[test]
    fn what_is_received_is_what_was_sent(pair in pairs()) {
        let wire = pair.on_the_wire();
        let header = header(wire.source, wire.destination, 63);
        let received = delivered(ingress(&pair.receiver.config, &pair.receiver, &header, false));
        prop_assert_eq!((received.source, received.destination), (pair.from, pair.to));
        prop_assert_eq!((wire.neutral, received.neutral), (pair.is_neutral(), pair.is_neutral()));
    }

    #[test]
    fn by_way_of_a_third_host_it_is_the_same(pair in pairs(), by_sir: bool) {
        let Pair { from, to, third, receiver, .. } = &pair;
        // Where it once lived, or as it comes from outside of the domain.
        let (source, destination) = if by_sir {
            (*from, *to)
        } else {
            let wire = pair.on_the_wire();
            let domain = third.config.domain_of_sir(to.high).expect("the hosts serve it");
            let here = third.config.domain(domain);
            let there = ila(&third.config, Identifier::from_bits(to.low), here.locator(), here.to_ila());
            (wire.source, there.address)
        };
        let on = sent(ingress(&third.config, third, &header(source, destination, 63), false));
        prop_assert_eq!(on.source, source);
        let header = header(on.source, on.destination, 62);
        let received = delivered(ingress(&receiver.config, receiver, &header, false));
        prop_assert_eq!((received.source, received.destination), (*from, *to));
    }

    #[test]
    fn in_the_neutral_modes_the_sum_of_the_addresses_stays(pair in pairs()) {
        if pair.is_neutral() {
            let wire = pair.on_the_wire();
            let before = sum_of(pair.from, pair.to);
            prop_assert_eq!(sum_of(wire.source, wire.destination), before);
        }
    }

    #[test]
    fn hosts_may_differ_in_their_source_mode(pair in pairs(), mode in source_modes()) {
        let Pair { from, to, receiver, .. } = pair.clone();
        let receiver = receiver.with_source_mode(mode);
        let wire = pair.on_the_wire();
        let header = header(wire.source, wire.destination, 63);
        let received = delivered(ingress(&receiver.config, &receiver, &header, false));
        prop_assert_eq!((received.source, received.destination), (from, to));
    }

    #[test]
    fn on_the_wire_are_addresses_of_hosts_only_if_that_is_wanted(pair in pairs()) {
        let wire = pair.on_the_wire();
        let of_sender = |high| pair.sender.config.domain_of_locator(high).is_some();
        let of_receiver = |high| pair.receiver.config.domain_of_locator(high).is_some();
        prop_assert!(of_receiver(wire.destination.high));
        if pair.sender.config.source_mode == SourceMode::Locator.number() {
            prop_assert!(of_sender(wire.source.high));
        } else {
            prop_assert_eq!(wire.source, pair.from);
        }
    }
}

// A host with many containers, and packets that may be anything.

/// A container and where it lives.
#[derive(Clone, Copy, Debug)]
struct Container {
    sir: Address,
    /// Its interface, or the locator of another host.
    place: Result<u32, u64>,
}

impl Container {
    fn mac(interface: u32) -> Mac {
        let [a, b, c, d] = interface.to_be_bytes();
        [0x02, 0, a, b, c, d]
    }
}

#[derive(Clone, Debug)]
struct Town {
    host: Host,
    containers: Vec<Container>,
    /// Every locator with its SIR prefix, the host's own among them.
    locators: Vec<(u64, u64)>,
}

impl Town {
    fn resident(&self, sir: Address) -> Option<&Container> {
        self.containers.iter().find(|it| it.sir == sir)
    }

    /// Whether `rewritten` is how the host may understand a source of the
    /// wire: as it is, unless a locator with an identifier on it says else.
    fn understands(&self, wire: Address, rewritten: Address) -> bool {
        let under_locator = self.locators.iter().find(|it| it.0 == wire.high);
        match under_locator {
            Some(_) if wire.low >> 61 == 0 => rewritten == wire,
            Some(&(locator, sir)) => {
                let own = self.locators[..2].iter().any(|it| it.0 == locator);
                rewritten.high == sir
                    && self.resident(rewritten).is_some_and(|it| match it.place {
                        Ok(_) => own,
                        Err(at) => at == locator,
                    })
            }
            None => rewritten == wire,
        }
    }
}

fn towns() -> impl Strategy<Value = Town> {
    let who = (identifiers(), any::<bool>(), 0..4_usize);
    (modes(), source_modes(), prefixes::<8>(), prop::collection::vec(who, 1..12)).prop_map(
        |(mode, source_mode, highs, all)| {
            let [sir_0, sir_1, locators @ ..] = highs;
            let locators: Vec<_> =
                locators.into_iter().zip([sir_0, sir_1].into_iter().cycle()).collect();
            let host = Host::new(mode, &[(sir_0, locators[0].0), (sir_1, locators[1].0)]);
            let mut town = Town { host, containers: Vec::new(), locators: locators.clone() };
            for (high, sir) in locators {
                town.host = town.host.knows(u32::from(sir == sir_1), high);
            }
            for (number, (identifier, second, place)) in (1..).zip(all) {
                let domain = usize::from(second);
                let sir = Address { high: [sir_0, sir_1][domain], low: identifier.bits() };
                if town.resident(sir).is_some() {
                    continue;
                }
                let host = town.host.clone();
                let place = if place < 2 {
                    town.host = host.here(sir, number, Container::mac(number));
                    Ok(number)
                } else {
                    let (locator, _) = town.locators[domain + 2 * (place - 1)];
                    town.host = host.there(sir, locator);
                    Err(locator)
                };
                town.containers.push(Container { sir, place });
            }
            town.host = town.host.with_source_mode(source_mode);
            town
        },
    )
}

/// Addresses that are right, nearly right, or anything.
fn address_in(town: &Town) -> impl Strategy<Value = Address> + use<> {
    let mut right: Vec<_> = town.containers.iter().map(|it| it.sir).collect();
    for Container { sir, .. } in &town.containers {
        for (locator, prefix) in &town.locators {
            let delta = town.host.mode().to_ila_delta(
                crate::addr::SirPrefix::from_bits(*prefix),
                Locator::from_bits(*locator),
            );
            let at = |low| {
                ila(
                    &town.host.config,
                    Identifier::from_bits(low),
                    Locator::from_bits(*locator),
                    delta,
                )
            };
            right.push(at(sir.low).address);
            right.push(Address { high: *locator, low: sir.low });
            right.push(Address { high: *locator, low: 1 });
        }
    }
    let right = prop::sample::select(right);
    let one_bit = (right.clone(), 0..128_u32).prop_map(|(Address { high, low }, bit)| match bit {
        0..64 => Address { high, low: low ^ 1 << bit },
        _ => Address { high: high ^ 1 << (bit - 64), low },
    });
    prop_oneof![8 => right, 2 => one_bit, 1 => addresses(), 1 => Just(Address::UNSPECIFIED)]
}

fn packets() -> impl Strategy<Value = (Town, Header)> {
    towns().prop_flat_map(|town| {
        let header = (address_in(&town), address_in(&town), any::<u8>())
            .prop_map(|(source, destination, hop_limit)| header(source, destination, hop_limit));
        (Just(town), header)
    })
}

proptest! {
    // Much can be wrong with a packet at once; `PROPTEST_CASES` for more still.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

    #[test]
    fn what_an_uplink_receives_reaches_its_container_or_nobody((town, header) in packets()) {
        match ingress(&town.host.config, &town.host, &header, false) {
            Verdict::Deliver { interface, mac, rewrite, .. } => {
                let resident = town.resident(rewrite.destination).expect("it lives somewhere");
                prop_assert_eq!(resident.place, Ok(interface));
                prop_assert_eq!(mac, Container::mac(interface));
                prop_assert!(town.understands(header.source, rewrite.source));
                if rewrite.neutral {
                    let before = sum_of(header.source, header.destination);
                    prop_assert_eq!(sum_of(rewrite.source, rewrite.destination), before);
                }
            }
            Verdict::Send { rewrite, .. } => {
                prop_assert_eq!(rewrite.source, header.source);
                let lives_there = town.containers.iter()
                    .any(|it| it.place == Err(rewrite.destination.high));
                prop_assert!(lives_there);
                prop_assert!(header.hop_limit > 1);
                if rewrite.neutral {
                    let before = sum_of(header.source, header.destination);
                    prop_assert_eq!(sum_of(rewrite.source, rewrite.destination), before);
                }
            }
            Verdict::Pass(_) => {
                let own = town.locators[..2].iter().any(|it| it.0 == header.destination.high);
                prop_assert!(!own || header.destination.low >> 61 == 0);
                prop_assert!(town.locators.iter().all(|it| it.1 != header.destination.high));
            }
            Verdict::Drop(_) | Verdict::Refuse(..) => {}
        }
    }

    #[test]
    fn what_a_container_sends_reaches_its_receiver_or_nobody(
        (town, header) in packets(),
        interface in 1..6_u32,
    ) {
        let given = egress(&town.host.config, &town.host, interface, &header);
        let sender = town.resident(header.source);
        let own = sender.is_some_and(|it| it.place == Ok(interface));
        let receiver = town.resident(header.destination).map(|it| it.place);
        match given {
            Verdict::Deliver { interface, mac, rewrite, .. } => {
                prop_assert!(own);
                prop_assert_eq!(receiver, Some(Ok(interface)));
                prop_assert_eq!(mac, Container::mac(interface));
                let same = Rewrite {
                    source: header.source, destination: header.destination, neutral: true,
                };
                prop_assert_eq!(rewrite, same);
            }
            Verdict::Send { rewrite, .. } => {
                prop_assert!(own);
                prop_assert_eq!(receiver, Some(Err(rewrite.destination.high)));
            }
            Verdict::Refuse(error, _) => {
                prop_assert!(own);
                prop_assert_eq!(error == Error::TIME_EXCEEDED, header.hop_limit < 2);
                prop_assert!(header.hop_limit < 2 || receiver.is_none());
            }
            Verdict::Pass(_) => {
                let on_link = header.source.is_unspecified() || header.source.is_link_local();
                prop_assert!(own || on_link);
                prop_assert!(town.locators.iter().all(|it| it.0 != header.destination.high));
                prop_assert!(town.locators.iter().all(|it| it.1 != header.destination.high));
            }
            Verdict::Drop(_) => {
                let to_locator = town.locators.iter().any(|it| it.0 == header.destination.high);
                prop_assert!(!own || to_locator);
            }
        }
        // If nothing is wrong, then it must arrive.
        if own && header.hop_limit > 1 && let Some(place) = receiver {
            let arrives = match given {
                Verdict::Deliver { interface, .. } => place == Ok(interface),
                Verdict::Send { .. } => place != Ok(INTERFACE) && place.is_err(),
                _ => false,
            };
            prop_assert!(arrives, "{:?}", given);
        }
    }
}
