//! What others tell of themselves, on its way into the kernel's tables.

use std::time::{Duration, Instant};

use ila_proto::{
    abi::{LocatorKey, MAP_LOCATORS, MAX_LOCATORS, MappingKey, MappingValue, Place},
    addr::{Address, Identifier, Locator, SirPrefix},
    api::{Mapping, MappingChange, MappingSource},
};
use tokio::sync::broadcast;

use super::{CHANGES, Owner};
use crate::{
    config::Config,
    datapath::{DatapathError, Tables},
    desired::{Desired, Learned, belonging, elsewhere},
};

impl Learned {
    /// What an earlier agent has left of it: packets flow by that until it is
    /// known better.
    pub(super) fn left_in(tables: &Tables, config: &Config) -> Result<Self, DatapathError> {
        let stated = Desired::of(config, &Self::default());
        let mut learned = Self::default();
        for (key, value) in tables.mappings()? {
            if let Place::There { locator, .. } = value.place()
                && !stated.mappings.contains_key(&key)
            {
                learned.mappings.insert(key, locator);
            }
        }
        for (key, value) in tables.locators()? {
            if !stated.locators.contains_key(&key) {
                learned.locators.insert(Locator::from_bits(key.0), value.domain);
            }
        }
        Ok(learned)
    }
}

impl Owner {
    /// Notes where identifiers live now, or that nobody has them, and tells the
    /// programs. What is here, and what the configuration says, goes before. If
    /// it fails, what is noted is still what is wanted: see [`Owner::settle`].
    pub fn learn(&mut self, news: &[(MappingKey, Option<Locator>)]) -> Result<(), DatapathError> {
        let (mut keys, mut values, mut gone) = (Vec::new(), Vec::<MappingValue>::new(), Vec::new());
        for &(key, locator) in news {
            let former = match locator {
                Some(locator) => self.learned.mappings.insert(key, locator),
                None => self.learned.mappings.remove(&key),
            };
            let (domain, identifier) = key.parts();
            if former == locator || self.is_ours_to_say(domain, identifier) {
                continue;
            }
            match locator.and_then(|locator| elsewhere(&self.config, domain, locator)) {
                Some(value) => {
                    keys.push(key);
                    values.push(value);
                }
                None => gone.push(key),
            }
            self.tell_of_change(domain, identifier);
        }
        self.datapath.tables.set_mappings(&keys, &values)?;
        let now = Instant::now();
        self.installed.extend(keys.into_iter().map(|key| (key, now)));
        self.installed.drain(..self.installed.len().saturating_sub(CHANGES));
        self.datapath.tables.remove_mappings(&gone)
    }

    /// Whether anything is known of other hosts.
    #[must_use]
    pub fn knows_others(&self) -> bool {
        !self.learned.mappings.is_empty() && !self.learned.locators.is_empty()
    }

    /// Where an identifier is, in whichever SIR prefix, and how long ago the
    /// programs were told, as far as that is remembered.
    #[must_use]
    pub fn find_mapping(
        &self,
        identifier: Identifier,
    ) -> (SirPrefix, Option<Mapping>, Option<Duration>) {
        let domains = (0..).zip(&self.config.domains);
        let found = domains.filter_map(|(domain, it)| {
            let mapping = self.mapping_of(domain, identifier)?;
            Some((domain, it.sir_prefix, mapping))
        });
        let Some((domain, sir_prefix, mapping)) = found.min_by_key(|(domain, ..)| *domain) else {
            return (self.config.domains[0].sir_prefix, None, None);
        };
        let key = MappingKey::new(domain, identifier);
        let installed = self.installed.iter().rev().find(|(it, _)| Some(*it) == key);
        (sir_prefix, Some(mapping), installed.map(|(_, since)| since.elapsed()))
    }

    /// Ends what is told of mappings that change.
    pub fn end_changes(&mut self) {
        self.changes = broadcast::channel(1).0;
    }

