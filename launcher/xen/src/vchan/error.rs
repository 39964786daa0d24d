//! Errors of creating and using a vchan.

use super::ring::Corrupt;
use crate::evtchn::EventChannelError;
use crate::gnttab::GrantError;
use crate::store::StoreError;

/// Why a vchan cannot be created or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VchanError {
    /// Pages cannot be shared or mapped.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// Event channels failed.
    #[error(transparent)]
    Events(#[from] EventChannelError),
    /// Xenstore refused a request.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another client uses it.
    #[error("the vchan is in use")]
    Busy,
    /// The server does not expect a client.
    #[error("the vchan's server does not answer")]
    NotReady,
    /// Invalid ring sizes.
    #[error("the other domain offers an invalid vchan ({0})")]
    Invalid(&'static str),
    /// An index is out of range.
    #[error("the other domain has corrupted its vchan")]
    Corrupt,
    /// The other side has ended.
    #[error("the other domain has closed its vchan")]
    Closed,
}

impl From<Corrupt> for VchanError {
    fn from(Corrupt: Corrupt) -> Self {
        Self::Corrupt
    }
}
