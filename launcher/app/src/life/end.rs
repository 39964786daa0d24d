//! Ends an app: removes all that its start has made.

use crate::apps::Apps;
use crate::error::AppsError;
use crate::network::with_network;
use crate::record::app::Record;
use crate::record::outcome::Outcome;
use crate::record::timing::now_ms;
use crate::store::folder::{self, Folder};
use crate::store::locked::Locked;
use contract::one_line;
use toolstack::DomId;
/// Removes folder and name of an app; the caller has the app's lock.
pub(crate) fn forget(apps: &Apps, record: &Record, folder: &Folder) -> Result<(), AppsError> {
    let _common = apps.common_lock()?;
    // The app may have been renamed since `record` was read.
    let now = folder.read_record().map_or(record.name.clone(), |record| record.name);
    // The record first: if this process is killed now, a repair removes the folder without record, and the name.
    // An app without a name could not be removed by name.
    folder.remove_record()?;
    apps.names().release(&record.id, &now)?;
    Ok(folder.remove()?)
}

/// Removes what a start has made: domain, disks, ports, address. Continues after an error. May be called twice.
pub(crate) fn take_down(
    apps: &Apps,
    record: &Record,
    domid: Option<DomId>,
) -> Result<(), AppsError> {
    let _span = tracing::info_span!("take down", app = record.name).entered();
    let mut done: Result<(), AppsError> = Ok(());
    let mut step = |result: Result<(), AppsError>| {
        done = match (std::mem::replace(&mut done, Ok(())), result) {
            (Ok(()), result) => result,
            (Err(first), result) => Err(first.and(result)),
        };
    };
    if let Some(domid) = domid {
        let destroyed = apps.toolstack().destroy(record.shape.toolstack, domid, record.uuid);
        step(destroyed.map_err(AppsError::from));
    }
    step(with_network(apps, |network| network.unpublish(&record.id)));
    step(with_network(apps, |network| network.release(&record.id)));
    done
}

/// Ends an app whose lock this process holds: removes what its start has made, records its outcome, and removes
/// the app if `--rm` was given.
pub(crate) fn finish(apps: &Apps, app: &mut Locked, mut outcome: Outcome) -> Result<(), AppsError> {
    let down = take_down(apps, &app.record, app.state.domid());
    if let Err(error) = &down {
        let error = one_line(error);
        let message = match &outcome.message {
            Some(message) => format!("{message}; and then: {error}"),
            None => error,
        };
        outcome.message = Some(message.into());
    }
    app.state = app.state.exited(outcome.clone(), now_ms());
    let goes = app.record.remove_on_exit && !app.folder.is_marked(folder::KEPT);
    // The state of an app that is removed at once need not survive a power cut.
    let noted = match goes {
        true => app.folder.write_state_lightly(&app.state),
        false => app.folder.write_state(&app.state),
    };
    let noted = noted.map_err(AppsError::from);
    let left = app.lock.leave(&outcome).map_err(AppsError::from);
    // While the domain exists, the app stays, so that the next command sees it.
    let gone = match goes && down.is_ok() {
        true => forget(apps, &app.record, &app.folder),
        false => Ok(()),
    };
    down.and(noted).and(left).and(gone)
}
