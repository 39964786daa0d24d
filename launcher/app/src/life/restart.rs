//! Starts an app again when it ends: the back-off before the restart, and the process that does it.
//!
//! The app always has a process in charge: the monitor of the ended run cleans up, waits, and turns into a launcher
//! that keeps the app's lock. That launcher starts the app and a new monitor.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::life::end::{finish, take_down};
use crate::life::monitor_process::start_monitor;
use crate::life::start::start_again;
use crate::record::outcome::Outcome;
use crate::record::state::{Phase, State};
use crate::record::timing::now_ms;
use crate::store::end_watch::EndWatch;
use crate::store::folder;
use crate::store::lock::Lock;
use crate::store::locked::Locked;
use contract::one_line;
use files::FileError;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The first back-off before a restart; each further one is twice as long. Docker's value.
const FIRST_BACKOFF_MS: u64 = 100;
/// The longest back-off. Docker's value.
const LONGEST_BACKOFF_MS: u64 = 60_000;
/// After a run of at least this length the next back-off is the first again. Docker's value.
const WELL_MS: u64 = 10_000;
/// The launcher's first argument when it restarts an app, before the app's id. The app's lock file is its standard
/// input.
pub const RESTART_ROLE: &str = "__restart";

/// The back-off before a restart of an app that ran for `ran_ms` and last waited for `last_ms`.
fn backoff_ms(last_ms: u64, ran_ms: u64) -> u64 {
    if ran_ms >= WELL_MS {
        return FIRST_BACKOFF_MS;
    }
    last_ms.saturating_mul(2).clamp(FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS)
}

/// Whether an ending app will be started again. Reads the record anew, since it may have changed while the app
/// ran.
pub(crate) fn wants_restart(app: &Locked, outcome: &Outcome) -> bool {
    let Ok(record) = app.folder.read_record() else { return false };
    record.restart.wants(outcome.code(), app.state.restarts(), app.folder.ends_for_good())
}

/// Ends an app that will be started again: cleans up and records the time of the restart. The caller then calls
/// [`restart_after_backoff`].
///
/// # Errors
/// The cleanup failed, so the app cannot be started again and has ended for good.
pub(crate) fn end_to_restart(
    apps: &Apps,
    app: &mut Locked,
    outcome: Outcome,
) -> Result<(), AppsError> {
    if let Err(error) = take_down(apps, &app.record, app.state.domid()) {
        return Err(error.and(finish(apps, app, outcome)));
    }
    app.state = app.state.restarting(outcome, now_ms(), backoff_ms);
    Ok(app.folder.write_state_lightly(&app.state)?)
}

/// Waits for the back-off to pass, and turns this process into the launcher that restarts the app. Returns only if
/// the app was stopped meanwhile, or the launcher cannot be run.
pub(crate) fn restart_after_backoff(
    apps: &Apps,
    app: &mut Locked,
    launcher: &Path,
) -> Result<(), AppsError> {
    let changes = EndWatch::new(&app.folder)?;
    let State::Restarting { last, attempts } = &app.state else { return Ok(()) };
    let due = last.finished_unix_ms.saturating_add(attempts.backoff_ms);
    let ended = last.outcome.clone();
    loop {
        if app.folder.ends_for_good() {
            return finish(apps, app, ended);
        }
        // A clock that was set back must not extend the wait.
        let left = due.saturating_sub(now_ms()).min(LONGEST_BACKOFF_MS);
        if left == 0 {
            break;
        }
        changes.sleep(Duration::from_millis(left))?;
    }
    let error = Command::new(launcher)
        .arg0("launch")
        .args([RESTART_ROLE, &app.record.id])
        .stdin(Stdio::from(app.lock.share()?))
        .exec();
    let message = format!("cannot restart the app: cannot run {}: {error}", launcher.display());
    finish(apps, app, Outcome::failed(message))
}

/// The apps that have ended and must be started with the host.
///
/// # Errors
/// The state folder cannot be read.
pub fn at_boot(apps: &Apps) -> Result<Vec<App>, AppsError> {
    let mut found = apps.list()?;
    found.retain(|app| {
        let stopped = apps.folder(&app.record.id).is_marked(folder::STOPPED);
        app.state.phase() == Phase::Exited && app.record.restart.at_boot(stopped)
    });
    // In the order of creation: a database is probably older than its clients.
    found.reverse();
    Ok(found)
}

/// Runs in the launcher that a monitor turned into: starts the app `id` again, whose lock file is `inherited`. If
/// the start fails, the app waits again if its policy says so.
///
/// # Errors
/// The app cannot be read, or no monitor can be started for it.
pub fn restart_inherited(apps: &Apps, id: &str, inherited: std::fs::File) -> Result<(), AppsError> {
    let folder = apps.folder(id);
    if !folder.is_lock(&inherited) {
        let wrong = io::Error::new(io::ErrorKind::InvalidInput, "not the app's lock file");
        return Err(FileError::io("use", folder.path())(wrong).into());
    }
    let lock = Lock::inherit(inherited, folder.file(folder::LOCK))?;
    let App { record, state } = apps.read(id)?.ok_or_else(|| AppsError::Unknown(id.to_owned()))?;
    let mut app = Locked { record, state, folder, lock };
    let Err(error) = start_again(apps, &mut app) else { return Ok(()) };
    let outcome = Outcome::failed(one_line(&error));
    if wants_restart(&app, &outcome) {
        // The app did not run, so nothing is left to clean up, and the back-off grows.
        end_to_restart(apps, &mut app, outcome)?;
        return start_monitor(apps, &app, Duration::ZERO);
    }
    finish(apps, &mut app, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_offs_double_up_to_a_minute_and_start_over_after_a_good_run() {
        let mut backoff = 0;
        let backoffs: Vec<u64> = std::iter::repeat_with(|| {
            backoff = backoff_ms(backoff, 50);
            backoff
        })
        .take(12)
        .collect();
        assert_eq!(backoffs[..4], [100, 200, 400, 800]);
        assert_eq!(backoffs[10..], [60_000, 60_000]);
        assert_eq!(backoff_ms(60_000, 10_000), 100);
    }
}
