//! Tables for people, JSON for programs.

use std::{
    fmt::Display,
    io::{self, Write as _},
    net::Ipv6Addr,
};

use comfy_table::{CellAlignment, Table, presets};
use ila_authority::Summary;
use ila_proto::api::{
    AlarmReport, CertificateStatus, Container, ContainerList, CounterList, Domain, DroppedPacket,
    Hook, Mapping, MappingChange, MappingList, MappingOrigin, MappingSource, MeshStatus, Node,
    NodeList, NodeState, Party, Status, Uplink, UplinkState, Versioned,
};
use serde::Serialize;

use crate::{
    cli::Format,
    client::{ClientError, Go},
};

/// A reply that can be printed.
pub trait Print: Sized {
    /// Prints it to standard output.
    fn print(self, format: Format) -> Result<(), ClientError>;
}

/// What others have chosen, a label or a path, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl<T: Serialize + Tabular> Print for Versioned<T> {
    fn print(self, format: Format) -> Result<(), ClientError> {
        match format {
            Format::Table => line(self.reply.table()),
            Format::Json => {
                let json = serde_json::to_string_pretty(&self).map_err(io::Error::from);
                line(json.map_err(ClientError::Output)?)
            }
        }
    }
}

/// Prints one line, or several.
pub fn line(text: impl Display) -> Result<(), ClientError> {
    line_if_read(text).map(|_| ())
}

/// Prints one line; whether anybody wants another.
pub fn line_if_read(text: impl Display) -> Result<Go, ClientError> {
    match writeln!(io::stdout(), "{text}") {
        // Whoever read us, `head` for one, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Go::Home),
        other => other.map(|()| Go::On).map_err(ClientError::Output),
    }
}

/// A value as JSON on one line.
pub fn json(value: &impl Serialize) -> Result<String, ClientError> {
    serde_json::to_string(value).map_err(io::Error::from).map_err(ClientError::Output)
}

/// What became of a packet, in one line.
pub fn sentence(packet: &DroppedPacket) -> String {
    let mut parts = vec![format!("{:26}", packet.fate), printable(&packet.interface)];
    if let Some(container) = &packet.container {
        parts.push(format!("({container})"));
    }
    if let (Some(source), Some(destination)) = (packet.source, packet.destination) {
        let [from, to] = [(source, &packet.sender), (destination, &packet.receiver)].map(stated);
        parts.push(format!("{from} > {to}"));
    }
    let DroppedPacket { next_header, hop_limit, length, missed, .. } = packet;
    parts.push(format!("next header {next_header}, hop limit {hop_limit}, {length} bytes"));
    if *missed > 0 {
        parts.push(format!("({missed} before it were not told of)"));
    }
    parts.join(" ")
}

/// What has become of a mapping, in one line.
pub fn change(change: &MappingChange) -> String {
    let MappingChange { identifier, address, mapping } = change;
    match mapping {
        None => format!("{identifier} ({address}) is nowhere"),
        Some(it) => {
            format!("{identifier} ({address}) is at {} ({})", it.locator, source(it.source))
        }
    }
}

/// An address, and whom it means.
fn stated((address, party): (Ipv6Addr, &Option<Party>)) -> String {
    match party {
        None => address.to_string(),
        Some(Party { identifier, locator: None, .. }) => {
            format!("{address} ({identifier}, not mapped)")
        }
        Some(Party { identifier, locator: Some(locator), .. }) => {
            format!("{address} ({identifier} at {locator})")
        }
    }
}

/// A reply that people read as a table.
pub trait Tabular {
    /// The table.
    fn table(&self) -> Table;
}

impl Tabular for Container {
    fn table(&self) -> Table {
        let labels: Vec<_> = self.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        pairs([
            ("name", self.name.to_string()),
            ("address", self.address.to_string()),
            ("identifier", self.identifier.to_string()),
            ("namespace", printable(&self.netns.to_string_lossy())),
            ("interface", self.interface.to_string()),
            ("host interface", self.host_interface.to_string()),
            ("mtu", self.mtu.to_string()),
            ("labels", printable(&labels.join(" "))),
        ])
    }
}

