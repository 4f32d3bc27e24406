//! Verdicts on what the container behind interface 7 sends.

use super::*;
use crate::testing::{MAC, NEIGHBOUR_MAC, SECOND_MAC, space};
use ChecksumMode::{NeutralMap, NeutralMapAuto, NoAction};

fn verdict(host: &Host, from: &str, to: &str, hop_limit: u8) -> Verdict {
    egress(&host.config, host, 7, &header(address(from), address(to), hop_limit))
}

/// A host of every kind.
fn hosts() -> impl Iterator<Item = Host> {
    ChecksumMode::ALL
        .into_iter()
        .flat_map(|mode| SOURCE_MODES.map(|source| host(mode).with_source_mode(source)))
}

const OWN: [&str; 2] = ["fd00:db8:0:1:2000::b1", "fd00:db8:0:2:2000::b4"];

/// Of nobody, of others, or not of the overlay.
const FOREIGN: [&str; 16] = [
    // Of the neighbour, of a container elsewhere, of nobody.
    "fd00:db8:0:1:2000::b2",
    "fd00:db8:0:1:2000::c1",
    "fd00:db8:0:1:2000::c3",
    // Its identifiers, in the SIR prefix where they are another's or nobody's.
    "fd00:db8:0:2:2000::b1",
    "fd00:db8:0:1:2000::b4",
    // Its own but for C-bit or type.
    "fd00:db8:0:1:3000::b1",
    "fd00:db8:0:1::b1",
    "fd00:db8:0:1:4000::b1",
    // Its own ILA addresses.
    "2001:db8:a:a:3000::cd9d",
    "2001:db8:a:a:2000::dd9d",
    "2001:db8:a:a:2000::b1",
    "2001:db8:a:b:3000::cdac",
    // No overlay's at all.
    "2606:4700::1111",
    "fec0::1",
    "::1",
    "ff02::1",
];

const ON_LINK: [&str; 2] = ["fe80::aa", "::"];

/// SIR addresses: of itself, local, remote, unknown, impossible.
const SIR: [&str; 7] = [
    "fd00:db8:0:1:2000::b1",
    "fd00:db8:0:1:2000::b2",
    "fd00:db8:0:2:2000::b1",
    "fd00:db8:0:1:2000::c1",
    "fd00:db8:0:1:2000::c3",
    "fd00:db8:0:1:3000::c1",
    "fd00:db8:0:1::1",
];

const LINK: [&str; 6] = ["fe80::1", "fe80::2", "febf:ffff::1", "ff02::2", "ff05::1:3", "ff0e::1"];

/// Under a locator, the host's own or another's, of either SIR prefix.
const UNDER_LOCATOR: [&str; 8] = [
    "2001:db8:a:a::1",
    "2001:db8:a:a:3000::cd9d",
    "2001:db8:a:b::1",
    "2001:db8:a:b:3000::cdac",
    "2001:db8:a:b:2000::ddac",
    "2001:db8:a:c:2000::c2",
    "2001:db8:b:a::1",
    "2001:db8:b:b:3000::cdac",
];

const OUTSIDE: [&str; 6] =
    ["2606:4700::1111", "fd00:db8:0:3:2000::b1", "2001:db8:a:d:3000::cdac", "fec0::1", "::1", "::"];

#[test]
fn a_foreign_source_goes_nowhere_whatever_its_hop_limit() {
    let anywhere = || SIR.into_iter().chain(LINK).chain(UNDER_LOCATOR).chain(OUTSIDE);
    for host in hosts() {
        for from in FOREIGN {
            for to in anywhere() {
                for hop_limit in [0, 1, 2, 255] {
                    let given = verdict(&host, from, to, hop_limit);
                    assert_eq!(given, Verdict::Drop(Fate::EgressSource), "{from} to {to}");
                }
            }
        }
    }
}

#[test]
fn an_address_of_the_link_is_good_for_the_link_only() {
    for host in hosts() {
        for from in ON_LINK {
            for to in LINK {
                let given = verdict(&host, from, to, 255);
                assert_eq!(given, Verdict::Pass(Fate::EgressNotSir), "{from} to {to}");
            }
            for to in SIR.into_iter().chain(UNDER_LOCATOR).chain(OUTSIDE) {
                let given = verdict(&host, from, to, 255);
                assert_eq!(given, Verdict::Drop(Fate::EgressSource), "{from} to {to}");
            }
        }
    }
}

