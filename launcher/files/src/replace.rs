//! Replaces a file: readers see either the old contents or the new ones.

use crate::private::create_private;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What a power failure may do to a file that has just been replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: contents and name are on the disk when [`replace`] returns.
    PowerFailure,
    /// A power failure may restore the old contents or leave an empty file, because nothing waits for the disk. For
    /// files about running domains, which a power failure ends too.
    Crash,
}

/// Who may replace the same file at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// One process and thread, because the caller holds a lock. The new contents are written to `NAME.new`, so the next
    /// writer overwrites the file that a killed writer left behind.
    One,
    /// Any number of processes, with one writing thread each. The new contents are written to `NAME.PID.tmp`.
    Many,
}

/// A file could not be replaced. The old file still exists.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct ReplaceError {
    /// The operation that failed.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// Replaces or creates the file at `path`; only its owner may read it.
///
/// # Errors
/// For example, the disk is full or the folder is missing; nothing has changed then.
pub fn replace(
    path: &Path,
    contents: &[u8],
    durability: Durability,
    writers: Writers,
) -> Result<(), ReplaceError> {
    let staged = staged_path(path, writers);
    let write = || {
        let mut file = create_private(&staged)?;
        file.write_all(contents)?;
        if durability == Durability::PowerFailure { file.sync_all() } else { Ok(()) }
    };
    write().and_then(|()| fs::rename(&staged, path)).map_err(|source| {
        // Frees the blocks of a full disk; the first error is the one to report.
        let _ = fs::remove_file(&staged);
        ReplaceError { action: "write", path: path.to_owned(), source }
    })?;
    match durability {
        Durability::PowerFailure => sync_folder_of(path),
        Durability::Crash => Ok(()),
    }
}

fn staged_path(path: &Path, writers: Writers) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    match writers {
        Writers::One => name.push(".new"),
        Writers::Many => name.push(format!(".{}.tmp", std::process::id())),
    }
    name.into()
}

fn sync_folder_of(path: &Path) -> Result<(), ReplaceError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| ReplaceError {
        action: "write",
        path: folder.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ALL: [(Durability, Writers); 4] = [
        (Durability::PowerFailure, Writers::One),
        (Durability::PowerFailure, Writers::Many),
        (Durability::Crash, Writers::One),
        (Durability::Crash, Writers::Many),
    ];

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        for (durability, writers) in ALL {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.json");
            for contents in ["longer than the next", "next"] {
                replace(&path, contents.as_bytes(), durability, writers).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), contents);
            }
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_the_old_one() {
        for (durability, writers) in ALL {
            let folder = tempfile::tempdir().unwrap();
            // A folder with entries cannot be replaced by a file.
            let path = folder.path().join("state.json");
            fs::create_dir_all(path.join("old")).unwrap();
            let error = replace(&path, b"new", durability, writers).unwrap_err();
            assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
            assert_eq!(error.source.kind(), io::ErrorKind::IsADirectory);
            assert!(path.join("old").exists());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_writer_with_the_lock_overwrites_what_a_killed_one_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("leases.new"), "half a fi").unwrap();
        let path = folder.path().join("leases");
        replace(&path, b"all", Durability::Crash, Writers::One).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"all");
        assert!(!folder.path().join("leases.new").exists());
    }
}
