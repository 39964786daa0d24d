//! The monitor: two small processes an app, from its start to its end.
//!
//! The keeper learns how the app ends, and takes everything down. It is root, has the app's lock, and parses
//! nothing that a guest wrote. The [`reader`] does that: it keeps the log, and parses the report and the start set,
//! behind fences. When either dies, the other cannot do harm: without a keeper the reader ends, and the next
//! command starts both anew; without a reader the keeper starts another one.
//!
//! A guest can cost dom0 little: its output is read at a limited rate (see [`crate::limiter`]), and no node that it
//! may write is watched. Linux queues the events of a watch without a limit. The keeper watches for domains that
//! end, which the guest's end is one of, and looks at the guest's nodes then and at a few moments after the start.

mod channel;
mod current_reader;
mod fence;
mod keeper;
mod looks;
mod messages;
mod process;
mod reader;
mod readers;
mod refill;

use crate::apps::Apps;
use crate::error::AppsError;
use crate::folder;
use crate::folder::Folder;
use crate::lock::Lock;
use crate::log::LogPaths;
use crate::monitor_start::MonitorStart;
use crate::record::Phase;
use crate::{cgroup, start_set};
use contract::one_line;
use current_reader::Reader;
use files::FileError;
use keeper::{Keeper, Reading};
use looks::Looks;
use refill::Refill;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;
use xen::DomId;
use xen::store::Store;

/// The body of the monitor, whose standard input is the app's lock file. The caller must be the only thread of its
/// process.
///
/// # Errors
/// The app cannot be watched; the next `launch` command starts a monitor anew.
pub fn run(start: &MonitorStart) -> Result<(), AppsError> {
    let apps = &Apps::open(&start.state_dir, &start.settings, &start.network)?;
    let folder = apps.folder(&start.id);
    let Some(lock) = take_lock(&folder)? else { return Ok(()) };
    // A terminal that goes away takes nothing of ours with it. Fails only where done before.
    let _ = rustix::process::setsid();
    let left = cgroup::leave();
    std::thread::sleep(Duration::from_millis(start.pause_ms));
    cgroup::hear_sigterm();
    let _ = std::env::set_current_dir("/");
    let record = folder.read_record()?;
    let mut state = folder.read_state()?;
    if state.phase == Phase::Restarting {
        return apps.restart_after_pause(&folder, &record, &mut state, &lock, &start.launcher);
    }
    let Some(domid) = state.domid.map(DomId) else {
        return Err(AppsError::NotRunning(record.name));
    };
    // A guest that was told a start set finds none out.
    let wants_start_set = start_set::is_wanted(&folder);
    let mut keeper = Keeper {
        log: LogPaths::new(&folder),
        store: Store::connect_to_wait()?,
        apps,
        folder,
        record,
        state,
        domid,
        launcher: &start.launcher,
        console: None,
        reader: Reader::first(),
        looks: Looks::new(),
        report: Reading::default(),
        start_set: Reading { done: !wants_start_set, ..Reading::default() },
        refill: Refill::Unwanted,
        complaints: 0,
    };
    if let Err(error) = left {
        keeper.complain(&one_line(&error));
    }
    let outcome = keeper.watch()?;
    keeper.refill(Refill::start);
    keeper.end(outcome, &lock)
}

/// The lock that came with standard input, or else the free one; `None` where another monitor
/// has it.
fn take_lock(folder: &Folder) -> Result<Option<Lock>, AppsError> {
    let failed = FileError::io("examine", folder.path());
    let inherited = io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(failed)?;
    if folder.is_lock(&inherited) {
        return Ok(Some(Lock::inherit(inherited, folder.file(folder::LOCK))?));
    }
    Ok(folder.try_lock()?)
}
