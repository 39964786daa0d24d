//! What has become of a domain.

use xen::ShutdownReason;

/// What has become of a domain.
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
    /// Whether the domain runs no more. One that is suspended goes on when it is resumed.
    #[must_use]
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Alive | Self::ShutDown(ShutdownReason::Suspend))
    }
}
