//! Pools: how many domains are kept ready for which apps. Fills and empties them.

use crate::apps::Apps;
use crate::error::AppsError;
use crate::network::with_network;
use crate::pool::pooled;
use crate::record::pooled_domain::PooledDomain;
use crate::request::run_request::ShapeRequest;
use crate::request::shape::shape;
use crate::store::ids::uuid_of;
use files::FileError;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use toolstack::{DomId, DomainState, Shape, ToolstackKind};

/// The list of pools, in the folder of pooled domains.
const POOLS: &str = "pools.json";
/// Held while a process changes the list or fills the pools.
const LOCK: &str = ".lock";

/// A number of domains that are kept ready for apps of one shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The domains' shape.
    #[serde(rename = "machine")]
    pub shape: Shape,
    /// The image whose disk the domains already have; without one they fit any image.
    pub image: Option<String>,
    /// How many domains to keep ready.
    pub size: u32,
}

/// The current state of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolStatus {
    /// The pool's definition.
    #[serde(flatten)]
    pub pool: Pool,
    /// How many domains are ready.
    pub waiting: u32,
    /// The addresses of those domains, the next one to be taken first.
    pub addresses: Vec<IpAddr>,
}

/// The shape that domains of a pool have.
///
/// # Errors
/// The request cannot be fulfilled.
pub fn pool_shape(
    apps: &Apps,
    request: &ShapeRequest,
    image: Option<(&image::Image, &str)>,
) -> Result<Shape, AppsError> {
    apps.toolstack().check()?;
    if !apps.toolstack().is_xen_known()? {
        return Err(AppsError::PoolNeedsNative);
    }
    let config = image.map(|(image, name)| (&image.config, name));
    let chosen = (ToolstackKind::Native, apps.choose_kind(request));
    Ok(shape(request, config, apps.settings(), chosen)?)
}

/// All pools, each with the number of domains that are ready.
///
/// # Errors
/// The list cannot be read.
pub fn list_pools(apps: &Apps, images: &image::Store) -> Result<Vec<PoolStatus>, AppsError> {
    let ready = pooled::list(apps)?;
    let leases = with_network(apps, net::Network::leases)?;
    let mut found = Vec::new();
    for pool in read_pools(apps)? {
        let Wanted { digest, .. } = wanted(&pool, images)?;
        let of_it = ready.iter().filter(|(folder, pooled)| {
            serves(&pool, digest.as_deref(), pooled) && is_alive(apps, folder.id(), pooled)
        });
        let ids: Vec<&str> = of_it.map(|(folder, _)| folder.id()).collect();
        let addresses = ids.iter().filter_map(|id| Some(IpAddr::V4(*leases.get(*id)?)));
        let addresses = addresses.collect();
        let waiting = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        found.push(PoolStatus { pool, waiting, addresses });
    }
    Ok(found)
}

/// Adds a pool, or changes the size of an equal one; size 0 removes it.
///
/// # Errors
/// The list cannot be written.
pub fn set_pool(apps: &Apps, pool: Pool) -> Result<(), AppsError> {
    let _lock = lock_pools(apps)?;
    let mut pools = read_pools(apps)?;
    pools.retain(|old| (&old.shape, &old.image) != (&pool.shape, &pool.image));
    if pool.size > 0 {
        pools.push(pool);
    }
    write_pools(apps, &pools)
}

/// Removes all pools.
///
/// # Errors
/// The list cannot be written.
pub fn drain_pools(apps: &Apps) -> Result<(), AppsError> {
    let _lock = lock_pools(apps)?;
    write_pools(apps, &[])
}

/// Whether there is any pool to be filled.
#[must_use]
pub(crate) fn has_pools(apps: &Apps) -> bool {
    apps.pool_folder().join(POOLS).exists()
}

/// Builds missing domains and destroys those that belong to no pool. If another process fills the pools, waits for
/// it.
///
/// # Errors
/// A domain cannot be built or destroyed, or an image does not exist.
pub fn fill_pools(apps: &Apps, images: &image::Store) -> Result<(), AppsError> {
    let _span = tracing::info_span!("fill pools").entered();
    let _lock = lock_pools(apps)?;
    pooled::repair(apps)?;
    let pools = read_pools(apps)?;
    let mut wants = Vec::new();
    for pool in &pools {
        wants.push((pool, wanted(pool, images)?, 0));
    }
    for (folder, pooled) in pooled::list(apps)? {
        let place = wants.iter_mut().find(|(pool, want, count)| {
            *count < pool.size && serves(pool, want.digest.as_deref(), &pooled)
        });
        match place {
            Some((_, _, count)) if is_alive(apps, folder.id(), &pooled) => *count += 1,
            _ => drop(pooled::remove(apps, &folder)?),
        }
    }
    for (pool, want, count) in wants {
        for _ in count..pool.size {
            pooled::build(apps, &pool.shape, want.image.as_ref())?;
        }
    }
    Ok(())
}

/// Destroys all pooled domains. Keeps the pools, so that [`fill_pools`] can fill them.
///
/// # Errors
/// A domain cannot be destroyed.
pub fn empty_pools(apps: &Apps) -> Result<(), AppsError> {
    let _lock = lock_pools(apps)?;
    pooled::repair(apps)?;
    for (folder, _) in pooled::list(apps)? {
        pooled::remove(apps, &folder)?;
    }
    Ok(())
}

fn is_alive(apps: &Apps, id: &str, pooled: &PooledDomain) -> bool {
    let state = apps.toolstack().state(DomId(pooled.domid), uuid_of(id));
    state.is_ok_and(|state| state == DomainState::Alive)
}

fn lock_pools(apps: &Apps) -> Result<File, AppsError> {
    let folder = apps.pool_folder();
    files::make_private(&folder).map_err(FileError::io("make", &folder))?;
    let path = folder.join(LOCK);
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(FileError::io("open", &path))?;
    flock(&file, FlockOperation::LockExclusive)
        .map_err(|errno| FileError::io("lock", &path)(errno.into()))?;
    Ok(file)
}

fn read_pools(apps: &Apps) -> Result<Vec<Pool>, AppsError> {
    match files::read_json(&apps.pool_folder().join(POOLS)) {
        Ok(pools) => Ok(pools),
        Err(error) if error.is_not_found() => Ok(vec![]),
        Err(error) => Err(error.into()),
    }
}

fn write_pools(apps: &Apps, pools: &[Pool]) -> Result<(), AppsError> {
    let path = apps.pool_folder().join(POOLS);
    if pools.is_empty() {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::io("remove", &path)(error).into())
            }
            _ => Ok(()),
        };
    }
    Ok(files::write_json(&path, &pools, files::Durability::PowerFailure)?)
}

/// A pool's image, resolved to its current digest.
struct Wanted {
    image: Option<image::Image>,
    digest: Option<String>,
}

fn wanted(pool: &Pool, images: &image::Store) -> Result<Wanted, AppsError> {
    let Some(name) = &pool.image else { return Ok(Wanted { image: None, digest: None }) };
    let image = images.find(name)?.ok_or_else(|| AppsError::PoolImage(name.clone()))?;
    let digest = Some(image.digest.to_string());
    Ok(Wanted { image: Some(image), digest })
}

fn serves(pool: &Pool, digest: Option<&str>, pooled: &PooledDomain) -> bool {
    pooled.shape == pool.shape && pooled.image.as_deref() == digest && pooled.is_current()
}