#[test]
fn what_is_not_for_the_overlay_is_left_to_the_host_whatever_its_hop_limit() {
    for host in hosts() {
        for from in OWN {
            for to in LINK.into_iter().chain(OUTSIDE) {
                for hop_limit in [0, 1, 2, 255] {
                    let given = verdict(&host, from, to, hop_limit);
                    assert_eq!(given, Verdict::Pass(Fate::EgressNotSir), "{from} to {to}");
                }
            }
        }
    }
}

#[test]
fn nothing_goes_straight_to_a_locator() {
    for host in hosts() {
        for from in OWN {
            for to in UNDER_LOCATOR {
                for hop_limit in [0, 1, 2, 255] {
                    let given = verdict(&host, from, to, hop_limit);
                    assert_eq!(given, Verdict::Drop(Fate::EgressLocator), "{from} to {to}");
                }
            }
        }
    }
}

/// The host's own locators are known by its configuration alone.
#[test]
fn nothing_goes_straight_to_a_locator_of_a_host_without_tables() {
    for mode in ChecksumMode::ALL {
        let mut alone = Host::new(mode, &[]);
        alone.config = host(mode).config;
        let alone = alone.here(address(OWN[0]), 7, MAC);
        for to in ["2001:db8:a:a::1", "2001:db8:b:a:3000::cd9d"] {
            let given = verdict(&alone, OWN[0], to, 64);
            assert_eq!(given, Verdict::Drop(Fate::EgressLocator), "{to}");
        }
        let given = verdict(&alone, OWN[0], "2001:db8:a:b::1", 64);
        assert_eq!(given, Verdict::Pass(Fate::EgressNotSir));
    }
}

#[test]
fn nothing_goes_to_where_locators_are_taken_from_whether_a_host_has_them_or_not() {
    for mut host in hosts() {
        host.config.locator_spaces[1] = space("2001:db8:c::", 48);
        for to in ["2001:db8:c:d:2000::99", "2001:db8:c::1", "2001:db8:c:ffff::"] {
            let given = verdict(&host, OWN[0], to, 64);
            assert_eq!(given, Verdict::Drop(Fate::EgressLocator), "{to}");
        }
        let given = verdict(&host, OWN[0], "2001:db8:d::1", 64);
        assert_eq!(given, Verdict::Pass(Fate::EgressNotSir));
        // A container's address may lie there.
        host.config.locator_spaces[0] = space("fd00::", 16);
        let given = verdict(&host, OWN[0], "fd00:db8:0:1:2000::c1", 64);
        assert!(matches!(given, Verdict::Send { .. }), "{given:?}");
    }
}

#[test]
fn a_packet_that_would_leave_with_hop_limit_0_goes_no_further() {
    for host in hosts() {
        for from in OWN {
            for to in SIR {
                for hop_limit in [0, 1] {
                    assert_eq!(
                        verdict(&host, from, to, hop_limit),
                        Verdict::Refuse(Error::TIME_EXCEEDED, Fate::EgressHopLimit),
                        "{from} to {to}",
                    );
                }
                assert_eq!(verdict(&host, from, to, 2), verdict(&host, from, to, 64));
            }
        }
    }
}

#[test]
fn an_identifier_that_no_mapping_names_is_unreachable() {
    for host in hosts() {
        for to in [
            "fd00:db8:0:1:2000::c3",
            // Known in the other SIR prefix only.
            "fd00:db8:0:1:2000::b4",
            "fd00:db8:0:2:2000::b2",
            "fd00:db8:0:2:2000::c2",
            // Known but for the C-bit or the type.
            "fd00:db8:0:1:3000::b2",
            "fd00:db8:0:1:3000::c1",
            "fd00:db8:0:1::b2",
            "fd00:db8:0:1::c1",
            "fd00:db8:0:1:4000::c1",
            "fd00:db8:0:1:e000::c1",
            "fd00:db8:0:1::",
        ] {
            for from in OWN {
                assert_eq!(
                    verdict(&host, from, to, 2),
                    Verdict::Refuse(Error::ADDRESS_UNREACHABLE, Fate::EgressUnknownIdentifier),
                    "{from} to {to}",
                );
            }
        }
    }
}

