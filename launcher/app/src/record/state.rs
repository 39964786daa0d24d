//! `state.json`: the state of an app between creation and removal.

use crate::record::outcome::Outcome;
use crate::record::timing::Moment;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use toolstack::DomId;

/// The state of an app, with the data that belongs to that state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StateFile", into = "StateFile")]
pub enum State {
    /// Created, but never started.
    Created {
        /// The address in the config that was made for `xl create`.
        address: Option<IpAddr>,
    },
    /// The domain is being built.
    Starting {
        /// The domain, once it boots.
        domid: Option<DomId>,
        /// The guest's address, once it has one.
        address: Option<IpAddr>,
        /// The restarts before this start.
        attempts: Attempts,
    },
    /// The domain exists.
    Running {
        /// The domain.
        domid: DomId,
        /// The guest's address, if it has one.
        address: Option<IpAddr>,
        /// When the app was started; milliseconds since 1970.
        started_unix_ms: u64,
        /// The restarts before this run.
        attempts: Attempts,
        /// When the guest did each step of its start.
        marks: Vec<Moment>,
    },
    /// The app ended, its domain is gone, and its monitor will start it again.
    Restarting {
        /// The run that ended.
        last: Last,
        /// The number of the coming restart, and the wait before it.
        attempts: Attempts,
    },
    /// The app ended, and its domain is gone.
    Exited {
        /// The run that ended.
        last: Last,
        /// How often the app was started again since a user started it.
        restarts: u32,
    },
}

/// The name of a state, without its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// [`State::Created`].
    #[default]
    Created,
    /// [`State::Starting`].
    Starting,
    /// [`State::Running`].
    Running,
    /// [`State::Restarting`].
    Restarting,
    /// [`State::Exited`].
    Exited,
}

/// How often an app was started again since a user started it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// The number of restarts.
    pub restarts: u32,
    /// The wait before the next or the last restart.
    pub backoff_ms: u64,
}

/// The last completed run.
#[derive(Clone, Debug, PartialEq)]
pub struct Last {
    /// When the app was started; milliseconds since 1970. `None`: its domain never ran.
    pub started_unix_ms: Option<u64>,
    /// When the app ended.
    pub finished_unix_ms: u64,
    /// How the app ended.
    pub outcome: Outcome,
    /// When the guest did each step of its start.
    pub marks: Vec<Moment>,
}

impl Default for State {
    fn default() -> Self {
        Self::Created { address: None }
    }
}

/// Questions that apply to any state.
impl State {
    /// The state's name.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Self::Created { .. } => Phase::Created,
            Self::Starting { .. } => Phase::Starting,
            Self::Running { .. } => Phase::Running,
            Self::Restarting { .. } => Phase::Restarting,
            Self::Exited { .. } => Phase::Exited,
        }
    }

    /// Whether a user can start the app.
    #[must_use]
    pub fn can_start(&self) -> bool {
        matches!(self, Self::Created { .. } | Self::Exited { .. })
    }

    /// Whether there is a domain or a coming restart to stop.
    #[must_use]
    pub fn can_stop(&self) -> bool {
        !self.can_start()
    }

    /// The domain, if there is one.
    #[must_use]
    pub fn domid(&self) -> Option<DomId> {
        match self {
            Self::Starting { domid, .. } => *domid,
            Self::Running { domid, .. } => Some(*domid),
            Self::Created { .. } | Self::Restarting { .. } | Self::Exited { .. } => None,
        }
    }

    /// The guest's address, if it has one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Created { address }
            | Self::Starting { address, .. }
            | Self::Running { address, .. } => *address,
            Self::Restarting { .. } | Self::Exited { .. } => None,
        }
    }

    /// When the app was last started; milliseconds since 1970.
    #[must_use]
    pub fn started_unix_ms(&self) -> Option<u64> {
        match self {
            Self::Running { started_unix_ms, .. } => Some(*started_unix_ms),
            _ => self.last()?.started_unix_ms,
        }
    }

    /// When the app ended.
    #[must_use]
    pub fn finished_unix_ms(&self) -> Option<u64> {
        Some(self.last()?.finished_unix_ms)
    }

    /// How the app ended.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        Some(&self.last()?.outcome)
    }

    /// The last run, if it has ended.
    #[must_use]
    pub fn last(&self) -> Option<&Last> {
        match self {
            Self::Restarting { last, .. } | Self::Exited { last, .. } => Some(last),
            Self::Created { .. } | Self::Starting { .. } | Self::Running { .. } => None,
        }
    }

    /// When the guest did each step of the last start.
    #[must_use]
    pub fn marks(&self) -> &[Moment] {
        match self {
            Self::Running { marks, .. } => marks,
            _ => self.last().map_or(&[], |last| &last.marks),
        }
    }

    /// How often the app was started again since a user started it.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        match self {
            Self::Exited { restarts, .. } => *restarts,
            _ => self.attempts().restarts,
        }
    }

    fn attempts(&self) -> Attempts {
        match self {
            Self::Starting { attempts, .. }
            | Self::Running { attempts, .. }
            | Self::Restarting { attempts, .. } => *attempts,
            Self::Created { .. } | Self::Exited { .. } => Attempts::default(),
        }
    }
}

