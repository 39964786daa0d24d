//! How an app ended.

use contract::Untrusted;
use serde::{Deserialize, Serialize};
use toolstack::{DomainState, ShutdownReason};

/// Docker adds this to the number of the signal that ended a process to make the exit code.
const SIGNALLED: u8 = 128;
/// The code of a killed app: SIGKILL is signal 9.
const KILLED: u8 = SIGNALLED + 9;
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
    /// Whether the guest's kernel ended any of its processes for want of memory.
    pub oom_killed: bool,
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    oom_killed: bool,
}

impl From<OutcomeFile> for Outcome {
    fn from(OutcomeFile { code, signal, message, oom_killed }: OutcomeFile) -> Self {
        Self { end: signal.map_or(End::Code(code), End::Signal), message, oom_killed }
    }
}

impl From<Outcome> for OutcomeFile {
    fn from(outcome: Outcome) -> Self {
        let signal = match outcome.end {
            End::Code(_) => None,
            End::Signal(signal) => Some(signal),
        };
        let (code, oom_killed) = (outcome.code(), outcome.oom_killed);
        Self { code, signal, message: outcome.message, oom_killed }
    }
}

impl Outcome {
    /// The outcome with this exit code.
    #[must_use]
    pub fn with_code(code: u8) -> Self {
        Self { end: End::Code(code), message: None, oom_killed: false }
    }

    /// The outcome of an app for which `launch` failed, with the reason.
    #[must_use]
    pub fn failed(message: impl Into<Untrusted>) -> Self {
        Self { message: Some(message.into()), ..Self::with_code(FAILED) }
    }

    /// The exit code as Docker shows it: 128 plus the signal's number if a signal ended the app.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self.end {
            End::Code(code) => code,
            End::Signal(signal) => SIGNALLED.saturating_add(signal),
        }
    }

    /// The same, where the guest's kernel ended processes for want of memory. If the app itself is among
    /// them, the message says what it had.
    #[must_use]
    pub(crate) fn out_of_memory(mut self, memory_mib: u32) -> Self {
        if self.code() == KILLED && self.message.is_none() {
            let message = format!(
                "out of memory: the guest's kernel ended the app, whose domain has {memory_mib} MiB; \
                 give it more with --memory"
            );
            self.message = Some(message.into());
        }
        self.oom_killed = true;
        self
    }

    /// The outcome of a domain that ended without a report.
    #[must_use]
    pub(crate) fn unreported(state: DomainState) -> Self {
        let (code, message) = match state {
            // Docker's code for a killed app.
            DomainState::Alive | DomainState::Gone => (KILLED, "the domain was destroyed"),
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
        Self { message: Some(message.into()), ..Self::with_code(code) }
    }
}

impl From<&contract::Exit> for Outcome {
    fn from(exit: &contract::Exit) -> Self {
        match exit {
            contract::Exit::Code(code) => Self::with_code(*code),
            contract::Exit::Signal(signal) => {
                let message = told_by_signal(*signal).map(Into::into);
                Self { end: End::Signal(*signal), message, oom_killed: false }
            }
            contract::Exit::NotStarted { code, message } => {
                Self { message: Some(message.clone()), ..Self::with_code(*code) }
            }
        }
    }
}

/// What the app has asked its kernel for, if it ended so. The kernel ends a PID 1 by these signals for
/// `reboot(2)` only: sent by a process, they do nothing or reach a handler of the app's.
fn told_by_signal(signal: u8) -> Option<&'static str> {
    match signal {
        1 => Some("the app asked for a restart of its machine (reboot), which ends the app"),
        2 => Some("the app asked to switch its machine off (halt or poweroff), which ends the app"),
        _ => None,
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
    fn an_app_that_is_killed_for_want_of_memory_is_told_what_it_had_and_what_gives_more() {
        let outcome = Outcome::from(&contract::Exit::Signal(9)).out_of_memory(64);
        let message = outcome.message.as_ref().unwrap().raw();
        assert!(message.contains("64 MiB") && message.contains("--memory"), "{message}");
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
        // One of its processes only.
        let lives = Outcome::with_code(3).out_of_memory(64);
        assert_eq!((lives.oom_killed, lives.message), (true, None));
    }

    #[test]
    fn an_app_that_restarts_its_machine_or_switches_it_off_is_told_so() {
        for (signal, word) in [(1, "(reboot)"), (2, "poweroff")] {
            let outcome = Outcome::from(&contract::Exit::Signal(signal));
            assert_eq!(outcome.code(), 128 + signal);
            assert!(outcome.message.unwrap().raw().contains(word));
        }
        assert_eq!(Outcome::from(&contract::Exit::Signal(9)).message, None);
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
