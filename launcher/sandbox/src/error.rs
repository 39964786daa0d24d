//! Fences that a kernel may lack, and the errors of entering a sandbox.

use std::{fmt, io};

/// A fence that some kernels do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Landlock denies access to all files except the listed ones (Linux 5.13).
    Files,
    /// Landlock denies connections to all TCP ports except the listed ones (6.7).
    TcpConnect,
    /// Landlock denies listening on all TCP ports except the listed ones (6.7).
    TcpBind,
    /// Landlock denies signals to processes outside the sandbox (6.12).
    Signals,
    /// Landlock denies connections to abstract Unix sockets of processes outside the sandbox (6.12).
    AbstractSockets,
    /// Seccomp denies all system calls except the listed ones (3.17).
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

/// A missing fence.
#[derive(Debug)]
pub struct Gap {
    /// The fence.
    pub fence: Fence,
    /// The cause: the kernel's answer, or its Landlock version.
    pub cause: io::Error,
}

/// The missing fences; all others are in place.
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

/// Why the sandbox is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The process still has a right that every kernel can take away. It may have lost other rights and must not
    /// continue.
    #[error("cannot {step}")]
    Step {
        /// The step that failed, as a verb with its object.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// This kernel lacks these fences; all others are in place. A caller may continue if its user has agreed to that.
    #[error("this kernel lacks {0}")]
    Gaps(Gaps),
}

/// Makes a function for `map_err` that names the step that failed.
pub(crate) fn failed<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> SandboxError {
    move |error| SandboxError::Step { step, source: error.into() }
}
