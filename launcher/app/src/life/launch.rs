//! Creates an app and starts it.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::life::create::create_booted;
use crate::life::remove::remove_locked;
use crate::life::start::start_locked;
use crate::record::timing::Timings;
use crate::request::run_request::RunRequest;
use std::time::Duration;

/// The delay of a detached app's monitor. Until then Xen keeps the app's output and outcome.
const MONITOR_LATER: Duration = Duration::from_millis(100);

/// Creates an app and starts it. If no pooled domain fits, a domain boots while the rest is made.
///
/// # Errors
/// As [`super::create`] and [`super::start`]. Nothing is left then.
pub fn launch(apps: &Apps, request: &RunRequest) -> Result<(App, Timings), AppsError> {
    let mut timings = Timings::new();
    let (mut app, booted) = create_booted(apps, request, &mut timings)?;
    let delay = if request.detached { MONITOR_LATER } else { Duration::ZERO };
    match start_locked(apps, &mut app, booted, &mut timings, delay) {
        Ok(()) => Ok((app.into(), timings)),
        // A failed launch leaves nothing, whereas Docker keeps the app that never ran.
        Err(error) => Err(error.and(remove_locked(apps, &app))),
    }
}
