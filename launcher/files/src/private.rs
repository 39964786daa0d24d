//! Private folders and files, with modes 0700 and 0600.
//!
//! Not every user of dom0 may see the contents of images, which include programs with set-user-ID bits. Older versions
//! of `launch` created some folders with mode 0755, so existing folders are corrected.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;
/// The permission bits of group and others.
const OTHERS: u32 = 0o077;

/// Makes sure that a folder exists and only its owner can enter it. Creates missing parents with the same mode. If
/// others can enter an existing folder, closes it to them, and everything below it.
///
/// Takes one system call if the folder is already correct.
///
/// # Errors
/// The path is not a folder, or the file system refuses.
pub fn make_private(folder: &Path) -> io::Result<()> {
    make(folder, close_tree)
}

/// As [`make_private`], for a folder where other programs also keep files: closes only the entries named in `ours`.
///
/// # Errors
/// Those of [`make_private`].
pub fn make_private_with(folder: &Path, ours: &[&str]) -> io::Result<()> {
    make(folder, |folder| {
        ours.iter().try_for_each(|name| {
            let entry = folder.join(name);
            if_there(close_tree(&entry))?;
            if_there(close(&entry))
        })
    })
}

/// Opens a file for writing that only its owner may read, and truncates it.
///
/// # Errors
/// Those of [`File::create`].
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE).open(path)
}

fn make(folder: &Path, close_entries: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(FOLDER).create(folder)
        }
        Ok(data) if !data.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        Ok(data) if data.permissions().mode() & OTHERS == 0 => Ok(()),
        Ok(_) => {
            // Closes the folder itself last: if this is interrupted, the next call sees an open folder and starts over.
            close_entries(folder)?;
            fs::set_permissions(folder, Permissions::from_mode(FOLDER))
        }
        Err(error) => Err(error),
    }
}

/// Closes `path` and, if it is a folder, everything below it.
fn close_tree(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        // Another process may remove an entry at the same time.
        if_there(close_tree(&entry))?;
        if_there(close(&entry))?;
    }
    Ok(())
}

/// Closes one file or folder. Does not change a link or its target.
fn close(path: &Path) -> io::Result<()> {
    let data = fs::symlink_metadata(path)?;
    let mode = if data.is_dir() { FOLDER } else { FILE };
    match data.is_symlink() || data.permissions().mode() & OTHERS == 0 {
        true => Ok(()),
        false => fs::set_permissions(path, Permissions::from_mode(mode)),
    }
}

fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_new_folder_and_its_parents_are_for_the_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("lib/launch/images");
        make_private(&folder).unwrap();
        for path in ["lib", "lib/launch", "lib/launch/images"] {
            assert_eq!(mode(&root.path().join(path)), 0o700, "{path}");
        }
        create_private(&folder.join("names.json")).unwrap();
        assert_eq!(mode(&folder.join("names.json")), 0o600);
        make_private(&folder).unwrap();
    }

    #[test]
    fn an_older_folder_is_closed_with_all_in_it_but_not_what_links_lead_to() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("images/sha256/ab")).unwrap();
        fs::write(path("images/sha256/ab/disk"), "secret").unwrap();
        fs::write(path("outside"), "not ours").unwrap();
        symlink(path("outside"), path("images/link")).unwrap();
        symlink(path("nowhere"), path("images/dangling")).unwrap();
        for (name, mode) in [("images", 0o755), ("images/sha256", 0o755), ("outside", 0o644)] {
            fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(path("images/sha256/ab/disk"), Permissions::from_mode(0o4644)).unwrap();
        make_private(&path("images")).unwrap();
        for name in ["images", "images/sha256", "images/sha256/ab"] {
            assert_eq!(mode(&path(name)), 0o700, "{name}");
        }
        assert_eq!(mode(&path("images/sha256/ab/disk")), 0o600);
        assert_eq!(mode(&path("outside")), 0o644);
    }

    #[test]
    fn what_others_have_beside_ours_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for name in ["pool", "theirs"] {
            fs::create_dir_all(path(name)).unwrap();
            fs::write(path(name).join("file"), "").unwrap();
            fs::set_permissions(path(name), Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(path(name).join("file"), Permissions::from_mode(0o644)).unwrap();
        }
        fs::write(path("leases"), "").unwrap();
        fs::set_permissions(path("leases"), Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        make_private_with(root.path(), &["pool", "leases", "absent"]).unwrap();
        assert_eq!(mode(root.path()), 0o700);
        assert_eq!(mode(&path("pool")), 0o700);
        assert_eq!(mode(&path("pool/file")), 0o600);
        assert_eq!(mode(&path("leases")), 0o600);
        assert_eq!(mode(&path("theirs")), 0o755);
        assert_eq!(mode(&path("theirs/file")), 0o644);
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let error = make_private(&root.path().join("file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }
}
