//! Removes files.

use crate::error::FileError;
use std::fs;
use std::io;
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_a_file_that_is_gone_is_success() {
        let root = tempfile::tempdir().unwrap();
        remove_if_there(&root.path().join("none")).unwrap();
        let error = remove_if_there(root.path()).unwrap_err();
        assert!(matches!(error, FileError::Io { action: "remove", .. }), "{error}");
    }
}
