//! The store's folder: images by digest, and the names that point at them.

use super::{
    description::{DESCRIPTION, Description},
    error::{StoreError, io_error},
    names::Names,
    work,
};
use crate::{config::Config, digest::Digest, source::Source};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// An image's disk, in its folder.
pub(super) const DISK: &str = "disk.erofs";
/// A text with fewer hex digits than this is only looked up as a name.
const SHORTEST_PREFIX: usize = 4;

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The manifest's digest; that of the config for sources without manifests.
    pub digest: Digest,
    /// The EROFS disk, never changed once it is there.
    pub disk: PathBuf,
    /// Its size.
    pub disk_bytes: u64,
    /// Device and inode of the disk's file: images whose disks are equal have one.
    pub disk_file: (u64, u64),
    /// What the image says about the app.
    pub config: Config,
    /// The full names that point here, sorted.
    pub names: Vec<String>,
    /// When the disk was made.
    pub created_unix: u64,
}

impl Image {
    /// Keeps the image in its store for as long as the returned file is open, until the caller has noted
    /// that it uses the image.
    ///
    /// # Errors
    /// It is gone already.
    pub fn hold(&self) -> Result<File, StoreError> {
        match lock_disk(&self.disk, FlockOperation::LockShared)? {
            Some(disk) if work::is_at(&disk, &self.disk) => Ok(disk),
            _ => Err(StoreError::NotFound(self.digest.to_string())),
        }
    }
}

/// What [`Store::remove`] took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The names, sorted.
    pub names: Vec<String>,
    /// The image itself, when no name was left.
    pub image: Option<Digest>,
    /// What its disk took; 0 where another image has the same disk.
    pub freed_bytes: u64,
}

/// A folder of images.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) folder: PathBuf,
}

