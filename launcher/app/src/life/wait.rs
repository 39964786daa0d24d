//! Waits for the end of an app.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::record::outcome::Outcome;
use crate::store::end_watch::EndWatch;

/// Waits until the app has ended and its domain, disks, ports and address are removed.
///
/// # Errors
/// The app's state cannot be read.
pub fn wait(apps: &Apps, app: &App) -> Result<Outcome, AppsError> {
    let end = EndWatch::new(&apps.folder(&app.record.id))?;
    end.wait(None)?;
    outcome(apps, app, &end)
}

/// The outcome of an app whose end `end` has seen.
pub(crate) fn outcome(apps: &Apps, app: &App, end: &EndWatch) -> Result<Outcome, AppsError> {
    if let Some(outcome) = end.lock.outcome()? {
        return Ok(outcome);
    }
    let now = apps.read(&app.record.id)?;
    let outcome = now.and_then(|now| now.state.outcome().cloned());
    Ok(outcome.unwrap_or_else(|| Outcome::with_code(0)))
}
