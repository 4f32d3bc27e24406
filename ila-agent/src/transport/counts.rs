//! Why somebody was not let in, was sent away, or was not listened to.

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use quinn::{ConnectionError, TransportErrorCode};

/// TLS alerts (RFC 8446, section 6) by which a handshake ends.
mod alert {
    pub const CERTIFICATE: std::ops::RangeInclusive<u64> = 42..=49;
    pub const CERTIFICATE_REQUIRED: u64 = 116;
    pub const NO_APPLICATION_PROTOCOL: u64 = 120;
}

/// QUIC's error codes for alerts start here (RFC 9001, section 4.8).
const ALERTS: u64 = 0x100;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why. Names never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// There were as many handshakes under way as there may be.
    TooManyHandshakes = "too-many-handshakes",
    /// There were as many from one address as there may be from one.
    TooManyFromAddress = "too-many-from-address",
    /// Has to show first that it has the address that it states, as there are
    /// many handshakes under way.
    AddressUnproven = "address-unproven",
    /// The handshake took too long.
    HandshakeTimeout = "handshake-timeout",
    /// The handshake failed for a reason that is not among these.
    HandshakeFailed = "handshake-failed",
    /// Speaks no version of the protocol that is spoken here.
    OtherProtocol = "other-protocol",
    /// Shows no certificate.
    NoCertificate = "no-certificate",
    /// Its certificate is of another authority.
    OtherAuthority = "other-authority",
    /// Its certificate is the authority's, or names no node.
    NotANode = "not-a-node",
    /// Its certificate is no longer valid.
    Expired = "expired",
    /// Its certificate is not valid yet.
    NotYetValid = "not-yet-valid",
    /// Its certificate is out of time, which was let pass: by the clock here,
    /// that of this node is as well.
    TimesIgnored = "times-ignored",
    /// Has lied, and may not come back yet.
    Banned = "banned",
    /// Does not let this node in, for its certificate.
    NotLetIn = "not-let-in",
    /// Does not keep to QUIC, or opens what it was not allowed to.
    QuicViolation = "quic-violation",
    /// Says that a frame is longer than any may be.
    FrameTooLong = "frame-too-long",
    /// What it says is no frame.
    FrameMalformed = "frame-malformed",
    /// Ended in the middle of a frame.
    FrameTruncated = "frame-truncated",
    /// Took too long for a frame.
    FrameTimeout = "frame-timeout",
    /// A frame of a kind that is not known here was skipped.
    FrameUnknown = "frame-unknown",
    /// Said what makes no sense where it stands.
    OutOfPlace = "out-of-place",
    /// Did not answer, or did not listen, while the connection stood.
    Stalled = "stalled",
    /// Handed on what is provably not true.
    Lied = "lied",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each was the case.
#[derive(Debug)]
pub struct Counts {
    reasons: Vec<AtomicU64>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        let none = || AtomicU64::new(0);
        let reasons = Reason::ALL.iter().map(|_| none()).collect();
        Self { reasons, sent: none(), received: none() }
    }
}

impl Counts {
    /// Counts one more.
    pub fn count(&self, reason: Reason) {
        self.reasons[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many bytes of frames were sent, and how many received; packets have
    /// more.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Those that were the case, and how often.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Reason, u64> {
        let all = Reason::ALL.iter().zip(&self.reasons);
        let all = all.map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// Why a handshake has failed; none if that is counted already, or nobody was
/// there.
pub fn of_handshake(error: &ConnectionError) -> Option<Reason> {
    match error {
        ConnectionError::VersionMismatch => Some(Reason::OtherProtocol),
        ConnectionError::TransportError(error) => match alert_of(error.code) {
            Some(alert::NO_APPLICATION_PROTOCOL) => Some(Reason::OtherProtocol),
            Some(alert::CERTIFICATE_REQUIRED) => Some(Reason::NoCertificate),
            // Whoever looked at the certificate knows more.
            Some(alert) if alert::CERTIFICATE.contains(&alert) => None,
            _ => Some(Reason::HandshakeFailed),
        },
        ConnectionError::ConnectionClosed(close) => match alert_of(close.error_code) {
            Some(alert::NO_APPLICATION_PROTOCOL) => Some(Reason::OtherProtocol),
            _ => of_end(error),
        },
        _ => None,
    }
}

/// Why a connection has ended that stood; none if there is nothing to tell.
pub fn of_end(error: &ConnectionError) -> Option<Reason> {
    match error {
        ConnectionError::TransportError(_) => Some(Reason::QuicViolation),
        ConnectionError::ConnectionClosed(close) => {
            alert_of(close.error_code).map(|_| Reason::NotLetIn)
        }
        _ => None,
    }
}

fn alert_of(code: TransportErrorCode) -> Option<u64> {
    let code = u64::from(code);
    (ALERTS..ALERTS + 0x100).contains(&code).then(|| code - ALERTS)
}
