//! Replacing a file whole.

use crate::error::FileError;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Replaces a file, which only its owner may read. The new content is on the disk when this returns.
///
/// # Errors
/// Disk full and the like; the old content is still there then.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_and_rename(path, bytes, true)
}

/// Replaces a file without waiting for the disk: after a power cut it may be empty, or the old one.
///
/// # Errors
/// As [`replace`].
pub fn replace_lightly(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_and_rename(path, bytes, false)
}

/// Removes a file. Treats `NotFound` as success: the file is already gone.
///
/// # Errors
/// The file system refuses.
pub fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn write_and_rename(path: &Path, bytes: &[u8], durable: bool) -> Result<(), FileError> {
    // Several processes may write the same file at once: each its own temporary one.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        if durable { sync_folder(path) } else { Ok(()) }
    };
    write().map_err(|source| {
        // The error to report is the first one.
        let _ = fs::remove_file(&temporary);
        FileError::Io { action: "write", path: path.to_owned(), source }
    })
}

/// Makes a rename in the folder of `path` last through a power cut.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(folder, flags, Mode::empty())?;
    Ok(rustix::fs::fsync(fd)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_replaced_file_has_the_new_content_only_and_is_for_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        for write in [replace, replace_lightly] {
            fs::write(&path, "a long old content").unwrap();
            write(&path, b"new").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_file_that_cannot_be_replaced_keeps_its_content() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        fs::write(&path, "old").unwrap();
        fs::create_dir(root.path().join(format!("state.{}.tmp", std::process::id()))).unwrap();
        let error = replace(&path, b"new").unwrap_err();
        assert!(matches!(error, FileError::Io { action: "write", .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn removing_a_file_that_is_gone_is_success() {
        let root = tempfile::tempdir().unwrap();
        remove_if_there(&root.path().join("none")).unwrap();
        let error = remove_if_there(root.path()).unwrap_err();
        assert!(matches!(error, FileError::Io { action: "remove", .. }), "{error}");
    }
}
