//! Start sets: what guests found out about their image, kept beside its disk for later guests.
//!
//! An app's folder has a link to where its image's start set is or will be. A guest is asked to
//! find it out as long as there is none; the first answer stays until the image goes.

use crate::folder::{FileError, Folder};
use contract::StartSet;
use contract::store::MAX_START_SET_BYTES;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

/// The link's name, and the file's beside the image's disk.
const START_SET: &str = "start-set";

/// Makes the link in the folder of an app that is to have the image's disk `disk`.
///
/// # Errors
/// The folder cannot be written.
pub fn link(disk: &Path, folder: &Folder) -> Result<(), FileError> {
    let link = folder.file(START_SET);
    symlink(disk.with_file_name(START_SET), &link).map_err(FileError::io("make", &link))
}

/// The start set to tell the guest; empty where it is to find it out, `None` where it is not to.
///
/// What cannot be read is not worth failing a start.
#[must_use]
pub fn read(folder: &Folder) -> Option<String> {
    let link = folder.file(START_SET);
    match fs::read_to_string(&link) {
        Ok(json) => StartSet::parse(&json).ok().map(|set| set.render(MAX_START_SET_BYTES)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::symlink_metadata(&link).is_ok().then(String::new)
        }
        Err(_) => None,
    }
}

/// Keeps what the guest of the app with this folder found out, unless there is something already.
///
/// # Errors
/// It cannot be written.
pub fn keep(folder: &Folder, set: &StartSet) -> Result<(), FileError> {
    if set.is_empty() || read(folder).is_none_or(|known| !known.is_empty()) {
        return Ok(());
    }
    let link = folder.file(START_SET);
    let path = fs::read_link(&link).map_err(FileError::io("read", &link))?;
    let temporary = path.with_extension(format!("{}.tmp", folder.id()));
    let rendered = set.render(MAX_START_SET_BYTES);
    let written =
        files::create_private(&temporary).and_then(|mut file| file.write_all(rendered.as_bytes()));
    match written {
        // The image was removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::io("write", &temporary)(error)),
        Ok(()) => fs::rename(&temporary, &path).map_err(|error| {
            let _ = fs::remove_file(&temporary);
            FileError::io("write", &path)(error)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::start_set::Range;

    fn set(path: &str) -> StartSet {
        StartSet { disk: vec![], files: vec![(path.to_owned(), vec![Range(0, 1)])] }
    }

    #[test]
    fn the_first_start_set_of_an_image_is_kept_for_all_its_apps() {
        let root = tempfile::tempdir().unwrap();
        let disk = root.path().join("disk.erofs");
        let folders = ["a", "b"].map(|name| Folder::new(root.path().join(name)));
        for folder in &folders {
            fs::create_dir(folder.path()).unwrap();
            assert_eq!(read(folder), None);
            link(&disk, folder).unwrap();
            assert_eq!(read(folder).as_deref(), Some(""));
        }
        keep(&folders[0], &StartSet::default()).unwrap();
        assert_eq!(read(&folders[1]).as_deref(), Some(""));
        keep(&folders[0], &set("first")).unwrap();
        keep(&folders[1], &set("second")).unwrap();
        assert_eq!(StartSet::parse(&read(&folders[1]).unwrap()).unwrap(), set("first"));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_start_set_of_a_removed_image_is_dropped_and_a_damaged_one_is_not_told() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().join("a"));
        fs::create_dir(folder.path()).unwrap();
        link(&root.path().join("gone/disk.erofs"), &folder).unwrap();
        keep(&folder, &set("x")).unwrap();
        assert_eq!(read(&folder).as_deref(), Some(""));
        fs::create_dir(root.path().join("gone")).unwrap();
        fs::write(root.path().join("gone/start-set"), "no JSON").unwrap();
        assert_eq!(read(&folder), None);
    }
}
