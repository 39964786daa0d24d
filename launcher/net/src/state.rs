//! Small JSON files that survive a crash at any moment, and the lock that serializes their writers.
//!
//! A file is only replaced as a whole ([`files::replace`]). Nothing is synced, because each launch would wait for the
//! disk. So a power cut may restore an old version or leave an empty file, but it also ends every domain that the
//! file was about. [`crate::Network::restore`] rebuilds a damaged file from the owners' own records.

use files::{Durability, ReplaceError, Writers, replace};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A system call on a file failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The operation that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file has a content that this program does not write.
    #[error("{} is damaged; `launch ps` rebuilds it from the apps' own records", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// The folder that holds the state files.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

/// The right to change the files, until it is dropped.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    dir: &'a StateDir,
    _lock: File,
}

impl StateDir {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Waits until no other process or thread holds the lock, and takes it.
    pub(crate) fn lock(&self) -> Result<Locked<'_>, StateError> {
        let path = self.path.join("network.lock");
        let open =
            || OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                files::make_private(&self.path).map_err(failed("make", &self.path))?;
                open()
            }
            other => other,
        };
        let lock = lock.map_err(failed("open", &path))?;
        loop {
            match rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.map_err(|errno| failed("lock", &path)(errno.into()))?,
            }
        }
        Ok(Locked { dir: self, _lock: lock })
    }

    /// Reads a file. A missing file gives the default; an empty one is damaged.
    ///
    /// Even without the lock, reads a complete version. To write a new value based on it, take the lock first.
    pub(crate) fn read<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, StateError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| StateError::Damaged { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }
}

impl Locked<'_> {
    /// The path of a damaged file; `None` if the file can be read or does not exist.
    pub(crate) fn damaged<T: DeserializeOwned + Default>(
        &self,
        name: &str,
    ) -> Result<Option<PathBuf>, StateError> {
        match self.dir.read::<T>(name) {
            Err(StateError::Damaged { path, .. }) => Ok(Some(path)),
            other => other.map(|_| None),
        }
    }

    /// Reads a file, which does not change while the lock is held.
    pub(crate) fn read<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, StateError> {
        self.dir.read(name)
    }

    /// Replaces a file.
    pub(crate) fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.dir.path.join(name);
        let bytes = serde_json::to_vec(value)
            .map_err(|error| failed("render", &path)(io::Error::other(error)))?;
        replace(&path, &bytes, Durability::Crash, Writers::One)
            .map_err(|ReplaceError { action, path, source }| failed(action, &path)(source))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    type Book = BTreeMap<String, u32>;

    #[test]
    fn what_a_crash_leaves_at_any_step_of_a_write_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::new(folder.path());
        let old = Book::from([("a".into(), 1)]);
        dir.lock().unwrap().write("book", &old).unwrap();
        let new = serde_json::to_vec(&Book::from([("b".into(), 2)])).unwrap();
        for cut in 0..=new.len() {
            fs::write(folder.path().join("book.new"), &new[..cut]).unwrap();
            assert_eq!(dir.read::<Book>("book").unwrap(), old);
        }
        let newer = Book::from([("c".into(), 3)]);
        dir.lock().unwrap().write("book", &newer).unwrap();
        assert_eq!(dir.read::<Book>("book").unwrap(), newer);
        assert!(!folder.path().join("book.new").exists());
    }

    #[test]
    fn a_damaged_file_is_named_and_never_taken_for_one_that_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for damage in [&b""[..], b"{\"a\":", b"garbage", &[0; 4096]] {
            fs::write(folder.path().join("book"), damage).unwrap();
            let error = StateDir::new(folder.path()).read::<Book>("book").unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("book is damaged; `launch ps`"), "{error}");
        }
    }

    #[test]
    fn state_files_are_for_root_only() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("launch");
        StateDir::new(&folder).lock().unwrap().write("book", &Book::new()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for name in ["book", "network.lock"] {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn writers_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::new(folder.path());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let locked = dir.lock().unwrap();
                        let mut book: Book = locked.read("book").unwrap();
                        *book.entry("n".into()).or_default() += 1;
                        locked.write("book", &book).unwrap();
                    }
                });
            }
        });
        assert_eq!(dir.read::<Book>("book").unwrap()["n"], 160);
    }
}