#[test]
fn a_container_on_this_host_gets_it_as_it_is() {
    for host in hosts() {
        for from in OWN {
            for (to, interface, mac) in [
                ("fd00:db8:0:1:2000::b1", 7, MAC),
                ("fd00:db8:0:1:2000::b2", 8, NEIGHBOUR_MAC),
                ("fd00:db8:0:2:2000::b1", 9, SECOND_MAC),
                ("fd00:db8:0:2:2000::b4", 7, MAC),
            ] {
                let rewrite = rewrite(from, to, true);
                let fate = Fate::EgressLocal;
                let expected = Verdict::Deliver { interface, mac, rewrite, fate };
                assert_eq!(verdict(&host, from, to, 2), expected, "{from} to {to}");
            }
        }
    }
}

#[test]
fn a_container_elsewhere_gets_it_at_its_ila_address() {
    for (mode, [first, second, other_prefix], neutral) in [
        (
            NeutralMap,
            ["2001:db8:a:b:3000::cdac", "2001:db8:a:c:3000::cdac", "2001:db8:b:b:3000::cdac"],
            true,
        ),
        (
            NoAction,
            ["2001:db8:a:b:2000::c1", "2001:db8:a:c:2000::c2", "2001:db8:b:b:2000::c1"],
            false,
        ),
        (
            NeutralMapAuto,
            ["2001:db8:a:b:2000::ddac", "2001:db8:a:c:2000::ddac", "2001:db8:b:b:2000::ddac"],
            true,
        ),
    ] {
        let host = host(mode);
        for from in OWN {
            for (to, ila) in [
                ("fd00:db8:0:1:2000::c1", first),
                ("fd00:db8:0:1:2000::c2", second),
                ("fd00:db8:0:2:2000::c1", other_prefix),
            ] {
                let rewrite = rewrite(from, ila, neutral);
                let expected = Verdict::Send { rewrite, fate: Fate::EgressTranslated };
                assert_eq!(verdict(&host, from, to, 2), expected, "{mode:?}: {from} to {to}");
            }
        }
    }
}

/// The source goes by the prefix that it has itself, whatever the
/// destination's.
#[test]
fn with_sources_at_their_locator_it_comes_from_the_ila_address() {
    let own = |to_first, to_second| [(OWN[0], to_first), (OWN[1], to_second)];
    for (mode, sources, destinations, neutral) in [
        (
            NeutralMap,
            own("2001:db8:a:a:3000::cd9d", "2001:db8:b:a:3000::cda0"),
            ["2001:db8:a:b:3000::cdac", "2001:db8:b:b:3000::cdac"],
            true,
        ),
        (
            NoAction,
            own("2001:db8:a:a:2000::b1", "2001:db8:b:a:2000::b4"),
            ["2001:db8:a:b:2000::c1", "2001:db8:b:b:2000::c1"],
            false,
        ),
        (
            NeutralMapAuto,
            own("2001:db8:a:a:2000::dd9d", "2001:db8:b:a:2000::dda0"),
            ["2001:db8:a:b:2000::ddac", "2001:db8:b:b:2000::ddac"],
            true,
        ),
    ] {
        let host = host(mode).with_source_mode(SourceMode::Locator);
        for (from, source) in sources {
            let to = ["fd00:db8:0:1:2000::c1", "fd00:db8:0:2:2000::c1"];
            for (to, destination) in to.into_iter().zip(destinations) {
                let rewrite = rewrite(source, destination, neutral);
                let expected = Verdict::Send { rewrite, fate: Fate::EgressTranslated };
                assert_eq!(verdict(&host, from, to, 2), expected, "{mode:?}: {from} to {to}");
            }
        }
    }
}

#[test]
fn an_unknown_number_of_a_source_mode_is_sir() {
    let mut host = host(NeutralMap);
    for number in [2, 0x0100, 0xffff] {
        host.config.source_mode = number;
        let Verdict::Send { rewrite, .. } = verdict(&host, OWN[0], "fd00:db8:0:1:2000::c1", 64)
        else {
            panic!("it is sent");
        };
        assert_eq!(rewrite.source, address(OWN[0]));
    }
}

#[test]
fn the_same_packet_from_another_interface_is_foreign() {
    let host = host(NeutralMap);
    let header = header(address(OWN[0]), address("fd00:db8:0:1:2000::c1"), 64);
    for interface in [0, 6, 8, 9, u32::MAX] {
        let given = egress(&host.config, &host, interface, &header);
        assert_eq!(given, Verdict::Drop(Fate::EgressSource), "{interface}");
    }
}
