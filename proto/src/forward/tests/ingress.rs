//! Verdicts on what an uplink receives.

use super::*;
use crate::testing::{MAC, NEIGHBOUR_MAC, SECOND_MAC, space};
use ChecksumMode::{NeutralMap, NeutralMapAuto, NoAction};

fn verdict(host: &Host, from: &str, to: &str, hop_limit: u8) -> Verdict {
    ingress(&host.config, host, &header(address(from), address(to), hop_limit), false)
}

/// SIR address of a container elsewhere, as which it sends by default.
const SENDER: &str = "fd00:db8:0:1:2000::c1";

/// ILA addresses of `…b1`, `…b2` and, in the second SIR prefix, `…b1`.
fn containers(mode: ChecksumMode) -> [&'static str; 3] {
    match mode {
        NeutralMap => {
            ["2001:db8:a:a:3000::cd9d", "2001:db8:a:a:3000::cd9e", "2001:db8:b:a:3000::cd9d"]
        }
        NoAction => ["2001:db8:a:a:2000::b1", "2001:db8:a:a:2000::b2", "2001:db8:b:a:2000::b1"],
        NeutralMapAuto => {
            ["2001:db8:a:a:2000::dd9d", "2001:db8:a:a:2000::dd9e", "2001:db8:b:a:2000::dd9d"]
        }
    }
}

fn unreachable() -> Verdict {
    Verdict::Refuse(Error::ADDRESS_UNREACHABLE, Fate::IngressUnknownIdentifier)
}

#[test]
fn what_is_not_for_the_overlay_is_left_to_the_host_whoever_sends_it() {
    for mode in ChecksumMode::ALL {
        let host = host(mode);
        // The last one states a source that it cannot have.
        for from in [SENDER, "fe80::1", "::", "2606:4700::1111", "2001:db8:a:b:3000::1"] {
            for hop_limit in [0, 1, 2, 255] {
                for to in [
                    "2001:db8:a:b:3000::cdac",
                    "2001:db8:a:d:3000::cd9d",
                    "fd00:db8:0:3:2000::b1",
                    "ff02::1",
                    "fe80::1",
                    "::",
                ] {
                    let given = verdict(&host, from, to, hop_limit);
                    assert_eq!(given, Verdict::Pass(Fate::IngressNotLocator), "{from} to {to}");
                }
                for to in [
                    "2001:db8:a:a::1",
                    "2001:db8:a:a::",
                    "2001:db8:a:a:fff:ffff:ffff:ffff",
                    "2001:db8:a:a:1000::b1",
                    "2001:db8:b:a::1",
                ] {
                    let given = verdict(&host, from, to, hop_limit);
                    assert_eq!(given, Verdict::Pass(Fate::IngressHost), "{from} to {to}");
                }
            }
        }
    }
}

#[test]
fn a_container_here_gets_it_as_it_was_sent() {
    for mode in ChecksumMode::ALL {
        let [first, neighbour, second] = containers(mode);
        for (to, sir, interface, mac) in [
            (first, "fd00:db8:0:1:2000::b1", 7, MAC),
            (neighbour, "fd00:db8:0:1:2000::b2", 8, NEIGHBOUR_MAC),
            (second, "fd00:db8:0:2:2000::b1", 9, SECOND_MAC),
        ] {
            let rewrite = rewrite(SENDER, sir, mode != NoAction);
            let fate = Fate::IngressRestored;
            let expected = Verdict::Deliver { interface, mac, rewrite, fate };
            assert_eq!(verdict(&host(mode), SENDER, to, 2), expected, "{mode:?}: {to}");
        }
    }
}

#[test]
fn a_sender_that_did_not_adjust_is_understood_for_the_c_bit_is_clear() {
    let rewrite = rewrite(SENDER, "fd00:db8:0:1:2000::b1", false);
    let expected =
        Verdict::Deliver { interface: 7, mac: MAC, rewrite, fate: Fate::IngressRestored };
    assert_eq!(verdict(&host(NeutralMap), SENDER, "2001:db8:a:a:2000::b1", 2), expected);
}

