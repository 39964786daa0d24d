//! Errors of xenstore, named so that a user can act on them.

use super::wire::{Kind, WireError};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a xenstore request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Neither xenstored's socket nor the kernel's device exists.
    #[error(
        "cannot find xenstore: none of {} exists; \
         is Xen running, and xenstored if this is dom0?", tried.join(", ")
    )]
    Absent {
        /// The paths that were tried.
        tried: Vec<String>,
    },
    /// The socket or device exists, but only root may open it.
    #[error("cannot open {}: permission denied; run as root in dom0", .0.display())]
    NotPermitted(PathBuf),
    /// The socket or device exists but cannot be opened.
    #[error("cannot connect to xenstore at {}", path.display())]
    Connect {
        /// The socket or device.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The connection broke; this and all later requests fail.
    #[error("the connection to xenstore broke")]
    Lost(#[source] io::Error),
    /// xenstored violated the protocol; this and all later requests fail.
    #[error("xenstored violated the protocol")]
    Protocol(#[from] WireError),
    /// An earlier error ended this connection.
    #[error("the connection to xenstore has ended after an earlier error; connect again")]
    Ended,
    /// xenstored refused the request.
    #[error("cannot {request}: {refusal}")]
    Refused {
        /// The request.
        request: Request,
        /// xenstored's answer.
        refusal: Refusal,
    },
    /// The request was not sent, because xenstored would refuse it.
    #[error("cannot {request}: {reason}")]
    Malformed {
        /// The request.
        request: Request,
        /// The mistake in it.
        reason: &'static str,
    },
    /// The node's value is not text.
    #[error("the value of xenstore node {path} is not UTF-8")]
    NotText {
        /// The node.
        path: String,
    },
    /// Other clients changed the same nodes each time.
    #[error(
        "a xenstore transaction conflicted with other clients {attempts} times in a row; gave up"
    )]
    Contended {
        /// The number of attempts.
        attempts: u32,
    },
    /// The caller does not read its watch events.
    #[error("{0} xenstore watch events were not read; gave up")]
    TooManyEvents(usize),
    /// Waiting for an event failed.
    #[error("cannot wait for xenstore")]
    Wait(#[source] io::Error),
}

impl StoreError {
    /// xenstored's answer, if it gave one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// Whether xenstored answered that the node or domain does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.refusal() == Some(&Refusal::NotFound)
    }
}

/// A request to xenstored, for error messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    kind: Kind,
    /// A path or a domain number, cut to fit into one line.
    subject: String,
}

impl Request {
    pub(crate) fn new(kind: Kind, subject: &str) -> Self {
        const MAX_SHOWN: usize = 300;
        let shown: String =
            subject.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect();
        Self { kind, subject: shown }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match self.kind {
            Kind::Directory | Kind::DirectoryPart => write!(f, "list xenstore node {subject}"),
            Kind::Read => write!(f, "read xenstore node {subject}"),
            Kind::Write => write!(f, "write xenstore node {subject}"),
            Kind::Mkdir => write!(f, "make xenstore node {subject}"),
            Kind::Rm => write!(f, "remove xenstore node {subject}"),
            Kind::GetPerms => write!(f, "read the permissions of xenstore node {subject}"),
            Kind::SetPerms => write!(f, "set the permissions of xenstore node {subject}"),
            Kind::Watch => write!(f, "watch xenstore node {subject}"),
            Kind::Unwatch => write!(f, "stop watching xenstore node {subject}"),
            Kind::TransactionStart => f.write_str("start a xenstore transaction"),
            Kind::TransactionEnd => f.write_str("end a xenstore transaction"),
            Kind::Introduce => write!(f, "introduce domain {subject} to xenstored"),
            Kind::Release => write!(f, "release domain {subject} from xenstored"),
            Kind::GetDomainPath => write!(f, "ask xenstored for the path of domain {subject}"),
            Kind::IsDomainIntroduced => write!(f, "ask xenstored for domain {subject}"),
            Kind::WatchEvent | Kind::Error => f.write_str("use xenstore"),
        }
    }
}

