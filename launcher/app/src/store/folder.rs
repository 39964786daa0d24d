//! An app's state folder: its files, how they are written, and its lock.
//!
//! The process in charge of an app holds a `flock` on the lock file: first the process that creates or starts the app,
//! then its monitor, which inherits the file. A free lock on an app that should run means that its monitor died. Last
//! of all, a monitor writes the app's outcome into the lock file, so that processes that wait for the lock can read
//! it even after the folder is removed.

use crate::record::app::Record;
use crate::record::state::State;
use crate::store::lock::{Lock, LockWatch};
use files::{Durability, FileError, Writers, read_json, remove_if_there, replace, write_json};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The resolved request.
pub(crate) const RECORD: &str = "app.json";
/// The app's state.
pub(crate) const STATE: &str = "state.json";
/// The note about a pooled domain; see [`crate::PooledDomain`].
pub(crate) const POOLED: &str = "waiting.json";
/// The orders for the guest.
pub(crate) const ORDERS: &str = "orders.json";
/// A link to the image's disk.
pub(crate) const ROOT_DISK: &str = "root.erofs";
/// The writable layer.
pub(crate) const WRITABLE_DISK: &str = "write.ext4";
/// The newer part of the log.
pub(crate) const LOG: &str = "console.log";
/// The older part of the log.
pub(crate) const OLD_LOG: &str = "console.log.1";
/// The errors that the monitor reports.
pub(crate) const MONITOR_LOG: &str = "monitor.log";
/// Mark: a user has stopped the app, so it is not started again when it ends.
pub(crate) const STOPPED: &str = "stopped";
/// Mark: the app ends with the host, so it is not started again before the host is.
pub(crate) const ENDS_WITH_HOST: &str = "ends-with-host";
/// Mark: the app ends only to be started again, and must not be removed meanwhile.
pub(crate) const KEPT: &str = "kept";
/// Mark: the app was started before, or a process was run beside it, so the image alone no longer decides what its
/// guest does.
pub(crate) const TOUCHED: &str = "touched";
/// The lock file, held by the process in charge of the app.
pub(crate) const LOCK: &str = "lock";