#[test]
fn a_sender_of_another_mode_reaches_nobody_rather_than_somebody_else() {
    for (mode, to) in [
        (NeutralMap, "2001:db8:a:a:2000::dd9d"),
        (NeutralMapAuto, "2001:db8:a:a:3000::cd9d"),
        (NeutralMapAuto, "2001:db8:a:a:2000::b1"),
        (NoAction, "2001:db8:a:a:3000::cd9d"),
        (NoAction, "2001:db8:a:a:2000::dd9d"),
    ] {
        assert_eq!(verdict(&host(mode), SENDER, to, 2), unreachable(), "{mode:?}: {to}");
    }
}

#[test]
fn an_identifier_that_no_mapping_names_is_unreachable() {
    for (mode, to) in [
        // …ee under each locator, and …b2 under that of the other prefix.
        (NeutralMap, "2001:db8:a:a:3000::cdda"),
        (NeutralMap, "2001:db8:a:a:2000::ee"),
        (NeutralMap, "2001:db8:b:a:3000::cd9e"),
        (NoAction, "2001:db8:a:a:2000::ee"),
        (NoAction, "2001:db8:b:a:2000::b2"),
        (NeutralMapAuto, "2001:db8:a:a:2000::ddda"),
        (NeutralMapAuto, "2001:db8:b:a:2000::dd9e"),
        // Other types.
        (NeutralMap, "2001:db8:a:a:5000::cd9d"),
        (NoAction, "2001:db8:a:a:4000::b1"),
        (NeutralMapAuto, "2001:db8:a:a:e000::dd9d"),
    ] {
        assert_eq!(verdict(&host(mode), SENDER, to, 2), unreachable(), "{mode:?}: {to}");
    }
    for mode in ChecksumMode::ALL {
        for to in [
            "fd00:db8:0:1:2000::c3",
            "fd00:db8:0:2:2000::b2",
            "fd00:db8:0:1:3000::b1",
            "fd00:db8:0:1::1",
            "fd00:db8:0:1:4000::b1",
        ] {
            assert_eq!(verdict(&host(mode), SENDER, to, 2), unreachable(), "{mode:?}: {to}");
        }
    }
}

#[test]
fn what_comes_to_a_sir_address_is_delivered_as_it_is() {
    for mode in ChecksumMode::ALL {
        for (to, interface, mac) in [
            ("fd00:db8:0:1:2000::b1", 7, MAC),
            ("fd00:db8:0:1:2000::b2", 8, NEIGHBOUR_MAC),
            ("fd00:db8:0:2:2000::b1", 9, SECOND_MAC),
        ] {
            for from in ["2606:4700::1111", SENDER, "2001:db8:a:b::1"] {
                let rewrite = rewrite(from, to, true);
                let fate = Fate::IngressSir;
                let expected = Verdict::Deliver { interface, mac, rewrite, fate };
                assert_eq!(verdict(&host(mode), from, to, 2), expected, "{mode:?}: {to}");
            }
        }
    }
}

