//! Starting an app again when it ends: the back-off before it, and which process does it.
//!
//! The app always has a process that is in charge of it: the monitor of the start that ended takes
//! everything down, waits, and turns into a launcher that has its lock. That one starts the app
//! and another monitor.

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

/// The first back-off before an app is started again; each further one is twice as long. Docker's.
const FIRST_BACKOFF_MS: u64 = 100;
/// The longest back-off; Docker's.
const LONGEST_BACKOFF_MS: u64 = 60_000;
/// An app that ran for this long is well: its next back-off is the first again. Docker's.
const WELL_MS: u64 = 10_000;
/// What the launcher is called with that starts an app again, before the app's id; the app's lock
/// file is its standard input.
pub const RESTART_ROLE: &str = "__restart";

/// How long to wait before an app is started again, which ran for `ran_ms` and had waited for
/// `last_ms` before.
fn backoff_ms(last_ms: u64, ran_ms: u64) -> u64 {
    if ran_ms >= WELL_MS {
        return FIRST_BACKOFF_MS;
    }
    last_ms.saturating_mul(2).clamp(FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS)
}

/// Whether an app that ends now is to be started again; by its record as it is now, since
/// that may have changed while the app ran.
pub(crate) fn wants_restart(app: &Locked, outcome: &Outcome) -> bool {
    let Ok(record) = app.folder.read_record() else { return false };
    record.restart.wants(outcome.code(), app.state.restarts(), app.folder.ends_for_good())
}

/// The end of an app that is to be started again: takes it down and notes for when; the
/// back-off is for [`restart_after_backoff`].
///
/// # Errors
/// It cannot be taken down, and so not be started again either: it has ended for good then.
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

/// Waits out the back-off of an app that is to be started again, and turns this process into the
/// launcher that does it. Returns when the app was stopped meanwhile, or no launcher
/// can be run.
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
        // A clock that was set back must not make it wait for ever.
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
    let message = format!("cannot start it again: cannot run {}: {error}", launcher.display());
    finish(apps, app, Outcome::failed(message))
}

/// The apps that have ended and are to be started when the host starts.
///
/// # Errors
/// The state folder cannot be read.
pub fn at_boot(apps: &Apps) -> Result<Vec<App>, AppsError> {
    let mut found = apps.list()?;
    found.retain(|app| {
        let stopped = apps.folder(&app.record.id).is_marked(folder::STOPPED);
        app.state.phase() == Phase::Exited && app.record.restart.at_boot(stopped)
    });
    // In the order in which they were made: a database is likely older than what asks it.
    found.reverse();
    Ok(found)
}

/// The body of the launcher that a monitor turned into: starts the app `id` again, whose lock
/// file is `inherited`. Where that fails, the app waits again, as long as its policy says.
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
        // It did not run: nothing is left to be taken down, and the back-off grows.
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
