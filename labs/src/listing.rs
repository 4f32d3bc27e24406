//! How labs are shown.

use anyhow::Result;
use comfy_table::{Table, presets};
use ila_labs::{Container, Host, State, Summary, Topology};
use serde_json::{Value, json};

use crate::cli::Format;

/// All labs of this machine.
pub fn labs(format: Format) -> Result<String> {
    let labs = ila_labs::list()?;
    match format {
        Format::Json => {
            let labs: Vec<_> = labs.iter().map(lab_json).collect();
            Ok(serde_json::to_string_pretty(&json!({ "v": 1, "labs": labs }))?)
        }
        Format::Table => {
            let mut table = table(&["LAB", "STATE", "TOPOLOGY", "CONTENTS"]);
            for lab in &labs {
                let of =
                    |show: fn(&Topology) -> String| lab.topology.as_ref().map_or("-".into(), show);
                table.add_row([
                    lab.name.to_string(),
                    state(lab.state).to_owned(),
                    of(|topology| topology.name.clone()),
                    of(contents),
                ]);
            }
            Ok(table.trim_fmt())
        }
    }
}

/// The containers of a topology with their addresses.
pub fn containers(topology: &Topology) -> String {
    let mut table = table(&["HOST", "LOCATOR", "CONTAINER", "ADDRESS"]);
    for (host, container) in topology.containers() {
        table.add_row([
            host.name.clone(),
            topology.domain_of(host, container).locator.to_string(),
            container.name.clone(),
            topology.address(container).to_string(),
        ]);
    }
    table.trim_fmt()
}

/// How much a topology has.
pub fn contents(topology: &Topology) -> String {
    let count = |count, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let hosts = count(topology.hosts.len(), "host");
    format!("{hosts}, {}", count(topology.containers().count(), "container"))
}

fn lab_json(lab: &Summary) -> Value {
    let container = |topology: &Topology, container: &Container| {
        json!({
            "name": container.name,
            "identifier": container.identifier,
            "address": topology.address(container),
        })
    };
    let host = |topology: &Topology, host: &Host| {
        let containers: Vec<_> = host.containers.iter().map(|it| container(topology, it)).collect();
        json!({ "name": host.name, "locator": host.locator, "containers": containers })
    };
    let topology = lab.topology.as_ref().map(|topology| {
        json!({
            "name": topology.name,
            "sir_prefix": topology.sir_prefix,
            "hosts": topology.hosts.iter().map(|it| host(topology, it)).collect::<Vec<_>>(),
        })
    });
    json!({ "name": lab.name, "state": state(lab.state), "topology": topology })
}

fn state(state: State) -> &'static str {
    match state {
        State::Up => "up",
        State::Busy => "busy",
        State::Unfinished => "unfinished",
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table
}
