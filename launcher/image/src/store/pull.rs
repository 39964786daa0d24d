//! Pulling into the store, and converting to a path.

use super::{
    description::{DESCRIPTION, Description},
    error::{StoreError, io_error, sync_folder, write_json},
    images::{DISK, Image, Store},
    names::Names,
    work::{self, Work},
};
use crate::{
    digest::Digest,
    failure::FailureKind,
    fetch::{self, Decision, FetchError, FetchedImage},
    progress::{Event, Progress},
    settings::Settings,
    source::Source,
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

/// Which names an image gets in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The one it was asked for by.
    AsAsked,
    /// Besides, those that a docker-archive gives it, as `docker load` does. That may take a name
    /// from another image, so only on request.
    AsArchived,
}

impl Store {
    /// Brings the image of `source` into the store, or finds that it is there, and names it.
    ///
    /// An image in the store counts only if it came from the same repository, file or folder. Otherwise it is
    /// fetched again, and both disks must be equal.
    ///
    /// A tag is always looked up at its source. Of several processes that pull the same image one
    /// does the work. What a killed pull left behind is removed first.
    ///
    /// # Errors
    /// [`StoreError::Fetch`] for all that has to do with the source; nothing is left behind.
    pub fn pull(
        &self,
        source: &Source,
        naming: Naming,
        settings: &Settings,
        progress: &mut dyn Progress,
    ) -> Result<Image, StoreError> {
        work::sweep(&self.folder);
        let source = source.absolute().map_err(io_error("find", Path::new(".")))?;
        // A digest always means the same image; only a tag has to be looked up.
        if matches!(&source, Source::Registry(reference) if reference.digest().is_some()) {
            if let Some(image) = self.find(&source.to_string())? {
                progress.event(&Event::Present { digest: image.digest });
                return Ok(image);
            }
        }
        let mut work = None;
        let mut present = None;
        let scratch = self.folder.join(work::FOLDER);
        let fetched =
            fetch::fetch(&source, settings, &scratch, progress, &mut |digest, progress| {
                let Some(digest) = digest else {
                    return self.start_disk(Work::create(&self.folder)?, &mut work);
                };
                if !self.came_from(&digest, &source)? {
                    let mut wait = || progress.event(&Event::Waiting { digest });
                    let claimed = Work::of(&self.folder, &digest, &mut wait)?;
                    // It may have been made while this process waited for the lock.
                    if !self.came_from(&digest, &source)? {
                        return self.start_disk(claimed, &mut work);
                    }
                }
                progress.event(&Event::Present { digest });
                present = Some(digest);
                Ok(Decision::Stop)
            })
            .map_err(|error| full(error, &self.folder, &source))?;
        let digest = match (fetched.image, work, present) {
            (Some(image), Some(work), _) => self.install(&work, image, &source)?,
            (_, _, Some(digest)) => digest,
            _ => return Err(StoreError::NotFound(source.to_string())),
        };
        let archived = match naming {
            Naming::AsAsked => Vec::new(),
            Naming::AsArchived => fetched.archived_names,
        };
        self.set_names(digest, &source.to_string(), archived, progress)?;
        let names = Names::read(&self.folder)?;
        self.read_image(&names, digest)?.ok_or_else(|| StoreError::NotFound(source.to_string()))
    }

    fn start_disk(&self, work: Work, kept: &mut Option<Work>) -> Result<Decision, StoreError> {
        let path = work.folder().join(DISK);
        *kept = Some(work);
        create_disk(&path, 0o600).map(Decision::Write)
    }

    fn has(&self, digest: &Digest) -> bool {
        self.image_folder(digest).join(DESCRIPTION).exists()
    }

    /// Whether the image is there and was made from what the origin of `source` has. Standard input has another image
    /// each time.
    pub(super) fn came_from(&self, digest: &Digest, source: &Source) -> Result<bool, StoreError> {
        if source.is_stdin() {
            return Ok(false);
        }
        let description = self.read_description(digest)?;
        let origin = source.origin();
        // Older launchers did not record where an image came from.
        let fits = |known: Description| known.origins.is_empty() || known.origins.contains(&origin);
        Ok(description.is_some_and(fits))
    }

    /// Moves a finished image to its place; everything in it is on the disk before it is there.
    ///
    /// The process that wrote the disk has ended, so what is read of the disk here stays so.
    pub(super) fn install(
        &self,
        work: &Work,
        image: FetchedImage,
        source: &Source,
    ) -> Result<Digest, StoreError> {
        let disk = work.folder().join(DISK);
        finish_disk(&disk, image.disk_bytes)?;
        let digest = match image.digest {
            Some(digest) => digest,
            None => {
                File::open(&disk).and_then(Digest::of_reader).map_err(io_error("read", &disk))?
            }
        };
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let description = Description {
            disk_bytes: image.disk_bytes,
            created_unix: created.as_secs(),
            config: image.config,
            origins: [source.origin()].into(),
        };
        let target = self.image_folder(&digest);
        let _lock = self.lock()?;
        self.share_disk(work.folder(), image.disk_bytes)?;
        write_description(work.folder(), &description)?;
        match fs::rename(work.folder(), &target) {
            // It was there already, from elsewhere: this copy goes with `work`.
            Err(_) if self.has(&digest) => self.confirm(digest, &description, &disk, source)?,
            other => other.map_err(io_error("write", &target))?,
        }
        sync_folder(&self.images())?;
        Ok(digest)
    }