impl Store {
    /// Opens the store in `folder`, making it if it is missing. Only root can look into it.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { folder: folder.into() };
        for folder in [store.folder.clone(), store.images(), store.folder.join(work::FOLDER)] {
            files::make_private(&folder).map_err(io_error("make", &folder))?;
        }
        Ok(store)
    }

    /// Finds an image by a name, or by the beginning of its digest.
    ///
    /// # Errors
    /// The store cannot be read, or several digests begin so.
    pub fn find(&self, name: &str) -> Result<Option<Image>, StoreError> {
        let names = Names::read(&self.folder)?;
        match self.resolve(&names, name)? {
            Some((digest, _)) => self.read_image(&names, digest),
            None => Ok(None),
        }
    }

    /// All images, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> Result<Vec<Image>, StoreError> {
        let names = Names::read(&self.folder)?;
        let mut images = Vec::new();
        for digest in self.digests()? {
            // An image that was removed since the folder was listed is not an error.
            images.extend(self.read_image(&names, digest)?);
        }
        images.sort_by(|a, b| {
            b.created_unix.cmp(&a.created_unix).then_with(|| a.names.cmp(&b.names))
        });
        Ok(images)
    }

    /// Removes a name, and the image itself with its last name; by digest, the image with all its names.
    ///
    /// `in_use` tells whether an app uses an image's disk. No process holds the image while it is called.
    ///
    /// # Errors
    /// There is no such image, or it is in use and would lose its last name.
    pub fn remove(
        &self,
        name: &str,
        in_use: &dyn Fn(&Digest) -> bool,
    ) -> Result<Removed, StoreError> {
        let _lock = self.lock()?;
        let mut names = Names::read(&self.folder)?;
        let (digest, key) =
            self.resolve(&names, name)?.ok_or_else(|| StoreError::NotFound(name.to_owned()))?;
        let going = match key {
            Some(key) => vec![key],
            None => names.of(&digest),
        };
        let last = names.of(&digest).len() == going.len();
        let disk = self.image_folder(&digest).join(DISK);
        let bytes = fs::metadata(&disk).map_or(0, |disk| disk.len());
        let _exclusive = match last {
            true => lock_disk(&disk, FlockOperation::LockExclusive)?,
            false => None,
        };
        if last && in_use(&digest) {
            return Err(StoreError::InUse { name: name.to_owned() });
        }
        going.iter().for_each(|name| names.unset(name));
        names.write(&self.folder)?;
        let mut freed_bytes = 0;
        if last {
            let file = self.disk_file(&digest);
            self.delete(&digest)?;
            let others = self.digests()?;
            if !others.iter().any(|other| self.disk_file(other).is_some_and(|it| Some(it) == file))
            {
                freed_bytes = bytes;
            }
        }
        Ok(Removed { names: going, image: last.then_some(digest), freed_bytes })
    }

    /// Device and inode of an image's disk.
    pub(super) fn disk_file(&self, digest: &Digest) -> Option<(u64, u64)> {
        let disk = fs::symlink_metadata(self.image_folder(digest).join(DISK)).ok()?;
        Some((disk.dev(), disk.ino()))
    }

    /// The digest that `name` stands for, with the full name when it is one.
    fn resolve(
        &self,
        names: &Names,
        name: &str,
    ) -> Result<Option<(Digest, Option<String>)>, StoreError> {
        let full = name.parse::<Source>().ok().and_then(|source| source.absolute().ok());
        for key in
            [Some(name.to_owned()), full.map(|source| source.to_string())].into_iter().flatten()
        {
            if let Some(digest) = names.get(&key) {
                return Ok(Some((digest, Some(key))));
            }
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        if prefix.len() < SHORTEST_PREFIX || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let mut fitting = self.digests()?;
        fitting.retain(|digest| digest.hex().starts_with(prefix));
        match fitting.as_slice() {
            [] => Ok(None),
            [digest] => Ok(Some((*digest, None))),
            several => Err(StoreError::Ambiguous(name.to_owned(), several.len())),
        }
    }

    pub(super) fn digests(&self) -> Result<Vec<Digest>, StoreError> {
        let folder = self.images();
        let entries = fs::read_dir(&folder).map_err(io_error("read", &folder))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| Digest::from_hex(&name).ok()).collect())
    }

    pub(super) fn read_image(
        &self,
        names: &Names,
        digest: Digest,
    ) -> Result<Option<Image>, StoreError> {
        let Some(description) = self.read_description(&digest)? else { return Ok(None) };
        Ok(Some(Image {
            digest,
            disk: self.image_folder(&digest).join(DISK),
            disk_bytes: description.disk_bytes,
            disk_file: self.disk_file(&digest).unwrap_or_default(),
            config: description.config,
            names: names.of(&digest),
            created_unix: description.created_unix,
        }))
    }

    pub(super) fn read_description(
        &self,
        digest: &Digest,
    ) -> Result<Option<Description>, StoreError> {
        let path = self.image_folder(digest).join(DESCRIPTION);
        let json = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_error("read", &path))?,
        };
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|source| StoreError::Damaged { path, source })
    }

    /// Takes the image out by a rename, so that it is never there in part.
    fn delete(&self, digest: &Digest) -> Result<(), StoreError> {
        let trash = work::Work::create(&self.folder)?;
        let (from, to) = (self.image_folder(digest), trash.folder().join("removed"));
        fs::rename(&from, &to).map_err(io_error("remove", &from))
    }

    /// Held while names or the set of images change; readers need no lock.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let path = self.folder.join("lock");
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(io_error("open", &path))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| io_error("lock", &path)(error.into()))?;
        Ok(file)
    }

    pub(super) fn images(&self) -> PathBuf {
        self.folder.join("sha256")
    }

    pub(super) fn image_folder(&self, digest: &Digest) -> PathBuf {
        self.images().join(digest.hex())
    }
}

/// A lock on the disk itself, which goes with it when its folder is moved; `None` without a disk.
fn lock_disk(path: &Path, how: FlockOperation) -> Result<Option<File>, StoreError> {
    let disk = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io_error("open", path))?,
    };
    flock(&disk, how).map_err(|error| io_error("lock", path)(error.into()))?;
    Ok(Some(disk))
}
