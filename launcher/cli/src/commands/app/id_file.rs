//! `--cidfile`: a file that holds the id of an app.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

/// The file, empty until the app exists. It is removed if the app is not created.
#[derive(Debug)]
pub(crate) struct IdFile {
    path: PathBuf,
    file: File,
    filled: bool,
}

impl IdFile {
    /// Creates the file, before anything else is created.
    ///
    /// # Errors
    /// The file exists already, or cannot be created.
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        match File::create_new(&path) {
            Ok(file) => Ok(Self { path, file, filled: false }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            ),
            Err(error) => {
                Err(error).with_context(|| format!("cannot make --cidfile {}", path.display()))
            }
        }
    }

    /// Writes the id.
    ///
    /// # Errors
    /// The file system fails, e.g. because the disk is full.
    pub(crate) fn fill(mut self, id: &str) -> Result<()> {
        self.filled = true;
        let path = self.path.display().to_string();
        self.file.write_all(id.as_bytes()).with_context(|| format!("cannot write --cidfile {path}"))
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.filled {
            // The first error is reported.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_id_or_is_not_there() {
        let path = std::env::temp_dir().join(format!("launch-cidfile-{}", std::process::id()));
        drop(IdFile::create(path.clone()).unwrap());
        assert!(!path.exists());
        IdFile::create(path.clone()).unwrap().fill("0123").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0123");
        let error = IdFile::create(path.clone()).unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(error.starts_with("container ID file found"), "{error}");
    }
}
