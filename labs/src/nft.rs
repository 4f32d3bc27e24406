//! `nft`, for a router that looks where packets come from.

use std::{path::Path, process::Command};

use crate::{Error, helper, lab_dir::LabDir, netns::Netns};

/// Drops what comes in by another link than the one by which its source is
/// reached. Neighbour discovery has sources that no route leads to: link-local
/// ones, and none at all.
const STRICT_SOURCES: &str = "
    table ip6 ila-lab {
        counter strict-sources {}
        chain prerouting {
            type filter hook prerouting priority raw;
            iif lo accept
            ip6 saddr { fe80::/10, :: } accept
            fib saddr . iif oif missing counter name strict-sources drop
        }
    }";

/// Has the router at `netns` refuse sources that it has no route back to.
pub fn refuse_sources(program: &Path, dir: &LabDir, netns: &Path) -> Result<(), Error> {
    let mut command = Command::new(program);
    command.args(["-f", "-"]);
    dir.hold_in(&mut command);
    Netns::open(netns)?.enter(&mut command);
    helper::run(command, STRICT_SOURCES, netns).map(drop)
}
