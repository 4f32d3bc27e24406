//! Taking a lab down: all that is the lab's, nothing that is not.

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use crate::{
    Error, LabName,
    agent::AgentDir,
    bpf_dir,
    error::Doing as _,
    identity,
    ip::Ip,
    lab_dir::LabDir,
    mounts,
    netns::{self, Found},
    plan::{NodeKind, Plan, PlannedNode},
    process, programs,
};

/// Takes down a lab, however far it got up: ends the processes in it, removes
/// its namespaces, with them their links, and its directory. Returns what has
/// a name that the lab would have used but is not the lab's, and was left
/// alone.
///
/// Every step can be done again, so that one that was cut short is continued
/// by the next.
pub fn take_down(lab: &LabName) -> Result<Vec<PathBuf>, Error> {
    programs::require_root()?;
    let ip = programs::ip()?;
    clear(LabDir::open(lab)?, ip)
}

/// Does so for a lab whose lock is held.
pub fn clear(dir: LabDir, ip: PathBuf) -> Result<Vec<PathBuf>, Error> {
    // Without a plan nothing was made yet.
    let foreign = match Plan::read(dir.path())? {
        Some(plan) => clear_planned(&plan, &dir, &Ip::new(ip, &dir))?,
        None => Vec::new(),
    };
    Plan::remove(&dir)?;
    dir.remove()?;
    Ok(foreign)
}

fn clear_planned(plan: &Plan, dir: &LabDir, ip: &Ip<'_>) -> Result<Vec<PathBuf>, Error> {
    let mark = plan.mark();
    let (mut namespaces, mut ours, mut foreign) = (BTreeSet::new(), Vec::new(), Vec::new());
    for path in plan.nodes.iter().map(PlannedNode::path) {
        match netns::find(&path, &mark, ip)? {
            Found::Nothing => {}
            Found::Foreign => foreign.push(path),
            Found::OurFile => ours.push(path),
            Found::Ours(netns) => {
                let id = netns.id().doing(|| format!("look at {}", path.display()))?;
                namespaces.insert(id);
                ours.push(path);
            }
        }
    }

    // Namespaces are what processes are found by: they go after them.
    process::end_all(&namespaces)?;
    for path in ours {
        netns::remove(&path, &mark)?;
    }
    mounts::unmount_below(dir.path())?;
    let agents = plan.nodes_of(NodeKind::Host).map(|host| AgentDir::new(&plan.lab, &host.name));
    let made = agents.map(|agent| agent.path().to_owned()).chain([identity::authority(dir.path())]);
    for made in made {
        match fs::remove_dir_all(&made) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.doing(|| format!("remove {}", made.display()))?,
        }
    }
    bpf_dir::remove(&plan.lab)?;
    Ok(foreign)
}