    /// If an image here has an equal disk, puts that file in place of the one in `folder`, so that the bytes are there once.
    /// The caller holds the store's lock.
    ///
    /// The bytes themselves are compared: layers' digests that an image claims choose no disk.
    fn share_disk(&self, folder: &Path, bytes: u64) -> Result<(), StoreError> {
        let (made, link) = (folder.join(DISK), folder.join("shared.erofs"));
        let mut different = BTreeSet::new();
        for digest in self.digests()? {
            let there = self.image_folder(&digest).join(DISK);
            let same_size = fs::symlink_metadata(&there).is_ok_and(|disk| disk.len() == bytes);
            if !same_size || self.disk_file(&digest).is_none_or(|file| !different.insert(file)) {
                continue;
            }
            // A disk that cannot be read, or not be linked once more, is no reason to fail: this image has its own.
            if same_contents(&there, &made).unwrap_or(false) && fs::hard_link(&there, &link).is_ok()
            {
                return fs::rename(&link, &made).map_err(io_error("write", &made));
            }
        }
        Ok(())
    }

    /// Notes that `source` has an image that is there, too, if it gave the same disk. The caller
    /// holds the store's lock.
    fn confirm(
        &self,
        digest: Digest,
        made: &Description,
        made_disk: &Path,
        source: &Source,
    ) -> Result<(), StoreError> {
        let missing = || StoreError::NotFound(digest.to_string());
        let mut known = self.read_description(&digest)?.ok_or_else(missing)?;
        let there = self.image_folder(&digest).join(DISK);
        let same = known.disk_bytes == made.disk_bytes
            && known.config == made.config
            && same_contents(&there, made_disk).map_err(io_error("read", &there))?;
        if !same {
            let origins: Vec<&str> = known.origins.iter().map(String::as_str).collect();
            let (name, origins) = (source.to_string(), origins.join(", "));
            return Err(StoreError::Differs { digest, name, origins });
        }
        known.origins.insert(source.origin());
        write_description(&self.image_folder(&digest), &known)
    }

    fn set_names(
        &self,
        digest: Digest,
        asked: &str,
        archived: Vec<String>,
        progress: &mut dyn Progress,
    ) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        // Another process may have removed it since it was found.
        if !self.has(&digest) {
            return Err(StoreError::NotFound(digest.to_string()));
        }
        let mut names = Names::read(&self.folder)?;
        let mut changed = archived;
        changed.push(asked.to_owned());
        changed.retain(|name| names.get(name) != Some(digest));
        if changed.is_empty() {
            return Ok(());
        }
        let mut events = Vec::new();
        for name in changed {
            if name != asked {
                events.push(Event::Named { name: name.clone(), digest, before: names.get(&name) });
            }
            names.set(name, digest);
        }
        names.write(&self.folder)?;
        events.iter().for_each(|event| progress.event(event));
        Ok(())
    }
}

/// Writes the disk of `source` to the file `out`, which appears whole or not at all.
///
/// # Errors
/// As [`Store::pull`].
pub fn convert(
    source: &Source,
    out: &Path,
    settings: &Settings,
    progress: &mut dyn Progress,
) -> Result<(), StoreError> {
    let folder = match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let part = Part(folder.join(format!(".{name}.{}.part", process::id())));
    let source = source.absolute().map_err(io_error("find", Path::new(".")))?;
    // Made first, so that a folder that cannot be written is reported before anything is fetched.
    let mut disk = Some(create_disk(&part.0, 0o666)?);
    let fetched = fetch::fetch(&source, settings, folder, progress, &mut |_, _| {
        Ok(disk.take().map_or(Decision::Stop, Decision::Write))
    })
    .map_err(|error| full(error, folder, &source))?;
    let bytes = fetched.image.map_or(0, |image| image.disk_bytes);
    finish_disk(&part.0, bytes)?;
    fs::rename(&part.0, out).map_err(io_error("write", out))?;
    sync_folder(folder)
}

/// The child does not know where its file is; this names the folder that is full.
fn full(error: StoreError, folder: &Path, source: &Source) -> StoreError {
    match error {
        StoreError::Fetch(FetchError::Failed { kind: FailureKind::DiskFull, message }) => {
            let cause = message.raw().rsplit(": ").next().unwrap_or_default().into();
            StoreError::Full { folder: folder.to_owned(), name: source.to_string(), cause }
        }
        error => error,
    }
}

/// Whether two files have the same bytes.
fn same_contents(one: &Path, other: &Path) -> io::Result<bool> {
    const PIECE: u64 = 1 << 20;
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut one).take(PIECE).read_to_end(&mut left)?;
        (&mut other).take(PIECE).read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
    }
}

/// Writes `image.json`, whole or not at all.
fn write_description(folder: &Path, description: &Description) -> Result<(), StoreError> {
    write_json(&folder.join(DESCRIPTION), description)
}

/// A file that goes unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone after the rename. If removing it fails, nothing more can be done.
        let _ = fs::remove_file(&self.0);
    }
}

/// `mode` is less the process's umask.
fn create_disk(path: &Path, mode: u32) -> Result<File, StoreError> {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(io_error("create", path))
}

/// The child held the file; check what it says about it, and get it to the disk.
fn finish_disk(path: &Path, bytes: u64) -> Result<(), StoreError> {
    let finish = || {
        let file = File::open(path)?;
        if file.metadata()?.len() != bytes {
            return Err(io::Error::other("its size is not the one that its writer reported"));
        }
        file.sync_all()
    };
    finish().map_err(io_error("finish", path))
}
