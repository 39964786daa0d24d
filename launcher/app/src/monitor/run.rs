//! Runs the monitor.

use crate::apps::Apps;
use crate::error::AppsError;
use crate::guest::xenstore::GuestStore;
use crate::life::monitor_start::MonitorStart;
use crate::life::restart::restart_after_backoff;
use crate::life::sigterm;
use crate::log::writer::LogPaths;
use crate::monitor::cgroup;
use crate::monitor::current_reader::Reader;
use crate::monitor::keeper::{Keeper, Reading};
use crate::monitor::looks::Looks;
use crate::monitor::refill::Refill;
use crate::record::state::State;
use crate::storage::start_set;
use crate::store::folder::{self, Folder};
use crate::store::lock::Lock;
use crate::store::locked::Locked;
use contract::one_line;
use files::FileError;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Runs the monitor. Its standard input is the app's lock file. The caller must be the only thread of its process.
///
/// # Errors
/// The app cannot be watched; the next `launch` command starts another monitor.
pub fn run(start: &MonitorStart) -> Result<(), AppsError> {
    let apps = &Apps::open(&start.state_dir, &start.settings, &start.network)?;
    let folder = apps.folder(&start.id);
    let Some(lock) = take_lock(&folder)? else { return Ok(()) };
    // Protects the monitor from the end of the terminal. Fails only if it was done before.
    let _ = rustix::process::setsid();
    let left = cgroup::leave();
    std::thread::sleep(Duration::from_millis(start.delay_ms));
    sigterm::stop_ignoring_sigterm();
    let _ = std::env::set_current_dir("/");
    let record = folder.read_record()?;
    let state = folder.read_state()?;
    let mut app = Locked { record, state, folder, lock };
    if let State::Restarting { .. } = app.state {
        return restart_after_backoff(apps, &mut app, &start.launcher);
    }
    let State::Running { domid, .. } = app.state else {
        return Err(AppsError::NotRunning(app.record.name));
    };
    // A guest that was given a start set records none.
    let wants_start_set = start_set::is_wanted(&app.folder);
    let mut keeper = Keeper {
        log: LogPaths::new(&app.folder),
        guest: GuestStore::connect(domid)?,
        apps,
        app,
        domid,
        launcher: &start.launcher,
        console: None,
        reader: Reader::first(),
        looks: Looks::new(),
        report: Reading::default(),
        start_set: Reading { done: !wants_start_set, ..Reading::default() },
        refill: Refill::Unwanted,
        reported_errors: 0,
    };
    if let Err(error) = left {
        keeper.report_error(&one_line(&error));
    }
    let outcome = keeper.watch()?;
    keeper.refill(Refill::start);
    keeper.end(outcome)
}

/// The lock inherited as standard input, or else the free lock; `None` if another monitor holds it.
fn take_lock(folder: &Folder) -> Result<Option<Lock>, AppsError> {
    let failed = FileError::io("examine", folder.path());
    let inherited = io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(failed)?;
    if folder.is_lock(&inherited) {
        return Ok(Some(Lock::inherit(inherited, folder.file(folder::LOCK))?));
    }
    Ok(folder.try_lock()?)
}
