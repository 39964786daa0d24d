//! Domains that wait for their app: booted up to `init`, without orders.
//!
//! Each has a folder of its own under `pool`, with the id of the app to be. A launch that it fits
//! takes it by renaming the folder, which succeeds for one only.

use super::{Apps, AppsError, ids_in, link_disk, new_id, now_ms, uuid_of};
use crate::WritableChoice;
use crate::folder::{self, FileError, Folder, Lock};
use crate::launch::Launch;
use crate::native::join_bridge;
use crate::record::Record;
use crate::resolve;
use crate::settings::Settings;
use crate::spec::{DomainSpec, Machine};
use crate::start_set;
use crate::toolstack::{DomainState, Toolstack};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};
use xen::DomId;

/// A domain that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What it has.
    pub machine: Machine,
    /// The manifest digest of the image whose disk it has already.
    pub image: Option<String>,
    /// Whether it has the disk of a writable layer of the usual size, an interface on our own
    /// bridge with a lease for it, and the promise of an image's disk where it has none.
    pub furnished: bool,
    /// The address that its lease is for.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// When it was built; milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Its number.
    pub domid: u16,
}

impl Waiting {
    /// Whether an app of this machine and image can have it.
    pub(super) fn fits(&self, machine: &Machine, launch: &Launch, settings: &Settings) -> bool {
        let usual_disk = launch.writable == WritableChoice::Disk
            && launch.storage_mib.is_none_or(|size_mib| size_mib == settings.storage_mib);
        let usual_interface = launch.network == net::NetworkRequest::Launch
            && launch.ip.is_none()
            && launch.mac.is_none();
        let usual_image = |digest: &String| *digest == launch.image.digest.to_string();
        self.machine == *machine
            && self.image.as_ref().is_none_or(usual_image)
            && (usual_disk && usual_interface || !self.furnished)
            && self.is_current()
    }

    /// Whether kernel and `init` are still those that it runs; an upgrade brings new ones.
    pub(crate) fn is_current(&self) -> bool {
        let built = UNIX_EPOCH + Duration::from_millis(self.created_unix_ms);
        [&self.machine.kernel, &self.machine.ramdisk].into_iter().all(|path| {
            fs::metadata(path).and_then(|data| data.modified()).is_ok_and(|time| time <= built)
        })
    }
}

impl Apps {
    /// Where the domains that wait have their folders.
    pub(crate) fn pool(&self) -> PathBuf {
        self.state_dir.join("pool")
    }

    /// All domains that wait, with their folders: those with an image first, the oldest first.
    pub(crate) fn waiting(&self) -> Result<Vec<(Folder, Waiting)>, AppsError> {
        let mut found = Vec::new();
        for folder in self.waiting_folders()? {
            // One that is being built has no note yet; one that was just taken is not here any more.
            if let Ok(waiting) = folder::read_json::<Waiting>(&folder.file(folder::WAITING)) {
                found.push((folder, waiting));
            }
        }
        found.sort_by_key(|(_, waiting)| (waiting.image.is_none(), waiting.created_unix_ms));
        Ok(found)
    }

    /// Takes a domain that fits, if one waits; its folder is an app's then.
    ///
    /// The caller has the common lock.
    pub(super) fn take_waiting(
        &self,
        fits: impl Fn(&Waiting) -> bool,
    ) -> Result<Option<(Folder, Lock, Waiting)>, AppsError> {
        for (folder, waiting) in self.waiting()? {
            if !fits(&waiting) {
                continue;
            }
            let Ok(Some(lock)) = folder.try_lock() else { continue };
            let domid = DomId(waiting.domid);
            if self.domains().state(domid, uuid_of(folder.id()))? != DomainState::Alive {
                continue;
            }
            let taken = self.folder(folder.id());
            if fs::rename(folder.path(), taken.path()).is_ok() {
                return Ok(Some((taken, lock, waiting)));
            }
        }
        Ok(None)
    }

    /// Lets a domain boot for an app of which only its record is known.
    pub(super) fn boot(&self, record: &Record) -> Result<Waiting, AppsError> {
        let domid = self.native.boot(&record.name, record.uuid, &record.machine)?;
        Ok(Waiting {
            machine: record.machine.clone(),
            image: None,
            furnished: false,
            address: None,
            created_unix_ms: now_ms(),
            domid: domid.0,
        })
    }

    /// Gives a domain that waited its app.
    pub(super) fn adopt(
        &self,
        waiting: &Waiting,
        mut spec: DomainSpec,
        folder: &Folder,
    ) -> Result<DomId, AppsError> {
        let domid = DomId(waiting.domid);
        if !waiting.furnished {
            self.native.attach(&spec, folder.path(), domid)?;
            return Ok(domid);
        }
        let joined = spec.vif.take();
        let disks = std::mem::take(&mut spec.disks);
        match disks.iter().find(|disk| !disk.writable && waiting.image.is_none()) {
            Some(promised) => self.native.provide(promised, &spec, folder.path(), domid)?,
            None => self.native.attach(&spec, folder.path(), domid)?,
        }
        if let Some(vif) = joined {
            // The bridge may be another one than when the domain was built.
            join_bridge(&vif, domid)?;
        }
        Ok(domid)
    }