    /// Notes to which domains locators belong, for programs to know them.
    pub fn learn_locators(&mut self, news: &[(u32, Locator)]) -> Result<(), DatapathError> {
        for &(domain, locator) in news {
            if !self.may_belong(domain, locator) {
                tracing::warn!(%locator, "a node has a locator that is ours, or of another SIR prefix");
                continue;
            }
            if self.learned.locators.insert(locator, domain).is_some() {
                continue;
            }
            let (room, entries) = (MAX_LOCATORS, self.locators.len() + 1);
            if entries > room as usize {
                return Err(DatapathError::Full { map: MAP_LOCATORS, room, entries });
            }
            self.routes_may_have_changed()?;
            let value = belonging(&self.config, domain, locator);
            self.datapath.tables.set_locator(locator.into(), value)?;
            self.locators.insert(locator.into(), value);
        }
        Ok(())
    }

    /// Has the tables hold just what is said here, what is known of this host
    /// and what the configuration says.
    pub fn settle(
        &mut self,
        mappings: Vec<(MappingKey, Locator)>,
        locators: &[(u32, Locator)],
    ) -> Result<(), DatapathError> {
        let mappings = mappings.into_iter().collect();
        let possible =
            locators.iter().filter(|(domain, locator)| self.may_belong(*domain, *locator));
        let locators = possible.map(|&(domain, locator)| (locator, domain)).collect();
        let former = std::mem::replace(&mut self.learned, Learned { mappings, locators });
        let desired = Desired::of(&self.config, &self.learned);
        if desired.locators != self.locators {
            self.routes_may_have_changed()?;
        }
        let stale = self.datapath.tables.set_elsewhere(&desired.locators, &desired.mappings)?;
        super::tell_of_stale(stale);
        self.locators = desired.locators;
        let now = &self.learned.mappings;
        let keys = former.mappings.keys().chain(now.keys());
        let changed = keys.filter(|key| former.mappings.get(key) != now.get(key));
        let changed: Vec<_> = changed.map(|key| key.parts()).collect();
        for (domain, identifier) in changed {
            self.tell_of_change(domain, identifier);
        }
        Ok(())
    }

    /// What becomes of mappings from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<MappingChange> {
        self.changes.subscribe()
    }

    /// Whether an identifier is here, or the configuration says where it is.
    fn is_ours_to_say(&self, domain: u32, identifier: Identifier) -> bool {
        self.is_here(domain, identifier) || self.config.mappings.contains_key(&(domain, identifier))
    }

    /// Whether a locator can be another host's in a domain.
    fn may_belong(&self, domain: u32, locator: Locator) -> bool {
        let stated = self.locators.get(&LocatorKey::from(locator));
        let is_sir_prefix =
            self.config.domains.iter().any(|it| it.sir_prefix.bits() == locator.bits());
        !self.is_own(locator) && !is_sir_prefix && stated.is_none_or(|it| it.domain == domain)
    }

    /// Tells whoever watches where an identifier is now.
    pub(super) fn tell_of_change(&self, domain: u32, identifier: Identifier) {
        if self.changes.receiver_count() == 0 {
            return;
        }
        let mapping = self.mapping_of(domain, identifier);
        let address = self.config.domains[domain as usize].sir_prefix.address(identifier);
        let address = Address::from(address).into();
        // Nobody may be watching any more.
        let _ = self.changes.send(MappingChange { identifier, address, mapping });
    }

    /// Where an identifier is, if that is known.
    pub(super) fn mapping_of(&self, domain: u32, identifier: Identifier) -> Option<Mapping> {
        let own = self.config.domains[domain as usize].locator;
        let (locator, source) = if self.is_here(domain, identifier) {
            (own, MappingSource::Local)
        } else if let Some(&locator) = self.config.mappings.get(&(domain, identifier)) {
            (locator, MappingSource::Static)
        } else {
            let key = MappingKey::new(domain, identifier)?;
            (*self.learned.mappings.get(&key)?, MappingSource::Mesh)
        };
        let is_elsewhere = source == MappingSource::Local || locator != own;
        is_elsewhere.then(|| self.mapping((domain, identifier), locator, source))
    }
}