/// The transitions from one state to the next.
impl State {
    /// The start begins. Restarts are counted further only if the app was waiting for one.
    #[must_use]
    pub(crate) fn starting(&self) -> Self {
        Self::Starting { domid: None, address: None, attempts: self.attempts() }
    }

    /// The start has its domain.
    #[must_use]
    pub(crate) fn booted(&self, domid: DomId) -> Self {
        let (address, attempts) = (self.address(), self.attempts());
        Self::Starting { domid: Some(domid), address, attempts }
    }

    /// The start is complete.
    #[must_use]
    pub(crate) fn running(&self, domid: DomId, address: Option<IpAddr>, now_unix_ms: u64) -> Self {
        Self::Running {
            domid,
            address,
            started_unix_ms: now_unix_ms,
            attempts: self.attempts(),
            marks: vec![],
        }
    }

    /// Records when the guest of a running app did each step of its start; returns whether anything is new.
    pub(crate) fn note_marks(&mut self, new: Vec<Moment>) -> bool {
        match self {
            Self::Running { marks, .. } if *marks != new => {
                *marks = new;
                true
            }
            _ => false,
        }
    }

    /// The app has ended for good.
    #[must_use]
    pub(crate) fn exited(&self, outcome: Outcome, now_unix_ms: u64) -> Self {
        let last = self.last_run(self.started_unix_ms(), outcome, now_unix_ms);
        Self::Exited { last, restarts: self.restarts() }
    }

    /// The app has ended and will be started again. `backoff_ms` computes the new wait from the last wait and the
    /// length of the run, in milliseconds.
    #[must_use]
    pub(crate) fn restarting(
        &self,
        outcome: Outcome,
        now_unix_ms: u64,
        backoff_ms: impl FnOnce(u64, u64) -> u64,
    ) -> Self {
        let started = match self {
            Self::Running { started_unix_ms, .. } => Some(*started_unix_ms),
            // The app did not run this time.
            _ => None,
        };
        let ran_ms = started.map_or(0, |started| now_unix_ms.saturating_sub(started));
        let before = self.attempts();
        Self::Restarting {
            last: self.last_run(started, outcome, now_unix_ms),
            attempts: Attempts {
                restarts: before.restarts.saturating_add(1),
                backoff_ms: backoff_ms(before.backoff_ms, ran_ms),
            },
        }
    }

    fn last_run(
        &self,
        started_unix_ms: Option<u64>,
        outcome: Outcome,
        finished_unix_ms: u64,
    ) -> Last {
        Last { started_unix_ms, finished_unix_ms, outcome, marks: self.marks().to_vec() }
    }
}

