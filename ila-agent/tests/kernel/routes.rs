//! What the host's routing says of a packet that is to leave.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use ila_agent::datapath::Role;
use ila_proto::{
    abi::{Fate, HostConfig, Uplink},
    translate::ChecksumMode,
};
use rtnetlink::packet_route::route::RouteType;

use crate::{
    harness::{
        DROP, Host, LOCAL, PAYLOAD, REDIRECT, REMOTE, TEST_MTU, address, slow, udp, with_hop_limit,
        with_network,
    },
    network::{FAR, NEAR, Network, UPLINK, set},
};

/// The prefix of the locators of other hosts.
const THERE: &str = "2001:db8:b::";

/// What a sender is told: destination unreachable, and why.
const NO_ROUTE: [u8; 2] = [1, 0];
const PROHIBITED: [u8; 2] = [1, 1];

/// A host with one uplink, in whose network `change` was made. What becomes of
/// its packets is looked at on a thread of its own, whose network goes with it.
fn after(
    change: impl FnOnce(&Network) -> io::Result<()> + Send + 'static,
    look: impl FnOnce(&mut Host) + Send + 'static,
) {
    let work = move || {
        with_network(change);
        look(&mut Host::with(ChecksumMode::NeutralMap, one_uplink));
    };
    thread::spawn(work).join().expect("it has not panicked");
}

fn one_uplink(config: &mut HostConfig) {
    config.uplinks[0].interface = UPLINK;
    config.uplinks[1] = Uplink::default();
}

fn leaving(host: &Host) -> Vec<u8> {
    udp(host.sir(LOCAL), host.sir(REMOTE), b"x")
}

/// A packet that arrives for a container which has moved away.
fn arriving(host: &Host) -> Vec<u8> {
    udp(address("2606:4700::1111"), host.ila(REMOTE, host.here), b"x")
}

/// Demands that what a container sends, and what is to be sent on, is dropped
/// under a fate, and its sender told why. `leads_back` says whether there is a
/// way to the latter.
fn assert_refused(host: &Host, fates: [Fate; 2], told: Option<[u8; 2]>, leads_back: bool) {
    for (role, packet, fate, is_told) in [
        (Role::Container, leaving(host), fates[0], told.is_some()),
        (Role::Uplink, arriving(host), fates[1], told.is_some() && leads_back),
    ] {
        let outcome = host.run_resizing(role, &packet);
        let action = if is_told { REDIRECT } else { DROP };
        assert_eq!((outcome.action, outcome.fate), (action, fate));
        match told.filter(|_| is_told) {
            Some(error) => assert_eq!(outcome.packet[PAYLOAD..PAYLOAD + 2], error, "{fate}"),
            None => assert_eq!(outcome.packet, packet, "{fate}"),
        }
    }
}

const UNROUTED: [Fate; 2] = [Fate::EgressNoRoute, Fate::IngressNoRoute];
const FORBIDDEN: [Fate; 2] = [Fate::EgressProhibited, Fate::IngressProhibited];
const MISLED: [Fate; 2] = [Fate::EgressNotUplink, Fate::IngressNotUplink];

#[test]
fn a_packet_needs_a_route() {
    after(Network::lead_nowhere, |host| assert_refused(host, UNROUTED, Some(NO_ROUTE), false));
    after(
        |network| network.refuse(address(THERE), 48, RouteType::Unreachable),
        |host| assert_refused(host, UNROUTED, Some(NO_ROUTE), true),
    );
}

#[test]
fn a_route_can_prohibit() {
    for (kind, told) in [(RouteType::Prohibit, Some(PROHIBITED)), (RouteType::BlackHole, None)] {
        after(
            move |network| network.refuse(address(THERE), 48, kind),
            move |host| assert_refused(host, FORBIDDEN, told, true),
        );
    }
}

/// The setting is that of the interface that a packet came in by.
#[test]
fn a_host_that_may_not_forward_does_not() {
    after(
        |_| set("lo/forwarding", "0"),
        |host| assert_refused(host, FORBIDDEN, Some(PROHIBITED), false),
    );
}

/// An answer that came back over another interface would meet no program.
#[test]
fn a_route_has_to_lead_to_an_uplink() {
    const OTHER: u32 = UPLINK + 10;
    let elsewhere = |network: &Network| {
        network.add_link(OTHER, ["other", "there"], TEST_MTU)?;
        network.lead_by(address(THERE), 48, OTHER)
    };
    after(elsewhere, |host| assert_refused(host, MISLED, Some(NO_ROUTE), true));
}

#[test]
fn no_route_leads_over_an_uplink_that_is_down() {
    after(
        |network| network.set_up(NEAR, false),
        |host| assert_refused(host, UNROUTED, Some(NO_ROUTE), false),
    );
}

