//! Reads and writes files that hold one value as JSON.

use crate::error::FileError;
use crate::replace::{Durability, Writers, replace};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::Path;

/// Reads a JSON file.
///
/// # Errors
/// The file does not exist or is damaged.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let bytes = fs::read(path).map_err(FileError::io("read", path))?;
    serde_json::from_slice(&bytes)
        .map_err(|source| FileError::Damaged { path: path.to_owned(), source })
}

/// Replaces a JSON file; [`replace`] describes how.
///
/// # Errors
/// Those of [`replace`].
pub fn write_json<T: Serialize>(
    path: &Path,
    value: &T,
    durability: Durability,
) -> Result<(), FileError> {
    Ok(replace(path, &render_json(path, value)?, durability, Writers::Many)?)
}

/// The contents of a JSON file; errors name `path`.
///
/// # Errors
/// The value cannot be written as JSON.
pub fn render_json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, FileError> {
    let mut json = serde_json::to_vec_pretty(value)
        .map_err(|source| FileError::Damaged { path: path.to_owned(), source })?;
    json.push(b'\n');
    Ok(json)
}
