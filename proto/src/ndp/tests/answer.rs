//! What is answered, on either side.

use super::*;
use crate::testing::prefix;

/// The link-layer address of the uplink.
const UPLINK: Mac = [0x02, 0, 0, 0, 0xff, 1];

/// From whom, for whom.
fn asking(source: &str, target: &str) -> Solicitation {
    Solicitation { source: address(source), target: address(target) }
}

/// A container's, behind interface 7.
fn given(source: &str, target: &str) -> Result<(Advertisement, Fate), Fate> {
    let given = ChecksumMode::ALL.map(|mode| {
        let host = host(mode);
        answer(&host.config, &host, 7, &asking(source, target))
    });
    assert!(given.iter().all(|it| *it == given[0]), "the checksum mode is of no account");
    given[0]
}

/// Router, solicited, override.
const ALL_FLAGS: u32 = 0xe000_0000;
const ROUTER_AND_SOLICITED: u32 = 0xc000_0000;
const ROUTER_AND_OVERRIDE: u32 = 0xa000_0000;
const ROUTER_ONLY: u32 = 0x8000_0000;

const OWN: [&str; 2] = ["fd00:db8:0:1:2000::b1", "fd00:db8:0:2:2000::b4"];

/// Of a neighbour here, of one with the same identifier in the other SIR
/// prefix, and of containers elsewhere.
const OTHERS: [&str; 5] = [
    "fd00:db8:0:1:2000::b2",
    "fd00:db8:0:2:2000::b1",
    "fd00:db8:0:1:2000::c1",
    "fd00:db8:0:1:2000::c2",
    "fd00:db8:0:2:2000::c1",
];

const NOBODYS: [&str; 14] = [
    // No mapping, in this SIR prefix or in either.
    "fd00:db8:0:1:2000::c3",
    "fd00:db8:0:1:2000::b4",
    "fd00:db8:0:2:2000::b2",
    // No identifier of a container.
    "fd00:db8:0:1::b2",
    "fd00:db8:0:1:3000::b2",
    "fd00:db8:0:1:4000::b2",
    // On the link, but not the gateway.
    "fe80::2",
    "fe80::aa",
    "fe80:0:0:1::1",
    // Not of the overlay, or not of containers.
    "fd00:db8:0:3:2000::b2",
    "2001:db8:a:a::1",
    "2001:db8:a:b:3000::cdac",
    "2606:4700::1111",
    "::",
];

#[test]
fn the_gateway_is_answered_for_as_by_itself() {
    for source in ["fe80::aa", OWN[0], "2606:4700::1111"] {
        let expected = Advertisement {
            to: address(source),
            target: address("fe80::1"),
            mac: GATEWAY_MAC,
            flags: ALL_FLAGS,
        };
        assert_eq!(given(source, "fe80::1"), Ok((expected, Fate::NdpAnswered)), "{source}");
    }
}

#[test]
fn whoever_has_a_mapping_is_answered_for_without_override() {
    for source in ["fe80::aa", OWN[0]] {
        for target in OTHERS {
            let expected = Advertisement {
                to: address(source),
                target: address(target),
                mac: GATEWAY_MAC,
                flags: ROUTER_AND_SOLICITED,
            };
            assert_eq!(given(source, target), Ok((expected, Fate::NdpAnswered)), "{target}");
        }
    }
}

#[test]
fn nobody_is_answered_for_its_own_address_or_for_one_that_is_nobodys() {
    for source in ["fe80::aa", OWN[0]] {
        for target in OWN {
            assert_eq!(given(source, target), Err(Fate::NdpOwnAddress), "{target}");
        }
        for target in NOBODYS {
            assert_eq!(given(source, target), Err(Fate::NdpUnknownTarget), "{target}");
        }
    }
}

#[test]
fn a_probe_for_its_own_address_or_for_one_that_is_nobodys_is_never_answered() {
    for target in OWN.into_iter().chain(NOBODYS) {
        assert_eq!(given("::", target), Err(Fate::NdpDuplicateProbe), "{target}");
    }
}

#[test]
fn a_probe_for_what_another_has_is_told_so_with_all_of_the_link() {
    let gateway = [("fe80::1", ROUTER_AND_OVERRIDE)];
    for (target, flags) in OTHERS.map(|it| (it, ROUTER_ONLY)).into_iter().chain(gateway) {
        let expected = Advertisement {
            to: address("ff02::1"),
            target: address(target),
            mac: GATEWAY_MAC,
            flags,
        };
        assert_eq!(given("::", target), Ok((expected, Fate::NdpDefended)), "{target}");
    }
}

/// Whose address it is goes by the interface that the question came from.
#[test]
fn the_address_of_one_container_is_anothers_to_the_next() {
    let host = host(ChecksumMode::NeutralMap);
    for (interface, own) in [(7, [true, false]), (8, [false, true]), (9, [false, false])] {
        for (target, own) in ["fd00:db8:0:1:2000::b1", "fd00:db8:0:1:2000::b2"].into_iter().zip(own)
        {
            let given = answer(&host.config, &host, interface, &asking("fe80::aa", target));
            assert_eq!(given.is_err(), own, "{target} on {interface}");
        }
    }
}

