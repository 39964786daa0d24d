//! The lock of an app: who is in charge of it, and the outcome that is left in the lock file.

use crate::record::outcome::Outcome;
use files::FileError;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;

/// The right to change an app. It is given up when the last copy of its file is closed.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// The lock that this process has taken on `file`.
    pub(crate) fn of(file: File, path: PathBuf) -> Self {
        Self { file, path }
    }

    /// Takes over a lock whose file this process inherited, e.g. as its standard input; `path` is named in errors.
    ///
    /// # Errors
    /// Someone else holds the lock.
    pub(crate) fn inherit(file: File, path: PathBuf) -> Result<Self, FileError> {
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| FileError::io("lock", &path)(errno.into()))?;
        Ok(Self { file, path })
    }

    /// A second handle of the same lock, for a child process to inherit.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub(crate) fn share(&self) -> Result<File, FileError> {
        self.file.try_clone().map_err(FileError::io("share", &self.path))
    }

    /// Forgets the outcome of an earlier run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn clear(&self) -> Result<(), FileError> {
        self.file.set_len(0).map_err(FileError::io("write", &self.path))
    }

    /// Leaves the outcome for processes that wait for the app's end.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn leave(&self, outcome: &Outcome) -> Result<(), FileError> {
        let json = serde_json::to_vec(outcome)
            .map_err(|source| FileError::Damaged { path: self.path.clone(), source })?;
        let write = || {
            let mut file = &self.file;
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&json)
        };
        write().map_err(FileError::io("write", &self.path))
    }
}

/// An app's lock file, opened by someone who waits for the app's end.
#[derive(Debug)]
pub(crate) struct LockWatch {
    file: File,
    path: PathBuf,
}

impl LockWatch {
    /// The lock file, opened.
    pub(crate) fn of(file: File, path: PathBuf) -> Self {
        Self { file, path }
    }

    /// Whether somebody is in charge of the app right now.
    ///
    /// # Errors
    /// The file system knows no locks.
    pub(crate) fn is_held(&self) -> Result<bool, FileError> {
        match flock(&self.file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                flock(&self.file, FlockOperation::Unlock)
                    .map_err(|errno| FileError::io("unlock", &self.path)(errno.into()))?;
                Ok(false)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(FileError::io("lock", &self.path)(errno.into())),
        }
    }

    /// What the last one in charge left; `None` where it died before.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn outcome(&self) -> Result<Option<Outcome>, FileError> {
        let mut json = Vec::new();
        let mut file = &self.file;
        file.rewind()
            .and_then(|()| file.read_to_end(&mut json))
            .map_err(FileError::io("read", &self.path))?;
        Ok(serde_json::from_slice(&json).ok())
    }
}
