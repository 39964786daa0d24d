//! Starts an app: its domain, its network, its orders, its monitor.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::guest::nodes::guest_nodes;
use crate::life::end::take_down;
use crate::life::monitor_process::start_monitor;
use crate::network::connect;
use crate::record::app::Record;
use crate::record::state::Phase;
use crate::record::timing::{Timings, note, now_ms, timed};
use crate::record::writable_choice::WritableChoice;
use crate::request::domain::domain_spec;
use crate::storage::layer;
use crate::store::folder;
use crate::store::locked::Locked;
use std::time::{Duration, Instant};
use toolstack::Booted;

/// Starts an app that does not run. Returns when its domain runs and its monitor was started.
///
/// # Errors
/// The app runs already, or its network or domain cannot be made. The start is undone then.
pub fn start(apps: &Apps, app: &App) -> Result<App, AppsError> {
    apps.toolstack().check()?;
    apps.toolstack().check_name(&app.record.name)?;
    let folder = apps.folder(&app.record.id);
    folder.unmark(folder::STOPPED)?;
    folder.unmark(folder::ENDS_WITH_HOST)?;
    let lock = folder.take_lock()?.ok_or_else(|| AppsError::Running(app.record.name.clone()))?;
    let state = folder.read_state()?;
    let mut app = Locked { record: app.record.clone(), state, folder, lock };
    start_again(apps, &mut app)?;
    Ok(app.into())
}

/// Starts an app whose lock this process holds and which has no domain.
///
/// # Errors
/// As [`start`].
pub(crate) fn start_again(apps: &Apps, app: &mut Locked) -> Result<(), AppsError> {
    if apps.toolstack().find(app.record.uuid)?.is_some() {
        // A user started the domain from the app's config.
        return Err(AppsError::Running(app.record.name.clone()));
    }
    app.lock.clear()?;
    if app.state.phase() != Phase::Created {
        app.folder.mark(folder::TOUCHED)?;
    }
    start_locked(apps, app, Booted::NotYet, &mut Timings::new(), Duration::ZERO)
}

/// Starts an app whose lock this process holds. `booted` is the domain that was booted when the app was created, if
/// any. The monitor begins after `monitor_delay`.
///
/// # Errors
/// As [`start`].
pub(crate) fn start_locked(
    apps: &Apps,
    app: &mut Locked,
    booted: Booted,
    timings: &mut Timings,
    monitor_delay: Duration,
) -> Result<(), AppsError> {
    let _span = tracing::info_span!("start", app = app.record.name).entered();
    let before = app.state.clone();
    let built = build(apps, app, booted, timings);
    let started =
        built.and_then(|()| timed(timings, "monitor", || start_monitor(apps, app, monitor_delay)));
    match started {
        Ok(()) if app.record.remove_on_exit => Ok(app.folder.unmark(folder::KEPT)?),
        Ok(()) => Ok(()),
        Err(error) => {
            let error = error.and(take_down(apps, &app.record, app.state.domid()));
            app.state = before;
            Err(error.and(app.folder.write_state(&app.state)))
        }
    }
}

fn build(
    apps: &Apps,
    app: &mut Locked,
    booted: Booted,
    timings: &mut Timings,
) -> Result<(), AppsError> {
    // The domain boots while the rest is made.
    let booted = match booted {
        Booted::NotYet => begin(apps, app, timings)?,
        Booted::Domain { .. } => booted,
    };
    let record = &app.record;
    let link = timed(timings, "network", || connect(apps, record))?;
    let address = link.as_ref().map(|link| link.lease.address);
    let nodes = timed(timings, "orders", || guest_nodes(apps, &app.folder, record, link.as_ref()))?;
    let spec = domain_spec(record, app.folder.path(), link.as_ref());
    let lock = app.lock.share()?;
    let step = if booted == Booted::NotYet { "domain" } else { "devices" };
    let domid = timed(timings, step, || apps.toolstack().complete(booted, &spec, &nodes, lock))?;
    app.state = app.state.booted(domid);
    if !record.schedule.is_default() {
        let domain = apps.toolstack().of_app(domid, record.uuid)?;
        let domain = domain.ok_or_else(|| AppsError::NotRunning(record.name.clone()))?;
        apps.toolstack().schedule(domain, record.schedule)?;
    }
    app.state = app.state.running(domid, address, now_ms());
    Ok(app.folder.write_state_lightly(&app.state)?)
}

/// Records that the app is starting, and boots its domain as far as its toolstack can.
fn begin(apps: &Apps, app: &mut Locked, timings: &mut Timings) -> Result<Booted, AppsError> {
    app.state = app.state.starting();
    app.folder.write_state_lightly(&app.state)?;
    let booted = boot(apps, &app.record, timings)?;
    if let Some(domid) = booted.domid() {
        app.state = app.state.booted(domid);
        app.folder.write_state_lightly(&app.state)?;
    }
    if app.record.writable == WritableChoice::Disk {
        layer::mend(&apps.templates(), &app.folder, &app.record)?;
    }
    Ok(booted)
}

/// Boots the domain of an app from its record alone, as far as its toolstack can.
pub(crate) fn boot(
    apps: &Apps,
    record: &Record,
    timings: &mut Timings,
) -> Result<Booted, AppsError> {
    let begin = Instant::now();
    let booted = apps.toolstack().boot(&record.name, record.uuid, &record.shape)?;
    if booted.domid().is_some() {
        note(timings, "domain", begin);
    }
    Ok(booted)
}
