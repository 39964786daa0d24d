//! Names of images: one small JSON file, replaced whole by a rename.

use super::error::{StoreError, io_error, write_json};
use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, io, path::Path};

const FILE: &str = "names.json";

/// Which name stands for which image.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Names {
    names: BTreeMap<String, Digest>,
}

impl Names {
    pub(super) fn read(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(io_error("read", &path)(error)),
            Ok(json) => {
                serde_json::from_slice(&json).map_err(|source| StoreError::Damaged { path, source })
            }
        }
    }

    /// The caller holds the store's lock.
    pub(super) fn write(&self, folder: &Path) -> Result<(), StoreError> {
        write_json(&folder.join(FILE), self)
    }

    pub(super) fn get(&self, name: &str) -> Option<Digest> {
        self.names.get(name).copied()
    }

    pub(super) fn set(&mut self, name: String, digest: Digest) {
        self.names.insert(name, digest);
    }

    pub(super) fn unset(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// All names of an image, sorted.
    pub(super) fn of(&self, digest: &Digest) -> Vec<String> {
        let of_it = self.names.iter().filter(|(_, other)| *other == digest);
        of_it.map(|(name, _)| name.clone()).collect()
    }
}
