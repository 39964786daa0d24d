//! Pooled domains: booted up to `init` ahead of their app, with devices but without orders.
//!
//! Each has a folder under `pool`, named by the id of its later app. A launch takes the domain by renaming that
//! folder, which succeeds for only one launch.

use crate::apps::Apps;
use crate::error::AppsError;
use crate::guest::nodes::start_set_nodes;
use crate::network::{self, with_network};
use crate::record::pooled_domain::PooledDomain;
use crate::record::timing::now_ms;
use crate::record::writable_choice::WritableChoice;
use crate::request::domain;
use crate::storage::root::link_disk;
use crate::storage::{layer, start_set};
use crate::store::folder::{self, Folder};
use crate::store::ids::{new_id, uuid_of};
use crate::store::lock::Lock;
use files::FileError;
use std::fs;
use std::net::IpAddr;
use toolstack::{DomId, DomainSpec, DomainState, Shape, ToolstackKind};

/// All pooled domains with their folders: those with an image first, and among them the oldest first.
pub(crate) fn list(apps: &Apps) -> Result<Vec<(Folder, PooledDomain)>, AppsError> {
    let mut found = Vec::new();
    for folder in apps.pooled_folders()? {
        // A domain that is being built has no note yet; the folder of one that was just taken is gone.
        if let Ok(pooled) = files::read_json::<PooledDomain>(&folder.file(folder::POOLED)) {
            found.push((folder, pooled));
        }
    }
    found.sort_by_key(|(_, pooled)| (pooled.image.is_none(), pooled.created_unix_ms));
    Ok(found)
}

/// Takes a fitting domain, if there is one. Its folder is then the app's.
///
/// The caller holds the common lock.
pub(crate) fn take(
    apps: &Apps,
    fits: impl Fn(&PooledDomain) -> bool,
) -> Result<Option<(Folder, Lock, PooledDomain)>, AppsError> {
    for (folder, pooled) in list(apps)? {
        if !fits(&pooled) {
            continue;
        }
        let Ok(Some(lock)) = folder.try_lock() else { continue };
        let domid = DomId(pooled.domid);
        if apps.toolstack().state(domid, uuid_of(folder.id()))? != DomainState::Alive {
            continue;
        }
        let taken = apps.folder(folder.id());
        if fs::rename(folder.path(), taken.path()).is_ok() {
            return Ok(Some((taken, lock, pooled)));
        }
    }
    Ok(None)
}

/// Destroys the domain that was booted or taken for the app `id`, and frees its address.
pub(crate) fn destroy(apps: &Apps, domid: Option<DomId>, id: &str) -> Result<(), AppsError> {
    let Some(domid) = domid else { return Ok(()) };
    apps.toolstack().destroy(ToolstackKind::Native, domid, uuid_of(id))?;
    with_network(apps, |network| network.release(id))
}

/// Builds a pooled domain; returns while it boots.
///
/// # Errors
/// The domain cannot be built. Nothing is left then.
pub(crate) fn build(
    apps: &Apps,
    shape: &Shape,
    image: Option<&image::Image>,
) -> Result<(), AppsError> {
    let id = new_id()?;
    let pool = apps.pool_folder();
    files::make_private(&pool).map_err(FileError::io("make", &pool))?;
    let folder = Folder::new(pool.join(&id));
    let _lock = folder.make()?;
    fill(apps, &folder, shape, image).map_err(|error| {
        let error = error.and(with_network(apps, |network| network.release(&id)));
        error.and(folder.remove())
    })
}

fn fill(
    apps: &Apps,
    folder: &Folder,
    shape: &Shape,
    image: Option<&image::Image>,
) -> Result<(), AppsError> {
    let mut disks = domain::disks(folder.path(), WritableChoice::Disk);
    let mut promised = vec![];
    match image {
        Some(image) => {
            link_disk(&image.disk, &folder.file(folder::ROOT_DISK))?;
            start_set::link(&image.disk, folder)?;
        }
        None => (disks, promised) = disks.into_iter().partition(|disk| disk.writable),
    }
    layer::make(&apps.templates(), folder, apps.settings().storage_mib)?;
    let link = network::link(apps, folder.id(), None, None)?;
    let address = link.lease.address;
    let spec = DomainSpec {
        id: folder.id().to_owned(),
        name: format!("waiting-{}", folder.id()),
        uuid: uuid_of(folder.id()),
        shape: shape.clone(),
        disks,
        vif: Some(link.vif()),
        folder: folder.path().to_owned(),
    };
    let booted = apps.toolstack().boot(&spec.name, spec.uuid, shape)?;
    let Some(domid) = booted.domid() else { return Err(AppsError::PoolNeedsNative) };
    let undone =
        |error: AppsError| error.and(apps.toolstack().destroy(shape.toolstack, domid, spec.uuid));
    let nodes = start_set_nodes(folder);
    let furnished = apps.toolstack().furnish(booted, &spec, &nodes, promised.first());
    furnished.map_err(|error| undone(error.into()))?;
    let pooled = PooledDomain {
        shape: shape.clone(),
        image: image.map(|image| image.digest.to_string()),
        furnished: true,
        address: match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        },
        created_unix_ms: now_ms(),
        domid: domid.0,
    };
    let noted =
        files::write_json(&folder.file(folder::POOLED), &pooled, files::Durability::PowerFailure);
    noted.map_err(|error| undone(error.into()))
}

/// Destroys a pooled domain, or its remains, and returns whether it did. Leaves a domain alone that was just taken or
/// is being built.
pub(crate) fn remove(apps: &Apps, folder: &Folder) -> Result<bool, AppsError> {
    let Ok(Some(_lock)) = folder.try_lock() else { return Ok(false) };
    match files::read_json::<PooledDomain>(&folder.file(folder::POOLED)) {
        // If its destruction was interrupted, the domain is not found by its UUID but still has nodes.
        Ok(pooled) => apps.toolstack().destroy(
            ToolstackKind::Native,
            DomId(pooled.domid),
            uuid_of(folder.id()),
        )?,
        Err(_) => destroy_domain_of(apps, folder.id())?,
    }
    with_network(apps, |network| network.release(folder.id()))?;
    folder.remove()?;
    Ok(true)
}

/// Destroys the domain of an app, or of a pooled folder, if there is one.
pub(crate) fn destroy_domain_of(apps: &Apps, id: &str) -> Result<(), AppsError> {
    if apps.toolstack().check().is_err() {
        return Ok(());
    }
    if let Some(domid) = apps.toolstack().find(uuid_of(id))? {
        apps.toolstack().destroy(ToolstackKind::Native, domid, uuid_of(id))?;
    }
    Ok(())
}

/// Removes what killed processes left of pooled domains. Returns the ids.
pub(crate) fn repair(apps: &Apps) -> Result<Vec<String>, AppsError> {
    let mut removed = Vec::new();
    for folder in apps.pooled_folders()? {
        // A domain with an unreadable note, such as one of another version, is never taken.
        let note = files::read_json::<PooledDomain>(&folder.file(folder::POOLED));
        if note.is_err() && remove(apps, &folder)? {
            removed.push(folder.id().to_owned());
        }
    }
    Ok(removed)
}