/// `…c1` and `…c2` were here once, or a router has sent SIR addresses here.
#[test]
fn what_lives_elsewhere_is_sent_on_to_where_it_lives() {
    for (mode, from_locator, from_sir, neutral) in [
        (
            NeutralMap,
            [
                ("2001:db8:a:a:3000::cdad", "2001:db8:a:b:3000::cdac"),
                ("2001:db8:a:a:3000::cdae", "2001:db8:a:c:3000::cdac"),
                ("2001:db8:b:a:3000::cdad", "2001:db8:b:b:3000::cdac"),
            ],
            ["2001:db8:a:b:3000::cdac", "2001:db8:b:b:3000::cdac"],
            true,
        ),
        (
            NoAction,
            [
                ("2001:db8:a:a:2000::c1", "2001:db8:a:b:2000::c1"),
                ("2001:db8:a:a:2000::c2", "2001:db8:a:c:2000::c2"),
                ("2001:db8:b:a:2000::c1", "2001:db8:b:b:2000::c1"),
            ],
            ["2001:db8:a:b:2000::c1", "2001:db8:b:b:2000::c1"],
            false,
        ),
        (
            NeutralMapAuto,
            [
                ("2001:db8:a:a:2000::ddad", "2001:db8:a:b:2000::ddac"),
                ("2001:db8:a:a:2000::ddae", "2001:db8:a:c:2000::ddac"),
                ("2001:db8:b:a:2000::ddad", "2001:db8:b:b:2000::ddac"),
            ],
            ["2001:db8:a:b:2000::ddac", "2001:db8:b:b:2000::ddac"],
            true,
        ),
    ] {
        let from_sir = ["fd00:db8:0:1:2000::c1", "fd00:db8:0:2:2000::c1"].into_iter().zip(from_sir);
        for (to, next) in from_locator.into_iter().chain(from_sir) {
            for source in SOURCE_MODES {
                let host = host(mode).with_source_mode(source);
                let rewrite = rewrite("2606:4700::1111", next, neutral);
                let expected = Verdict::Send { rewrite, fate: Fate::IngressForwarded };
                assert_eq!(verdict(&host, "2606:4700::1111", to, 2), expected, "{mode:?}: {to}");
            }
        }
    }
}

/// What the first sender did not make up for the second one cannot either.
#[test]
fn what_is_sent_on_is_neutral_only_if_both_ways_were() {
    let rewrite = rewrite("2606:4700::1111", "2001:db8:a:b:3000::cdac", false);
    let expected = Verdict::Send { rewrite, fate: Fate::IngressForwarded };
    let given = verdict(&host(NeutralMap), "2606:4700::1111", "2001:db8:a:a:2000::c1", 2);
    assert_eq!(given, expected);
}

#[test]
fn what_is_sent_on_keeps_the_source_that_its_receiver_checks() {
    for (mode, from, to, next, neutral) in [
        (
            NeutralMap,
            "2001:db8:a:b:3000::cdac",
            "2001:db8:a:a:3000::cdae",
            "2001:db8:a:c:3000::cdac",
            true,
        ),
        // Not adjusted, and left so: that changes nothing.
        (
            NeutralMap,
            "2001:db8:a:b:2000::c1",
            "2001:db8:a:a:3000::cdae",
            "2001:db8:a:c:3000::cdac",
            true,
        ),
        (
            NoAction,
            "2001:db8:a:b:2000::c1",
            "2001:db8:a:a:2000::c2",
            "2001:db8:a:c:2000::c2",
            false,
        ),
    ] {
        let rewrite = rewrite(from, next, neutral);
        let expected = Verdict::Send { rewrite, fate: Fate::IngressForwarded };
        assert_eq!(verdict(&host(mode), from, to, 2), expected, "{mode:?}: {from}");
    }
}

#[test]
fn a_packet_that_would_leave_with_hop_limit_0_goes_no_further() {
    for mode in ChecksumMode::ALL {
        let host = host(mode);
        let [here, ..] = containers(mode);
        let elsewhere = match mode {
            NeutralMap => "2001:db8:a:a:3000::cdad",
            NoAction => "2001:db8:a:a:2000::c1",
            NeutralMapAuto => "2001:db8:a:a:2000::ddad",
        };
        let unknown = "2001:db8:a:a:2000::1234";
        for to in [here, elsewhere, unknown, "fd00:db8:0:1:2000::b1", "fd00:db8:0:1:2000::c1"] {
            for hop_limit in [0, 1] {
                assert_eq!(
                    verdict(&host, SENDER, to, hop_limit),
                    Verdict::Refuse(Error::TIME_EXCEEDED, Fate::IngressHopLimit),
                    "{mode:?}: {to}",
                );
            }
            assert_eq!(verdict(&host, SENDER, to, 2), verdict(&host, SENDER, to, 64));
        }
    }
}