/// xenstored's reason for refusing a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// `ENOENT`
    NotFound,
    /// `EACCES`, `EPERM`
    NotPermitted,
    /// `EEXIST`
    Exists,
    /// `EQUOTA`, `ENOSPC`: a limit on nodes, watches, transactions, or a node's size.
    Quota,
    /// `E2BIG`
    TooBig,
    /// `EAGAIN`
    Conflict,
    /// `EINVAL`
    Invalid,
    /// `ENOSYS`
    Unsupported,
    /// Any other error, by its name.
    Other(String),
}

impl Refusal {
    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "ENOENT" => Self::NotFound,
            "EACCES" | "EPERM" => Self::NotPermitted,
            "EEXIST" => Self::Exists,
            "EQUOTA" | "ENOSPC" => Self::Quota,
            "E2BIG" => Self::TooBig,
            "EAGAIN" => Self::Conflict,
            "EINVAL" => Self::Invalid,
            "ENOSYS" => Self::Unsupported,
            other => {
                Self::Other(other.chars().filter(char::is_ascii_alphanumeric).take(32).collect())
            }
        }
    }

    fn io_kind(&self) -> io::ErrorKind {
        match self {
            Self::NotFound => io::ErrorKind::NotFound,
            Self::NotPermitted => io::ErrorKind::PermissionDenied,
            Self::Exists => io::ErrorKind::AlreadyExists,
            Self::Quota => io::ErrorKind::QuotaExceeded,
            Self::TooBig => io::ErrorKind::ArgumentListTooLong,
            Self::Conflict => io::ErrorKind::WouldBlock,
            Self::Invalid => io::ErrorKind::InvalidInput,
            Self::Unsupported => io::ErrorKind::Unsupported,
            Self::Other(_) => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("it does not exist (ENOENT)"),
            Self::NotPermitted => f.write_str("permission denied (EACCES)"),
            Self::Exists => f.write_str("it exists already (EEXIST)"),
            Self::Quota => f.write_str(
                "a xenstored quota is used up (ENOSPC); \
                 see `xenstore-control quota` or raise it in xenstored's settings",
            ),
            Self::TooBig => f.write_str("it is more than xenstored accepts (E2BIG)"),
            Self::Conflict => f.write_str("another client changed the same nodes (EAGAIN)"),
            Self::Invalid => f.write_str("xenstored calls it invalid (EINVAL)"),
            Self::Unsupported => f.write_str("this xenstored does not support it (ENOSYS)"),
            Self::Other(name) => write!(f, "xenstored answered {name}"),
        }
    }
}

/// For the `xenstore-rs` traits, which use [`io::Error`]; the [`StoreError`] is inside.
impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Refused { refusal, .. } => refusal.io_kind(),
            StoreError::Malformed { .. } => io::ErrorKind::InvalidInput,
            StoreError::NotText { .. } | StoreError::Protocol(_) => io::ErrorKind::InvalidData,
            StoreError::Absent { .. } => io::ErrorKind::NotFound,
            StoreError::NotPermitted(_) => io::ErrorKind::PermissionDenied,
            StoreError::Connect { source, .. }
            | StoreError::Lost(source)
            | StoreError::Wait(source) => source.kind(),
            StoreError::Ended => io::ErrorKind::NotConnected,
            StoreError::Contended { .. } => io::ErrorKind::WouldBlock,
            StoreError::TooManyEvents(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_node_and_cause() {
        let error = StoreError::Refused {
            request: Request::new(Kind::Write, "/local/domain/3/name"),
            refusal: Refusal::parse("EACCES"),
        };
        assert_eq!(
            error.to_string(),
            "cannot write xenstore node /local/domain/3/name: permission denied (EACCES)"
        );
    }

    #[test]
    fn an_unknown_refusal_keeps_its_name_but_no_control_characters() {
        assert_eq!(Refusal::parse("EFOO\x1b[2J"), Refusal::Other("EFOO2J".into()));
    }

    #[test]
    fn quotas_are_recognized_under_both_names() {
        assert_eq!(Refusal::parse("ENOSPC"), Refusal::Quota);
        assert_eq!(Refusal::parse("EQUOTA"), Refusal::Quota);
    }
}
