//! Putting right what killed launchers and monitors left behind.

use crate::apps::Apps;
use crate::disks;
use crate::domain_state::DomainState;
use crate::error::AppsError;
use crate::folder::{self, Folder};
use crate::lock::Lock;
use crate::outcome::Outcome;
use crate::record::{Phase, Record, State};
use contract::one_line;
use files::FileError;
use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::time::Duration;

/// Written when everything was looked at.
const LAST: &str = ".looked";
/// How often launches look, at most.
const PAUSE: Duration = Duration::from_secs(10);

/// Something left behind by a killed process, and what was done about it; one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair(String);

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Apps {
    /// Puts right what killed processes left behind; cheap where there is nothing.
    ///
    /// # Errors
    /// The state folder cannot be read. What cannot be repaired is a [`Repair`] that says so.
    pub fn reconcile(&self) -> Result<Vec<Repair>, AppsError> {
        all(self)
    }

    /// The same, unless it was done in the last few seconds.
    ///
    /// # Errors
    /// As [`Apps::reconcile`].
    pub fn reconcile_at_times(&self) -> Result<Vec<Repair>, AppsError> {
        at_times(self)
    }

    /// Removes an app whose files cannot be read, by its id or name, with its domain; says whether it is gone.
    ///
    /// # Errors
    /// Xen or the file system refuses.
    pub fn remove_damaged(&self, name: &str) -> Result<bool, AppsError> {
        let id = self.names().find(name)?.unwrap_or_else(|| name.to_owned());
        if !self.ids()?.contains(&id) {
            return Ok(false);
        }
        Ok(remove_incomplete(self, &id, &self.folder(&id))?.is_some())
    }

    /// The same for one app.
    pub(crate) fn repair(&self, id: &str) -> Result<Option<Repair>, AppsError> {
        app(self, id)
    }
}

/// Everything: apps, loop devices, addresses, ports.
pub(crate) fn all(apps: &Apps) -> Result<Vec<Repair>, AppsError> {
    let _span = tracing::info_span!("reconcile").entered();
    let last = apps.folders().join(LAST);
    files::create_private(&last).map_err(FileError::io("write", &last))?;
    let mut repairs = Vec::new();
    let mut tended = HashSet::new();
    for id in apps.ids()? {
        // Most apps run and have their monitor; no more is asked about them, as there may be hundreds.
        if apps.folder(&id).watch_lock().and_then(|lock| lock.is_held()).unwrap_or(false) {
            tended.insert(id);
            continue;
        }
        // One app that cannot be repaired must not keep the user from all others.
        match app(apps, &id) {
            Ok(repair) => repairs.extend(repair),
            Err(error) => {
                let next = match &error {
                    AppsError::File(error) if error.is_damaged() => {
                        format!("; `launch rm -f {id}` removes it")
                    }
                    _ => String::new(),
                };
                let error = one_line(&error);
                repairs.push(Repair(format!("cannot look after app {id}: {error}{next}")));
            }
        }
    }
    match apps.repair_waiting() {
        Ok(removed) => repairs.extend(removed.into_iter().map(|id| {
            Repair(format!("removed domain waiting-{id}, which was built only in part"))
        })),
        Err(error) => repairs.push(Repair(one_line(&error))),
    }
    match disks::detach_orphans(apps.domains()) {
        Ok(detached) => repairs.extend(detached.into_iter().map(Repair)),
        Err(error) => repairs.push(Repair(one_line(&error))),
    }
    match apps.with_mended_network(|network| {
        network.retain(|id| {
            // In this order: a domain that waits is taken by renaming its folder to the app's.
            tended.contains(id) || apps.is_waiting(id) || uses_network(apps, id)
        })
    }) {
        Ok((gone, mended)) => {
            repairs.extend(mended.into_iter().map(|file| {
                let file = file.display();
                Repair(format!("{file} was damaged; made it anew from what the apps have"))
            }));
            repairs.extend(gone.into_iter().map(|id| {
                Repair(format!("gave back address and ports of app {id}, which is gone"))
            }))
        }
        Err(error) => repairs.push(Repair(one_line(&error))),
    }
    Ok(repairs)
}

/// Everything, unless that was done a short while ago.
pub(crate) fn at_times(apps: &Apps) -> Result<Vec<Repair>, AppsError> {
    let path = apps.folders().join(LAST);
    let last = fs::metadata(&path).and_then(|data| data.modified());
    // A clock that was set back must not put it off for long.
    if last.is_ok_and(|last| last.elapsed().is_ok_and(|ago| ago < PAUSE)) {
        return Ok(vec![]);
    }
    all(apps)
}

/// Whether an app has, or may be about to have, an address. In doubt it has.
fn uses_network(apps: &Apps, id: &str) -> bool {
    match apps.read(id) {
        // One that is being made of a domain that waited has its lease already.
        Ok(None) => apps.folder(id).path().exists(),
        Ok(Some(app)) => match app.state.phase {
            Phase::Starting | Phase::Running => true,
            // With a config for `xl create`.
            Phase::Created => app.state.address.is_some(),
            Phase::Exited | Phase::Restarting => false,
        },
        Err(_) => true,
    }
}

