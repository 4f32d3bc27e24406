use super::*;

#[test]
fn news_are_with_all_in_no_time_and_cost_little() {
    for (distances, most) in [(Distances::LAN, 50), (Distances::WAN, 250)] {
        let load =
            Load { nodes: 100, rate: 100, updates: 200, distances, settings: Settings::default() };
        let measured = measure(&load, 1);
        assert_eq!(measured.latencies.len(), 200 * 99);
        let late = measured.percentile(99);
        println!("{late:?} {} B/s, idle {} B/s", measured.bytes, measured.idle);
        assert!(late <= Duration::from_millis(most), "{late:?}");
        // 100 updates a second of 110 bytes and the packets that they are in.
        assert!(measured.bytes <= 100 * 300, "{} B/s", measured.bytes);
        assert!(measured.idle <= 1000, "{} B/s", measured.idle);
    }
}
