//! The disk of an app's image.

use files::FileError;
use std::fs;
use std::path::Path;

/// Links the image's disk into an app's folder. A hard link keeps the disk when its image is removed; across file
/// systems a symbolic link is used.
pub(crate) fn link_disk(disk: &Path, link: &Path) -> Result<(), FileError> {
    let linked = fs::hard_link(disk, link).or_else(|error| match error.raw_os_error() {
        Some(libc::EXDEV) => std::os::unix::fs::symlink(disk, link),
        _ => Err(error),
    });
    linked.map_err(FileError::io("link", disk))
}
