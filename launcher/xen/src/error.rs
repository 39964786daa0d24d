//! What can go wrong in a hypercall, named so that a user can act on it.

use crate::call::CallError;
use rustix::io::Errno;
use std::fmt;

/// Why an operation on Xen failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XenError {
    /// Xen said no.
    #[error("cannot {action}: {cause}")]
    Refused {
        /// What was to be done.
        action: String,
        /// Xen's answer.
        cause: Cause,
    },
    /// Hypercalls cannot be made.
    #[error(transparent)]
    Call(#[from] CallError),
    /// This version of Xen's toolstack interface is not supported.
    #[error(
        "Xen {major}.{minor} speaks a domctl version that is not supported \
         (0x15 to 0x17 are: Xen 4.17 to 4.21); use the xl toolstack"
    )]
    UnknownDomctl {
        /// Of Xen.
        major: u16,
        /// Of Xen.
        minor: u16,
    },
    /// Xen's answer is inconsistent.
    #[error("cannot {action}: Xen gave an inconsistent answer ({what})")]
    Nonsense {
        /// What was to be done.
        action: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl XenError {
    pub(crate) fn refused(action: impl Into<String>, errno: Errno) -> Self {
        Self::Refused { action: action.into(), cause: Cause::from(errno) }
    }

    /// Xen's answer, where it gave one.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Refused { cause, .. } => Some(*cause),
            _ => None,
        }
    }
}

/// Xen's answer to an operation that it does not carry out.
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
            Self::NotPermitted => f.write_str("this domain may not (EPERM); run in dom0"),
            Self::VersionOrPolicy => {
                f.write_str("other interface version, or denied by Xen's security policy (EACCES)")
            }
            Self::NoMemory => f.write_str("Xen has not enough free memory (ENOMEM)"),
            Self::NoSpace => f.write_str("no more are left (ENOSPC)"),
            Self::Invalid => f.write_str("Xen calls it invalid (EINVAL)"),
            Self::Unsupported => f.write_str("this Xen cannot do it (EOPNOTSUPP)"),
            Self::Other(errno) => {
                write!(f, "{}", std::io::Error::from_raw_os_error(*errno))
            }
        }
    }
}
