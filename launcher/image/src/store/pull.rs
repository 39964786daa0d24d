//! Pulling into the store, and converting to a path.

use super::{
    DESCRIPTION, DISK, Description, Image, Names, Store, StoreError, io_error,
    names::write_synced,
    sync_folder,
    work::{self, Work},
};
use crate::{
    digest::Digest,
    fetch::{self, Decision, Done, FailureKind, FetchError},
    progress::{Event, Progress},
    settings::Settings,
    source::Source,
};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

impl Store {
    /// Brings the image of `source` into the store, or finds that it is there, and names it.
    ///
    /// A tag is always looked up at its source. Of several processes that pull the same image one
    /// does the work. What a killed pull left behind is removed first.
    ///
    /// # Errors
    /// [`StoreError::Fetch`] for all that has to do with the source; nothing is left behind.
    pub fn pull(
        &self,
        source: &Source,
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
        let fetched = fetch::fetch(&source, settings, progress, &mut |digest, progress| {
            let Some(digest) = digest else {
                return self.start_disk(Work::create(&self.folder)?, &mut work);
            };
            if !self.has(&digest) {
                let mut wait = || progress.event(&Event::Waiting { digest });
                let claimed = Work::of(&self.folder, &digest, &mut wait)?;
                // It may have been made while this process waited for the lock.
                if !self.has(&digest) {
                    return self.start_disk(claimed, &mut work);
                }
            }
            progress.event(&Event::Present { digest });
            present = Some(digest);
            Ok(Decision::Stop)
        })
        .map_err(|error| full(error, &self.folder, &source))?;
        let digest = match (fetched.done, work, present) {
            (Some(done), Some(work), _) => self.install(&work, done, &fetched.names)?,
            (_, _, Some(digest)) => self.set_names(digest, &fetched.names)?,
            _ => return Err(StoreError::NotFound(source.to_string())),
        };
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

    /// Moves a finished image to its place; everything in it is on the disk before it is there.
    fn install(&self, work: &Work, done: Done, names: &[String]) -> Result<Digest, StoreError> {
        let disk = work.folder().join(DISK);
        finish_disk(&disk, done.disk_bytes)?;
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let description = Description {
            disk_bytes: done.disk_bytes,
            created_unix: created.as_secs(),
            config: done.config,
        };
        let path = work.folder().join(DESCRIPTION);
        let json = serde_json::to_vec_pretty(&description)
            .map_err(|source| StoreError::Damaged { path: path.clone(), source })?;
        write_synced(&path, &json)?;
        sync_folder(work.folder())?;
        let target = self.image_folder(&done.digest);
        let lock = self.lock()?;
        match fs::rename(work.folder(), &target) {
            // Only known at the end that it was there already: this copy goes with `work`.
            Err(_) if self.has(&done.digest) => {}
            other => other.map_err(io_error("write", &target))?,
        }
        sync_folder(&self.images())?;
        drop(lock);
        self.set_names(done.digest, names)
    }

    fn set_names(&self, digest: Digest, added: &[String]) -> Result<Digest, StoreError> {
        let _lock = self.lock()?;
        // Another process may have removed it since it was found.
        if !self.has(&digest) {
            return Err(StoreError::NotFound(digest.to_string()));
        }
        let mut names = Names::read(&self.folder)?;
        if added.iter().any(|name| names.get(name) != Some(digest)) {
            added.iter().for_each(|name| names.set(name.clone(), digest));
            names.write(&self.folder)?;
        }
        Ok(digest)
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
    // Made first: a folder that cannot be written is said before anything is fetched.
    let mut disk = Some(create_disk(&part.0, 0o666)?);
    let fetched = fetch::fetch(&source, settings, progress, &mut |_, _| {
        Ok(disk.take().map_or(Decision::Stop, Decision::Write))
    })
    .map_err(|error| full(error, folder, &source))?;
    let bytes = fetched.done.map_or(0, |done| done.disk_bytes);
    finish_disk(&part.0, bytes)?;
    fs::rename(&part.0, out).map_err(io_error("write", out))?;
    sync_folder(folder)
}

/// The child does not know where its file is; this names the folder that is full.
fn full(error: StoreError, folder: &Path, source: &Source) -> StoreError {
    match error {
        StoreError::Fetch(FetchError::Failed { kind: FailureKind::DiskFull, .. }) => {
            StoreError::Full { folder: folder.to_owned(), name: source.to_string() }
        }
        error => error,
    }
}

/// A file that goes unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Gone after the rename; otherwise there is nothing more to be done about it.
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
            return Err(io::Error::other("it has another size than its writer says"));
        }
        file.sync_all()
    };
    finish().map_err(io_error("finish", path))
}
