//! What of the mesh people should know of, in words.

use ila_proto::{
    addr::{Address, Identifier, SirPrefix},
    api::AlarmReport,
    gossip::{
        NodeId, Surroundings,
        claim::Subject,
        mesh::{Alarm, Mesh, Moment},
    },
};

/// The name of an alarm, which never changes.
const fn name(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::SetBack => "set-back",
        Alarm::Cloned => "cloned",
        Alarm::NotStored => "not-stored",
        Alarm::Full => "full",
        Alarm::Equivocation(_) => "equivocation",
        Alarm::Lost(_) => "lost",
        Alarm::Restless(_) => "restless",
    }
}

/// What it means, and what to do.
fn about<S: Surroundings>(mesh: &Mesh<S>, alarm: Alarm) -> String {
    let named = |node: NodeId| {
        mesh.certified(node).map_or_else(|| node.to_string(), |it| it.name.to_string())
    };
    match alarm {
        Alarm::SetBack => "this node has said more than its disk remembers, as after an old \
                           backup; it goes on behind that, nothing is to be done"
            .to_owned(),
        Alarm::Cloned => "another machine has the identity of this node and is in use; this one \
                          says nothing more: give it an identity of its own"
            .to_owned(),
        Alarm::NotStored => "what this node says could not be stored, and nobody was told before \
                             it was: is the disk full?"
            .to_owned(),
        Alarm::Full => "this node holds more identifiers than others would take of it; some are \
                        not announced: move containers to other hosts"
            .to_owned(),
        Alarm::Equivocation(node) => format!(
            "node {} has signed two states for one position: its key is in use twice, or stolen",
            named(node)
        ),
        Alarm::Lost(subject) => format!(
            "{} has a container here, and another node is taken to hold it: \
             ila-ctl mapping why {}",
            address(subject),
            Identifier::from_bits(subject.identifier)
        ),
        Alarm::Restless(subject) => format!(
            "{} changes hands too often to be followed, until there is calm: \
             ila-ctl mapping why {}",
            address(subject),
            Identifier::from_bits(subject.identifier)
        ),
    }
}

fn address(subject: Subject) -> std::net::Ipv6Addr {
    let prefix = SirPrefix::from_bits(subject.sir_prefix);
    Address::from(prefix.address(Identifier::from_bits(subject.identifier))).into()
}

/// Writes it into the log.
pub fn log<S: Surroundings>(mesh: &Mesh<S>, alarm: Alarm) {
    tracing::error!(alarm = name(alarm), "{}", about(mesh, alarm));
}

/// All that are remembered, the latest first.
pub fn report<S: Surroundings>(mesh: &Mesh<S>, now: Moment) -> Vec<AlarmReport> {
    let mut alarms: Vec<_> = mesh.alarms().iter().collect();
    alarms.sort_by_key(|(_, raised)| std::cmp::Reverse(raised.last));
    let report = alarms.into_iter().map(|(alarm, raised)| AlarmReport {
        alarm: name(*alarm).to_owned(),
        about: about(mesh, *alarm),
        count: raised.count,
        seconds_ago: now.saturating_sub(raised.last).as_secs(),
    });
    report.collect()
}
