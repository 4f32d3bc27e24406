//! Streams of numbered datagrams: what the overlay does not lose, and that a
//! loss would be seen.

use ila_labs::{Stream, wait_until};

use crate::{
    common::ok,
    overlay::{Overlay, PATIENCE, flows_on},
};

/// Datagrams a second.
pub const RATE: u32 = 100_000;

/// Ends a stream of which every datagram must have arrived, once and in its
/// place.
#[track_caller]
pub fn expect_perfect(stream: Stream) {
    let report = stream.finish().unwrap_or_else(|error| panic!("{error}"));
    println!("{} a second: {report:?}", report.rate());
    assert!(report.is_perfect(), "{report:?}");
}

#[test]
fn a_hundred_thousand_datagrams_a_second_arrive_once_and_in_order() {
    let overlay = Overlay::of("stream", "two-hosts");
    let stream = overlay.stream("a1", "b1", RATE);
    flows_on(&stream, 3 * u64::from(RATE));
    expect_perfect(stream);
}

/// What a router drops is missed, to the last datagram.
#[test]
fn a_stream_notices_what_the_network_loses() {
    // A mesh has datagrams of its own, which would be counted as well.
    let overlay = Overlay::of_static("loss", "two-hosts");
    let nft = |rules: &str| ok(overlay.node("rt").command("nft").args(["-j", rules]));
    for rules in [
        "add table ip6 loss",
        "add counter ip6 loss dropped",
        "add chain ip6 loss forward { type filter hook forward priority filter; }",
    ] {
        nft(rules);
    }
    let stream = overlay.stream("a1", "b1", RATE);
    for _ in 0..3 {
        nft("add rule ip6 loss forward meta l4proto udp counter name dropped drop");
        let goal = stream.sent() + 1000;
        wait_until(PATIENCE, "datagrams", || (stream.sent() >= goal).then_some(()))
            .unwrap_or_else(|error| panic!("{error}"));
        nft("flush chain ip6 loss forward");
        flows_on(&stream, 1000);
    }
    let report = stream.finish().unwrap_or_else(|error| panic!("{error}"));
    let said: serde_json::Value =
        serde_json::from_str(&nft("list counter ip6 loss dropped")).expect("it is JSON");
    let objects = said["nftables"].as_array().expect("it is a list");
    let dropped = objects.iter().find_map(|it| it["counter"]["packets"].as_u64());
    assert_eq!(Some(report.lost), dropped, "{report:?}");
    assert_eq!(report.gaps, 3, "{report:?}");
    assert_eq!(report.lost_by_network(), report.lost, "{report:?}");
    assert_eq!((report.duplicated, report.out_of_order), (0, 0), "{report:?}");
}
