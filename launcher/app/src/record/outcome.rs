//! How an app ended.

use contract::Untrusted;
use serde::{Deserialize, Serialize};
use toolstack::{DomainState, ShutdownReason};

/// Docker adds this to the number of the signal that ended a process to make the exit code.
const SIGNALLED: u8 = 128;
/// Docker's exit code for a failure of its engine.
const FAILED: u8 = 125;

/// How an app ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OutcomeFile", into = "OutcomeFile")]
pub struct Outcome {
    /// How the app's process ended.
    pub end: End,
    /// The reason, if the process has no exit code or signal of its own: often in the guest's words.
    pub message: Option<Untrusted>,
}

/// How an app's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code. If the process never ran or its end was not seen, the code stands for the reason.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

/// The form in files: the code as Docker shows it, and the signal if one ended the app. Earlier versions wrote no
/// signal.
#[derive(Serialize, Deserialize)]
struct OutcomeFile {
    code: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Untrusted>,
}

impl From<OutcomeFile> for Outcome {
    fn from(OutcomeFile { code, signal, message }: OutcomeFile) -> Self {
        Self { end: signal.map_or(End::Code(code), End::Signal), message }
    }
}

impl From<Outcome> for OutcomeFile {
    fn from(outcome: Outcome) -> Self {
        let signal = match outcome.end {
            End::Code(_) => None,
            End::Signal(signal) => Some(signal),
        };
        Self { code: outcome.code(), signal, message: outcome.message }
    }
}

impl Outcome {
    /// The outcome with this exit code.
    #[must_use]
    pub fn with_code(code: u8) -> Self {
        Self { end: End::Code(code), message: None }
    }

    /// The outcome of an app for which `launch` failed, with the reason.
    #[must_use]
    pub fn failed(message: impl Into<Untrusted>) -> Self {
        Self { end: End::Code(FAILED), message: Some(message.into()) }
    }

    /// The exit code as Docker shows it: 128 plus the signal's number if a signal ended the app.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self.end {
            End::Code(code) => code,
            End::Signal(signal) => SIGNALLED.saturating_add(signal),
        }
    }

    /// The outcome of a domain that ended without a report.
    #[must_use]
    pub(crate) fn unreported(state: DomainState) -> Self {
        let (code, message) = match state {
            // Docker's code for a killed app.
            DomainState::Alive | DomainState::Gone => (137, "the domain was destroyed"),
            DomainState::ShutDown(ShutdownReason::Crash) => {
                (FAILED, "the guest kernel crashed; see the log, and try --verbose-kernel")
            }
            DomainState::ShutDown(ShutdownReason::Watchdog) => {
                (FAILED, "the guest's watchdog expired")
            }
            DomainState::ShutDown(ShutdownReason::Reboot) => {
                (FAILED, "the guest restarted without a report: its kernel died of a triple fault")
            }
            DomainState::ShutDown(_) => (FAILED, "the guest shut down without a report"),
        };
        Self { end: End::Code(code), message: Some(message.into()) }
    }
}

impl From<&contract::Exit> for Outcome {
    fn from(exit: &contract::Exit) -> Self {
        match exit {
            contract::Exit::Code(code) => Self::with_code(*code),
            contract::Exit::Signal(signal) => Self { end: End::Signal(*signal), message: None },
            contract::Exit::NotStarted { code, message } => {
                Self { end: End::Code(*code), message: Some(message.clone()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_and_the_exit_code_that_docker_shows_for_it_are_told_apart() {
        let killed = Outcome::from(&contract::Exit::Signal(9));
        let exited = Outcome::from(&contract::Exit::Code(137));
        assert_eq!((killed.code(), exited.code()), (137, 137));
        assert_ne!(killed, exited);
        for outcome in [killed, exited, Outcome::failed("no memory")] {
            let json = serde_json::to_string(&outcome).unwrap();
            assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome, "{json}");
        }
    }

    #[test]
    fn the_codes_are_those_that_the_guest_protocol_gives() {
        let not_started =
            contract::Exit::NotStarted { code: 127, message: "no such program".into() };
        for exit in [contract::Exit::Code(3), contract::Exit::Signal(15), not_started] {
            assert_eq!(Outcome::from(&exit).code(), exit.code(), "{exit:?}");
        }
    }
}
