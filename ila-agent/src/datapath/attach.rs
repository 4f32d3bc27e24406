//! Programs on interfaces, and swapping one for another under traffic: a link
//! or filter that is there is given the new program and never taken away.

use std::{collections::BTreeSet, io, os::fd::AsFd as _, path::PathBuf};

use aya::{
    programs::{
        Link as _, LinkOrder, ProgramInfo, SchedClassifier, TcAttachType,
        links::FdLink,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError},
    },
    util::KernelVersion,
};
use ila_proto::api::{Hook, InterfaceName};
use nix::{errno::Errno, net::if_::if_nameindex};

use super::{
    DatapathError, Role, bpf, filter,
    pins::{self, Pins},
};

/// TCX came with Linux 6.6.
const FIRST_WITH_TCX: KernelVersion = KernelVersion::new(6, 6, 0);

/// The best hook that this kernel has.
#[must_use]
pub fn best_hook() -> Hook {
    match KernelVersion::current() {
        Ok(version) if version >= FIRST_WITH_TCX => Hook::Tcx,
        _ => Hook::Clsact,
    }
}

/// Has `interface`, whose number is `index`, run `program`, which is that for
/// `role`, by `hook`. Fails if it runs that of another agent.
pub fn attach(
    pins: &Pins,
    hook: Hook,
    (role, program): (Role, &mut SchedClassifier),
    interface: &InterfaceName,
    index: u32,
) -> Result<(), DatapathError> {
    refuse_foreign(pins, role, interface)?;
    match hook {
        Hook::Tcx => {
            attach_link(pins, program, interface, index)?;
            detach_filter(pins, interface)
        }
        Hook::Clsact => {
            attach_filter(pins, program, interface)?;
            detach_link(pins, interface)
        }
    }
}

/// Takes whatever program of ours off an interface, which may be gone.
pub fn detach(pins: &Pins, interface: &InterfaceName) -> Result<(), DatapathError> {
    detach_link(pins, interface)?;
    detach_filter(pins, interface)
}

fn attach_link(
    pins: &Pins,
    program: &mut SchedClassifier,
    interface: &InterfaceName,
    index: u32,
) -> Result<(), DatapathError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| DatapathError::Attach {
        interface: interface.clone(),
        source: error,
    };
    pins.make_links()?;
    let pin = pins.link(interface);
    for place in &links(pins, interface)? {
        let link = match bpf::open_pin(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(pins::pin("open the link at", place))?,
        };
        let descriptor = program.fd().map_err(|error| failed(error.into()))?.as_fd();
        let wanted = bpf::object_number(descriptor).map_err(|error| failed(error.into()))?;
        let state = bpf::link_state(link.as_fd()).map_err(|error| failed(error.into()))?;
        // Of an interface that is gone, whose name another one has now.
        if state.interface != index {
            pins::remove(place)?;
            continue;
        }
        if state.program != wanted {
            bpf::update_link(link.as_fd(), descriptor).map_err(|error| failed(error.into()))?;
            tracing::info!(%interface, "program replaced");
        }
        if *place != pin {
            bpf::pin(link.as_fd(), &pin).map_err(pins::pin("pin the link at", &pin))?;
            pins::remove(place)?;
        }
        return Ok(());
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let link = program
        .attach_with_options(interface.as_str(), TcAttachType::Ingress, options)
        .and_then(|link| program.take_link(link))
        .map_err(|error| failed(error.into()))?;
    let link = FdLink::try_from(link).map_err(|error| failed(error.into()))?;
    link.pin(&pin).map_err(|error| failed(error.into()))?;
    Ok(())
}

/// The interfaces that run a program of ours, or that are noted to. Notes can be
/// removed by others, and a filter stays.
pub fn interfaces(pins: &Pins) -> Result<BTreeSet<InterfaceName>, DatapathError> {
    let mut found = BTreeSet::from_iter([pins.linked()?, pins.filtered()?].concat());
    let all = if_nameindex().map_err(|errno| DatapathError::Interfaces(errno.into()))?;
    let names = all.iter().filter_map(|it| it.name().to_str().ok()?.parse().ok());
    for interface in names {
        // One that goes meanwhile has none.
        if let Ok(Some(program)) = filter::program(&interface)
            && pins.owns(program)?
        {
            found.insert(interface);
        }
    }
    Ok(found)
}

