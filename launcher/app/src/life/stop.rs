//! Stopping apps.

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

/// What a guest gets on top of its app's stop time: to unmount, report and power off.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);
/// So many are stopped at once: each watches its folder, and Linux lets a user do that 128 times.
const STOPS_AT_ONCE: usize = 32;

/// Asks the app to end, and ends it by force after `timeout` ([`Duration::MAX`]: never; `None`: the app's own stop
/// time). It is not started again.
///
/// # Errors
/// Xen refuses. An app that does not run is no error.
pub fn stop(apps: &Apps, app: &App, timeout: Option<Duration>) -> Result<Outcome, AppsError> {
    stop_marked(apps, app, timeout, folder::STOPPED)
}

/// As [`stop`] for every app, many at once: they end because the host does, and those whose
/// policy says so start with it again. Returns those that could not be stopped.
///
/// # Errors
/// The list of apps cannot be read.
pub fn stop_with_host(apps: &Apps) -> Result<Vec<(String, AppsError)>, AppsError> {
    // The newest first: a database is likely older than what asks it.
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

/// As [`stop`], for an app that is to be started again: one that goes when it ends stays until then.
///
/// # Errors
/// As there.
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

/// Returns the domain of an app that is to end, or `None` if it has ended. Makes the mark, so that the app is not
/// started again. Waits for the domain of an app that is being started, or is about to be.
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
        // Without a process in charge no domain will come; the next command repairs the app.
        let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if late || !end.lock.is_held()? {
            return Ok(None);
        }
        end.sleep(Duration::from_millis(500))?;
    }
}
