//! What the source of an image has on this machine, opened with the launcher's rights.

use super::error::FetchError;
use crate::{
    digest::Digest,
    failure::{FailureKind, plain},
    source::Source,
};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::{fs::File, io, os::fd::OwnedFd, path::Path};

/// The open archive or folder; a registry has neither.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) archive: Option<File>,
    folder: Option<OwnedFd>,
}

impl Opened {
    pub(super) fn of(source: &Source) -> Result<Self, FetchError> {
        let io_error = |path: &Path, source: io::Error| {
            let kind = match source.kind() {
                io::ErrorKind::NotFound => FailureKind::NotFound,
                _ => FailureKind::Other,
            };
            let message = format!("cannot open {}: {}", path.display(), plain(&source));
            FetchError::Failed { kind, message: message.into() }
        };
        match source {
            Source::Registry(_) => Ok(Self::default()),
            Source::OciLayout { folder: path, .. } => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let folder = rustix::fs::open(path, flags, Mode::empty())
                    .map_err(|error| io_error(path, error.into()))?;
                Ok(Self { folder: Some(folder), archive: None })
            }
            Source::DockerArchive { file: path, .. }
            | Source::OciArchive { file: path, .. }
            | Source::Rootfs(path) => {
                let file = File::open(path).map_err(|error| io_error(path, error))?;
                let is_folder = file.metadata().is_ok_and(|metadata| metadata.is_dir());
                if is_folder {
                    return Err(io_error(path, io::ErrorKind::IsADirectory.into()));
                }
                Ok(Self { archive: Some(file), folder: None })
            }
        }
    }

    /// Opens a file of the layout folder for the child, which may not be able to itself. Only the
    /// names a layout has, and nothing through links, so that it gets no other file of root's.
    pub(super) fn open(&self, path: &str) -> io::Result<OwnedFd> {
        let folder = self.folder.as_ref().ok_or(io::ErrorKind::PermissionDenied)?;
        let blob = path.strip_prefix("blobs/sha256/").map(Digest::from_hex);
        if !matches!(path, "index.json" | "oci-layout") && !matches!(blob, Some(Ok(_))) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let file = rustix::fs::openat2(
            folder,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )?;
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        match kind {
            rustix::fs::FileType::RegularFile => Ok(file),
            _ => Err(io::Error::other("not a regular file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_layout_gives_out_its_own_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let (blob, link) = (Digest::of(b"blob").hex(), Digest::of(b"link").hex());
        std::fs::write(blobs.join(&blob), "blob").unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        symlink("/etc/passwd", blobs.join(&link)).unwrap();
        let opened = Opened::of(&Source::OciLayout { folder: folder.path().into(), tag: None });
        let opened = opened.unwrap();
        opened.open(&format!("blobs/sha256/{blob}")).unwrap();
        for bad in ["secret", "blobs/sha256/..", "/etc/passwd", "blobs", "index.json/../secret"] {
            let error = opened.open(bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{bad}");
        }
        let error = opened.open(&format!("blobs/sha256/{link}")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "followed a link: {error}");
    }
}