/// Whether an interface has a clsact filter in our place, ours or not.
pub fn is_filtered(interface: &InterfaceName) -> bool {
    matches!(filter::program(interface), Ok(Some(_)))
}

/// Fails if an interface runs the program for `role`, by whichever hook, and it
/// is not ours: that of another agent, which acts by tables that
/// this one does not keep. Beside it ours would not see a packet, or not as it
/// came; in its place it would leave the other agent's containers without one.
pub fn refuse_foreign(
    pins: &Pins,
    role: Role,
    interface: &InterfaceName,
) -> Result<(), DatapathError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| DatapathError::Attach {
        interface: interface.clone(),
        source: error,
    };
    let mut there = Vec::from_iter(filter::program(interface).map_err(|it| failed(it.into()))?);
    if best_hook() == Hook::Tcx {
        let query = SchedClassifier::query_tcx(interface.as_str(), TcAttachType::Ingress);
        let (_, links) = query.map_err(|error| failed(error.into()))?;
        let same = links.iter().filter(|program| program.name() == role.program().as_bytes());
        there.extend(same.map(ProgramInfo::id));
    }
    // What our link runs is ours, even if nothing else of it is pinned any more.
    let mut linked = Vec::new();
    for place in links(pins, interface)? {
        let state = bpf::open_pin(&place).and_then(|link| bpf::link_state(link.as_fd()));
        linked.extend(state.map(|state| state.program));
    }
    for program in there {
        if !linked.contains(&program) && !pins.owns(program)? {
            return Err(DatapathError::Foreign(interface.clone()));
        }
    }
    Ok(())
}

/// Where links of ours to an interface may be pinned.
fn links(pins: &Pins, interface: &InterfaceName) -> Result<Vec<PathBuf>, DatapathError> {
    Ok([vec![pins.link(interface)], pins.former_links(interface)?].concat())
}

fn detach_link(pins: &Pins, interface: &InterfaceName) -> Result<(), DatapathError> {
    for place in links(pins, interface)? {
        if let Ok(link) = bpf::open_pin(&place)
            && let Err(error) = bpf::detach_link(link.as_fd())
        {
            tracing::debug!(%interface, %error, "not detached; the interface may be gone");
        }
        pins::remove(&place)?;
    }
    Ok(())
}

fn attach_filter(
    pins: &Pins,
    program: &mut SchedClassifier,
    interface: &InterfaceName,
) -> Result<(), DatapathError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| DatapathError::Attach {
        interface: interface.clone(),
        source: error,
    };
    add_clsact(interface.as_str()).map_err(|error| failed(error.into()))?;
    pins.mark_filter(interface)?;
    let there = filter::at(interface).map_err(|error| failed(error.into()))?;
    let attached = match program.attach_to_link(there) {
        // There is none to replace.
        Err(_) => {
            let options =
                NlOptions { priority: filter::PRIORITY, handle: filter::HANDLE, classid: None };
            program.attach_with_options(
                interface.as_str(),
                TcAttachType::Ingress,
                TcAttachOptions::Netlink(options),
            )
        }
        replaced => replaced,
    };
    let link =
        attached.and_then(|link| program.take_link(link)).map_err(|error| failed(error.into()))?;
    // Dropping it would take the filter away, which is to stay.
    std::mem::forget(link);
    Ok(())
}

fn detach_filter(pins: &Pins, interface: &InterfaceName) -> Result<(), DatapathError> {
    // By now it may be another agent's, on an interface that was made anew.
    let detached = match filter::program(interface) {
        Ok(Some(program)) if pins.owns(program)? => {
            let detach = |filter: SchedClassifierLink| filter.detach().map_err(io::Error::other);
            filter::at(interface).and_then(detach)
        }
        other => other.map(drop),
    };
    // Fails where the interface is gone, which is as well.
    if let Err(error) = detached {
        tracing::debug!(%interface, %error, "no filter taken away");
    }
    pins.unmark_filter(interface)
}

fn add_clsact(interface: &str) -> Result<(), TcError> {
    match tc::qdisc_add_clsact(interface) {
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {
            Ok(())
        }
        other => other,
    }
}