// Sources.

/// The verdict on a packet from `from` to `…b1` must be that it is delivered as
/// from `restored`, or that it is dropped.
fn check_source(mode: ChecksumMode, from: &str, restored: Option<(&str, bool)>) {
    let [to, ..] = containers(mode);
    for source in SOURCE_MODES {
        let host = host(mode).with_source_mode(source);
        let expected = |fate, neutral| {
            restored.map_or(Verdict::Drop(Fate::IngressSource), |(sir, _)| Verdict::Deliver {
                interface: 7,
                mac: MAC,
                rewrite: rewrite(sir, "fd00:db8:0:1:2000::b1", neutral),
                fate,
            })
        };
        let neutral = restored.is_some_and(|it| it.1);
        let at_locator = expected(Fate::IngressRestored, neutral && mode != NoAction);
        assert_eq!(verdict(&host, from, to, 2), at_locator, "{mode:?}: {from}");
        // The source is checked before the hop limit.
        if restored.is_none() {
            assert_eq!(verdict(&host, from, to, 1), at_locator, "{mode:?}: {from}");
        }
        let at_sir = verdict(&host, from, "fd00:db8:0:1:2000::b1", 2);
        assert_eq!(at_sir, expected(Fate::IngressSir, neutral), "{mode:?}: {from}");
    }
}

#[test]
fn a_source_at_the_locator_that_it_is_mapped_to_is_restored() {
    for (mode, from, sir, neutral) in [
        (NeutralMap, "2001:db8:a:b:3000::cdac", "fd00:db8:0:1:2000::c1", true),
        (NeutralMap, "2001:db8:a:c:3000::cdac", "fd00:db8:0:1:2000::c2", true),
        (NeutralMap, "2001:db8:b:b:3000::cdac", "fd00:db8:0:2:2000::c1", true),
        // The C-bit is clear: not adjusted.
        (NeutralMap, "2001:db8:a:b:2000::c1", "fd00:db8:0:1:2000::c1", false),
        (NoAction, "2001:db8:a:b:2000::c1", "fd00:db8:0:1:2000::c1", false),
        (NoAction, "2001:db8:b:b:2000::c1", "fd00:db8:0:2:2000::c1", false),
        (NeutralMapAuto, "2001:db8:a:b:2000::ddac", "fd00:db8:0:1:2000::c1", true),
        (NeutralMapAuto, "2001:db8:b:b:2000::ddac", "fd00:db8:0:2:2000::c1", true),
        // Sent by a container here, and sent back by where the destination was.
        (NeutralMap, "2001:db8:a:a:3000::cd9e", "fd00:db8:0:1:2000::b2", true),
        (NoAction, "2001:db8:a:a:2000::b2", "fd00:db8:0:1:2000::b2", false),
        (NeutralMapAuto, "2001:db8:b:a:2000::dd9d", "fd00:db8:0:2:2000::b1", true),
    ] {
        check_source(mode, from, Some((sir, neutral)));
    }
}

#[test]
fn a_source_at_a_locator_that_does_not_hold_it_is_dropped() {
    for (mode, from) in [
        // …c2 at the locator of …c1, and the other way round.
        (NeutralMap, "2001:db8:a:b:3000::cdad"),
        (NeutralMap, "2001:db8:a:c:3000::cdab"),
        (NeutralMap, "2001:db8:a:c:2000::c1"),
        (NoAction, "2001:db8:a:b:2000::c2"),
        (NeutralMapAuto, "2001:db8:a:b:2000::ddad"),
        // …b2, of this host, elsewhere; …c1 here.
        (NoAction, "2001:db8:a:b:2000::b2"),
        (NoAction, "2001:db8:a:a:2000::c1"),
        (NeutralMap, "2001:db8:a:a:3000::cdad"),
        // …c2 in the SIR prefix that has none.
        (NoAction, "2001:db8:b:b:2000::c2"),
        // Nobody's: unknown, another type, a C-bit that means nothing.
        (NeutralMap, "2001:db8:a:b:3000::cdd9"),
        (NoAction, "2001:db8:a:b:2000::ee"),
        (NeutralMapAuto, "2001:db8:a:b:2000::ddd9"),
        (NeutralMap, "2001:db8:a:b:4000::c1"),
        (NeutralMap, "2001:db8:a:b:5000::cdac"),
        (NoAction, "2001:db8:a:b:4000::c1"),
        (NoAction, "2001:db8:a:b:3000::c1"),
        (NeutralMapAuto, "2001:db8:a:b:3000::ddac"),
    ] {
        check_source(mode, from, None);
    }
}