    /// Undoes the taking, as far as that is possible.
    pub(super) fn destroy_waiting(
        &self,
        waiting: Option<&Waiting>,
        id: &str,
    ) -> Result<(), AppsError> {
        let Some(waiting) = waiting else { return Ok(()) };
        self.native.destroy(DomId(waiting.domid), uuid_of(id))?;
        self.with_network(|network| network.release(id))
    }

    /// Whether this is the id of a domain that waits, or is being built to.
    pub(crate) fn is_waiting(&self, id: &str) -> bool {
        self.pool().join(id).exists()
    }

    /// Builds a domain that waits; returns while it boots.
    ///
    /// # Errors
    /// It cannot be built; nothing is left then.
    pub(crate) fn build_waiting(
        &self,
        machine: &Machine,
        image: Option<&image::Image>,
    ) -> Result<(), AppsError> {
        let id = new_id()?;
        let pool = self.pool();
        files::make_private(&pool).map_err(FileError::io("make", &pool))?;
        let folder = Folder::new(pool.join(&id));
        let lock = folder.make()?;
        self.fill_waiting(&folder, &lock, machine, image).map_err(|error| {
            let error = error.and(self.with_network(|network| network.release(&id)));
            error.and(folder.remove().map_err(AppsError::from))
        })
    }

    fn fill_waiting(
        &self,
        folder: &Folder,
        lock: &Lock,
        machine: &Machine,
        image: Option<&image::Image>,
    ) -> Result<(), AppsError> {
        let mut disks = resolve::disks(folder.path(), WritableChoice::Disk);
        let mut promised = vec![];
        match image {
            Some(image) => {
                link_disk(&image.disk, &folder.file(folder::ROOT_DISK))?;
                start_set::link(&image.disk, folder)?;
            }
            None => (disks, promised) = disks.into_iter().partition(|disk| disk.writable),
        }
        self.make_writable(folder, self.settings().storage_mib)?;
        let link = self.link(folder.id(), None, None)?;
        let address = link.lease.address;
        let spec = DomainSpec {
            id: folder.id().to_owned(),
            name: format!("waiting-{}", folder.id()),
            uuid: uuid_of(folder.id()),
            machine: machine.clone(),
            disks,
            vif: Some(link.vif()),
        };
        let domid = self.native.create(&spec, folder.path(), lock.share()?)?;
        let undone = |error: AppsError| {
            let gone = self.native.destroy(domid, uuid_of(folder.id()));
            error.and(gone.map_err(AppsError::from))
        };
        for disk in &promised {
            self.native.promise(domid, disk).map_err(|error| undone(error.into()))?;
        }
        let waiting = Waiting {
            machine: machine.clone(),
            image: image.map(|image| image.digest.to_string()),
            furnished: true,
            address: match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            },
            created_unix_ms: now_ms(),
            domid: domid.0,
        };
        let noted = folder::write_json(&folder.file(folder::WAITING), &waiting);
        noted.map_err(|error| undone(error.into()))
    }

    /// Destroys a domain that waits, or what is left of it; says whether. One that was just taken,
    /// or is being built, is let be.
    pub(crate) fn remove_waiting(&self, folder: &Folder) -> Result<bool, AppsError> {
        let Ok(Some(_lock)) = folder.try_lock() else { return Ok(false) };
        match folder::read_json::<Waiting>(&folder.file(folder::WAITING)) {
            // One whose destruction was cut short is not found by its UUID, but has nodes yet.
            Ok(waiting) => self.native.destroy(DomId(waiting.domid), uuid_of(folder.id()))?,
            Err(_) => self.destroy_domain_of(folder.id())?,
        }
        self.with_network(|network| network.release(folder.id()))?;
        folder.remove()?;
        Ok(true)
    }

    /// Destroys the domain of an app or app to be, if there is one.
    pub(crate) fn destroy_domain_of(&self, id: &str) -> Result<(), AppsError> {
        if self.domains().check().is_err() {
            return Ok(());
        }
        if let Some(domid) = self.domains().find(uuid_of(id))? {
            self.native.destroy(domid, uuid_of(id))?;
        }
        Ok(())
    }

    /// Removes what killed processes left of domains that were to wait; returns their ids.
    pub(crate) fn repair_waiting(&self) -> Result<Vec<String>, AppsError> {
        let mut removed = Vec::new();
        for folder in self.waiting_folders()? {
            // Nobody takes a domain without a note that can be read, of another version as well.
            let note = folder::read_json::<Waiting>(&folder.file(folder::WAITING));
            if note.is_err() && self.remove_waiting(&folder)? {
                removed.push(folder.id().to_owned());
            }
        }
        Ok(removed)
    }

    pub(super) fn waiting_folders(&self) -> Result<Vec<Folder>, AppsError> {
        let pool = self.pool();
        match ids_in(&pool) {
            Ok(ids) => Ok(ids.into_iter().map(|id| Folder::new(pool.join(id))).collect()),
            Err(AppsError::File(error)) if error.is_not_found() => Ok(vec![]),
            Err(error) => Err(error),
        }
    }
}