/// One app.
pub(crate) fn app(apps: &Apps, id: &str) -> Result<Option<Repair>, AppsError> {
    let folder = apps.folder(id);
    let state = match folder.read_state() {
        Ok(state) => Some(state),
        Err(error) if error.is_not_found() => None,
        // Cut off by a power failure: whatever ran then runs no more.
        Err(_) => Some(State { phase: Phase::Starting, ..State::default() }),
    };
    let record = match folder.read_record() {
        Ok(record) => Some(record),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    match (record, state) {
        (Some(record), Some(state)) if is_settled(&folder, &record, &state) => Ok(None),
        (Some(record), Some(_)) => match folder.try_lock() {
            Ok(Some(lock)) => with_lock(apps, &folder, &record, lock),
            // All is well: someone is in charge.
            Ok(None) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        },
        _ => remove_incomplete(apps, id, &folder),
    }
}

/// Whether there is nothing to be done for an app: it does not run, and is to stay.
fn is_settled(folder: &Folder, record: &Record, state: &State) -> bool {
    match state.phase {
        Phase::Created => true,
        Phase::Exited => !record.remove_on_exit || folder.is_marked(folder::KEPT),
        Phase::Starting | Phase::Running | Phase::Restarting => false,
    }
}

/// Nobody is in charge of the app, and now we are.
fn with_lock(
    apps: &Apps,
    folder: &Folder,
    record: &Record,
    lock: Lock,
) -> Result<Option<Repair>, AppsError> {
    let name = &record.name;
    // What was read before may have changed until the lock was ours.
    let mut state =
        folder.read_state().unwrap_or(State { phase: Phase::Starting, ..State::default() });
    match state.phase {
        _ if is_settled(folder, record, &state) => Ok(None),
        Phase::Created | Phase::Exited => {
            apps.take_down(record, None)?;
            apps.forget(record, folder)?;
            Ok(Some(Repair(format!("removed app {name}, which was to go when it ended"))))
        }
        Phase::Running => {
            let now = apps.domain_state(record, &state)?;
            if now != DomainState::Gone {
                apps.start_monitor(record, folder, &lock, Duration::ZERO)?;
                return Ok(Some(Repair(format!(
                    "the monitor of app {name} had died; started it anew"
                ))));
            }
            if let Some(repair) =
                to_restart(apps, folder, record, &mut state, Outcome::unreported(now), &lock)?
            {
                return Ok(Some(repair));
            }
            apps.finish(folder, record, &mut state, Outcome::unreported(now), &lock)?;
            Ok(Some(Repair(format!(
                "app {name} ended while nobody watched; took down what was left"
            ))))
        }
        Phase::Restarting => {
            apps.start_monitor(record, folder, &lock, Duration::ZERO)?;
            Ok(Some(Repair(format!(
                "app {name} waits to be started again, and nobody was to do it; started its monitor anew"
            ))))
        }
        Phase::Starting => {
            // One that is just being destroyed is not found, but has nodes yet.
            state.domid = apps.domains().find(record.uuid)?.map(|domid| domid.0).or(state.domid);
            let message = "the launcher was killed while it started the app";
            let outcome = Outcome { code: 125, message: Some(message.into()) };
            if state.restarts > 0 {
                let outcome = outcome.clone();
                if let Some(repair) = to_restart(apps, folder, record, &mut state, outcome, &lock)?
                {
                    return Ok(Some(repair));
                }
            }
            apps.finish(folder, record, &mut state, outcome, &lock)?;
            Ok(Some(Repair(format!(
                "the start of app {name} was interrupted; took down what was left"
            ))))
        }
    }
}

/// Has an app started again whose end nobody saw, where its policy says so.
fn to_restart(
    apps: &Apps,
    folder: &Folder,
    record: &Record,
    state: &mut State,
    outcome: Outcome,
    lock: &Lock,
) -> Result<Option<Repair>, AppsError> {
    if !apps.wants_restart(folder, state, &outcome) {
        return Ok(None);
    }
    apps.finish_to_restart(folder, record, state, outcome, lock)?;
    apps.start_monitor(record, folder, lock, Duration::ZERO)?;
    let name = &record.name;
    Ok(Some(Repair(format!("app {name} ended while nobody watched; it is started again"))))
}

/// A folder whose maker died before it was complete, or whose remover before it was gone; also one
/// with a record that cannot be read, for those who say so.
pub(crate) fn remove_incomplete(
    apps: &Apps,
    id: &str,
    folder: &Folder,
) -> Result<Option<Repair>, AppsError> {
    // Makers take the app's lock under the common one.
    let common = apps.common_lock()?;
    let lock = match folder.try_lock() {
        Ok(None) => return Ok(None),
        Ok(Some(lock)) => Some(lock),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let complete = folder.read_record().is_ok() && folder.read_state().is_ok();
    if complete || !folder.path().exists() {
        return Ok(None);
    }
    apps.destroy_domain_of(id)?;
    apps.names().release_all(id)?;
    folder.remove()?;
    drop((lock, common));
    Ok(Some(Repair(format!("removed app {id}, which was made or removed only in part"))))
}
