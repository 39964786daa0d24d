//! Start sets: what guests read of an image at their start, recorded for later starts.
//!
//! A set comes from a guest, and makes later guests read the blocks that it names. So a set is kept for all apps of an
//! image, beside the image's disk, only if the image alone decided what the guest did: at the first start of an app,
//! with the image's own command and environment, no input, and no process run beside it. Any other app's set is
//! kept in that app's folder, for its own later starts. The first set is kept until the image or the app is removed.
//!
//! Each app's folder has a link to the place of its image's set, even before that set exists. Dom0 asks a guest to
//! record a set while there is none for it.

use crate::record::app::Record;
use crate::store::folder::{self, Folder};
use contract::StartSet;
use contract::store::MAX_START_SET_BYTES;
use files::FileError;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

/// The name of the link, and of the file beside the image's disk.
const START_SET: &str = "start-set";
/// The file in an app's folder with the app's own set.
const OWN_START_SET: &str = "start-set.own";

/// Makes the link in the folder of an app that will get the image's disk `disk`.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn link(disk: &Path, folder: &Folder) -> Result<(), FileError> {
    let link = folder.file(START_SET);
    symlink(disk.with_file_name(START_SET), &link).map_err(FileError::io("make", &link))
}

/// The start set for the guest's orders. Empty asks the guest to record one; `None` asks for nothing.
///
/// A set that cannot be read does not fail a start.
#[must_use]
pub(crate) fn read(folder: &Folder) -> Option<String> {
    let link = folder.file(START_SET);
    match fs::read_to_string(&link) {
        Ok(json) => parse(&json),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::symlink_metadata(&link).ok()?;
            match fs::read_to_string(folder.file(OWN_START_SET)) {
                Ok(json) => parse(&json),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Some(String::new()),
                Err(_) => None,
            }
        }
        Err(_) => None,
    }
}

fn parse(json: &str) -> Option<String> {
    StartSet::parse(json).ok().map(|set| set.render(MAX_START_SET_BYTES))
}

/// Whether the guest of the app with this folder should record a start set.
#[must_use]
pub(crate) fn is_wanted(folder: &Folder) -> bool {
    read(folder).is_some_and(|known| known.is_empty())
}

/// Keeps the start set, as JSON, that the guest of the app with this folder recorded, unless one is kept already.
///
/// # Errors
/// The set cannot be written.
pub(crate) fn keep(folder: &Folder, record: &Record, json: &str) -> Result<(), FileError> {
    if !is_wanted(folder) {
        return Ok(());
    }
    let path = match record.is_image_alone && !folder.is_marked(folder::TOUCHED) {
        true => {
            let link = folder.file(START_SET);
            fs::read_link(&link).map_err(FileError::io("read", &link))?
        }
        false => folder.file(OWN_START_SET),
    };
    let temporary = path.with_extension(format!("{}.tmp", folder.id()));
    let written =
        files::create_private(&temporary).and_then(|mut file| file.write_all(json.as_bytes()));
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
    use crate::request::resolve::tests::record_of_nginx;
    use contract::start_set::Range;

    fn json(path: &str) -> String {
        let files = vec![(path.to_owned(), vec![Range(0, 1)])];
        StartSet { disk: vec![], files }.render(MAX_START_SET_BYTES)
    }

    fn folders<const N: usize>(root: &Path, names: [&str; N]) -> [Folder; N] {
        let disk = root.join("disk.erofs");
        names.map(|name| {
            let folder = Folder::new(root.join(name));
            fs::create_dir(folder.path()).unwrap();
            assert_eq!(read(&folder), None);
            link(&disk, &folder).unwrap();
            assert!(is_wanted(&folder));
            folder
        })
    }

    fn alone() -> Record {
        Record { is_image_alone: true, ..record_of_nginx() }
    }

    #[test]
    fn the_first_start_set_of_an_image_that_ran_alone_is_kept_for_all_its_apps() {
        let root = tempfile::tempdir().unwrap();
        let [a, b] = folders(root.path(), ["a", "b"]);
        keep(&a, &alone(), &json("first")).unwrap();
        keep(&b, &alone(), &json("second")).unwrap();
        assert_eq!(read(&b), Some(json("first")));
        assert!(!is_wanted(&a) && !is_wanted(&b));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_an_app_with_a_users_command_or_touch_says_of_its_image_is_told_to_no_other_app() {
        let root = tempfile::tempdir().unwrap();
        let [a, b, c] = folders(root.path(), ["a", "b", "c"]);
        keep(&a, &record_of_nginx(), &json("hostile")).unwrap();
        assert_eq!(read(&a), Some(json("hostile")), "its own later starts");
        assert!(is_wanted(&b));
        b.mark(folder::TOUCHED).unwrap();
        keep(&b, &alone(), &json("hostile")).unwrap();
        assert!(is_wanted(&c));
        keep(&c, &alone(), &json("good")).unwrap();
        for folder in [&a, &b, &c] {
            assert_eq!(read(folder), Some(json("good")));
        }
    }

    #[test]
    fn a_start_set_of_a_removed_image_is_dropped_and_a_damaged_one_is_not_told() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().join("a"));
        fs::create_dir(folder.path()).unwrap();
        link(&root.path().join("gone/disk.erofs"), &folder).unwrap();
        keep(&folder, &alone(), &json("x")).unwrap();
        assert_eq!(read(&folder).as_deref(), Some(""));
        fs::create_dir(root.path().join("gone")).unwrap();
        fs::write(root.path().join("gone/start-set"), "no JSON").unwrap();
        assert_eq!(read(&folder), None);
    }
}
