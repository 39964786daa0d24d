//! How an app ended.

use contract::Untrusted;
use serde::{Deserialize, Serialize};
use toolstack::{DomainState, ShutdownReason};

/// How an app ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The exit code as Docker reports it.
    pub code: u8,
    /// Why there is no exit code of the app's own: often in the guest's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Untrusted>,
}

impl Outcome {
    /// What to say of a domain that ended without a report.
    pub(crate) fn unreported(state: DomainState) -> Self {
        let (code, message) = match state {
            // As Docker has it for an app that was killed.
            DomainState::Alive | DomainState::Gone => (137, "the domain was destroyed"),
            DomainState::ShutDown(ShutdownReason::Crash) => {
                (125, "the guest kernel crashed; see the log, and try --verbose-kernel")
            }
            DomainState::ShutDown(ShutdownReason::Watchdog) => {
                (125, "the guest's watchdog ran out")
            }
            DomainState::ShutDown(ShutdownReason::Reboot) => (
                125,
                "the guest started over without a report: its kernel died of a fault in a fault",
            ),
            DomainState::ShutDown(_) => (125, "the guest shut down without a report"),
        };
        Self { code, message: Some(message.into()) }
    }
}
