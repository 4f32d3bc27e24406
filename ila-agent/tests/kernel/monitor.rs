//! What programs tell of dropped packets, for how long, and what they count of
//! those that they cannot tell of.

use std::{
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, RingBuf};
use ila_agent::{
    datapath::{Events, Role, bpf},
    monitor::Monitor,
};
use ila_proto::{
    abi::{EVENT_BYTES, MAP_WANTED},
    translate::ChecksumMode,
};
use tokio::time::{sleep, timeout};

use crate::{
    harness::{Host, address, udp},
    owner::{Agent, pinned_number},
};

/// How long anything here may take at most.
const PATIENCE: Duration = Duration::from_secs(20);

const A_WHILE: Duration = Duration::from_secs(3600);

/// A host, its ring buffer, and a packet that it drops.
fn host() -> (Host, RingBuf<MapData>, Vec<u8>) {
    let mut host = Host::new(ChecksumMode::NeutralMap);
    let events = host.programs.tables.take_events().expect("nobody has taken it");
    let ring = RingBuf::try_from(Map::RingBuf(events)).expect("it is one");
    // From nobody here.
    let packet = udp(address("fd00::1"), address("fd00::2"), b"x");
    (host, ring, packet)
}

fn drop_packets(host: &Host, packet: &[u8], times: u32) {
    let program = host.programs.program(Role::Container.program()).expect("it is loaded");
    bpf::test_run(program, packet, times, 0).expect("the kernel runs it");
}

/// An agent that was killed does not end its listening.
#[test]
fn events_are_made_until_their_time_has_passed() {
    let (mut host, mut ring, packet) = host();
    let mut is_told = |host: &Host| {
        drop_packets(host, &packet, 1);
        ring.next().is_some()
    };
    assert!(!is_told(&host), "nobody listens");
    host.programs.tables.want_events(A_WHILE).expect("the map takes it");
    assert!(is_told(&host));
    host.programs.tables.want_events(Duration::ZERO).expect("the map takes it");
    assert!(!is_told(&host), "not any more");

    let lasting = Duration::from_millis(300);
    let start = Instant::now();
    host.programs.tables.want_events(lasting).expect("the map takes it");
    assert!(is_told(&host) || start.elapsed() > lasting);
    while is_told(&host) {
        assert!(start.elapsed() < PATIENCE, "it has passed long ago");
    }
    // The programs' clock is behind this one, never before it.
    assert!(start.elapsed() >= lasting, "after {:?}", start.elapsed());
    assert!(!is_told(&host));
    assert_eq!(host.programs.tables.missed_events().expect("it can be read"), 0);
}

/// On all processors, and while an agent says again that it listens.
#[test]
fn every_event_that_is_missed_is_counted() {
    const DROPS: u32 = 200_000;
    const THREADS: u32 = 2;
    // A header of 8 bytes comes before each of 48.
    const ROOM: u32 = EVENT_BYTES / (8 + 48);
    let (mut host, mut ring, packet) = host();
    host.programs.tables.want_events(A_WHILE).expect("the map takes it");
    drop_packets(&host, &packet, ROOM + 1);
    let missed = |host: &Host| host.programs.tables.missed_events().expect("it can be read");
    let before = missed(&host);
    assert!((1..=2).contains(&before), "{before} did not fit");
    let program = host.programs.program(Role::Container.program()).expect("it is loaded");
    let program = program.try_clone_to_owned().expect("descriptors are left");
    thread::scope(|scope| {
        let threads = [(); THREADS as usize]
            .map(|()| scope.spawn(|| bpf::test_run(program.as_fd(), &packet, DROPS, 0)));
        while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            host.programs.tables.want_events(A_WHILE).expect("the map takes it");
        }
        for thread in threads {
            thread.join().expect("it has not panicked").expect("the kernel runs it");
        }
    });
    assert_eq!(missed(&host), before + u64::from(THREADS * DROPS));
    let told = std::iter::from_fn(|| ring.next().map(drop)).count();
    assert_eq!(told as u64 + before, u64::from(ROOM) + 1);
}

/// Until when the programs make events, as they see it.
fn wanted_until() -> u64 {
    pinned_number(MAP_WANTED)
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}, in vain"));
}

#[test]
fn the_agent_says_so_again_for_as_long_as_anybody_listens() {
    let agent = Agent::new("");
    let mut datapath = agent.datapath();
    // As one that was killed has left it.
    datapath.tables.want_events(A_WHILE).expect("the map takes it");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be had").block_on(async {
        let events = Events::of(&mut datapath.tables).expect("it is there");
        let monitor = Monitor::start(agent.owner(datapath).run().0, events);
        assert_eq!(wanted_until(), 0, "nobody listens");
        for _ in 0..2 {
            let listeners = [monitor.listen().await, monitor.listen().await];
            let [first, second] = listeners.map(|listener| listener.expect("there is a place"));
            for listener in [first, second] {
                let until = wanted_until();
                assert!(until > 0);
                wait_until("it to be said again", || wanted_until() > until).await;
                drop(listener);
            }
            wait_until("nobody to listen", || wanted_until() == 0).await;
        }
    });
}
