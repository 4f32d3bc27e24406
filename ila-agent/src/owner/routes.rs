//! What the programs are told of the routes to locators.

use std::{collections::BTreeMap, net::Ipv6Addr, sync::Arc};

use ila_proto::{
    addr::{Address, Locator},
    api::InterfaceName,
    forward::SourceMode,
};
use tokio::sync::Notify;

use super::Owner;
use crate::datapath::DatapathError;

/// What is known of them.
#[derive(Debug)]
pub(super) struct Routes {
    /// Grows with every doubt, so that an answer to an earlier one is known.
    turn: u64,
    /// Why the programs ask for each packet's; none if they are plain.
    pub(super) asked: Option<String>,
    /// What the log has said last.
    logged: Option<String>,
    changed: Arc<Notify>,
}

/// What has to be found out for them to be known to be plain.
#[derive(Clone, Debug)]
pub struct Question {
    /// The doubt that it is about.
    pub turn: u64,
    /// The one uplink, and its number.
    pub uplink: (InterfaceName, u32),
    /// The other hosts' locators, each with an address that packets to there
    /// come from.
    pub ways: BTreeMap<Locator, Ipv6Addr>,
}

impl Routes {
    pub(super) fn new(uplinks: usize) -> Self {
        let asked = if uplinks > 1 { "there are several uplinks" } else { UNKNOWN };
        let asked = Some(asked.to_owned());
        Self { turn: 0, asked, logged: None, changed: Arc::default() }
    }
}

const UNKNOWN: &str = "routes may have changed";

impl Owner {
    /// Has the programs ask for the route of each packet until the routes were
    /// looked at again. To be called before they are given other locators.
    pub fn routes_may_have_changed(&mut self) -> Result<(), DatapathError> {
        self.doubt_routes()?;
        self.routes.changed.notify_one();
        Ok(())
    }

    /// The same without a word to who looks at them.
    pub fn doubt_routes(&mut self) -> Result<(), DatapathError> {
        self.routes.turn += 1;
        self.datapath.tables.set_plain(false)?;
        self.routes.asked.get_or_insert_with(|| UNKNOWN.to_owned());
        Ok(())
    }

    /// Becomes ready when they may have changed.
    #[must_use]
    pub fn routes_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.routes.changed)
    }

    /// What there is to find out; nothing with several uplinks, where packets are
    /// always asked for.
    #[must_use]
    pub fn routes_in_question(&self) -> Option<Question> {
        let mut uplinks = self.uplinks.iter();
        let (Some((name, index)), None) = (uplinks.next(), uplinks.next()) else { return None };
        let all = self.locators.iter().map(|(key, value)| (Locator::from_bits(key.0), value));
        let others = all.filter(|(locator, _)| !self.is_own(*locator));
        let ways = others.map(|(locator, value)| {
            let domain = self.config.domains[value.domain as usize];
            let high = match self.config.source {
                SourceMode::Sir => domain.sir_prefix.bits(),
                SourceMode::Locator => domain.locator.bits(),
            };
            (locator, Address { high, low: 0 }.into())
        });
        Some(Question {
            turn: self.routes.turn,
            uplink: (name.clone(), index),
            ways: ways.collect(),
        })
    }

    /// Takes note of why routes are not plain, none if they are, and tells the
    /// programs; if there was no new doubt in the meantime.
    pub fn routes_found(&mut self, turn: u64, odd: Option<String>) -> Result<(), DatapathError> {
        if turn != self.routes.turn {
            return Ok(());
        }
        self.datapath.tables.set_plain(odd.is_none())?;
        if odd != self.routes.logged {
            if let Some(reason) = &odd {
                tracing::warn!(%reason, "the route of each packet is asked for");
            } else {
                tracing::info!("the routes to all locators are plain again");
            }
        }
        (self.routes.logged, self.routes.asked) = (odd.clone(), odd);
        Ok(())
    }
}
