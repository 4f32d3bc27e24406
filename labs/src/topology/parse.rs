//! From text to a checked [`Topology`].

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::{Range, RangeInclusive},
    path::Path,
    str::FromStr,
};

use serde::Deserialize;
use toml::Spanned;

use super::{
    ChecksumMode, Container, Domain, Hook, Host, Mappings, PathMode, Router, SourceMode, Topology,
    TopologyError,
};
use crate::{Identifier, Prefix, network, plan::ROUTER};

/// The links between hosts and router are numbered by this prefix and the
/// host's place in the topology, in one group.
const MAX_HOSTS: usize = 200;

/// Interfaces are called after nodes (`to-NAME`) and have at most 15 bytes.
const MAX_NAME: usize = 10;

const DEFAULT_MTU: u16 = 1500;

/// What IPv6 asks of a link at least (RFC 8200, section 5), and what a veth
/// takes at most.
const MTU: RangeInclusive<i64> = 1280..=65535;

const UPLINKS: RangeInclusive<i64> = 1..=4;

/// The first and the last number of a VLAN stand for something else.
const VLAN: RangeInclusive<i64> = 1..=4094;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTopology {
    sir_prefix: Spanned<String>,
    checksum_mode: Option<ChecksumMode>,
    #[serde(default)]
    mappings: Mappings,
    hook: Option<Hook>,
    path: Option<PathMode>,
    source: Option<SourceMode>,
    mtu: Option<Spanned<i64>>,
    #[serde(default)]
    router: RawRouter,
    #[serde(default)]
    host: Vec<Spanned<RawHost>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRouter {
    #[serde(default)]
    strict_sources: bool,
    sir_via: Option<Spanned<String>>,
    on_link_locators: Option<Spanned<bool>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHost {
    name: Spanned<String>,
    locator: Spanned<String>,
    uplinks: Option<Spanned<i64>>,
    vlan: Option<Spanned<i64>>,
    mtu: Option<Spanned<i64>>,
    #[serde(default)]
    domain: Vec<RawDomain>,
    #[serde(default)]
    container: Vec<RawContainer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDomain {
    sir_prefix: Spanned<String>,
    locator: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawContainer {
    name: Spanned<String>,
    identifier: Spanned<String>,
    sir_prefix: Option<Spanned<String>>,
}

pub(super) fn topology(path: &str, text: &str) -> Result<Topology, TopologyError> {
    let text = Text { path, text };
    let raw: RawTopology = toml::from_str(text.text)
        .map_err(|error| text.invalid(error.span().unwrap_or_default(), error.message()))?;

    let sir_prefix = text.prefix(&raw.sir_prefix)?;
    if raw.host.is_empty() {
        return Err(text.invalid(raw.sir_prefix.span(), "a topology needs a [[host]] at least"));
    }
    if let Some(host) = raw.host.get(MAX_HOSTS) {
        return Err(text.invalid(host.span(), format!("a lab has at most {MAX_HOSTS} hosts")));
    }

    let further = raw.host.iter().flat_map(|host| &host.as_ref().domain);
    let sir_prefixes = std::iter::once(&raw.sir_prefix).chain(further.map(|it| &it.sir_prefix));
    let mut seen = Seen::new(&text, sir_prefixes)?;
    let hosts = raw.host.into_iter().map(Spanned::into_inner);
    let hosts = hosts.map(|host| seen.host(host)).collect::<Result<Vec<_>, _>>()?;
    Ok(Topology {
        name: Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        sir_prefix,
        checksum_mode: raw.checksum_mode,
        mappings: raw.mappings,
        hook: raw.hook,
        path: raw.path,
        source: raw.source,
        mtu: text.number(raw.mtu.as_ref(), &MTU)?.unwrap_or(DEFAULT_MTU),
        router: text.router(raw.router, &hosts)?,
        hosts,
    })
}

/// The text, for values and errors to point into.
struct Text<'a> {
    path: &'a str,
    text: &'a str,
}

impl Text<'_> {
    fn value<T: FromStr<Err: ToString>>(&self, raw: &Spanned<String>) -> Result<T, TopologyError> {
        raw.as_ref().parse().map_err(|error: T::Err| self.invalid(raw.span(), error.to_string()))
    }

    fn number<T: TryFrom<i64>>(
        &self,
        raw: Option<&Spanned<i64>>,
        range: &RangeInclusive<i64>,
    ) -> Result<Option<T>, TopologyError> {
        let Some(raw) = raw else { return Ok(None) };
        let number = *raw.as_ref();
        match T::try_from(number) {
            Ok(value) if range.contains(&number) => Ok(Some(value)),
            _ => {
                let reason =
                    format!("{number} is not between {} and {}", range.start(), range.end());
                Err(self.invalid(raw.span(), reason))
            }
        }
    }

    fn router(&self, raw: RawRouter, hosts: &[Host]) -> Result<Router, TopologyError> {
        if let Some(via) = &raw.sir_via
            && !hosts.iter().any(|host| host.name == *via.as_ref())
        {
            let reason = format!("`{}` is no host of this topology", via.as_ref());
            return Err(self.invalid(via.span(), reason));
        }
        if let Some(on_link) = raw.on_link_locators.as_ref().filter(|it| *it.as_ref())
            && let Some(host) = hosts.iter().find(|host| host.uplinks > 1)
        {
            let reason = format!("a prefix is on one link, and host `{}` has several", host.name);
            return Err(self.invalid(on_link.span(), reason));
        }
        Ok(Router {
            strict_sources: raw.strict_sources,
            sir_via: raw.sir_via.map(Spanned::into_inner),
            on_link_locators: raw.on_link_locators.is_some_and(Spanned::into_inner),
        })
    }

    /// A SIR prefix or a locator. Refused is what would collide with the
    /// addresses of the links, which the lab picks.
    fn prefix(&self, raw: &Spanned<String>) -> Result<Prefix, TopologyError> {
        let prefix: Prefix = self.value(raw)?;
        let (underlay, length) = network::UNDERLAY;
        if !prefix.is_in(underlay, length) {
            return Ok(prefix);
        }
        let reason =
            format!("{prefix} lies in {underlay}/{length}, which the lab numbers its links from");
        Err(self.invalid(raw.span(), reason))
    }

    fn invalid(&self, span: Range<usize>, reason: impl Into<String>) -> TopologyError {
        TopologyError::Invalid {
            path: self.path.to_owned(),
            line: self.line(span.start),
            key: self.key(span.start),
            reason: reason.into(),
        }
    }

    /// The line that holds the byte at `offset`, from 1.
    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    /// The key or the table that stands on the line of `offset`.
    fn key(&self, offset: usize) -> String {
        let line = self.text.lines().nth(self.line(offset) - 1).unwrap_or_default();
        let key = line.split('=').next().unwrap_or_default();
        key.trim_matches(|it: char| it.is_whitespace() || "[]".contains(it)).to_owned()
    }
}

/// What has been read so far, for there may be nothing twice; with the line
/// that has it.
struct Seen<'a> {
    text: &'a Text<'a>,
    /// The first is that of the topology.
    sir_prefixes: Vec<Prefix>,
    names: BTreeMap<String, usize>,
    locators: BTreeMap<Prefix, usize>,
    identifiers: BTreeMap<(Prefix, Identifier), usize>,
}

impl<'a> Seen<'a> {
    fn new<'r>(
        text: &'a Text<'a>,
        sir_prefixes: impl Iterator<Item = &'r Spanned<String>>,
    ) -> Result<Self, TopologyError> {
        let sir_prefixes = sir_prefixes.map(|raw| text.prefix(raw)).collect::<Result<_, _>>()?;
        let (names, locators, identifiers) = Default::default();
        Ok(Self { text, sir_prefixes, names, locators, identifiers })
    }

    fn host(&mut self, raw: RawHost) -> Result<Host, TopologyError> {
        let name = self.name(raw.name)?;
        let locator = self.locator(&raw.locator)?;
        let mut served = BTreeMap::from([(self.sir_prefixes[0], 0)]);
        let domains = raw.domain.iter().map(|raw| self.domain(raw, &mut served));
        let domains = domains.collect::<Result<Vec<_>, _>>()?;
        Ok(Host {
            name,
            locator,
            uplinks: self.text.number(raw.uplinks.as_ref(), &UPLINKS)?.unwrap_or(1),
            vlan: self.text.number(raw.vlan.as_ref(), &VLAN)?,
            mtu: self.text.number(raw.mtu.as_ref(), &MTU)?,
            domains,
            containers: raw
                .container
                .into_iter()
                .map(|raw| self.container(raw, &served))
                .collect::<Result<_, _>>()?,
        })
    }

    fn domain(
        &mut self,
        raw: &RawDomain,
        served: &mut BTreeMap<Prefix, usize>,
    ) -> Result<Domain, TopologyError> {
        let sir_prefix = self.text.prefix(&raw.sir_prefix)?;
        if sir_prefix == self.sir_prefixes[0] {
            let reason = format!("{sir_prefix} is the SIR prefix that every host serves");
            return Err(self.text.invalid(raw.sir_prefix.span(), reason));
        }
        once(self.text, served, sir_prefix, &raw.sir_prefix)?;
        Ok(Domain { sir_prefix, locator: self.locator(&raw.locator)? })
    }

    fn container(
        &mut self,
        raw: RawContainer,
        served: &BTreeMap<Prefix, usize>,
    ) -> Result<Container, TopologyError> {
        let name = self.name(raw.name)?;
        let sir_prefix = raw.sir_prefix.as_ref().map(|raw| self.text.prefix(raw)).transpose()?;
        if let (Some(prefix), Some(raw)) = (sir_prefix, &raw.sir_prefix)
            && !served.contains_key(&prefix)
        {
            let reason = format!("the container's host does not serve {prefix}");
            return Err(self.text.invalid(raw.span(), reason));
        }
        let identifier = self.text.value(&raw.identifier)?;
        let address = (sir_prefix.unwrap_or(self.sir_prefixes[0]), identifier);
        once(self.text, &mut self.identifiers, address, &raw.identifier)?;
        Ok(Container { name, identifier, sir_prefix })
    }

    fn name(&mut self, raw: Spanned<String>) -> Result<String, TopologyError> {
        let name = raw.as_ref();
        let valid = (1..=MAX_NAME).contains(&name.len())
            && !name.starts_with('-')
            && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
        let reason = if !valid {
            format!(
                "`{name}` cannot be a node's name: 1 to {MAX_NAME} of a-z, 0-9 and `-`, \
                 the first no `-`"
            )
        } else if name == ROUTER {
            format!("`{ROUTER}` is the name of the router")
        } else {
            once(self.text, &mut self.names, name.clone(), &raw)?;
            return Ok(raw.into_inner());
        };
        Err(self.text.invalid(raw.span(), reason))
    }

    fn locator(&mut self, raw: &Spanned<String>) -> Result<Prefix, TopologyError> {
        let locator = self.text.prefix(raw)?;
        if self.sir_prefixes.contains(&locator) {
            let reason = format!("{locator} is a SIR prefix; a locator is another one");
            return Err(self.text.invalid(raw.span(), reason));
        }
        once(self.text, &mut self.locators, locator, raw)?;
        Ok(locator)
    }
}

fn once<T: Ord>(
    text: &Text<'_>,
    seen: &mut BTreeMap<T, usize>,
    value: T,
    raw: &Spanned<String>,
) -> Result<(), TopologyError> {
    match seen.entry(value) {
        Entry::Vacant(entry) => {
            entry.insert(text.line(raw.span().start));
            Ok(())
        }
        Entry::Occupied(entry) => {
            let reason = format!("`{}` stands on line {} already", raw.as_ref(), entry.get());
            Err(text.invalid(raw.span(), reason))
        }
    }
}