/// The form of `state.json`, which earlier versions read and write too.
#[derive(Serialize, Deserialize)]
struct StateFile {
    phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domid: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_unix_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished_unix_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(default)]
    restarts: u32,
    #[serde(default)]
    pause_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<Moment>,
}

impl From<State> for StateFile {
    fn from(state: State) -> Self {
        Self {
            phase: state.phase(),
            domid: state.domid().map(|domid| domid.0),
            address: state.address(),
            started_unix_ms: state.started_unix_ms(),
            finished_unix_ms: state.finished_unix_ms(),
            outcome: state.outcome().cloned(),
            restarts: state.restarts(),
            pause_ms: state.attempts().backoff_ms,
            marks: state.marks().to_vec(),
        }
    }
}

impl From<StateFile> for State {
    fn from(file: StateFile) -> Self {
        let (domid, address) = (file.domid.map(DomId), file.address);
        let attempts = Attempts { restarts: file.restarts, backoff_ms: file.pause_ms };
        let last = Last {
            started_unix_ms: file.started_unix_ms,
            finished_unix_ms: file.finished_unix_ms.unwrap_or_default(),
            outcome: file.outcome.unwrap_or_else(|| Outcome::with_code(0)),
            marks: file.marks.clone(),
        };
        match (file.phase, domid) {
            (Phase::Created, _) => Self::Created { address },
            (Phase::Running, Some(domid)) => Self::Running {
                domid,
                address,
                started_unix_ms: file.started_unix_ms.unwrap_or_default(),
                attempts,
                marks: file.marks,
            },
            // A start or run without a domain: the repair cleans up.
            (Phase::Starting | Phase::Running, _) => Self::Starting { domid, address, attempts },
            (Phase::Restarting, _) => Self::Restarting { last, attempts },
            (Phase::Exited, _) => Self::Exited { last, restarts: file.restarts },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMID: DomId = DomId(7);

    fn ended(code: u8) -> Outcome {
        Outcome::with_code(code)
    }

    #[test]
    fn what_a_user_can_do_with_an_app_follows_from_its_state() {
        let created = State::default();
        let starting = created.starting();
        let running = starting.booted(DOMID).running(DOMID, None, 10);
        let restarting = running.restarting(ended(1), 20, |_, _| 100);
        let exited = restarting.exited(ended(1), 30);
        let can = |state: &State| (state.can_start(), state.can_stop());
        for state in [&created, &exited] {
            assert_eq!(can(state), (true, false), "{state:?}");
        }
        for state in [&starting, &running, &restarting] {
            assert_eq!(can(state), (false, true), "{state:?}");
        }
    }

    #[test]
    fn restarts_are_counted_from_a_users_start_to_the_end() {
        let mut state = State::default().starting().running(DOMID, None, 0);
        for restarts in 1..4 {
            let again = state.restarting(ended(1), 5, |last_ms, ran_ms| last_ms + ran_ms + 1);
            assert_eq!(again.restarts(), restarts);
            state = again.starting().running(DOMID, None, 0);
        }
        let exited = state.exited(ended(0), 9);
        assert_eq!(exited.restarts(), 3);
        assert_eq!(exited.starting().restarts(), 0, "a user starts it");
    }

    #[test]
    fn a_start_that_failed_did_not_run_however_long_the_one_before_did() {
        let running = State::default().starting().running(DOMID, None, 1000);
        let waits = running.restarting(ended(1), 61_000, |_, ran_ms| ran_ms);
        assert!(
            matches!(waits, State::Restarting { attempts, .. } if attempts.backoff_ms == 60_000)
        );
        for failed in [&waits, &waits.starting()] {
            let waits = failed.restarting(ended(125), 70_000, |last_ms, ran_ms| {
                assert_eq!((last_ms, ran_ms), (60_000, 0));
                1
            });
            assert_eq!(waits.started_unix_ms(), None);
        }
    }
}
