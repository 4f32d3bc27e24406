//! Why the agent refuses a request: what its clients are told.

use ila_proto::api::{ErrorCode, ErrorReply};

use crate::{datapath::DatapathError, netlink::NetlinkError, store::StoreError};

/// A refusal. Whatever had been done for the request is undone by then.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<Refusal> for ErrorReply {
    fn from(Refusal { code, message, hint }: Refusal) -> Self {
        Self { code, message, hint }
    }
}

impl From<DatapathError> for Refusal {
    fn from(error: DatapathError) -> Self {
        Self::new(ErrorCode::Kernel, chain(&error))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::new(ErrorCode::Kernel, chain(&error))
    }
}

impl From<NetlinkError> for Refusal {
    fn from(error: NetlinkError) -> Self {
        let (code, hint) = match &error {
            NetlinkError::NoNamespace { .. } | NetlinkError::OwnNamespace { .. } => {
                let hint = "name the container's namespace by --netns /run/netns/NAME or by the \
                            PID of a process in it";
                (ErrorCode::NoNamespace, Some(hint))
            }
            NetlinkError::InterfaceTaken { .. } => {
                (ErrorCode::InterfaceTaken, Some("choose another name with --ifname"))
            }
            NetlinkError::DefaultRouteTaken => {
                let hint = "remove it inside with: ip -6 route del default";
                (ErrorCode::InterfaceTaken, Some(hint))
            }
            NetlinkError::HostInterfaceTaken { .. } => (ErrorCode::InterfaceTaken, None),
            NetlinkError::NoInterface { .. } => (ErrorCode::NotFound, None),
            NetlinkError::Kernel { .. } | NetlinkError::Io { .. } => (ErrorCode::Kernel, None),
        };
        Self { code, message: chain(&error), hint: hint.map(str::to_owned) }
    }
}

/// An error and what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
