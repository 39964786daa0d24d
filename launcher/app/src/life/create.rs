//! Creates an app without starting it.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::life::start::boot;
use crate::pool::fit::fits;
use crate::pool::pooled;
use crate::record::app::Record;
use crate::record::pooled_domain::PooledDomain;
use crate::record::state::State;
use crate::record::timing::{Timings, now_ms, timed};
use crate::record::writable_choice::WritableChoice;
use crate::request::resolve::{Identity, resolve};
use crate::request::run_request::RunRequest;
use crate::request::shape;
use crate::storage::root::link_disk;
use crate::storage::{layer, start_set};
use crate::store::folder::{self, Folder};
use crate::store::ids::{new_id, uuid_of};
use crate::store::lock::Lock;
use crate::store::locked::Locked;
use files::FileError;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use toolstack::{Booted, Shape};

/// Creates an app without starting it.
///
/// # Errors
/// The name is taken, the request cannot be fulfilled, or the disk is full. Nothing is left then.
pub fn create(apps: &Apps, request: &RunRequest) -> Result<App, AppsError> {
    let _span = tracing::info_span!("create").entered();
    let shape = shape(apps, request)?;
    let timings = &mut Timings::new();
    let (folder, lock) = timed(timings, "folder", || new_folder(apps))?;
    let place = Place { folder, lock, pooled: None };
    let (app, _) = make(apps, request, shape, place, false, timings)?;
    Ok(app.into())
}

/// Creates an app that will be started at once. Uses a pooled domain if one fits, else boots a domain while it makes
/// the rest.
///
/// # Errors
/// As [`create`], and the domain cannot be booted.
pub(crate) fn create_booted(
    apps: &Apps,
    request: &RunRequest,
    timings: &mut Timings,
) -> Result<(Locked, Booted), AppsError> {
    let _span = tracing::info_span!("create").entered();
    let shape = shape(apps, request)?;
    apps.toolstack().check()?;
    let place = timed(timings, "folder", || reserve(apps, &shape, request))?;
    make(apps, request, shape, place, true, timings)
}

/// The folder reserved for a new app, with its lock.
struct Place {
    folder: Folder,
    lock: Lock,
    /// The pooled domain that was taken for the app.
    pooled: Option<PooledDomain>,
}

fn shape(apps: &Apps, request: &RunRequest) -> Result<Shape, AppsError> {
    let named = Some((&request.image.config, request.image_name.as_str()));
    let chosen = (apps.choose_toolstack(&request.shape), apps.choose_kind(&request.shape));
    Ok(shape::shape(&request.shape, named, apps.settings(), chosen)?)
}

fn make(
    apps: &Apps,
    request: &RunRequest,
    shape: Shape,
    place: Place,
    to_start: bool,
    timings: &mut Timings,
) -> Result<(Locked, Booted), AppsError> {
    let Place { folder, lock, pooled } = place;
    let id = folder.id().to_owned();
    let mut name = None;
    let mut booted = pooled.as_ref().map_or(Booted::NotYet, PooledDomain::booted);
    let made = || -> Result<(Record, State), AppsError> {
        let name = name.insert(take_name(apps, request, &id)?).clone();
        if to_start {
            apps.toolstack().check_name(&name)?;
        }
        let identity =
            Identity { uuid: uuid_of(&id), id: id.clone(), name, created_unix_ms: now_ms() };
        let record = resolve(request, shape, identity, apps.settings())?;
        if to_start && pooled.is_none() {
            booted = boot(apps, &record, timings)?;
        }
        let state = timed(timings, "disks", || {
            fill(apps, &folder, request, &record, (pooled.as_ref(), &booted))
        })?;
        Ok((record, state))
    };
    match made() {
        Ok((record, state)) => Ok((Locked { record, state, folder, lock }, booted)),
        Err(error) => {
            let released = name.map_or(Ok(()), |name| apps.names().release(&id, &name));
            let error = error.and(released).and(pooled::destroy(apps, booted.domid(), &id));
            Err(error.and(folder.remove()))
        }
    }
}

/// Reserves a folder for a new app: that of a pooled domain that fits, or else an empty one.
fn reserve(apps: &Apps, shape: &Shape, request: &RunRequest) -> Result<Place, AppsError> {
    // Until the folder has a record, other processes take it for the leftover of a dead process.
    let common = apps.common_lock()?;
    let fits = |pooled: &PooledDomain| fits(pooled, shape, request, apps.settings());
    if let Some((folder, lock, pooled)) = pooled::take(apps, fits)? {
        return Ok(Place { folder, lock, pooled: Some(pooled) });
    }
    let (folder, lock) = new_folder_under(apps, &common)?;
    Ok(Place { folder, lock, pooled: None })
}

fn new_folder(apps: &Apps) -> Result<(Folder, Lock), AppsError> {
    new_folder_under(apps, &apps.common_lock()?)
}

fn new_folder_under(apps: &Apps, _common: &std::fs::File) -> Result<(Folder, Lock), AppsError> {
    let folder = apps.folder(&new_id()?);
    let lock = folder.make()?;
    Ok((folder, lock))
}

fn take_name(apps: &Apps, request: &RunRequest, id: &str) -> Result<String, AppsError> {
    let base = if request.image_name.is_empty() { "app" } else { &request.image_name };
    let exists = |holder: &str| apps.folder(holder).path().exists();
    let _common = apps.common_lock()?;
    Ok(apps.names().take(id, request.name.as_deref(), base, exists)?)
}

fn fill(
    apps: &Apps,
    folder: &Folder,
    request: &RunRequest,
    record: &Record,
    (pooled, booted): (Option<&PooledDomain>, &Booted),
) -> Result<State, AppsError> {
    // Until the record is written, other processes cannot know that this app uses the image.
    let _held = request.image.hold()?;
    if pooled.is_none_or(|pooled| pooled.image.is_none()) {
        link_disk(&request.image.disk, &folder.file(folder::ROOT_DISK))?;
        start_set::link(&request.image.disk, folder)?;
    }
    let has_layer = pooled.is_some_and(|pooled| pooled.furnished);
    if record.writable == WritableChoice::Disk && !has_layer {
        layer::make(&apps.templates(), folder, record.storage_mib)?;
    }
    let log = folder.file(folder::LOG);
    let made = OpenOptions::new().append(true).create(true).mode(0o600).open(&log);
    made.map_err(FileError::io("make", &log))?;
    // With the domain in the state, a repair can destroy it if this process is killed now.
    let state = match booted.domid() {
        Some(domid) => State::default().booted(domid),
        None => State::default(),
    };
    folder.write_state_lightly(&state)?;
    // Last, because a folder with a record counts as complete.
    folder.write_record(record)?;
    Ok(state)
}