#[test]
fn the_groups_and_link_layer_addresses_are_those_of_the_rfcs() {
    assert_eq!(GATEWAY, address("fe80::1"));
    assert_eq!(ALL_NODES, address("ff02::1"));
    assert_eq!(ALL_NODES_MAC, [0x33, 0x33, 0, 0, 0, 1]);
    // Router solicitation and advertisement, both of neighbours, redirect.
    assert_eq!(TYPES.collect::<Vec<_>>(), [133, 134, 135, 136, 137]);
}

// Uplinks.

fn on_uplink(mode: ChecksumMode, source: &str, target: &str) -> Option<Advertisement> {
    let host = host(mode);
    answer_on_uplink(&host.config, &host, UPLINK, &asking(source, target))
}

#[test]
fn a_router_is_answered_for_the_ila_addresses_of_containers_here() {
    use ChecksumMode::{NeutralMap, NeutralMapAuto, NoAction};
    for (mode, target) in [
        (NeutralMap, "2001:db8:a:a:3000::cd9d"),
        (NeutralMap, "2001:db8:a:a:3000::cd9e"),
        (NeutralMap, "2001:db8:b:a:3000::cd9d"),
        // Not adjusted, and says so.
        (NeutralMap, "2001:db8:a:a:2000::b1"),
        (NoAction, "2001:db8:a:a:2000::b1"),
        (NoAction, "2001:db8:b:a:2000::b4"),
        (NeutralMapAuto, "2001:db8:a:a:2000::dd9d"),
        (NeutralMapAuto, "2001:db8:b:a:2000::dd9d"),
    ] {
        for (source, to, flags) in [
            ("fe80::1", "fe80::1", ALL_FLAGS),
            ("2001:db8::1", "2001:db8::1", ALL_FLAGS),
            ("::", "ff02::1", ROUTER_AND_OVERRIDE),
        ] {
            let expected =
                Advertisement { to: address(to), target: address(target), mac: UPLINK, flags };
            assert_eq!(on_uplink(mode, source, target), Some(expected), "{mode:?}: {target}");
        }
    }
}

#[test]
fn a_router_is_left_to_the_host_for_any_other_address() {
    use ChecksumMode::{NeutralMap, NeutralMapAuto, NoAction};
    for (mode, target) in [
        // Lives elsewhere, though under this locator.
        (NeutralMap, "2001:db8:a:a:3000::cdad"),
        (NoAction, "2001:db8:a:a:2000::c1"),
        (NeutralMapAuto, "2001:db8:a:a:2000::ddad"),
        // Nobody's: …ee, of another mode, in the other SIR prefix, of another type.
        (NeutralMap, "2001:db8:a:a:3000::cdda"),
        (NeutralMap, "2001:db8:a:a:2000::dd9d"),
        (NoAction, "2001:db8:a:a:2000::ee"),
        (NoAction, "2001:db8:a:a:3000::b1"),
        (NeutralMapAuto, "2001:db8:a:a:3000::cd9d"),
        (NoAction, "2001:db8:b:a:2000::b2"),
        (NoAction, "2001:db8:a:a:4000::b1"),
    ] {
        assert_eq!(on_uplink(mode, "fe80::1", target), None, "{mode:?}: {target}");
    }
    for mode in ChecksumMode::ALL {
        for target in [
            // The host's own.
            "2001:db8:a:a::1",
            "2001:db8:a:a::b1",
            "2001:db8:a:a:1000::b1",
            // Under another's locator, or none.
            "2001:db8:a:b:3000::cdac",
            "2001:db8:a:b:2000::c1",
            "2001:db8:a:d:2000::b1",
            // SIR addresses and others.
            "fd00:db8:0:1:2000::b1",
            "fd00:db8:0:1:2000::c1",
            "fe80::1",
            "::",
        ] {
            assert_eq!(on_uplink(mode, "fe80::1", target), None, "{mode:?}: {target}");
        }
    }
}

/// What is under the locator is the host's own as well, whatever is mapped.
#[test]
fn a_plain_address_of_the_host_is_never_answered_for() {
    let own = [(prefix("fd00:db8:0:1::"), prefix("2001:db8:a:a::"))];
    for mode in ChecksumMode::ALL {
        let sir = address("fd00:db8:0:1:2000::b1");
        let host = Host::new(mode, &own).here(sir, 7, UPLINK);
        for low in [0, 1, 0xb1, 0x1000_0000_0000_00b1, 0x1fff_ffff_ffff_ffff] {
            let target = Address { high: own[0].1, low };
            let solicitation = Solicitation { source: GATEWAY, target };
            let given = answer_on_uplink(&host.config, &host, UPLINK, &solicitation);
            assert_eq!(given, None, "{low:x}");
        }
    }
}
