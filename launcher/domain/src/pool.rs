//! Pools: how many domains are to wait for which apps, and keeping them filled.

use crate::apps::Apps;
use crate::domain_state::DomainState;
use crate::error::AppsError;
use crate::launch::MachineWish;
use crate::spec::{Machine, ToolstackKind};
use crate::waiting::Waiting;
use files::FileError;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use xen::DomId;

/// The list of pools, in the folder of domains that wait.
const POOLS: &str = "pools.json";
/// Held while the list is changed or the pools are filled.
const LOCK: &str = ".lock";

/// A number of domains that are to wait for apps of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// What they have.
    pub machine: Machine,
    /// The image whose disk they have already; without one they fit any image.
    pub image: Option<String>,
    /// How many.
    pub size: u32,
}

/// A pool as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolStatus {
    /// What it is to be.
    #[serde(flatten)]
    pub pool: Pool,
    /// How many domains wait.
    pub waiting: u32,
    /// The addresses of those, the next to be taken first.
    pub addresses: Vec<IpAddr>,
}

impl Apps {
    /// The machine that domains of a pool have.
    ///
    /// # Errors
    /// A wish that cannot be fulfilled.
    pub fn pool_machine(
        &self,
        wish: &MachineWish,
        image: Option<(&image::Image, &str)>,
    ) -> Result<Machine, AppsError> {
        self.domains().check()?;
        if !self.domains().known()? {
            return Err(AppsError::PoolNeedsNative);
        }
        let config = image.map(|(image, name)| (&image.config, name));
        let chosen = (ToolstackKind::Native, self.choose_kind(wish));
        Ok(crate::resolve::machine(wish, config, self.settings(), chosen)?)
    }

    /// All pools and how many domains wait in each.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn pools(&self, images: &image::Store) -> Result<Vec<PoolStatus>, AppsError> {
        let waiting = self.waiting()?;
        let leases = self.with_network(net::Network::leases)?;
        let mut found = Vec::new();
        for pool in self.read_pools()? {
            let Wanted { digest, .. } = wanted(&pool, images)?;
            let of_it = waiting.iter().filter(|(folder, waiting)| {
                serves(&pool, digest.as_deref(), waiting) && self.is_alive(folder.id(), waiting)
            });
            let ids: Vec<&str> = of_it.map(|(folder, _)| folder.id()).collect();
            let addresses = ids.iter().filter_map(|id| Some(IpAddr::V4(*leases.get(*id)?)));
            let addresses = addresses.collect();
            let waiting = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            found.push(PoolStatus { pool, waiting, addresses });
        }
        Ok(found)
    }

    /// Adds a pool, or changes the size of the one that is the same otherwise; 0 removes it.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn set_pool(&self, pool: Pool) -> Result<(), AppsError> {
        let _lock = self.lock_pools()?;
        let mut pools = self.read_pools()?;
        pools.retain(|old| (&old.machine, &old.image) != (&pool.machine, &pool.image));
        if pool.size > 0 {
            pools.push(pool);
        }
        self.write_pools(&pools)
    }

    /// Removes all pools.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn drain_pools(&self) -> Result<(), AppsError> {
        let _lock = self.lock_pools()?;
        self.write_pools(&[])
    }

    /// Whether there is any pool to be filled.
    #[must_use]
    pub fn has_pools(&self) -> bool {
        self.pool().join(POOLS).exists()
    }

    /// Builds domains that are missing and destroys those that nobody is to wait for; waits for
    /// another process that does the same.
    ///
    /// # Errors
    /// A domain cannot be built or destroyed, or an image is gone.
    pub fn fill_pools(&self, images: &image::Store) -> Result<(), AppsError> {
        let _span = tracing::info_span!("fill pools").entered();
        let _lock = self.lock_pools()?;
        self.repair_waiting()?;
        let pools = self.read_pools()?;
        let mut wants = Vec::new();
        for pool in &pools {
            wants.push((pool, wanted(pool, images)?, 0));
        }
        for (folder, waiting) in self.waiting()? {
            let place = wants.iter_mut().find(|(pool, want, count)| {
                *count < pool.size && serves(pool, want.digest.as_deref(), &waiting)
            });
            match place {
                Some((_, _, count)) if self.is_alive(folder.id(), &waiting) => *count += 1,
                _ => drop(self.remove_waiting(&folder)?),
            }
        }
        for (pool, want, count) in wants {
            for _ in count..pool.size {
                self.build_waiting(&pool.machine, want.image.as_ref())?;
            }
        }
        Ok(())
    }

    /// Destroys all domains that wait; the pools stay, for [`Apps::fill_pools`] to fill.
    ///
    /// # Errors
    /// A domain cannot be destroyed.
    pub fn empty_pools(&self) -> Result<(), AppsError> {
        let _lock = self.lock_pools()?;
        self.repair_waiting()?;
        for (folder, _) in self.waiting()? {
            self.remove_waiting(&folder)?;
        }
        Ok(())
    }

    fn is_alive(&self, id: &str, waiting: &Waiting) -> bool {
        let state = self.domains().state(DomId(waiting.domid), crate::ids::uuid_of(id));
        state.is_ok_and(|state| state == DomainState::Alive)
    }

    fn lock_pools(&self) -> Result<File, AppsError> {
        let folder = self.pool();
        files::make_private(&folder).map_err(FileError::io("make", &folder))?;
        let path = folder.join(LOCK);
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(FileError::io("open", &path))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|errno| FileError::io("lock", &path)(errno.into()))?;
        Ok(file)
    }

    fn read_pools(&self) -> Result<Vec<Pool>, AppsError> {
        match files::read_json(&self.pool().join(POOLS)) {
            Ok(pools) => Ok(pools),
            Err(error) if error.is_not_found() => Ok(vec![]),
            Err(error) => Err(error.into()),
        }
    }

    fn write_pools(&self, pools: &[Pool]) -> Result<(), AppsError> {
        let path = self.pool().join(POOLS);
        if pools.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(FileError::io("remove", &path)(error).into())
                }
                _ => Ok(()),
            };
        }
        Ok(files::write_json(&path, &pools)?)
    }
}

/// The image that a pool's domains are to have, as it is called now.
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

fn serves(pool: &Pool, digest: Option<&str>, waiting: &Waiting) -> bool {
    waiting.machine == pool.machine && waiting.image.as_deref() == digest && waiting.is_current()
}
