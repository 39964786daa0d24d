//! Starting an app again when it ends: the policy, the pause before it, and who does it.
//!
//! Whoever is in charge of the app stays in charge: the monitor of the start that ended takes
//! everything down, waits, and turns into a launcher that has its lock. That one starts the app
//! and a monitor anew.

use crate::apps::{App, Apps};
use crate::end_watch::EndWatch;
use crate::error::AppsError;
use crate::folder::{self, Folder};
use crate::lock::Lock;
use crate::outcome::Outcome;
use crate::record::{Phase, Record, State};
use crate::timing::now_ms;
use files::FileError;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The first pause before an app is started again; each further one is twice as long. Docker's.
const FIRST_PAUSE_MS: u64 = 100;
/// The longest pause; Docker's.
const LONGEST_PAUSE_MS: u64 = 60_000;
/// An app that ran for so long is well: its next pause is the first again. Docker's.
const WELL_MS: u64 = 10_000;
/// What the launcher is called with that starts an app again, before the app's id; the app's lock
/// file is its standard input.
pub const RESTART_ROLE: &str = "__restart";

/// How long to wait before an app is started again, which ran for `ran_ms` and had waited for
/// `last_ms` before.
fn pause_ms(last_ms: u64, ran_ms: u64) -> u64 {
    if ran_ms >= WELL_MS {
        return FIRST_PAUSE_MS;
    }
    last_ms.saturating_mul(2).clamp(FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
}

impl Apps {
    /// Whether an app that ends now is to be started again; by its record as it is now, since
    /// that may have changed while the app ran.
    pub(crate) fn wants_restart(&self, folder: &Folder, state: &State, outcome: &Outcome) -> bool {
        let Ok(record) = folder.read_record() else { return false };
        record.restart.wants(outcome.code, state.restarts, folder.ends_for_good())
    }

    /// The end of an app that is to be started again: takes it down and notes for when; the
    /// pause is for [`Apps::restart_after_pause`].
    ///
    /// # Errors
    /// It cannot be taken down, and so not be started again either: it has ended for good then.
    pub(crate) fn finish_to_restart(
        &self,
        folder: &Folder,
        record: &Record,
        state: &mut State,
        outcome: Outcome,
        lock: &Lock,
    ) -> Result<(), AppsError> {
        if let Err(error) = self.take_down(record, state.domid.map(xen::DomId)) {
            return Err(error.and(self.finish(folder, record, state, outcome, lock)));
        }
        let now = now_ms();
        let ran_ms = now.saturating_sub(state.started_unix_ms.unwrap_or(now));
        *state = State {
            phase: Phase::Restarting,
            domid: None,
            address: None,
            finished_unix_ms: Some(now),
            outcome: Some(outcome),
            restarts: state.restarts.saturating_add(1),
            pause_ms: pause_ms(state.pause_ms, ran_ms),
            started_unix_ms: state.started_unix_ms,
            marks: std::mem::take(&mut state.marks),
        };
        Ok(folder.write_state_lightly(state)?)
    }

    /// Waits out the pause of an app that is to be started again, and turns this process into the
    /// launcher that does it. Returns when the app was stopped meanwhile, or no launcher
    /// can be run.
    pub(crate) fn restart_after_pause(
        &self,
        folder: &Folder,
        record: &Record,
        state: &mut State,
        lock: &Lock,
        launcher: &Path,
    ) -> Result<(), AppsError> {
        let changes = EndWatch::new(folder)?;
        let due = state.finished_unix_ms.unwrap_or_default().saturating_add(state.pause_ms);
        let ended = state.outcome.clone().unwrap_or(Outcome { code: 0, message: None });
        loop {
            if folder.ends_for_good() {
                return self.finish(folder, record, state, ended, lock);
            }
            // A clock that was set back must not make it wait for ever.
            let left = due.saturating_sub(now_ms()).min(LONGEST_PAUSE_MS);
            if left == 0 {
                break;
            }
            changes.sleep(Duration::from_millis(left))?;
        }
        let error = Command::new(launcher)
            .arg0("launch")
            .args([RESTART_ROLE, &record.id])
            .stdin(Stdio::from(lock.share()?))
            .exec();
        let outcome = Outcome {
            code: 125,
            message: Some(
                format!("cannot start it again: cannot run {}: {error}", launcher.display()).into(),
            ),
        };
        self.finish(folder, record, state, outcome, lock)
    }

    /// The apps that have ended and are to be started when the host starts.
    ///
    /// # Errors
    /// The state folder cannot be read.
    pub fn at_boot(&self) -> Result<Vec<App>, AppsError> {
        let mut apps = self.list()?;
        apps.retain(|app| {
            let stopped = self.folder(&app.record.id).is_marked(folder::STOPPED);
            app.state.phase == Phase::Exited && app.record.restart.at_boot(stopped)
        });
        // In the order in which they were made: a database is likely older than what asks it.
        apps.reverse();
        Ok(apps)
    }

    /// The body of the launcher that a monitor turned into: starts the app `id` again, whose lock
    /// file is `inherited`. Where that fails, the app waits again, as long as its policy says.
    ///
    /// # Errors
    /// The app cannot be read, or nobody can stay with it.
    pub fn restart_inherited(&self, id: &str, inherited: std::fs::File) -> Result<(), AppsError> {
        let folder = self.folder(id);
        if !folder.is_lock(&inherited) {
            let wrong = io::Error::new(io::ErrorKind::InvalidInput, "not the app's lock file");
            return Err(FileError::io("use", folder.path())(wrong).into());
        }
        let lock = Lock::inherit(inherited, folder.file(folder::LOCK))?;
        let mut app = self.read(id)?.ok_or_else(|| AppsError::Unknown(id.to_owned()))?;
        app.hold(lock);
        let Err(error) = self.start_again(&mut app) else { return Ok(()) };
        let Some(lock) = app.release() else { return Err(error) };
        let message = contract::one_line(&error);
        let outcome = Outcome { code: 125, message: Some(message.into()) };
        let (record, state) = (&app.record, &mut app.state);
        if self.wants_restart(&folder, state, &outcome) {
            // It did not run: nothing is left to be taken down, and the pause grows.
            state.started_unix_ms = None;
            self.finish_to_restart(&folder, record, state, outcome, &lock)?;
            return self.start_monitor(record, &folder, &lock, Duration::ZERO);
        }
        self.finish(&folder, record, state, outcome, &lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_start_over_after_a_good_run() {
        let mut pause = 0;
        let pauses: Vec<u64> = std::iter::repeat_with(|| {
            pause = pause_ms(pause, 50);
            pause
        })
        .take(12)
        .collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[10..], [60_000, 60_000]);
        assert_eq!(pause_ms(60_000, 10_000), 100);
    }
}
