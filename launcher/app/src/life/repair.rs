//! Repairs what killed launchers and monitors left behind.

use crate::apps::Apps;
use crate::error::AppsError;
use crate::life::end::{finish, forget, take_down};
use crate::life::monitor_process::start_monitor;
use crate::life::remove::remove_incomplete;
use crate::life::restart::{end_to_restart, wants_restart};
use crate::network::with_mended_network;
use crate::pool::pooled;
use crate::record::app::Record;
use crate::record::outcome::Outcome;
use crate::record::repair::Repair;
use crate::record::state::{Phase, State};
use crate::store::folder::{self, Folder};
use crate::store::lock::Lock;
use crate::store::locked::Locked;
use contract::one_line;
use files::FileError;
use std::collections::HashSet;
use std::fs;
use std::time::Duration;
use toolstack::DomainState;

/// Written after all apps were checked.
const LAST: &str = ".looked";
/// Launches check no more often than this.
const INTERVAL: Duration = Duration::from_secs(10);

/// Repairs what killed processes left behind: apps, loop devices, addresses, ports. Cheap if there is nothing to do.
///
/// # Errors
/// The state folder cannot be read. Each failed repair is reported as a [`Repair`].
pub fn repair(apps: &Apps) -> Result<Vec<Repair>, AppsError> {
    let _span = tracing::info_span!("repair").entered();
    let last = apps.folders().join(LAST);
    files::create_private(&last).map_err(FileError::io("write", &last))?;
    let mut repairs = Vec::new();
    let mut tended = HashSet::new();
    for id in apps.ids()? {
        // Skips apps that have their monitor without further checks: there may be hundreds.
        if apps.folder(&id).watch_lock().and_then(|lock| lock.is_held()).unwrap_or(false) {
            tended.insert(id);
            continue;
        }
        // One app that cannot be repaired must not block commands for all others.
        match repair_app(apps, &id) {
            Ok(repair) => repairs.extend(repair),
            Err(error) => {
                let next = match &error {
                    AppsError::File(error) if error.is_damaged() => {
                        format!("; `launch rm -f {id}` removes it")
                    }
                    _ => String::new(),
                };
                let error = one_line(&error);
                repairs.push(Repair(format!("cannot repair app {id}: {error}{next}")));
            }
        }
    }
    match pooled::repair(apps) {
        Ok(removed) => {
            repairs.extend(removed.into_iter().map(|id| {
                Repair(format!("removed domain waiting-{id}, which was only partly built"))
            }))
        }
        Err(error) => repairs.push(Repair(one_line(&error))),
    }
    match apps.toolstack().detach_orphans() {
        Ok(detached) => repairs.extend(detached.into_iter().map(Repair)),
        Err(error) => repairs.push(Repair(one_line(&error))),
    }
    match with_mended_network(apps, |network| {
        network.retain(|id| {
            // Apps last: a launch takes a pooled domain by renaming its folder into the apps' folder.
            tended.contains(id) || apps.is_pooled(id) || uses_network(apps, id)
        })
    }) {
        Ok((gone, mended)) => {
            repairs.extend(mended.into_iter().map(|file| {
                let file = file.display();
                Repair(format!("{file} was damaged; rebuilt it from the apps' records"))
            }));
            repairs.extend(gone.into_iter().map(|id| {
                Repair(format!("freed address and ports of app {id}, which no longer exists"))
            }))
        }
        Err(error) => repairs.push(Repair(one_line(&error))),
    }
    Ok(repairs)
}

/// As [`repair`], unless a repair ran in the last few seconds.
///
/// # Errors
/// As [`repair`].
pub fn repair_at_times(apps: &Apps) -> Result<Vec<Repair>, AppsError> {
    let path = apps.folders().join(LAST);
    let last = fs::metadata(&path).and_then(|data| data.modified());
    // If the clock was set back, repairs at once.
    if last.is_ok_and(|last| last.elapsed().is_ok_and(|ago| ago < INTERVAL)) {
        return Ok(vec![]);
    }
    repair(apps)
}

/// Whether an app has or may soon have an address. Returns true in doubt.
fn uses_network(apps: &Apps, id: &str) -> bool {
    match apps.read(id) {
        // An app that is being made from a pooled domain already has its lease.
        Ok(None) => apps.folder(id).path().exists(),
        Ok(Some(app)) => match app.state {
            State::Starting { .. } | State::Running { .. } => true,
            // The address in a config for `xl create`.
            State::Created { address } => address.is_some(),
            State::Exited { .. } | State::Restarting { .. } => false,
        },
        Err(_) => true,
    }
}

