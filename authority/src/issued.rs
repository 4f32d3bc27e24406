//! What an authority has issued: one JSON line for each certificate, in the
//! order in which they were issued. A line counts until somebody removes it:
//! what was given away once is given to nobody else.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use ila_proto::{
    addr::Identifier,
    api::{NodeName, VERSION, Versioned},
    gossip::{IdentifierRange, NodeId},
};

use crate::{CaError, Range, Summary, Thing, Wanted};

/// How long the ranges are that are given out without being asked for: the type
/// and the C-bit, and a number.
const LENGTH: u8 = 28;
/// What is behind the number.
const SHIFT: u32 = 64 - LENGTH as u32;
/// The numbers end here.
const END: u64 = 1 << 24;

/// All of it, as it was when the file was read.
#[derive(Debug)]
pub struct Issued {
    file: PathBuf,
    /// Each with its number in the file, and its node.
    lines: Vec<(usize, NodeName, Summary)>,
    /// The bytes of these lines. What is behind them was not written to its end,
    /// and its certificate not handed out.
    length: usize,
    /// Whether the last one lacks its end, as editors may leave it.
    is_open: bool,
}

impl Issued {
    /// Reads the file.
    pub fn read(file: &Path) -> Result<Self, CaError> {
        let text = fs::read(file).map_err(|error| CaError::io("read", file, error))?;
        let (mut lines, mut length, mut is_open) = (Vec::new(), 0, false);
        for (before, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            is_open = !line.ends_with(b"\n");
            match parse(line) {
                Ok((node, summary)) => lines.push((before + 1, node, summary)),
                Err(_) if line.trim_ascii().is_empty() => {}
                Err(_) if is_open => {
                    is_open = false;
                    break;
                }
                Err(reason) => {
                    return Err(CaError::Line {
                        file: file.to_owned(),
                        number: before + 1,
                        reason,
                    });
                }
            }
            length += line.len();
        }
        Ok(Self { file: file.to_owned(), lines, length, is_open })
    }

    /// Whether a node can have what is asked for without taking it from another.
    pub fn check(&self, id: NodeId, asked: &Wanted) -> Result<(), CaError> {
        let id = id.to_string();
        for (number, by, line) in &self.lines {
            let what = match (line.id == id, *by == asked.node) {
                (true, true) => None,
                (true, false) => Some(Thing::Key),
                (false, true) => Some(Thing::Name),
                (false, false) => conflict(asked, line),
            };
            if let Some(what) = what {
                let (by, file) = (by.clone(), self.file.clone());
                return Err(CaError::Taken { what, by, file, number: *number });
            }
        }
        Ok(())
    }

    /// What was issued last for a node.
    pub fn last(&self, id: NodeId) -> Option<&Summary> {
        let id = id.to_string();
        self.lines.iter().rev().map(|(.., line)| line).find(|line| line.id == id)
    }

    /// What a node is to be the home of: what is asked for; else what it was
    /// last; else the next free range.
    pub fn home(
        &self,
        id: NodeId,
        asked: &[IdentifierRange],
    ) -> Result<Vec<IdentifierRange>, CaError> {
        if !asked.is_empty() {
            return Ok(asked.to_vec());
        }
        if let Some(last) = self.last(id) {
            return Ok(last.home.iter().map(|range| range.0).collect());
        }
        let ranges = self.lines.iter().flat_map(|(.., line)| &line.home);
        let mut taken: Vec<_> = ranges
            .map(|Range(range)| {
                let first = range.bits >> SHIFT & (END - 1);
                (first, first + (1 << LENGTH.saturating_sub(range.length)))
            })
            .collect();
        taken.sort_unstable();
        // Number 0 is left to people, whose identifiers tend to lie there.
        let next = taken
            .into_iter()
            .fold(1, |next, (first, end)| if first <= next { next.max(end) } else { next });
        if next >= END {
            return Err(CaError::NoRange);
        }
        Ok(vec![IdentifierRange::around(Identifier::locally_unique(next << SHIFT), LENGTH)])
    }

    /// Adds a line, and returns when it is on the disk.
    pub fn append(&self, summary: &Summary) -> Result<(), CaError> {
        let append = || {
            let mut line = if self.is_open { vec![b'\n'] } else { Vec::new() };
            serde_json::to_writer(&mut line, &Versioned::new(summary))?;
            line.push(b'\n');
            let mut file = OpenOptions::new().append(true).open(&self.file)?;
            file.set_len(self.length as u64)?;
            file.write_all(&line)?;
            file.sync_all()
        };
        append().map_err(|error| CaError::io("write", &self.file, error))
    }
}

fn parse(line: &[u8]) -> Result<(NodeName, Summary), String> {
    let read: Versioned<Summary> =
        serde_json::from_slice(line).map_err(|error| error.to_string())?;
    match read {
        Versioned { v: VERSION, reply } => {
            let node = reply.node.clone().ok_or("it names no node")?;
            Ok((node, reply))
        }
        Versioned { v, .. } => Err(format!("its version is {v}")),
    }
}

/// What of the things asked for the node of a line has.
fn conflict(asked: &Wanted, line: &Summary) -> Option<Thing> {
    for own in &asked.locators {
        for its in &line.domains {
            if own.locator == its.locator {
                return Some(Thing::Locator(own.locator));
            }
            if own.locator.bits() == its.sir_prefix.bits() {
                return Some(Thing::Prefix(its.sir_prefix));
            }
            if own.sir_prefix.bits() == its.locator.bits() {
                return Some(Thing::Prefix(own.sir_prefix));
            }
        }
    }
    let ranges = asked.identifiers.iter().flat_map(|own| line.home.iter().map(move |it| (own, it)));
    let mut overlaps = ranges.filter(|(own, its)| own.overlaps(its.0));
    overlaps.next().map(|(_, its)| Thing::Identifiers(its.0))
}
