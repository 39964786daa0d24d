//! Removes an app.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::life::end::{forget, take_down};
use crate::life::kill::{TIDY_TIME, kill};
use crate::pool::pooled;
use crate::record::app::Record;
use crate::record::repair::Repair;
use crate::store::end_watch::EndWatch;
use crate::store::folder::{self, Folder};
use crate::store::locked::Locked;
use std::time::Instant;
use toolstack::DomId;

/// Removes an app and its writable layer. Removes a running app only with `force`.
///
/// # Errors
/// The app runs, or its folder cannot be removed.
pub fn remove(apps: &Apps, app: &App, force: bool) -> Result<(), AppsError> {
    let folder = apps.folder(&app.record.id);
    let running = || AppsError::Running(app.record.name.clone());
    let _lock = match folder.take_lock() {
        Ok(Some(lock)) => lock,
        Ok(None) if force => {
            kill(apps, app)?;
            // An app that waits for a restart has no domain. Its monitor sees the mark and ends.
            if folder.mark(folder::STOPPED).is_ok() {
                EndWatch::new(&folder)?.wait(Some(Instant::now() + TIDY_TIME))?;
            }
            match folder.take_lock() {
                Ok(lock) => lock.ok_or_else(running)?,
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None) => return Err(running()),
        // The app's monitor has removed the folder meanwhile.
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // A domain of the app without a monitor: the user started it from the config.
    let by_hand = unwatched_domain(apps, &app.record)?;
    if by_hand.is_some() && !force {
        return Err(running());
    }
    take_down(apps, &app.record, by_hand)?;
    forget(apps, &app.record, &folder)
}

/// Removes an app whose lock this process holds, and its domain if it has one.
///
/// # Errors
/// As [`remove`].
pub(crate) fn remove_locked(apps: &Apps, app: &Locked) -> Result<(), AppsError> {
    take_down(apps, &app.record, unwatched_domain(apps, &app.record)?)?;
    forget(apps, &app.record, &app.folder)
}

fn unwatched_domain(apps: &Apps, record: &Record) -> Result<Option<DomId>, AppsError> {
    match apps.toolstack().check() {
        Ok(()) => Ok(apps.toolstack().find(record.uuid)?),
        // Without Xen there are no domains.
        Err(_) => Ok(None),
    }
}

/// Removes an app with unreadable files, by its id or name, and its domain. Returns whether the app is gone.
///
/// # Errors
/// Xen or the file system refuses.
pub fn remove_damaged(apps: &Apps, name: &str) -> Result<bool, AppsError> {
    let id = apps.names().find(name)?.unwrap_or_else(|| name.to_owned());
    if !apps.ids()?.contains(&id) {
        return Ok(false);
    }
    Ok(remove_incomplete(apps, &id, &apps.folder(&id))?.is_some())
}

/// Removes a folder that a killed process left incomplete or half removed. If a user asks for it, also removes a
/// folder whose record cannot be read.
pub(crate) fn remove_incomplete(
    apps: &Apps,
    id: &str,
    folder: &Folder,
) -> Result<Option<Repair>, AppsError> {
    // A process that creates an app takes its lock while it holds the common lock.
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
    pooled::destroy_domain_of(apps, id)?;
    apps.names().release_all(id)?;
    folder.remove()?;
    drop((lock, common));
    Ok(Some(Repair(format!("removed app {id}, which was only partly created or removed"))))
}
