//! Letting hosts in by themselves, and keeping them there: what `ila-ctl ca
//! issue` does by hand, for a request that comes from elsewhere.

use ila_proto::{
    api::{Domain, NodeName},
    enrol::{DAYS, Refusal, Refused, Renewal, Secret},
    gossip::{Certified, PublicKey},
    identity::Validity,
};

use crate::{
    CaError, Folder, Issue, Summary, Thing, Wanted, now,
    tokens::{Unfit, seconds},
};

/// Why no certificate was handed out.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Whoever asks cannot have it.
    #[error("{0}")]
    Refused(Refused),
    /// The authority is not as it should be, which is nobody's business but its
    /// host's.
    #[error(transparent)]
    Failed(CaError),
}

impl Denied {
    /// A refusal.
    #[must_use]
    pub fn refused(why: Refusal, message: impl Into<String>) -> Self {
        Self::Refused(Refused { why, message: message.into() })
    }
}

impl From<CaError> for Denied {
    fn from(error: CaError) -> Self {
        match error {
            CaError::Taken { what: Thing::Key, by, .. } => {
                Self::refused(Refusal::Taken, format!("the host's key is that of the node {by}"))
            }
            CaError::Taken { ref by, ref file, number, .. } => Self::refused(
                Refusal::Taken,
                format!(
                    "{error}; if {by} is no more, forget it where the authority is with: \
                     sed -i {number}d {}",
                    file.display()
                ),
            ),
            CaError::Refused { error, .. } => Self::refused(Refusal::Wrong, error.to_string()),
            other => Self::Failed(other),
        }
    }
}

impl From<Unfit> for Denied {
    fn from(unfit: Unfit) -> Self {
        Self::refused(Refusal::Secret, unfit.to_string())
    }
}

/// A certificate that the record knows, or not yet.
enum Made {
    Again(Issue),
    New(Issue),
}

impl From<Made> for Issue {
    fn from(made: Made) -> Self {
        match made {
            Made::Again(issue) | Made::New(issue) => issue,
        }
    }
}

impl Folder {
    /// Certifies the node of a key that shows a token's secret, and returns when
    /// that is on the disk. Whoever asks for the same again, because the answer
    /// was lost, is given the same again.
    pub fn join(
        &mut self,
        key: PublicKey,
        secret: &Secret,
        node: NodeName,
        locators: Vec<Domain>,
    ) -> Result<Issue, Denied> {
        let id = key.node();
        let terms = self.redeemed(secret, id)??;
        let locators = match (locators.is_empty(), terms.domains.is_empty()) {
            (true, true) => {
                let message = "the token is for no certain locator: name one with --locator";
                return Err(Denied::refused(Refusal::Wrong, message));
            }
            (false, false) if locators != terms.domains => {
                let message = "the token is for another locator; ask for none, and it is given";
                return Err(Denied::refused(Refusal::Wrong, message));
            }
            (true, false) => terms.domains,
            (false, _) => locators,
        };
        let issue = self.same_or_new(key, node, locators)?;
        if let Made::New(issue) = &issue {
            // First, for of a token that is good once nothing may be handed out
            // twice.
            if terms.once {
                self.use_up(secret, id)?;
            }
            self.record(issue)?;
        }
        Ok(issue.into())
    }

    /// Certifies the node of a key as [`join`](Self::join) does, without a token.
    pub fn admit(
        &mut self,
        key: PublicKey,
        node: NodeName,
        locators: Vec<Domain>,
    ) -> Result<Issue, Denied> {
        let issue = self.same_or_new(key, node, locators)?;
        if let Made::New(issue) = &issue {
            self.record(issue)?;
        }
        Ok(issue.into())
    }

    fn same_or_new(
        &self,
        key: PublicKey,
        node: NodeName,
        locators: Vec<Domain>,
    ) -> Result<Made, Denied> {
        let last = self.issued.last(key.node());
        let same = last.filter(|it| it.node.as_ref() == Some(&node) && it.domains == locators);
        if let Some(again) = same.and_then(|last| self.again(key, last)) {
            return Ok(Made::Again(again));
        }
        let wanted = Wanted { node, locators, identifiers: Vec::new(), days: self.days() };
        Ok(Made::New(self.certify(key, &wanted)?))
    }

    /// Certifies a node anew that has a certificate which is valid now: the same
    /// name, the same locators in the same order, the same identifiers. Returns
    /// when that is on the disk. A node that is no more in the record is refused.
    pub fn renew(&mut self, key: PublicKey) -> Result<Issue, Denied> {
        let unknown = |message: &str| Denied::refused(Refusal::Unknown, message);
        let last = self.issued.last(key.node());
        let last = last.ok_or_else(|| unknown("this node is not in the authority's record"))?;
        let validity = validity(last).filter(|validity| validity.until >= now());
        let validity = validity
            .ok_or_else(|| unknown("the certificate has ended; join again with a token"))?;
        if let Some(again) = self.again(key, last) {
            return Ok(again);
        }
        if self.authority.validity().until <= validity.until {
            let message = "the authority's own certificate ends no later than this node's";
            return Err(Denied::refused(Refusal::Authority, message));
        }
        let wanted = Wanted {
            node: last.node.clone().ok_or_else(|| unknown("the record names no node"))?,
            locators: last.domains.clone(),
            identifiers: last.home.iter().map(|range| range.0).collect(),
            days: self.days(),
        };
        let issue = self.certify(key, &wanted)?;
        self.record(&issue)?;
        Ok(issue)
    }

    /// For how long certificates are that nobody has named a time for.
    fn days(&self) -> u16 {
        u16::try_from(self.days_left()).unwrap_or(DAYS).min(DAYS)
    }

    /// The very certificate that a line of the record speaks of, for as long as
    /// it needs not be renewed: all that it was made of is in the line but the
    /// key, and signatures of Ed25519 have no randomness.
    fn again(&self, key: PublicKey, line: &Summary) -> Option<Issue> {
        let validity = validity(line)?;
        if !matches!(Renewal::of(validity, now()), Renewal::In(_)) {
            return None;
        }
        let certified = Certified {
            key,
            name: line.node.clone()?,
            locators: line.domains.iter().map(|it| (it.sir_prefix, it.locator)).collect(),
            home: line.home.iter().map(|range| range.0).collect(),
        };
        let serial = u128::from_str_radix(&line.serial, 16).ok()?.to_be_bytes();
        let der = self.authority.issue(&self.key, &certified, serial, validity).ok()?;
        Some(Issue { summary: Summary::of(&der).ok()?, der })
    }
}

fn validity(line: &Summary) -> Option<Validity> {
    Some(Validity { from: seconds(&line.valid_from)?, until: seconds(&line.valid_until)? })
}

#[cfg(test)]
mod tests;