impl Tabular for ContainerList {
    fn table(&self) -> Table {
        let mut table = columns(["NAME", "ADDRESS", "INTERFACE", "HOST INTERFACE", "NAMESPACE"]);
        for container in &self.containers {
            table.add_row([
                container.name.to_string(),
                container.address.to_string(),
                container.interface.to_string(),
                container.host_interface.to_string(),
                printable(&container.netns.to_string_lossy()),
            ]);
        }
        table
    }
}

impl Tabular for Mapping {
    fn table(&self) -> Table {
        pairs([
            ("identifier", self.identifier.to_string()),
            ("address", self.address.to_string()),
            ("locator", self.locator.to_string()),
            ("on the wire", self.ila_address.to_string()),
            ("source", source(self.source).to_owned()),
            ("node", self.node.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("epoch", self.epoch.map(|it| it.to_string()).unwrap_or_default()),
            ("age", self.age_seconds.map(seconds).unwrap_or_default()),
        ])
    }
}

impl Tabular for MappingList {
    fn table(&self) -> Table {
        let mut table =
            columns(["IDENTIFIER", "ADDRESS", "LOCATOR", "ON THE WIRE", "SOURCE", "NODE", "EPOCH"]);
        for mapping in &self.mappings {
            table.add_row([
                mapping.identifier.to_string(),
                mapping.address.to_string(),
                mapping.locator.to_string(),
                mapping.ila_address.to_string(),
                source(mapping.source).to_owned(),
                mapping.node.as_ref().map(ToString::to_string).unwrap_or_default(),
                mapping.epoch.map(|it| it.to_string()).unwrap_or_default(),
                mapping.age_seconds.map(seconds).unwrap_or_default(),
            ]);
        }
        table
    }
}

impl Tabular for NodeList {
    fn table(&self) -> Table {
        let mut table = columns([
            "NAME",
            "STATE",
            "ROUND TRIP",
            "PROTOCOL",
            "HEARD",
            "MAPPINGS",
            "VERSION",
            "LOCATOR",
            "ADDRESS",
        ]);
        for node in &self.nodes {
            let domains = node.domains.iter().map(|it| it.locator.to_string());
            let addresses = node.addresses.iter().map(ToString::to_string);
            table.add_row([
                node.name.to_string(),
                node_state(node.state).to_owned(),
                node.round_trip_micros.map(micros).unwrap_or_default(),
                node.protocol.map(|it| it.to_string()).unwrap_or_default(),
                ago(node),
                node.mappings.to_string(),
                printable(&node.version),
                domains.collect::<Vec<_>>().join(" "),
                addresses.collect::<Vec<_>>().join(" "),
            ]);
        }
        table
    }
}

impl Tabular for MappingOrigin {
    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut row = |key: &str, value: String| {
            table.add_row([key.to_owned(), value]);
        };
        match &self.mapping {
            None => row("mapping", "none: the programs know nobody of that identifier".to_owned()),
            Some(mapping) => {
                row("mapping", format!("{} at {}", mapping.address, mapping.locator));
                row("source", source(mapping.source).to_owned());
            }
        }
        if let Some(node) = self.holder.as_ref().filter(|it| it.state == NodeState::This) {
            row("said by", format!("{} (this)", node.name));
        } else if let Some(node) = &self.holder {
            row("said by", format!("{} ({})", node.name, node_state(node.state)));
            row("last heard of it", ago(node));
            row(
                "its news come by",
                match &self.by {
                    Some(by) if *by == node.name => "a connection to it".to_owned(),
                    Some(by) => format!("node {by}"),
                    None => "any connection".to_owned(),
                },
            );
        } else if !self.mapping.as_ref().is_some_and(|it| it.source != MappingSource::Mesh) {
            row("said by", "nobody in the mesh".to_owned());
        }
        if let Some(right) = &self.right {
            row(
                "by right of",
                match right.as_str() {
                    "home" => "its home range".to_owned(),
                    "granted" => "the authority's grant".to_owned(),
                    _ => "none: whoever has one takes it over".to_owned(),
                },
            );
        }
        if !self.disputed_by.is_empty() {
            let names: Vec<_> = self.disputed_by.iter().map(ToString::to_string).collect();
            row("disputed by", names.join(" "));
        }
        if let Some(installed) = self.installed_millis {
            row("told the programs", format!("{} ago", millis(installed)));
        }
        table
    }
}

