//! Fences that a kernel may lack, and why a sandbox is not whole.

use std::{fmt, io};

/// A protection that some kernels do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Landlock keeps the process from all files except the ones listed (Linux 5.13).
    Files,
    /// Landlock keeps the process from connecting to other TCP ports than the ones listed (6.7).
    TcpConnect,
    /// Landlock keeps the process from listening on other TCP ports than the ones listed (6.7).
    TcpBind,
    /// Landlock keeps the process from signalling processes outside the sandbox (6.12).
    Signals,
    /// Landlock keeps the process from abstract Unix sockets of processes outside (6.12).
    AbstractSockets,
    /// Seccomp keeps the process from all system calls except the ones listed (3.17).
    Calls,
}

impl fmt::Display for Fence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Files => "Landlock (files)",
            Self::TcpConnect => "Landlock (TCP connections)",
            Self::TcpBind => "Landlock (listening on TCP)",
            Self::Signals => "Landlock (signals)",
            Self::AbstractSockets => "Landlock (abstract Unix sockets)",
            Self::Calls => "seccomp",
        })
    }
}

/// A fence that does not stand.
#[derive(Debug)]
pub struct Gap {
    /// Which one.
    pub fence: Fence,
    /// Why not: the kernel's answer, or its Landlock version.
    pub cause: io::Error,
}

/// Fences that do not stand; all others do.
#[derive(Debug, Default)]
pub struct Gaps(pub Vec<Gap>);

impl fmt::Display for Gaps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Gap { fence, cause }) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(formatter, "{separator}{fence}: {cause}")?;
        }
        Ok(())
    }
}

/// Why the sandbox is not whole.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The process still has a right that every kernel can take away. The process may have lost
    /// other rights and must not go on.
    #[error("cannot {step}")]
    Step {
        /// What failed, as a verb with its object.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// This kernel does not have these protections. All others stand: a caller whose user has
    /// agreed to it may go on.
    #[error("this kernel lacks {0}")]
    Gaps(Gaps),
}

/// For `map_err`: names the step that failed.
pub(crate) fn failed<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> SandboxError {
    move |error| SandboxError::Step { step, source: error.into() }
}
