//! The cache outside the tree: results that take long to make, found again by the hash of their inputs.

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How many results of each sort are kept; a new one replaces the oldest.
const KEPT: usize = 4;

/// `$XDG_CACHE_HOME/launch-lab`, or `~/.cache/launch-lab`; created if missing, accessible only to this user.
///
/// # Errors
/// Neither variable is set, or the folder cannot be created.
pub fn cache_root() -> Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let root = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("neither HOME nor XDG_CACHE_HOME is set; the lab keeps its cache there")?
        .join("launch-lab");
    make_private_folder(&root)?;
    Ok(root)
}

/// Creates a folder, and missing parents, that only this user can enter.
///
/// # Errors
/// The folder cannot be created.
pub fn make_private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

/// The hash of everything on which a result depends.
#[derive(Debug, Clone, Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds a named input. The lengths are hashed too, so that two different lists of inputs never hash the same bytes.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), value.as_ref()] {
            self.0.update(part.len().to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds the contents of a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn with_file(self, name: &str, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(self.with(name, bytes))
    }

    /// The name of the result in the cache.
    #[must_use]
    pub fn name(&self) -> String {
        hex::encode(&self.0.clone().finalize()[..12])
    }
}

/// Holds a lock file until dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "closing the file unlocks it")] File);

impl Lock {
    /// Waits for the lock at `path`.
    ///
    /// # Errors
    /// The file cannot be created or locked.
    pub fn take(path: &Path) -> Result<Self> {
        let explain = || format!("cannot lock {}", path.display());
        let file = File::create(path).with_context(explain)?;
        flock(&file, FlockOperation::LockExclusive).with_context(explain)?;
        Ok(Self(file))
    }
}

/// Returns the folder `sort/key` of the cache; if it does not exist, `make` fills it first. If two processes need the
/// same folder, one waits for the other. An unfinished folder is never found.
///
/// # Errors
/// The error of `make`, or the cache cannot be written.
pub fn find_or_make(
    sort: &str,
    key: &Key,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let shelf = cache_root()?.join(sort);
    make_private_folder(&shelf)?;
    let name = key.name();
    let finished = shelf.join(&name);
    if finished.is_dir() {
        return Ok(finished);
    }
    let _lock = Lock::take(&shelf.join(format!("{name}.lock")))?;
    if finished.is_dir() {
        return Ok(finished);
    }
    let unfinished = shelf.join(format!("{name}.unfinished"));
    remove_tree(&unfinished)?;
    make_private_folder(&unfinished)?;
    make(&unfinished)?;
    fs::rename(&unfinished, &finished)
        .with_context(|| format!("cannot rename to {}", finished.display()))?;
    prune(&shelf)?;
    Ok(finished)
}

/// Removes a folder and its contents, if it exists.
///
/// # Errors
/// Part of it cannot be removed.
pub fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes all but the newest results. A running lab keeps its files open, so it is not affected.
fn prune(shelf: &Path) -> Result<()> {
    let mut made = Vec::new();
    for entry in fs::read_dir(shelf).with_context(|| format!("cannot list {}", shelf.display()))? {
        let path = entry?.path();
        if path.is_dir() && path.extension().is_none() {
            made.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    made.sort();
    made.reverse();
    for (_, path) in made.iter().skip(KEPT) {
        remove_tree(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_changes_with_each_input_and_with_nothing_else() {
        let key = || Key::default().with("suite", "trixie").with("memory", "4096");
        assert_eq!(key().name(), key().name());
        assert_ne!(key().name(), key().with("memory", "").name());
        assert_ne!(
            Key::default().with("a", "bc").name(),
            Key::default().with("ab", "c").name(),
            "two lists of inputs have the same hash"
        );
    }

    #[test]
    fn only_the_newest_made_things_are_kept() {
        let shelf = tempfile::tempdir().unwrap();
        for number in 0..KEPT + 2 {
            fs::create_dir(shelf.path().join(format!("made{number}"))).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        prune(shelf.path()).unwrap();
        assert!(!shelf.path().join("made1").exists());
        assert!(shelf.path().join("made2").exists());
    }

    #[test]
    fn a_lock_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = Lock::take(&path).unwrap();
        let other = File::create(&path).unwrap();
        let taken = flock(&other, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(taken, Err(rustix::io::Errno::WOULDBLOCK));
        drop(held);
        flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    }
}
