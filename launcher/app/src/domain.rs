//! The domain of an app, as it is now.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::record::state::State;
use toolstack::{AppDomain, DomId, Usage, Uuid};

/// The running app's domain, as it is now and not as it was when `app` was read; `None` where the app
/// does not run, or the domain that was noted is another one or has gone.
pub(crate) fn domain(apps: &Apps, app: &App) -> Result<Option<AppDomain>, AppsError> {
    match noted_domain(apps, app)? {
        Some((domid, uuid)) => Ok(apps.toolstack().of_app(domid, uuid)?),
        None => Ok(None),
    }
}

/// The number that is noted for a running app's domain, and the app's UUID: nothing that may be used
/// without a comparison.
pub(crate) fn noted_domain(apps: &Apps, app: &App) -> Result<Option<(DomId, Uuid)>, AppsError> {
    Ok(match apps.read(&app.record.id)?.map(|now| now.state) {
        Some(State::Running { domid, .. }) => Some((domid, app.record.uuid)),
        _ => None,
    })
}

/// The condition of the domain of an app that is noted as running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is there, and not paused.
    Runs,
    /// It is paused.
    Paused,
    /// It is gone: the number is unused, or another domain's. The app's monitor, or the
    /// next command, takes the app down.
    Gone,
}

/// The condition of the domain of an app that is noted as running; `None` for all other apps. If Xen cannot
/// be asked, the note counts.
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

/// The running app's domain.
///
/// # Errors
/// It does not run.
pub(crate) fn running_domain(apps: &Apps, app: &App) -> Result<AppDomain, AppsError> {
    let domain = domain(apps, app)?;
    domain.ok_or_else(|| AppsError::NotRunning(app.record.name.clone()))
}

/// Whether the domain is still there: if its monitor died, it is.
pub(crate) fn lives(apps: &Apps, domain: AppDomain) -> Result<bool, AppsError> {
    Ok(apps.toolstack().of_app(domain.domid(), domain.uuid())?.is_some())
}

/// Lets a paused domain run, so that its guest can answer.
pub(crate) fn let_run(apps: &Apps, domain: AppDomain) -> Result<(), AppsError> {
    if apps.toolstack().is_paused(domain)? {
        apps.toolstack().unpause(domain)?;
    }
    Ok(())
}

/// What the app's domain has used so far.
///
/// # Errors
/// It does not run, or this Xen's interface is not known.
pub fn usage(apps: &Apps, app: &App) -> Result<Usage, AppsError> {
    let usage = apps.toolstack().usage(running_domain(apps, app)?, &app.record.shape)?;
    usage.ok_or_else(|| AppsError::NotRunning(app.record.name.clone()))
}
