//! What goes wrong with a store.

use crate::{digest::Digest, fetch::FetchError};
use contract::Untrusted;
use files::{Durability, ReplaceError, Writers, replace};
use serde::Serialize;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// What goes wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of the store is damaged.
    #[error("image store file {path} is damaged; remove it and pull again", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Nothing has this name or digest.
    #[error("no image {0:?} in the store; `launch images` lists what is there")]
    NotFound(String),
    /// Several images have a digest that begins with this.
    #[error("image digest {0:?} fits {1} images; give more digits")]
    Ambiguous(String, usize),
    /// A domain has the disk.
    #[error("image {name} is in use; remove the apps that run it first")]
    InUse {
        /// As it was given.
        name: String,
    },
    /// An image came from two places and is not the same.
    #[error(
        "{name} says it is the image {digest}, which is here from {origins}, but its disk is \
         another; one of them is not what it says, unless a different launch made that disk. \
         Remove the image that you do not trust with `launch rmi`, and pull again"
    )]
    Differs {
        /// The image.
        digest: Digest,
        /// As it was given.
        name: String,
        /// Where the image that is here came from.
        origins: String,
    },
    /// No room for a disk.
    #[error("no space left in {folder} for the disk of {name} ({cause}); make room, for example with `launch rmi`", folder = folder.display())]
    Full {
        /// The folder.
        folder: PathBuf,
        /// The image.
        name: String,
        /// What is full, or kept free.
        cause: Untrusted,
    },
    /// Fetching or converting failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// For `map_err`: names what was tried on which path.
pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}

/// Makes a rename or a new entry in `folder` outlive a power loss.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("write", folder))
}

/// Replaces a JSON file of the store, so that it outlives a power failure. The caller holds the lock of
/// the folder that the file is in.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|source| StoreError::Damaged { path: path.to_owned(), source })?;
    replace(path, &json, Durability::PowerFailure, Writers::One)
        .map_err(|ReplaceError { action, path, source }| StoreError::Io { action, path, source })
}
