//! The state of a domain.

use xen::ShutdownReason;

/// The state of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainState {
    /// Running, blocked or paused.
    Alive,
    /// Shut down and not yet destroyed.
    ShutDown(ShutdownReason),
    /// Being destroyed, or gone.
    Gone,
}

impl DomainState {
    /// Whether the domain has stopped for good. A suspended domain has not, because it can be resumed.
    #[must_use]
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Alive | Self::ShutDown(ShutdownReason::Suspend))
    }
}
