//! Pauses and unpauses an app.

use crate::apps::{App, Apps};
use crate::domain::running_domain;
use crate::error::AppsError;

/// Pauses the app: its vCPUs do not run until [`unpause`].
///
/// # Errors
/// The app does not run, or is paused already.
pub fn pause(apps: &Apps, app: &App) -> Result<(), AppsError> {
    let domain = running_domain(apps, app)?;
    match apps.toolstack().is_paused(domain)? {
        true => Err(AppsError::Paused(app.record.name.clone())),
        false => Ok(apps.toolstack().pause(domain)?),
    }
}

/// Unpauses the app.
///
/// # Errors
/// The app does not run, or is not paused.
pub fn unpause(apps: &Apps, app: &App) -> Result<(), AppsError> {
    let domain = running_domain(apps, app)?;
    match apps.toolstack().is_paused(domain)? {
        true => Ok(apps.toolstack().unpause(domain)?),
        false => Err(AppsError::NotPaused(app.record.name.clone())),
    }
}