/// An app's state folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, which may not exist.
    #[must_use]
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder's path.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in the folder.
    #[must_use]
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The id of the folder's app.
    #[must_use]
    pub(crate) fn id(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Creates the folder with its empty lock file, and takes the lock.
    ///
    /// # Errors
    /// The folder exists already, or cannot be created.
    pub(crate) fn make(&self) -> Result<Lock, FileError> {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&self.0)
            .map_err(FileError::io("make", &self.0))?;
        let path = self.file(LOCK);
        let made =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(FileError::io("make", &path))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| FileError::io("lock", &path)(errno.into()))?;
        Ok(Lock::of(file, path))
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// The lock file cannot be opened.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>, FileError> {
        let path = self.file(LOCK);
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let file = opened.map_err(FileError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock::of(file, path))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(FileError::io("lock", &path)(errno.into())),
        }
    }

    /// Takes the lock if it is free. Tries for a moment, because processes that only test the lock hold it
    /// briefly too.
    ///
    /// # Errors
    /// The lock file cannot be opened.
    pub(crate) fn take_lock(&self) -> Result<Option<Lock>, FileError> {
        for _ in 0..10 {
            if let Some(lock) = self.try_lock()? {
                return Ok(Some(lock));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Ok(None)
    }

    /// Opens the lock file to wait on it.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn watch_lock(&self) -> Result<LockWatch, FileError> {
        let path = self.file(LOCK);
        let file = File::open(&path).map_err(FileError::io("open", &path))?;
        Ok(LockWatch::of(file, path))
    }

    /// Reads `app.json`.
    ///
    /// # Errors
    /// The file does not exist or is damaged.
    pub(crate) fn read_record(&self) -> Result<Record, FileError> {
        read_json(&self.file(RECORD))
    }

    /// Writes `app.json`.
    ///
    /// # Errors
    /// The file system fails, e.g. because the disk is full.
    pub(crate) fn write_record(&self, record: &Record) -> Result<(), FileError> {
        write_json(&self.file(RECORD), record, Durability::PowerFailure)
    }

    /// Reads `state.json`.
    ///
    /// # Errors
    /// The file does not exist or is damaged.
    pub(crate) fn read_state(&self) -> Result<State, FileError> {
        read_json(&self.file(STATE))
    }

    /// Writes `state.json`.
    ///
    /// # Errors
    /// The file system fails, e.g. because the disk is full.
    pub(crate) fn write_state(&self, state: &State) -> Result<(), FileError> {
        write_json(&self.file(STATE), state, Durability::PowerFailure)
    }

    /// Writes `state.json` without a sync: for states of a running domain, which does not survive a power cut either.
    ///
    /// # Errors
    /// The file system fails, e.g. because the disk is full.
    pub(crate) fn write_state_lightly(&self, state: &State) -> Result<(), FileError> {
        write_json(&self.file(STATE), state, Durability::Crash)
    }

    /// Writes a file without a sync, because each start writes it again.
    ///
    /// # Errors
    /// The file system fails, e.g. because the disk is full.
    pub(crate) fn write_lightly(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        Ok(replace(&self.file(name), bytes, Durability::Crash, Writers::Many)?)
    }

    /// Sets a mark: [`STOPPED`], [`ENDS_WITH_HOST`], [`KEPT`] or [`TOUCHED`].
    ///
    /// # Errors
    /// The file system fails, e.g. because the disk is full.
    pub(crate) fn mark(&self, name: &str) -> Result<(), FileError> {
        let path = self.file(name);
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        made.map(drop).map_err(FileError::io("make", &path))
    }

    /// Whether a mark is set.
    #[must_use]
    pub(crate) fn is_marked(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// Whether the app must not be started again when it ends, whatever its policy.
    #[must_use]
    pub(crate) fn ends_for_good(&self) -> bool {
        self.is_marked(STOPPED) || self.is_marked(ENDS_WITH_HOST)
    }

    /// Removes a mark, if it is set.
    ///
    /// # Errors
    /// The file system refuses it.
    pub(crate) fn unmark(&self, name: &str) -> Result<(), FileError> {
        let path = self.file(name);
        remove_if_there(&path)
    }

    /// Whether an open file is this folder's lock file.
    #[must_use]
    pub(crate) fn is_lock(&self, file: &File) -> bool {
        let number = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let lock = fs::metadata(self.file(LOCK)).map(number);
        matches!((lock, file.metadata().map(number)), (Ok(lock), Ok(file)) if lock == file)
    }

    /// Removes the folder with all its files.
    ///
    /// Removes the record first, because a folder without a record counts as half-removed.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub(crate) fn remove(&self) -> Result<(), FileError> {
        self.remove_record()?;
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileError::io("remove", &self.0)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes only the record, after which the folder is no longer an app.
    ///
    /// # Errors
    /// The record cannot be removed.
    pub(crate) fn remove_record(&self) -> Result<(), FileError> {
        let path = self.file(RECORD);
        remove_if_there(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::outcome::Outcome;

    fn folder() -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().join("app"));
        (root, folder)
    }

    #[test]
    fn only_one_is_in_charge_of_an_app() {
        let _alone = crate::tests::alone();
        let (_root, folder) = folder();
        let lock = folder.make().unwrap();
        assert!(folder.try_lock().unwrap().is_none());
        drop(lock);
        assert!(folder.try_lock().unwrap().is_some());
    }

    #[test]
    fn a_lock_stays_held_while_an_inherited_copy_is_open() {
        let _alone = crate::tests::alone();
        let (_root, folder) = folder();
        let file = folder.make().unwrap().share().unwrap();
        let copy = file.try_clone().unwrap();
        drop(file);
        assert!(folder.watch_lock().unwrap().is_held().unwrap());
        drop(Lock::inherit(copy, folder.file(LOCK)).unwrap());
        assert!(!folder.watch_lock().unwrap().is_held().unwrap());
    }

    #[test]
    fn those_who_wait_learn_the_outcome_even_when_the_folder_is_gone() {
        let _alone = crate::tests::alone();
        let (_root, folder) = folder();
        let lock = folder.make().unwrap();
        let watch = folder.watch_lock().unwrap();
        assert_eq!(watch.outcome().unwrap(), None);
        let outcome = Outcome::with_code(3);
        lock.leave(&Outcome::failed("long ".repeat(99))).unwrap();
        lock.leave(&outcome).unwrap();
        folder.remove().unwrap();
        drop(lock);
        assert!(!watch.is_held().unwrap());
        assert_eq!(watch.outcome().unwrap(), Some(outcome));
    }

    #[test]
    fn a_state_that_cannot_be_written_leaves_the_old_one() {
        let (_root, folder) = folder();
        let _lock = folder.make().unwrap();
        folder.write_state(&State::default()).unwrap();
        fs::create_dir(folder.file(&format!("{STATE}.{}.tmp", std::process::id()))).unwrap();
        let error = folder.write_state(&State::default().starting()).unwrap_err();
        assert!(matches!(error, FileError::Io { action: "write", .. }), "{error}");
        assert_eq!(folder.read_state().unwrap(), State::default());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let (_root, folder) = folder();
        let _lock = folder.make().unwrap();
        fs::write(folder.file(STATE), b"{\"phase\":").unwrap();
        let error = folder.read_state().unwrap_err().to_string();
        assert!(error.contains("state.json is damaged"), "{error}");
    }
}
