//! Stops apps.

use crate::apps::{App, Apps};
use crate::domain::{domain, let_run, lives};
use crate::error::AppsError;
use crate::life::kill::kill_marked;
use crate::life::wait::outcome;
use crate::record::outcome::Outcome;
use crate::store::end_watch::EndWatch;
use crate::store::folder;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use toolstack::AppDomain;

/// Added to an app's stop time, for its guest to unmount, report and power off.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);
/// The most apps that are stopped at once. Each stop uses one inotify instance, of which Linux allows a user 128.
const STOPS_AT_ONCE: usize = 32;

/// Asks the app to end, and forces it after `timeout` ([`Duration::MAX`]: never; `None`: the app's own stop time).
/// The app is not started again.
///
/// # Errors
/// Xen refuses. It is no error if the app does not run.
pub fn stop(apps: &Apps, app: &App, timeout: Option<Duration>) -> Result<Outcome, AppsError> {
    stop_marked(apps, app, timeout, folder::STOPPED)
}

/// Stops every app, many at once, because the host ends. Apps whose policy says so start again with the host. Returns
/// the apps that could not be stopped.
///
/// # Errors
/// The list of apps cannot be read.
pub fn stop_with_host(apps: &Apps) -> Result<Vec<(String, AppsError)>, AppsError> {
    // The newest first: a database is probably older than its clients.
    let left = Mutex::new(apps.list()?.into_iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let stop_some = || {
        let mut failed = Vec::new();
        while let Some(app) = next() {
            if let Err(error) = stop_marked(apps, &app, None, folder::ENDS_WITH_HOST) {
                failed.push((app.record.name, error));
            }
        }
        failed
    };
    Ok(std::thread::scope(|scope| {
        let some: Vec<_> = (0..STOPS_AT_ONCE).map(|_| scope.spawn(stop_some)).collect();
        some.into_iter().flat_map(|some| some.join().unwrap_or_default()).collect()
    }))
}

fn stop_marked(
    apps: &Apps,
    app: &App,
    timeout: Option<Duration>,
    mark: &str,
) -> Result<Outcome, AppsError> {
    let end = EndWatch::new(&apps.folder(&app.record.id))?;
    let own = Duration::from_millis(app.record.process.stop_timeout_ms);
    let patience = timeout.unwrap_or(own).checked_add(STOP_GRACE);
    let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
    if let Some(domain) = await_domain(apps, app, &end, deadline, mark)? {
        apps.toolstack().shut_down(domain, timeout)?;
        let_run(apps, domain)?;
        if !end.wait(deadline)? || lives(apps, domain)? {
            return kill_marked(apps, app, mark);
        }
    }
    outcome(apps, app, &end)
}

/// As [`stop`], for an app that will be started again: an app with `--rm` is not removed.
///
/// # Errors
/// As [`stop`].
pub fn stop_to_start(apps: &Apps, app: &App, timeout: Option<Duration>) -> Result<App, AppsError> {
    let folder = apps.folder(&app.record.id);
    if app.record.remove_on_exit {
        folder.mark(folder::KEPT)?;
    }
    if let Err(error) = stop(apps, app, timeout) {
        return Err(error.and(folder.unmark(folder::KEPT)));
    }
    apps.find(&app.record.id)
}

/// Returns the domain of an app that must end, or `None` if the app has ended. Sets the mark that prevents a restart.
/// Waits for the domain of an app that is starting or about to be started.
pub(crate) fn await_domain(
    apps: &Apps,
    app: &App,
    end: &EndWatch,
    deadline: Option<Instant>,
    mark: &str,
) -> Result<Option<AppDomain>, AppsError> {
    let folder = apps.folder(&app.record.id);
    loop {
        let Some(now) = apps.read(&app.record.id)? else { return Ok(None) };
        if !now.state.can_stop() {
            return Ok(None);
        }
        folder.mark(mark)?;
        if let Some(domain) = domain(apps, &now)? {
            return Ok(Some(domain));
        }
        // Without a process in charge no domain will come, and the next command repairs the app.
        let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if late || !end.lock.is_held()? {
            return Ok(None);
        }
        end.sleep(Duration::from_millis(500))?;
    }
}
