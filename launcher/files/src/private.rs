//! Folders of mode 0700 and files of mode 0600.
//!
//! Images hold what their owners would not show to every user of dom0, programs with their set-user-ID
//! bits among it. Older versions made some folders with mode 0755, so existing folders are mended.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;
/// What group and others may do.
const OTHERS: u32 = 0o077;

/// Makes sure that there is a folder which only its owner can enter. Missing parents are made
/// alike; one that others can enter is closed to them, and so is all below it.
///
/// Where the folder is as it should be this takes one system call.
///
/// # Errors
/// The folder is something else, or the file system refuses.
pub fn make_private(folder: &Path) -> io::Result<()> {
    make(folder, close_tree)
}

/// As [`make_private`], for a folder in which also others may have files: below it only the
/// entries called `ours` are closed.
///
/// # Errors
/// As [`make_private`].
pub fn make_private_with(folder: &Path, ours: &[&str]) -> io::Result<()> {
    make(folder, |folder| {
        ours.iter().try_for_each(|name| {
            let entry = folder.join(name);
            if_there(close_tree(&entry))?;
            if_there(close(&entry))
        })
    })
}

/// Opens a file for writing that only its owner may read; what was in it goes.
///
/// # Errors
/// As for [`File::create`].
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
            // The folder itself comes last: if this is interrupted, the next call sees an open folder and
            // starts over.
            close_entries(folder)?;
            fs::set_permissions(folder, Permissions::from_mode(FOLDER))
        }
        Err(error) => Err(error),
    }
}

/// Closes all entries of a folder; `path` may also be something else.
fn close_tree(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        // Others may be at work there and remove something meanwhile.
        if_there(close_tree(&entry))?;
        if_there(close(&entry))?;
    }
    Ok(())
}

/// Closes one file or folder. A link is left alone, and so is what it leads to.
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
