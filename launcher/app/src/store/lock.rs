//! The lock of an app, held by the process in charge, and the outcome that this process leaves in the lock file.

use crate::record::outcome::Outcome;
use files::FileError;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;

/// The right to change an app. It ends when the last copy of the file is closed.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// The lock that this process already holds on `file`.
    pub(crate) fn of(file: File, path: PathBuf) -> Self {
        Self { file, path }
    }

    /// Takes over a lock whose file this process inherited, e.g. as its standard input. Errors name `path`.
    ///
    /// # Errors
    /// Another process holds the lock.
    pub(crate) fn inherit(file: File, path: PathBuf) -> Result<Self, FileError> {
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| FileError::io("lock", &path)(errno.into()))?;
        Ok(Self { file, path })
    }

    /// A second handle of the same lock, to be inherited by a child process.
    ///
    /// # Errors
    /// There are no free file descriptors.
    pub(crate) fn share(&self) -> Result<File, FileError> {
        self.file.try_clone().map_err(FileError::io("share", &self.path))
    }

    /// Removes the outcome of an earlier run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn clear(&self) -> Result<(), FileError> {
        self.file.set_len(0).map_err(FileError::io("write", &self.path))
    }

    /// Writes the outcome for processes that wait for the app's end.
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

/// An app's lock file, opened to wait for the app's end.
#[derive(Debug)]
pub(crate) struct LockWatch {
    file: File,
    path: PathBuf,
}

impl LockWatch {
    /// Watches an open lock file.
    pub(crate) fn of(file: File, path: PathBuf) -> Self {
        Self { file, path }
    }

    /// Whether a process is in charge of the app now.
    ///
    /// # Errors
    /// The file system does not support locks.
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

    /// The outcome that the last process in charge left; `None` if it died before.
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