impl Tabular for CounterList {
    fn table(&self) -> Table {
        let mut table = columns(["FATE", "OUTCOME", "PACKETS", "BYTES", "MEANING"]);
        for counter in &self.counters {
            table.add_row([
                counter.name.clone(),
                counter.outcome.clone(),
                counter.packets.to_string(),
                counter.bytes.to_string(),
                counter.about.clone(),
            ]);
        }
        for number in [2, 3] {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

impl Tabular for Status {
    fn table(&self) -> Table {
        let first = Domain { sir_prefix: self.sir_prefix, locator: self.locator };
        let others = self.domains.iter().filter(|domain| **domain != first);
        let domains: Vec<_> = std::iter::once(&first).chain(others).collect();
        let each = |text: fn(&Domain) -> String| {
            domains.iter().map(|domain| text(domain)).collect::<Vec<_>>().join(" ")
        };
        // An agent of an earlier version says no more than their names.
        let mut uplinks: Vec<_> = self.uplink_states.iter().map(uplink).collect();
        if uplinks.is_empty() {
            uplinks = self.uplinks.iter().map(ToString::to_string).collect();
        }
        let mut table = pairs([
            ("node", self.node.to_string()),
            ("version", self.version.clone()),
            ("SIR prefix", each(|domain| domain.sir_prefix.to_string())),
            ("locator", each(|domain| domain.locator.to_string())),
            ("checksum mode", self.checksum_mode.name().to_owned()),
            ("sources", self.source.name().to_owned()),
            ("path", self.path.name().to_owned()),
            ("uplinks", uplinks.join(", ")),
            ("routes", routes(self.routes_asked.as_deref())),
            ("attached by", hook(self.hook).to_owned()),
            ("mtu", self.mtu.to_string()),
            ("containers", self.containers.to_string()),
            ("mappings", self.mappings.to_string()),
            ("uptime", format!("{} s", self.uptime_seconds)),
        ]);
        if let Some(mesh) = &self.mesh {
            add_mesh(&mut table, mesh);
        }
        table
    }
}

fn add_mesh(table: &mut Table, mesh: &MeshStatus) {
    let mut row = |key: &str, value: String| {
        table.add_row([key.to_owned(), value]);
    };
    let converged = if mesh.converged { "converged" } else { "not converged" };
    let MeshStatus { nodes, down, links, taken, duplicates, repairs, .. } = mesh;
    row("mesh", format!("{converged}, {nodes} nodes, {down} down, {links} connected"));
    row("news", format!("{taken} taken, {duplicates} duplicates, {repairs} repaired"));
    row("bytes", format!("{} sent, {} received", mesh.sent_bytes, mesh.received_bytes));
    if let Some(CertificateStatus { valid_until, renewal_failed, untimely }) = &mesh.certificate {
        let untimely = if *untimely { "; not valid by the clock of this host" } else { "" };
        let failed = renewal_failed.as_ref();
        let failed = failed.map(|reason| format!("; not renewed: {}", printable(reason)));
        let failed = failed.unwrap_or_default();
        row("certificate", format!("valid until {valid_until}{untimely}{failed}"));
    }
    for AlarmReport { about, count, seconds_ago, .. } in &mesh.alarms {
        row("alarm", format!("{} ({count} times, {seconds_ago} s ago)", printable(about)));
    }
    for rejected in &mesh.rejected {
        row("rejected", format!("{}: {}", rejected.count, rejected.reason));
    }
    if let Some(refused) = &mesh.refused {
        row("tables", printable(refused));
    }
}

impl Tabular for Summary {
    fn table(&self) -> Table {
        let domains: Vec<_> = self.domains.iter().map(ToString::to_string).collect();
        let home: Vec<_> = self.home.iter().map(ToString::to_string).collect();
        pairs([
            (
                "node",
                self.node.as_ref().map_or("none: an authority".to_owned(), ToString::to_string),
            ),
            ("id", self.id.clone()),
            ("locators", domains.join(" ")),
            ("home of", home.join(" ")),
            ("valid from", self.valid_from.clone()),
            ("valid until", self.valid_until.clone()),
            ("serial", self.serial.clone()),
            ("authority", self.authority.clone().unwrap_or_default()),
        ])
    }
}

const fn source(source: MappingSource) -> &'static str {
    match source {
        MappingSource::Local => "local",
        MappingSource::Static => "static",
        MappingSource::Mesh => "mesh",
    }
}

const fn node_state(state: NodeState) -> &'static str {
    match state {
        NodeState::This => "this",
        NodeState::Alive => "alive",
        NodeState::Down => "down",
        NodeState::Hidden => "hidden",
    }
}

/// How long ago something of a node was heard.
fn ago(node: &Node) -> String {
    match node.state {
        NodeState::This => String::new(),
        _ => format!("{} ago", millis(node.heard_millis)),
    }
}

fn millis(millis: u64) -> String {
    if millis < 1000 { format!("{millis} ms") } else { seconds(millis / 1000) }
}

fn seconds(seconds: u64) -> String {
    match seconds {
        0..600 => format!("{seconds} s"),
        600..36_000 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn micros(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

fn uplink(uplink: &Uplink) -> String {
    let Uplink { interface, state, seconds } = uplink;
    match state {
        UplinkState::Up => format!("{interface} up"),
        UplinkState::NoCarrier => format!("{interface} no carrier for {seconds} s"),
        UplinkState::Down => format!("{interface} down for {seconds} s"),
        UplinkState::Gone => format!("{interface} gone for {seconds} s"),
    }
}

fn routes(asked: Option<&str>) -> String {
    asked.map_or("plain".to_owned(), |reason| format!("asked for each packet: {reason}"))
}

const fn hook(hook: Hook) -> &'static str {
    match hook {
        Hook::Tcx => "tcx",
        Hook::Clsact => "clsact",
    }
}

fn columns<const N: usize>(titles: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(titles);
    table
}

fn pairs<const N: usize>(pairs: [(&str, String); N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (key, value) in pairs {
        table.add_row([key.to_owned(), value]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_packet_is_one_line_with_the_mappings_of_its_addresses() {
        let json = r#"{"v":1,"fate":"ingress-source","about":"","interface":"up0",
            "source":"2001:db8:c:1:3000::1","destination":"2001:db8:a:1:3000::2",
            "sender":{"identifier":"2000:0:0:b1","address":"fd00:db8:0:1:2000::b1",
                "locator":"2001:db8:b:1::/64"},
            "receiver":{"identifier":"2000:0:0:99","address":"fd00:db8:0:1:2000::99"},
            "next_header":17,"hop_limit":63,"length":100,"missed":2}"#;
        let packet: Versioned<DroppedPacket> = serde_json::from_str(json).expect("it is one");
        assert_eq!(
            sentence(&packet.reply),
            "ingress-source             up0 \
             2001:db8:c:1:3000::1 (2000:0:0:b1 at 2001:db8:b:1::/64) > \
             2001:db8:a:1:3000::2 (2000:0:0:99, not mapped) \
             next header 17, hop limit 63, 100 bytes (2 before it were not told of)"
        );
    }
}
