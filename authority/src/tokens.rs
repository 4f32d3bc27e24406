//! Which tokens let hosts in: one JSON line each, with the hash of the secret,
//! never the secret. Nobody needs to read it but the authority.

use std::{fs, io, path::Path, time::SystemTime};

use ila_proto::{
    api::{Domain, VERSION, Versioned},
    enrol::Secret,
    gossip::NodeId,
};
use serde::{Deserialize, Serialize};

use crate::{
    CaError, Folder, TOKENS, date,
    files::{self, SECRET},
    now,
};

/// For how long it is known of a token that it has ended, so that whoever shows
/// it is told.
const REMEMBERED: u64 = 30 * 24 * 60 * 60;

/// What a token is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The last second in which it is, since 1970-01-01 UTC.
    pub until: u64,
    /// Whether for one host only.
    pub once: bool,
    /// The locators that whoever shows it is given, and no others; if there are
    /// none, those that it asks for.
    pub domains: Vec<Domain>,
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    hash: String,
    until: String,
    #[serde(default)]
    once: bool,
    #[serde(default)]
    domains: Vec<Domain>,
    /// The digest of the key of the host that it has let in, of those that are
    /// for one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_by: Option<String>,
}

/// Why a secret lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is none of ours.
    #[error("the token is none of this mesh")]
    Unknown,
    /// Its time is over.
    #[error("the token has ended at {0}")]
    Ended(String),
    /// It was for one host.
    #[error("the token was for one host, and has let it in")]
    Used,
}

impl Folder {
    /// Lets a secret in from now on, and returns when that is on the disk.
    pub fn add_token(&mut self, secret: &Secret, terms: &Terms) -> Result<(), CaError> {
        let mut lines = self.tokens()?;
        lines.retain(|line| seconds(&line.until).is_some_and(|until| until + REMEMBERED > now()));
        lines.push(Line {
            hash: secret.hash(),
            until: date(terms.until),
            once: terms.once,
            domains: terms.domains.clone(),
            used_by: None,
        });
        self.write_tokens(&lines)
    }

    /// What a secret is good for, if it is for this node.
    pub(crate) fn redeemed(
        &self,
        secret: &Secret,
        node: NodeId,
    ) -> Result<Result<Terms, Unfit>, CaError> {
        let lines = self.tokens()?;
        let Some(line) = lines.into_iter().find(|line| secret.is_hashed(&line.hash)) else {
            return Ok(Err(Unfit::Unknown));
        };
        let until = seconds(&line.until).unwrap_or_default();
        if until < now() {
            return Ok(Err(Unfit::Ended(line.until)));
        }
        if line.used_by.is_some_and(|by| by != node.to_string()) {
            return Ok(Err(Unfit::Used));
        }
        Ok(Ok(Terms { until, once: line.once, domains: line.domains }))
    }

    /// Notes that a secret that is good once is used up, and returns when that
    /// is on the disk.
    pub(crate) fn use_up(&mut self, secret: &Secret, node: NodeId) -> Result<(), CaError> {
        let mut lines = self.tokens()?;
        for line in lines.iter_mut().filter(|line| secret.is_hashed(&line.hash)) {
            line.used_by = Some(node.to_string());
        }
        self.write_tokens(&lines)
    }

    fn tokens(&self) -> Result<Vec<Line>, CaError> {
        read(&self.dir.join(TOKENS))
    }

    fn write_tokens(&self, lines: &[Line]) -> Result<(), CaError> {
        let file = self.dir.join(TOKENS);
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, &Versioned::new(line))
                .map_err(|error| CaError::io("write", &file, error.into()))?;
            text.push(b'\n');
        }
        files::write(&file, &text, SECRET)
    }
}

/// The lines of a file, which there need not be.
fn read(file: &Path) -> Result<Vec<Line>, CaError> {
    let text = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| CaError::io("read", file, error))?,
    };
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    lines
        .map(|(before, line)| {
            let wrong =
                |reason| CaError::Line { file: file.to_owned(), number: before + 1, reason };
            match serde_json::from_slice(line) {
                Ok(Versioned { v: VERSION, reply }) => Ok(reply),
                Ok(Versioned { v, .. }) => Err(wrong(format!("its version is {v}"))),
                Err(error) => Err(wrong(error.to_string())),
            }
        })
        .collect()
}

/// What [`date`] has written.
pub fn seconds(date: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(date).ok()?;
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}