/// As [`repair`], for one app.
pub(crate) fn repair_app(apps: &Apps, id: &str) -> Result<Option<Repair>, AppsError> {
    let folder = apps.folder(id);
    let state = match folder.read_state() {
        Ok(state) => Some(state),
        Err(error) if error.is_not_found() => None,
        // A power cut damaged the state, so no domain of that start runs any more.
        Err(_) => Some(State::default().starting()),
    };
    let record = match folder.read_record() {
        Ok(record) => Some(record),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    match (record, state) {
        (Some(record), Some(state)) if is_settled(&folder, &record, &state) => Ok(None),
        (Some(record), Some(_)) => match folder.try_lock() {
            Ok(Some(lock)) => with_lock(apps, folder, record, lock),
            // A process is in charge of the app.
            Ok(None) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        },
        _ => remove_incomplete(apps, id, &folder),
    }
}

/// Whether an app needs no repair: it does not run, and is not to be removed.
fn is_settled(folder: &Folder, record: &Record, state: &State) -> bool {
    match state.phase() {
        Phase::Created => true,
        Phase::Exited => !record.remove_on_exit || folder.is_marked(folder::KEPT),
        Phase::Starting | Phase::Running | Phase::Restarting => false,
    }
}

/// Repairs an app that had no process in charge. This process holds its lock now.
fn with_lock(
    apps: &Apps,
    folder: Folder,
    record: Record,
    lock: Lock,
) -> Result<Option<Repair>, AppsError> {
    let name = record.name.clone();
    // The state may have changed before this process got the lock.
    let state = folder.read_state().unwrap_or_else(|_| State::default().starting());
    let app = &mut Locked { record, state, folder, lock };
    match app.state {
        _ if is_settled(&app.folder, &app.record, &app.state) => Ok(None),
        State::Created { .. } | State::Exited { .. } => {
            take_down(apps, &app.record, None)?;
            forget(apps, &app.record, &app.folder)?;
            Ok(Some(Repair(format!(
                "removed app {name}, which had ended and was started with --rm"
            ))))
        }
        State::Running { domid, .. } => {
            let now = apps.toolstack().state(domid, app.record.uuid)?;
            if now != DomainState::Gone {
                start_monitor(apps, app, Duration::ZERO)?;
                return Ok(Some(Repair(format!(
                    "the monitor of app {name} had died; started another one"
                ))));
            }
            if let Some(repair) = to_restart(apps, app, Outcome::unreported(now))? {
                return Ok(Some(repair));
            }
            finish(apps, app, Outcome::unreported(now))?;
            Ok(Some(Repair(format!(
                "app {name} ended while its monitor was dead; removed what was left of its run"
            ))))
        }
        State::Restarting { .. } => {
            start_monitor(apps, app, Duration::ZERO)?;
            Ok(Some(Repair(format!(
                "app {name} was waiting to restart but its monitor had died; started a new monitor"
            ))))
        }
        State::Starting { .. } => {
            // A domain that is being destroyed is not found, but still has nodes.
            if let Some(found) = apps.toolstack().find(app.record.uuid)? {
                app.state = app.state.booted(found);
            }
            let outcome = Outcome::failed("the launcher was killed while it started the app");
            if app.state.restarts() > 0 {
                if let Some(repair) = to_restart(apps, app, outcome.clone())? {
                    return Ok(Some(repair));
                }
            }
            finish(apps, app, outcome)?;
            Ok(Some(Repair(format!(
                "the start of app {name} was interrupted; undid what was done of it"
            ))))
        }
    }
}

/// Starts the monitor that will restart an app that ended without one, if the app's policy says so.
fn to_restart(
    apps: &Apps,
    app: &mut Locked,
    outcome: Outcome,
) -> Result<Option<Repair>, AppsError> {
    if !wants_restart(app, &outcome) {
        return Ok(None);
    }
    end_to_restart(apps, app, outcome)?;
    start_monitor(apps, app, Duration::ZERO)?;
    let name = &app.record.name;
    Ok(Some(Repair(format!(
        "app {name} ended while its monitor was dead; a new monitor restarts it"
    ))))
}
