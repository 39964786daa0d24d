//! The project's build as it will be installed: a folder on the host, which is copied into dom0.

use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cache::{Key, remove_tree};
use crate::host::project_root;

/// Where `ci/build` puts the tree by default: `stage` in cargo's target folder.
#[must_use]
pub fn default_stage() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| project_root().join("target"), PathBuf::from)
        .join("stage")
}

/// The files of a staged tree, as paths below it, sorted.
///
/// # Errors
/// A folder cannot be listed.
pub fn list_files(stage: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = stage.join(&folder);
        let entries =
            fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))?;
        for entry in entries {
            let entry = entry?;
            let below = folder.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => folders.push(below),
                false => found.push(below),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A hash of names, sizes, modes and times: changes whenever a file of the tree does.
///
/// # Errors
/// A file's metadata cannot be read.
pub fn fingerprint(stage: &Path) -> Result<String> {
    let mut key = Key::default();
    for file in list_files(stage)? {
        let data = fs::metadata(stage.join(&file))?;
        let facts =
            format!("{} {:o} {}.{}", data.len(), data.mode(), data.mtime(), data.mtime_nsec());
        key = key.with(&file.to_string_lossy(), facts);
    }
    Ok(key.name())
}

/// Copies a staged tree with its modes to `to`, and replaces the contents of `to`. Keeps the folder `to` itself,
/// because dom0 may have it mounted.
///
/// # Errors
/// A file cannot be copied.
pub fn copy(stage: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(to).with_context(|| format!("cannot list {}", to.display()))? {
        let path = entry?.path();
        if path.is_dir() { remove_tree(&path)? } else { fs::remove_file(&path)? }
    }
    for file in list_files(stage)? {
        let (from, to) = (stage.join(&file), to.join(&file));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_replaces_what_was_there_and_the_fingerprint_sees_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (stage, to) = (folder.path().join("stage"), folder.path().join("to"));
        fs::create_dir_all(stage.join("usr/bin")).unwrap();
        fs::create_dir_all(to.join("old")).unwrap();
        fs::write(stage.join("usr/bin/launch"), "1").unwrap();
        let before = fingerprint(&stage).unwrap();
        assert_eq!(before, fingerprint(&stage).unwrap());
        copy(&stage, &to).unwrap();
        assert_eq!(list_files(&to).unwrap(), [PathBuf::from("usr/bin/launch")]);
        fs::write(stage.join("usr/bin/launch"), "22").unwrap();
        assert_ne!(before, fingerprint(&stage).unwrap());
    }
}
