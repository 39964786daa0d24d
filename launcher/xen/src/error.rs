//! Errors of hypercalls, named so that a user can act on them.

use crate::call::CallError;
use rustix::io::Errno;
use std::fmt;

/// Why an operation on Xen failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XenError {
    /// Xen refused the operation.
    #[error("cannot {action}: {cause}")]
    Refused {
        /// The operation.
        action: String,
        /// Xen's answer.
        cause: Cause,
    },
    /// Hypercalls are not possible.
    #[error(transparent)]
    Call(#[from] CallError),
    /// This version of Xen's toolstack interface is not supported.
    #[error(
        "Xen {major}.{minor} has an unsupported domctl version \
         (supported: 0x15 to 0x17, Xen 4.17 to 4.21); use the xl toolstack"
    )]
    UnknownDomctl {
        /// Xen's major version.
        major: u16,
        /// Xen's minor version.
        minor: u16,
    },
    /// Xen's answer is inconsistent.
    #[error("cannot {action}: Xen gave an inconsistent answer ({what})")]
    Nonsense {
        /// The operation.
        action: String,
        /// The inconsistency.
        what: &'static str,
    },
}

impl XenError {
    pub(crate) fn refused(action: impl Into<String>, errno: Errno) -> Self {
        Self::Refused { action: action.into(), cause: Cause::from(errno) }
    }

    /// Xen's answer, if it gave one.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Refused { cause, .. } => Some(*cause),
            _ => None,
        }
    }
}

/// Xen's reason for refusing an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// `ESRCH`
    NoSuchDomain,
    /// `EPERM`
    NotPermitted,
    /// `EACCES`: another interface version, or denied by FLASK.
    VersionOrPolicy,
    /// `ENOMEM`
    NoMemory,
    /// `ENOSPC`: no event channel port is left.
    NoSpace,
    /// `EINVAL`
    Invalid,
    /// `EOPNOTSUPP`, `ENOSYS`
    Unsupported,
    /// Any other errno.
    Other(i32),
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::SRCH => Self::NoSuchDomain,
            Errno::PERM => Self::NotPermitted,
            Errno::ACCESS => Self::VersionOrPolicy,
            Errno::NOMEM => Self::NoMemory,
            Errno::NOSPC => Self::NoSpace,
            Errno::INVAL => Self::Invalid,
            Errno::OPNOTSUPP | Errno::NOSYS => Self::Unsupported,
            other => Self::Other(other.raw_os_error()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchDomain => f.write_str("there is no such domain (ESRCH)"),
            Self::NotPermitted => f.write_str("this domain has no permission (EPERM); run in dom0"),
            Self::VersionOrPolicy => {
                f.write_str("other interface version, or denied by Xen's security policy (EACCES)")
            }
            Self::NoMemory => f.write_str("Xen has not enough free memory (ENOMEM)"),
            Self::NoSpace => f.write_str("none are left (ENOSPC)"),
            Self::Invalid => f.write_str("Xen calls it invalid (EINVAL)"),
            Self::Unsupported => f.write_str("this Xen does not support it (EOPNOTSUPP)"),
            Self::Other(errno) => {
                write!(f, "{}", std::io::Error::from_raw_os_error(*errno))
            }
        }
    }
}