/// A router's, whose addresses may be under the prefix that hosts have for a
/// locator.
#[test]
fn an_error_is_delivered_from_a_source_that_nobody_holds() {
    for mode in ChecksumMode::ALL {
        let host = host(mode);
        let [to, ..] = containers(mode);
        let error = |from| {
            let header = header(address(from), address(to), 64);
            ingress(&host.config, &host, &header, true)
        };
        for from in ["2001:db8:a:b:3095:9cff:fee1:aa62", "2001:db8:a:a:3095:9cff:fee1:aa62"] {
            assert_eq!(verdict(&host, from, to, 64), Verdict::Drop(Fate::IngressSource), "{from}");
            let Verdict::Deliver { rewrite, .. } = error(from) else { panic!("{from}") };
            assert_eq!(rewrite.source, address(from), "{mode:?}");
        }
        for from in ["fe80::1", "ff02::1", "::", "::1"] {
            assert_eq!(error(from), Verdict::Drop(Fate::IngressSource), "{from}");
        }
    }
}

#[test]
fn a_source_that_no_router_hands_on_is_dropped() {
    for mode in ChecksumMode::ALL {
        for from in [
            "::",
            "::1",
            "::2000:0:0:c1",
            "fe80::1",
            "febf:ffff::1",
            "ff02::1",
            "ff0e::1",
            "ffff:ffff:ffff:ffff:2000::c1",
        ] {
            check_source(mode, from, None);
        }
        // Beside them.
        for from in ["0:0:0:1::", "fe7f::1", "fec0::1", "feff::1"] {
            check_source(mode, from, Some((from, true)));
        }
    }
}

#[test]
fn a_source_at_the_locator_of_an_unknown_host_is_dropped_where_locators_are_known() {
    for mode in ChecksumMode::ALL {
        let mut host = host(mode);
        host.config.locator_spaces[0] = space("2001:db8:a::", 48);
        let [to, ..] = containers(mode);
        let given = verdict(&host, "2001:db8:a:d:3000::cdac", to, 64);
        assert_eq!(given, Verdict::Drop(Fate::IngressSource), "{mode:?}");
        // Hosts have addresses there as well, and so may containers.
        host.config.locator_spaces[1] = space("fd00::", 16);
        for from in ["2001:db8:a:d::1", "fd00:db8:0:1:2000::c1", "fd00:db8:0:2:2000::c1"] {
            let given = verdict(&host, from, to, 64);
            assert!(matches!(given, Verdict::Deliver { .. }), "{mode:?}, {from}: {given:?}");
        }
    }
}

#[test]
fn a_source_that_no_locator_vouches_for_stays_as_it_is() {
    for mode in ChecksumMode::ALL {
        for from in [
            // SIR addresses, of any container or of none.
            "fd00:db8:0:1:2000::c1",
            "fd00:db8:0:1:2000::c3",
            "fd00:db8:0:2:2000::b1",
            "fd00:db8:0:1:3000::c1",
            // Hosts under their locators.
            "2001:db8:a:b::1",
            "2001:db8:a:b:1000::c1",
            "2001:db8:a:b:fff:ffff:ffff:ffff",
            "2001:db8:a:a::1",
            // Routers and others.
            "2606:4700::1111",
            "2001:db8:a:d:3000::cdac",
        ] {
            check_source(mode, from, Some((from, true)));
        }
    }
}
