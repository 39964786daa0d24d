//! The current domain of an app.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::record::state::State;
use toolstack::{AppDomain, DomId, Usage, Uuid};

/// The app's domain now, even if `app` was read earlier. `None` if the app does not run, or if the recorded domain no
/// longer exists or its number belongs to another domain.
pub(crate) fn domain(apps: &Apps, app: &App) -> Result<Option<AppDomain>, AppsError> {
    match noted_domain(apps, app)? {
        Some((domid, uuid)) => Ok(apps.toolstack().of_app(domid, uuid)?),
        None => Ok(None),
    }
}

/// The recorded domain number of a running app, and the app's UUID. Compare the UUID before you use the number.
pub(crate) fn noted_domain(apps: &Apps, app: &App) -> Result<Option<(DomId, Uuid)>, AppsError> {
    Ok(match apps.read(&app.record.id)?.map(|now| now.state) {
        Some(State::Running { domid, .. }) => Some((domid, app.record.uuid)),
        _ => None,
    })
}

/// The condition of the domain of an app whose record says that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The domain exists and is not paused.
    Runs,
    /// The domain is paused.
    Paused,
    /// The domain no longer exists: its number is unused or belongs to another domain. The app's monitor or the
    /// next command cleans up after the app.
    Gone,
}

/// The condition of the app's domain; `None` if the record does not say that the app runs. If Xen cannot be asked,
/// trusts the record.
#[must_use]
pub fn condition(apps: &Apps, app: &App) -> Option<Condition> {
    let State::Running { domid, .. } = app.state else { return None };
    Some(match apps.toolstack().of_app(domid, app.record.uuid) {
        Ok(None) => Condition::Gone,
        Ok(Some(domain)) if apps.toolstack().is_paused(domain).unwrap_or_default() => {
            Condition::Paused
        }
        Ok(Some(_)) | Err(_) => Condition::Runs,
    })
}

/// The running app's domain; an error if the app does not run.
///
/// # Errors
/// The app does not run.
pub(crate) fn running_domain(apps: &Apps, app: &App) -> Result<AppDomain, AppsError> {
    let domain = domain(apps, app)?;
    domain.ok_or_else(|| AppsError::NotRunning(app.record.name.clone()))
}

/// Whether the domain still exists, as it does after only its monitor died.
pub(crate) fn lives(apps: &Apps, domain: AppDomain) -> Result<bool, AppsError> {
    Ok(apps.toolstack().of_app(domain.domid(), domain.uuid())?.is_some())
}

/// Unpauses the domain if it is paused, so that its guest can answer.
pub(crate) fn let_run(apps: &Apps, domain: AppDomain) -> Result<(), AppsError> {
    if apps.toolstack().is_paused(domain)? {
        apps.toolstack().unpause(domain)?;
    }
    Ok(())
}

/// What the app's domain has used so far.
///
/// # Errors
/// The app does not run, or `launch` does not know the interface of this Xen.
pub fn usage(apps: &Apps, app: &App) -> Result<Usage, AppsError> {
    let usage = apps.toolstack().usage(running_domain(apps, app)?, &app.record.shape)?;
    usage.ok_or_else(|| AppsError::NotRunning(app.record.name.clone()))
}
