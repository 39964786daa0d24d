//! Working folders: an image is made in one, which its maker locks. Folders of dead makers are removed.

use super::error::{StoreError, io_error};
use crate::digest::Digest;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Where the working folders are, below the store's folder.
pub(super) const FOLDER: &str = "work";

/// A working folder that this process has locked; it goes when this value goes.
#[derive(Debug)]
pub(super) struct Work {
    folder: PathBuf,
    lock: File,
}

impl Work {
    /// Makes a working folder that no other process uses.
    pub(super) fn create(store: &Path) -> Result<Self, StoreError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("new-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self::claim(&store.join(FOLDER).join(name), &mut || {})
    }

    /// The one working folder for the image `digest`; `wait` is called once if another process
    /// has it, and then this waits.
    pub(super) fn of(
        store: &Path,
        digest: &Digest,
        wait: &mut dyn FnMut(),
    ) -> Result<Self, StoreError> {
        Self::claim(&store.join(FOLDER).join(digest.hex()), wait)
    }

    fn claim(folder: &Path, wait: &mut dyn FnMut()) -> Result<Self, StoreError> {
        loop {
            files::make_private(folder).map_err(io_error("make", folder))?;
            let lock = match File::open(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(io_error("open", folder))?,
            };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                wait();
                flock(&lock, FlockOperation::LockExclusive)
                    .map_err(|error| io_error("lock", folder)(error.into()))?;
            }
            // The process that had the lock before may have moved or removed the folder.
            if is_at(&lock, folder) {
                let work = Self { folder: folder.to_owned(), lock };
                work.empty()?;
                return Ok(work);
            }
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A maker that was killed leaves files behind.
    fn empty(&self) -> Result<(), StoreError> {
        let entries = fs::read_dir(&self.folder).map_err(io_error("read", &self.folder))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
                _ => fs::remove_file(&path),
            };
            removed.map_err(io_error("remove", &path))?;
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // A finished image was moved away, and another maker may have the path by now.
        if !is_at(&self.lock, &self.folder) {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "working folder stays");
        }
    }
}

/// Removes the working folders whose makers died.
pub(super) fn sweep(store: &Path) {
    let Ok(entries) = fs::read_dir(store.join(FOLDER)) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(lock) = File::open(&path) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && is_at(&lock, &path) {
            tracing::debug!(folder = %path.display(), "removing what a killed pull left");
            drop(Work { folder: path, lock });
        }
    }
}

/// Whether `path` is still the file or folder that `open` is.
pub(super) fn is_at(open: &File, path: &Path) -> bool {
    match (open.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_maker_and_not_before() {
        let store = tempfile::tempdir().unwrap();
        let work = Work::create(store.path()).unwrap();
        let folder = work.folder().to_owned();
        fs::write(folder.join("x"), "x").unwrap();
        sweep(store.path());
        assert!(folder.join("x").exists(), "the sweep took a folder in use");
        drop(work);
        assert!(!folder.exists());
    }

    #[test]
    fn what_a_dead_maker_left_is_swept_and_never_seen_by_the_next() {
        let store = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"x");
        let left = store.path().join(FOLDER).join(digest.hex());
        fs::create_dir_all(left.join("folder")).unwrap();
        fs::write(left.join("disk.erofs"), "half").unwrap();
        let work = Work::of(store.path(), &digest, &mut || panic!("nobody has it")).unwrap();
        assert_eq!(fs::read_dir(work.folder()).unwrap().count(), 0);
        drop(work);
        fs::create_dir_all(&left).unwrap();
        sweep(store.path());
        assert!(!left.exists());
    }

    #[test]
    fn the_second_of_two_makers_waits_and_gets_a_folder_of_its_own() {
        let store = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"x");
        let first = Work::of(store.path(), &digest, &mut || {}).unwrap();
        let (waits, waiting) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let path = store.path();
            let second = scope
                .spawn(move || Work::of(path, &digest, &mut || waits.send(()).unwrap()).unwrap());
            waiting.recv().unwrap();
            let finished = path.join("finished");
            fs::rename(first.folder(), &finished).unwrap();
            drop(first);
            let second = second.join().unwrap();
            assert!(finished.exists() && second.folder().exists());
        });
    }
}
