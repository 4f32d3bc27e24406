//! The uplinks, and whether packets can leave by them. The programs need not be
//! told: the host has no route over one that is down or without carrier, which
//! is what they ask for. People are, here.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use ila_proto::api::{InterfaceName, Uplink, UplinkState};
use tokio::time::timeout;

use crate::{
    netlink::{Interface, Links, NetlinkError},
    owner::OwnerHandle,
};

/// How often they are looked at if nobody tells of a change. The kernel drops
/// what it has to tell when there is too much of it.
const AGAIN: Duration = Duration::from_secs(10);

/// All uplinks.
#[derive(Debug, Default)]
pub struct Uplinks(Vec<Seen>);

#[derive(Debug)]
struct Seen {
    interface: InterfaceName,
    index: u32,
    state: UplinkState,
    since: Instant,
}

impl Uplinks {
    /// These, as they are when the agent starts.
    pub fn new(found: impl IntoIterator<Item = (InterfaceName, Interface)>) -> Self {
        let seen = |(interface, Interface { index, state, .. })| {
            tell(&interface, UplinkState::Up, state);
            Seen { interface, index, state, since: Instant::now() }
        };
        Self(found.into_iter().map(seen).collect())
    }

    /// Their names and numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&InterfaceName, u32)> {
        self.0.iter().map(|seen| (&seen.interface, seen.index))
    }

    /// Takes note of what was seen, in their order, and says in the log what is
    /// new; none was not seen.
    pub fn see(&mut self, states: &[Option<UplinkState>]) {
        for (seen, state) in self.0.iter_mut().zip(states) {
            let Some(state) = *state else { continue };
            if state != seen.state {
                tell(&seen.interface, seen.state, state);
                (seen.state, seen.since) = (state, Instant::now());
            }
        }
    }

    /// How they are.
    #[must_use]
    pub fn states(&self) -> Vec<Uplink> {
        let state = |seen: &Seen| Uplink {
            interface: seen.interface.clone(),
            state: seen.state,
            seconds: seen.since.elapsed().as_secs(),
        };
        self.0.iter().map(state).collect()
    }
}

fn tell(interface: &InterfaceName, before: UplinkState, now: UplinkState) {
    match now {
        UplinkState::Up if before == UplinkState::Up => {}
        UplinkState::Up => tracing::info!(%interface, "uplink is up again"),
        UplinkState::NoCarrier => tracing::warn!(%interface, "uplink has no carrier"),
        UplinkState::Down => tracing::warn!(%interface, "uplink is down"),
        UplinkState::Gone => {
            tracing::warn!(%interface, "uplink is gone; once it is there, start the agent again");
        }
    }
}

/// Looks at the uplinks whenever `changes` tells of one, and has the owner take
/// note, for as long as there is one.
pub async fn watch(links: Links, owner: OwnerHandle, mut changes: impl Stream<Item = ()> + Unpin) {
    let named = owner.call(|owner| {
        owner.uplinks.iter().map(|(name, index)| (name.clone(), index)).collect::<Vec<_>>()
    });
    let Ok(named) = named.await else { return };
    loop {
        let mut states = Vec::new();
        for (name, index) in &named {
            states.push(state(links.interface(name).await, *index));
        }
        if owner.call(move |owner| owner.uplinks.see(&states)).await.is_err() {
            return;
        }
        let changed = async {
            if changes.next().await.is_none() {
                pending::<()>().await;
            }
        };
        let _ = timeout(AGAIN, changed).await;
        // One look is enough for all that has come up to now.
        while let Some(Some(())) = changes.next().now_or_never() {}
    }
}

/// The state of the interface that was looked at; another one by the name of
/// the uplink, with another number, runs no program.
fn state(found: Result<Interface, NetlinkError>, index: u32) -> Option<UplinkState> {
    match found {
        Ok(interface) if interface.index == index => Some(interface.state),
        Ok(_) | Err(NetlinkError::NoInterface { .. }) => Some(UplinkState::Gone),
        Err(error) => {
            tracing::debug!(%error, "an uplink could not be looked at");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, state: UplinkState) -> Interface {
        Interface { index, mac: [0; 6], mtu: 1500, ethernet: true, state }
    }

    #[test]
    fn an_uplink_that_was_made_anew_is_gone() {
        let gone = NetlinkError::NoInterface { interface: "up0".parse().expect("a name") };
        let kernel = NetlinkError::Io { what: "look", source: std::io::Error::other("busy") };
        for (found, expected) in [
            (Ok(interface(7, UplinkState::Up)), Some(UplinkState::Up)),
            (Ok(interface(7, UplinkState::NoCarrier)), Some(UplinkState::NoCarrier)),
            (Ok(interface(8, UplinkState::Up)), Some(UplinkState::Gone)),
            (Err(gone), Some(UplinkState::Gone)),
            (Err(kernel), None),
        ] {
            assert_eq!(state(found, 7), expected);
        }
    }

    #[test]
    fn only_a_change_starts_the_time_anew() {
        let named = |name: &str, state| (name.parse().expect("a name"), interface(1, state));
        let mut uplinks = Uplinks::new([
            named("up0", UplinkState::Up),
            named("up1", UplinkState::Down),
            named("up2", UplinkState::Up),
        ]);
        let since = |uplinks: &Uplinks| uplinks.0.iter().map(|it| it.since).collect::<Vec<_>>();
        let before = since(&uplinks);
        uplinks.see(&[Some(UplinkState::Up), None, Some(UplinkState::NoCarrier)]);
        let after = since(&uplinks);
        assert_eq!(before[..2], after[..2]);
        assert!(before[2] < after[2]);
        let states: Vec<_> = uplinks.states().iter().map(|it| it.state).collect();
        assert_eq!(states, [UplinkState::Up, UplinkState::Down, UplinkState::NoCarrier]);
    }
}
