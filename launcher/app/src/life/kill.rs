//! Ends an app at once.

use crate::apps::{App, Apps};
use crate::domain::noted_domain;
use crate::error::AppsError;
use crate::life::wait::outcome;
use crate::record::outcome::Outcome;
use crate::store::end_watch::EndWatch;
use crate::store::folder;
use std::time::{Duration, Instant};

/// How long a monitor may take to clean up after its domain was destroyed.
pub(crate) const TIDY_TIME: Duration = Duration::from_secs(60);

/// Ends the app at once: destroys its domain. Data that the guest has not written to disk is lost.
///
/// # Errors
/// Xen refuses. It is no error if the app does not run.
pub fn kill(apps: &Apps, app: &App) -> Result<Outcome, AppsError> {
    kill_marked(apps, app, folder::STOPPED)
}

pub(crate) fn kill_marked(apps: &Apps, app: &App, mark: &str) -> Result<Outcome, AppsError> {
    let folder = apps.folder(&app.record.id);
    let end = EndWatch::new(&folder)?;
    // Even if the app has just ended and its monitor is cleaning up. `destroy` compares the UUID.
    if let Some((domid, uuid)) = noted_domain(apps, app)? {
        folder.mark(mark)?;
        tracing::info_span!("destroy")
            .in_scope(|| apps.toolstack().destroy(app.record.shape.toolstack, domid, uuid))?;
        if !end.wait(Some(Instant::now() + TIDY_TIME))? {
            return Err(AppsError::Stuck(app.record.name.clone()));
        }
    }
    outcome(apps, app, &end)
}
