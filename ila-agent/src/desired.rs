//! What the kernel's tables should hold, as the configuration wants it.

use std::collections::BTreeMap;

use ila_proto::{
    abi::{
        Domain, HostConfig, LocatorKey, LocatorSpace, LocatorValue, MAX_DOMAINS,
        MAX_LOCATOR_SPACES, MAX_UPLINKS, MappingKey, MappingValue, Place, Uplink,
    },
    addr::{Address, Identifier, IdentifierType, Locator},
    api,
};

use crate::{config::Config, netlink::Interface};

/// What the tables should hold before there is any container.
#[derive(Debug, Default)]
pub struct Desired {
    /// Who lives elsewhere.
    pub mappings: BTreeMap<MappingKey, MappingValue>,
    /// What each locator belongs to.
    pub locators: BTreeMap<LocatorKey, LocatorValue>,
}

/// What others have told of themselves.
#[derive(Debug, Default)]
pub struct Learned {
    /// Who lives where.
    pub mappings: BTreeMap<MappingKey, Locator>,
    /// To which domain locators belong.
    pub locators: BTreeMap<Locator, u32>,
}

impl Desired {
    /// What `config` says, and what was learned where it says nothing.
    #[must_use]
    pub fn of(config: &Config, learned: &Learned) -> Self {
        let mut desired = Self::default();
        for (&locator, &domain) in &learned.locators {
            desired.add_locator(config, domain, locator);
        }
        for (&key, &locator) in &learned.mappings {
            let (domain, _) = key.parts();
            desired.mappings.extend(elsewhere(config, domain, locator).map(|value| (key, value)));
        }
        for (index, domain) in (0..).zip(&config.domains) {
            desired.add_locator(config, index, domain.locator);
        }
        for (&(domain, identifier), &locator) in &config.mappings {
            let Some(value) = elsewhere(config, domain, locator) else { continue };
            desired.add_locator(config, domain, locator);
            if let Some(key) = MappingKey::new(domain, identifier) {
                desired.mappings.insert(key, value);
            }
        }
        desired
    }

    fn add_locator(&mut self, config: &Config, domain: u32, locator: Locator) {
        self.locators.insert(locator.into(), belonging(config, domain, locator));
    }
}

/// What says that `locator` belongs to a domain.
#[must_use]
pub fn belonging(config: &Config, domain: u32, locator: Locator) -> LocatorValue {
    let prefix = config.domains[domain as usize].sir_prefix;
    let to_sir = config.checksum_mode.to_sir_delta(prefix, locator).value();
    LocatorValue { domain, to_sir, padding: 0 }
}

/// What maps to `locator`; none if that is this host's own in the domain.
#[must_use]
pub fn elsewhere(config: &Config, domain: u32, locator: Locator) -> Option<MappingValue> {
    let own = config.domains[domain as usize];
    let to_ila = config.checksum_mode.to_ila_delta(own.sir_prefix, locator);
    (locator != own.locator).then(|| MappingValue::new(Place::There { locator, to_ila }))
}

/// What an identifier is mapped to that has no container here, as far as that is
/// known.
#[must_use]
pub fn known_elsewhere(
    config: &Config,
    learned: &Learned,
    key: MappingKey,
) -> Option<MappingValue> {
    let (domain, identifier) = key.parts();
    let stated = config.mappings.get(&(domain, identifier));
    let locator = stated.or_else(|| learned.mappings.get(&key))?;
    elsewhere(config, domain, *locator)
}

/// Whether an address is, under a locator of a host with these domains, that of a container or
/// of nobody.
#[must_use]
pub fn is_ila(domains: &[api::Domain], address: Address) -> bool {
    let is_under = |domain: &api::Domain| domain.locator.bits() == address.high;
    let kind = Identifier::from_bits(address.low).kind();
    domains.iter().any(is_under) && kind != IdentifierType::Interface
}

/// The kernel programs' constants. `address` is that of the host in the
/// underlay, if it has one.
#[must_use]
pub fn host_config(config: &Config, uplinks: &[Interface], address: Option<Address>) -> HostConfig {
    let mut constants = HostConfig {
        address: address.map_or([0; 2], |address| [address.high, address.low]),
        checksum_mode: config.checksum_mode.number(),
        source_mode: config.source.number(),
        path: config.path.number(),
        ..HostConfig::default()
    };
    let mode = config.checksum_mode;
    for (slot, domain) in constants.domains[..MAX_DOMAINS].iter_mut().zip(&config.domains) {
        *slot = Domain {
            sir_prefix: domain.sir_prefix.bits(),
            locator: domain.locator.bits(),
            to_ila: mode.to_ila_delta(domain.sir_prefix, domain.locator).value(),
            to_sir: mode.to_sir_delta(domain.sir_prefix, domain.locator).value(),
            padding: 0,
        };
    }
    for (slot, space) in
        constants.locator_spaces[..MAX_LOCATOR_SPACES].iter_mut().zip(&config.locator_spaces)
    {
        let high = |address| Address::from(address).high;
        *slot = LocatorSpace { bits: high(space.network()), mask: high(space.netmask()) };
    }
    for (slot, uplink) in constants.uplinks[..MAX_UPLINKS].iter_mut().zip(uplinks) {
        *slot = Uplink { interface: uplink.index, mac: uplink.mac, padding: 0 };
    }
    constants
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_programs_are_told_all_locator_spaces() {
        let text = "node = \"h1\"\nsir_prefix = \"fd00:db8:0:1::/64\"\n\
            locator = \"2001:db8:a:1::/64\"\nuplinks = [\"up0\"]\n\
            locator_spaces = [\"2001:db8:c::/48\", \"2001:db8:d:100::/56\"]\n";
        let config = Config::parse(Path::new("agent.toml"), text).expect("it is valid");
        let constants = host_config(&config, &[], None);
        let space = |bits, mask| LocatorSpace { bits, mask };
        assert_eq!(
            constants.locator_spaces,
            [
                space(0x2001_0db8_000c_0000, 0xffff_ffff_ffff_0000),
                space(0x2001_0db8_000d_0100, 0xffff_ffff_ffff_ff00),
                LocatorSpace::default(),
                LocatorSpace::default(),
            ]
        );
        for (high, is_in) in [
            (0x2001_0db8_000c_ffff, true),
            (0x2001_0db8_000d_01ff, true),
            (0x2001_0db8_000d_0200, false),
            (0x2001_0db8_000e_0000, false),
        ] {
            assert_eq!(constants.is_in_locator_space(high), is_in, "{high:x}");
        }
    }
}
