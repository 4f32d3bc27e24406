//! Clocks that are wrong, and certificates that are out of time by clocks that
//! are right.

use super::*;
use crate::transport::testing::{Clock, Distances, NOW, Net, address};

const YEAR: u64 = 365 * 24 * 3600;
const NEAR: Distances = Distances { delay: (1, 2), loss: 0 };
/// Of certificates that are valid now.
const NOWADAYS: Validity = Validity { from: NOW - YEAR, until: NOW + YEAR };

/// Two nodes, when the certificate of each is valid, and what time each thinks
/// that it is.
struct Pair {
    nodes: [Transport; 2],
    clocks: [Arc<Clock>; 2],
}

impl Pair {
    fn new(validity: [Validity; 2], now: [u64; 2]) -> Self {
        let net = Net::new(1, NEAR);
        let clocks = now.map(|now| Arc::new(Clock::at(now)));
        let node = |at: u8| {
            let (identity, _) = identity(1, at, validity[usize::from(at)]);
            let mut underlay = net.underlay(address(at.into()), at.into());
            underlay.clock = Arc::clone(&clocks[usize::from(at)]) as _;
            Transport::over(underlay, &identity).expect("its certificate is good")
        };
        Self { nodes: [0, 1].map(node), clocks }
    }

    /// The connection from one to the other, if both take each other.
    async fn connect(&self, from: usize) -> Option<[Peer; 2]> {
        let there = address(u16::from(from == 0));
        let (caller, called) = (&self.nodes[from], &self.nodes[1 - from]);
        let (calls, called) = tokio::join!(caller.connect(there), accept(called));
        Some([calls.ok()?, called.ok()?])
    }

    fn count(&self, node: usize, reason: Reason) -> u64 {
        self.nodes[node].counts().all().get(&reason).copied().unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_by_years_keeps_nobody_out() {
    for wrong in [0, NOW - 20 * YEAR, NOW + 20 * YEAR, u64::MAX >> 20] {
        let pair = Pair::new([NOWADAYS; 2], [wrong, NOW]);
        assert!(pair.nodes[0].is_untimely() && !pair.nodes[1].is_untimely());
        for from in [0, 1] {
            pair.connect(from).await.expect("both know better");
        }
        assert_eq!(
            (pair.count(0, Reason::TimesIgnored), pair.count(1, Reason::TimesIgnored)),
            (2, 0)
        );
        // It is told until the clock is right.
        pair.clocks[0].set(NOW);
        assert!(!pair.nodes[0].is_untimely());
        pair.connect(0).await.expect("all is well");
        assert_eq!(pair.count(0, Reason::TimesIgnored), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_does_not_make_other_authorities_good() {
    let pair = Pair::new([NOWADAYS; 2], [0, NOW]);
    let net = Net::new(1, NEAR);
    let (foreign, _) = identity(2, 1, NOWADAYS);
    let foreign = Transport::over(net.underlay(address(1), 1), &foreign).expect("it is good");
    let (own, _) = identity(1, 0, NOWADAYS);
    let mut underlay = net.underlay(address(0), 0);
    underlay.clock = Arc::clone(&pair.clocks[0]) as _;
    let wrong = Transport::over(underlay, &own).expect("it is good");
    let (calls, _) = tokio::join!(wrong.connect(address(1)), accept(&foreign));
    calls.expect_err("its authority is another");
    assert_eq!(wrong.counts().all().get(&Reason::OtherAuthority), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn who_is_out_of_time_is_not_let_in_by_those_who_are_not() {
    let past = Validity { from: NOW - 2 * YEAR, until: NOW - 1 };
    let future = Validity { from: NOW + 1, until: NOW + YEAR };
    for (bad, reason) in [(past, Reason::Expired), (future, Reason::NotYetValid)] {
        let pair = Pair::new([bad, NOWADAYS], [NOW; 2]);
        assert!(pair.connect(0).await.is_none() && pair.connect(1).await.is_none());
        assert_eq!(pair.count(1, reason), 2);
        // The one that is out of time does not know whether its clock is wrong.
        assert!(pair.nodes[0].is_untimely());
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_outlives_certificates_and_new_ones_need_new_certificates() {
    let pair = Pair::new([NOWADAYS, Validity { until: NOW + 9 * YEAR, ..NOWADAYS }], [NOW; 2]);
    let [left, right] = pair.connect(0).await.expect("both are good");
    pair.clocks.iter().for_each(|clock| clock.set(NOWADAYS.until + 1));
    let (mut writer, said) = (left.writer().await.expect("it stands"), Frame::Compare(7));
    tokio::time::sleep(Duration::from_secs(60)).await;
    writer.write(said.clone()).await.expect("it stands");
    let mut reader = right.reader().await.expect("it says something");
    assert_eq!(reader.read().await.expect("it is one"), said);
    assert!(pair.connect(0).await.is_none() && pair.connect(1).await.is_none());
    assert_eq!(pair.count(1, Reason::Expired), 2);

    let (renewed, _) = identity(1, 0, Validity { until: NOW + 9 * YEAR, ..NOWADAYS });
    pair.nodes[0].renew(&renewed).expect("it is good");
    assert!(!pair.nodes[0].is_untimely());
    assert!(pair.connect(0).await.is_some() && pair.connect(1).await.is_some());
    // The former connection has gone on all the while.
    writer.write(said.clone()).await.expect("it stands");
    assert_eq!(reader.read().await.expect("it is one"), said);
    let (foreign, _) = identity(2, 0, NOWADAYS);
    pair.nodes[0].renew(&foreign).expect_err("its authority is another");
}
