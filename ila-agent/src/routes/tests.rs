use super::*;

const INDEX: u32 = 7;

fn question() -> Question {
    let locators = ["2001:db8:b:1::/64", "2001:db8:c:1::/64"];
    let ways = locators.map(|text| (text.parse().expect("a locator"), Ipv6Addr::LOCALHOST));
    Question { turn: 0, uplink: ("up0".parse().expect("a name"), INDEX), ways: ways.into() }
}

fn route(prefix: &str, length: u8) -> Change {
    Change::Route(prefix.parse().expect("an address"), length)
}

#[test]
fn changes_concern_the_uplink_and_what_locators_are_in_or_what_is_in_them() {
    for change in [
        Change::Interface(INDEX),
        Change::Other,
        route("::", 0),
        route("2001:db8::", 32),
        route("2001:db8:b::", 63),
        route("2001:db8:b:1::", 64),
        route("2001:db8:c:1:2000::b1", 128),
    ] {
        assert!(concerns(change, &question()), "{change:?}");
    }
}

/// A container's among them, and any number of a router's.
#[test]
fn other_changes_do_not() {
    for change in [
        Change::Interface(INDEX + 1),
        route("fd00:db8:0:1:2000::a1", 128),
        route("2001:db8:b::", 64),
        route("2001:db8:b:2::", 63),
        route("2001:db8:d::", 48),
        route("fe80::", 64),
    ] {
        assert!(!concerns(change, &question()), "{change:?}");
    }
}

#[tokio::test]
async fn a_route_is_plain_or_it_is_said_why_not() {
    let uplink = "up0".parse().expect("a name");
    let links = Links::open().expect("anybody may");
    let plain = Route {
        prefix: (Ipv6Addr::UNSPECIFIED, 0),
        forwards: true,
        interfaces: [INDEX].into(),
        alive: true,
        mtu: None,
        only: None,
    };
    let two = [INDEX, u32::MAX >> 1].into();
    for (route, expected) in [
        (plain.clone(), None),
        (Route { mtu: Some(1500), ..plain.clone() }, None),
        (Route { mtu: Some(1499), ..plain.clone() }, Some("has an mtu of 1499 bytes")),
        (Route { only: Some(Only::Sources), ..plain.clone() }, Some("for some sources only")),
        (Route { only: Some(Only::Lifetime), ..plain.clone() }, Some("has a lifetime")),
        (Route { forwards: false, ..plain.clone() }, Some("sends nothing on")),
        (Route { interfaces: two, ..plain.clone() }, Some("leads to interface number")),
        (Route { alive: false, ..plain.clone() }, Some("does not lead to up0")),
        (Route { interfaces: BTreeSet::new(), ..plain }, Some("does not lead to up0")),
    ] {
        let odd = odd(&links, &route, (&uplink, INDEX, 1500)).await;
        assert_eq!(odd.is_some(), expected.is_some(), "{route:?}: {odd:?}");
        assert!(odd.unwrap_or_default().contains(expected.unwrap_or_default()), "{route:?}");
    }
}