/// As the agent sets it for uplinks.
#[test]
fn nor_over_one_without_carrier_where_the_host_is_set_so() {
    after(
        |network| {
            set("up0/ignore_routes_with_linkdown", "1")?;
            network.set_up(FAR, false)
        },
        |host| {
            // The kernel takes note of a carrier up to a second later.
            let until = Instant::now() + Duration::from_secs(20);
            while host.run_resizing(Role::Container, &leaving(host)).fate != Fate::EgressNoRoute {
                assert!(Instant::now() < until, "it goes on sending");
                thread::yield_now();
            }
            assert_refused(host, UNROUTED, Some(NO_ROUTE), false);
        },
    );
}

/// Up to that size of one that is not put together from several.
#[test]
fn a_route_can_be_narrower_than_its_link() {
    const MTU: u32 = 1300;
    after(
        |network| network.lead_narrow(address(THERE), 48, MTU),
        |host| {
            let [from, to] = [LOCAL, REMOTE].map(|id| host.sir(id));
            for path in [|_: &mut HostConfig| {}, slow] {
                let host = Host::with(ChecksumMode::NeutralMap, |config| {
                    one_uplink(config);
                    path(config);
                });
                let fits = udp(from, to, &vec![1; MTU as usize - 48]);
                assert_eq!(host.run(Role::Container, &fits).fate, Fate::EgressTranslated);
                let large = udp(from, to, &vec![1; MTU as usize - 47]);
                let outcome = host.run_resizing(Role::Container, &large);
                assert_eq!((outcome.action, outcome.fate), (REDIRECT, Fate::EgressTooBig));
                let [.., a, b] = MTU.to_be_bytes();
                let error = [2, 0, a, b];
                let given = [0, 1, 6, 7].map(|at| outcome.packet[PAYLOAD + at]);
                assert_eq!(given, error);
            }
        },
    );
}

/// Told that routes are plain, the programs leave them to the kernel; told the
/// contrary, or nothing, they ask.
#[test]
fn what_is_known_to_be_plain_is_not_asked_for() {
    after(Network::lead_nowhere, |host| {
        host.programs.tables.set_plain(true).expect("the map takes it");
        for (role, packet, sent) in [
            (Role::Container, leaving(host), Fate::EgressTranslated),
            (Role::Uplink, arriving(host), Fate::IngressForwarded),
        ] {
            let outcome = host.run(role, &packet);
            assert_eq!((outcome.action, outcome.fate), (REDIRECT, sent));
        }
        // Errors go anywhere, of which nothing is known.
        let expired = with_hop_limit(&arriving(host), 1);
        let outcome = host.run_resizing(Role::Uplink, &expired);
        assert_eq!((outcome.action, outcome.fate), (DROP, Fate::IngressHopLimit));
        host.programs.tables.set_plain(false).expect("the map takes it");
        assert_refused(host, UNROUTED, Some(NO_ROUTE), false);
    });
}

/// Whatever the table says, which an agent with fewer may have written.
#[test]
fn with_several_uplinks_each_packet_is_asked_for() {
    after(Network::lead_nowhere, |_| {
        let mut host = Host::with(ChecksumMode::NeutralMap, |config| {
            config.uplinks[0].interface = UPLINK;
            config.uplinks[1].interface = UPLINK + 1;
        });
        host.programs.tables.set_plain(true).expect("the map takes it");
        assert_refused(&host, UNROUTED, Some(NO_ROUTE), false);
    });
}

#[test]
fn what_is_not_asked_for_has_to_fit_the_link() {
    let nothing = |_: &Network| Ok(());
    after(nothing, |host| {
        host.programs.tables.set_plain(true).expect("the map takes it");
        let [from, to, moved] = [host.sir(LOCAL), host.sir(REMOTE), host.ila(REMOTE, host.here)];
        let outside = address("2606:4700::1111");
        for (role, ends, sent, refused) in [
            (Role::Container, (from, to), Fate::EgressTranslated, Fate::EgressTooBig),
            (Role::Uplink, (outside, moved), Fate::IngressForwarded, Fate::IngressTooBig),
        ] {
            let packet = |length: u32| udp(ends.0, ends.1, &vec![1; length as usize - 48]);
            for length in [1280, 1281, TEST_MTU] {
                let outcome = host.run(role, &packet(length));
                assert_eq!((outcome.action, outcome.fate), (REDIRECT, sent), "{length}");
            }
            let outcome = host.run_resizing(role, &packet(TEST_MTU + 1));
            assert_eq!((outcome.action, outcome.fate), (REDIRECT, refused));
        }
    });
}
