//! Whether the routes to other hosts' locators are plain: all lead to the one
//! uplink, which is up, and none is narrower than that. The programs then leave
//! them to the kernel, and ask for each packet's otherwise. They are told of a
//! doubt at once, and of what came of it a little later.

use std::{collections::BTreeSet, fs, future::pending, net::Ipv6Addr, time::Duration};

use futures_util::{Stream, StreamExt as _};
use ila_proto::{
    addr::{Address, Locator},
    api::{InterfaceName, UplinkState},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    netlink::{Change, Links, Only, Route, is_host_interface},
    owner::{Owner, OwnerHandle, Question},
};

/// Routes are looked at when nothing has changed for so long,
const QUIET: Duration = Duration::from_millis(200);
/// or has gone on changing for so long,
const PATIENCE: Duration = Duration::from_secs(1);
/// and again after so long, for settings of the host, of which nobody tells.
const AGAIN: Duration = Duration::from_secs(60);

/// Looks at the routes whenever `changes` or the owner tells that they may have
/// changed, for as long as there is one.
pub async fn watch(
    links: Links,
    owner: OwnerHandle,
    mut changes: impl Stream<Item = Change> + Unpin,
) {
    let Ok(told) = owner.call(|owner| owner.routes_changed()).await else { return };
    loop {
        let Ok(Some(question)) = owner.call(|owner| owner.routes_in_question()).await else {
            return;
        };
        let doubted = tokio::select! {
            biased;
            () = doubt(&mut changes, &told, &question) => true,
            odd = look(&links, &question) => {
                let turn = question.turn;
                note(&owner, move |owner| owner.routes_found(turn, odd)).await;
                timeout(AGAIN, doubt(&mut changes, &told, &question)).await.is_ok()
            }
        };
        if doubted {
            note(&owner, Owner::doubt_routes).await;
            let end = Instant::now() + PATIENCE;
            while let Ok(Ok(())) =
                timeout_at(end, timeout(QUIET, doubt(&mut changes, &told, &question))).await
            {
            }
        }
    }
}

async fn note<E, F>(owner: &OwnerHandle, work: F)
where
    E: std::error::Error + Send + 'static,
    F: FnOnce(&mut Owner) -> Result<(), E> + Send + 'static,
{
    if let Ok(Err(error)) = owner.call(work).await {
        tracing::error!(%error, "the programs cannot be told of the routes");
    }
}

/// Returns when the question has to be asked anew.
async fn doubt(
    changes: &mut (impl Stream<Item = Change> + Unpin),
    told: &Notify,
    question: &Question,
) {
    let changed = async {
        while let Some(change) = changes.next().await {
            if concerns(change, question) {
                return;
            }
        }
        pending::<()>().await;
    };
    tokio::select! {
        () = changed => {}
        () = told.notified() => {}
    }
}

/// Whether a change may be one of the route to a locator. Containers come and go
/// without one.
fn concerns(change: Change, question: &Question) -> bool {
    match change {
        Change::Interface(index) => index == question.uplink.1,
        Change::Route(prefix, length) => {
            let first = Address::from(prefix).high;
            let rest = u64::MAX.checked_shr(length.into()).unwrap_or(0);
            let [first, last] = [first & !rest, first | rest].map(Locator::from_bits);
            question.ways.range(first..=last).next().is_some()
        }
        Change::Other => true,
    }
}

/// Why routes are not plain; none if they are.
async fn look(links: &Links, question: &Question) -> Option<String> {
    let (name, index) = &question.uplink;
    let mtu = match links.interface(name).await {
        Ok(found) if (found.index, found.state) == (*index, UplinkState::Up) => found.mtu,
        Ok(_) => return Some(format!("{name} is not up")),
        Err(error) => return Some(error.to_string()),
    };
    if let Some(odd) = odd_setting(name, mtu) {
        return Some(odd);
    }
    match links.has_rules().await {
        Ok(false) => {}
        Ok(true) => return Some("the host has routing rules of its own".to_owned()),
        Err(error) => return Some(error.to_string()),
    }
    for (locator, source) in &question.ways {
        let to = Ipv6Addr::from(Address { high: locator.bits(), low: 0 });
        let odd = match links.route(*source, to).await {
            Ok(route) => odd(links, &route, (name, *index, mtu)).await,
            Err(error) => Some(format!("fails: {}", error.desc())),
        };
        if let Some(odd) = odd {
            return Some(format!("the route to {locator} {odd}"));
        }
    }
    let halves: BTreeSet<u64> = question.ways.keys().map(|locator| locator.bits()).collect();
    let within = match links.routes_within(&halves).await {
        Ok(routes) => routes,
        Err(error) => return Some(error.to_string()),
    };
    for route in within {
        if let Some(odd) = odd(links, &route, (name, *index, mtu)).await {
            let (prefix, length) = route.prefix;
            return Some(format!("the route to {prefix}/{length} {odd}"));
        }
    }
    None
}

/// What is not plain about a route.
async fn odd(
    links: &Links,
    route: &Route,
    (uplink, index, mtu): (&InterfaceName, u32, u32),
) -> Option<String> {
    match route.only {
        Some(Only::Sources) => return Some("is for some sources only".to_owned()),
        Some(Only::Lifetime) => return Some("has a lifetime".to_owned()),
        None => {}
    }
    if !route.forwards {
        return Some("sends nothing on as it is".to_owned());
    }
    if let Some(other) = route.interfaces.iter().find(|it| **it != index) {
        return Some(format!("leads to {}", links.name(*other).await));
    }
    if route.interfaces.is_empty() || !route.alive {
        return Some(format!("does not lead to {uplink} right now"));
    }
    let narrow = route.mtu.filter(|own| *own < mtu)?;
    Some(format!("has an mtu of {narrow} bytes, {uplink} one of {mtu}"))
}

/// What the host is told that keeps packets from the uplink, or large ones.
fn odd_setting(uplink: &InterfaceName, mtu: u32) -> Option<String> {
    const SETTINGS: &str = "/proc/sys/net/ipv6/conf";
    let read = |interface: &str, setting: &str| {
        fs::read_to_string(format!("{SETTINGS}/{interface}/{setting}")).ok()
    };
    let own = read(uplink.as_str(), "mtu").and_then(|it| it.trim().parse::<u32>().ok());
    if own.is_none_or(|own| own < mtu) {
        return Some(format!("IPv6 packets by {uplink} may not be as large as others"));
    }
    let all = fs::read_dir(SETTINGS).into_iter().flatten().flatten();
    let names = all.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name == uplink.as_str() || is_host_interface(name))
        .find(|name| read(name, "forwarding").is_some_and(|it| it.trim() == "0"))
        .map(|name| format!("forwarding is turned off for {name}"))
}

#[cfg(test)]
#[path = "routes/tests.rs"]
mod tests;
