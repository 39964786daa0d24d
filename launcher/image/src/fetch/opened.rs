//! What the source of an image has on this machine, opened with the launcher's rights.

use super::error::FetchError;
use crate::{
    digest::Digest,
    failure::{FailureKind, plain},
    manifest::{self, MAX_MANIFEST_BYTES},
    source::{STDIN, Source},
};
use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _, Seek as _},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
};

/// The largest file that is read behind a link: what a layer may have by default.
const MAX_LINKED_BYTES: u64 = 64 << 30;

/// The open archive or folder; a registry has neither.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) archive: Option<File>,
    folder: Option<(OwnedFd, Names)>,
}

/// Which files a folder gives out.
#[derive(Clone, Copy)]
enum Names {
    /// Those of an OCI layout.
    Layout,
    /// Those that skopeo makes for `dir:`.
    Dir,
}

impl Opened {
    pub(super) fn of(source: &Source) -> Result<Self, FetchError> {
        match source {
            Source::Registry(_) => Ok(Self::default()),
            Source::OciLayout { folder, .. } => Self::folder(folder, Names::Layout),
            Source::Dir(folder) => Self::folder(folder, Names::Dir),
            Source::DockerArchive { file: path, .. }
            | Source::OciArchive { file: path, .. }
            | Source::Rootfs(path) => {
                let file = match path == Path::new(STDIN) {
                    true if io::stdin().is_terminal() => {
                        let message =
                            format!("{source} is standard input, which is a terminal; pipe it in");
                        return Err(told(message));
                    }
                    true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
                    false => File::open(path),
                };
                let file = file.map_err(|error| failed(path, &error))?;
                match file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
                    false => Ok(Self { archive: Some(file), folder: None }),
                    true => Err(is_folder(source, path)),
                }
            }
        }
    }

    fn folder(path: &Path, names: Names) -> Result<Self, FetchError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(folder) => Ok(Self { folder: Some((folder, names)), archive: None }),
            Err(Errno::NOTDIR) => {
                let path = path.display();
                Err(told(format!(
                    "{path} is a file; write oci-archive:{path} for an OCI layout in a tar"
                )))
            }
            Err(error) => Err(failed(path, &error.into())),
        }
    }

    /// Opens a file of the folder for the child, which may not be able to itself. Only the
    /// names that such a folder has. Through a link only what has the digest that its name says, or is an index,
    /// so that the child gets no other file of root's.
    pub(super) fn open(&self, path: &str) -> io::Result<OwnedFd> {
        let (folder, names) = self.folder.as_ref().ok_or(io::ErrorKind::PermissionDenied)?;
        let name = names.of(path).ok_or(io::ErrorKind::PermissionDenied)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(folder, path, flags, Mode::empty(), inside) {
            Err(Errno::LOOP) => open_linked(folder, path, &name),
            file => {
                let file = file?;
                match is_file(&file)? {
                    true => Ok(file),
                    false => Err(io::Error::other("not a regular file")),
                }
            }
        }
    }
}

/// What a name in a folder promises about the file's contents.
enum Name {
    Marker,
    Index,
    Blob(Digest),
}

impl Names {
    fn of(self, path: &str) -> Option<Name> {
        let blob = |hex: &str| Digest::from_hex(hex).ok().map(Name::Blob);
        match (self, path) {
            (Self::Layout, "oci-layout") => Some(Name::Marker),
            (Self::Layout, "index.json") | (Self::Dir, "manifest.json") => Some(Name::Index),
            (Self::Layout, path) => blob(path.strip_prefix("blobs/sha256/")?),
            (Self::Dir, path) => blob(path.strip_suffix(".manifest.json").unwrap_or(path)),
        }
    }
}

/// Build tools and git-annex have links for blobs. What a link leads to may be any file of root's, so the launcher looks
/// at the contents itself before it gives them out: they are no secret if the layout has their digest.
fn open_linked(folder: &OwnedFd, path: &str, name: &Name) -> io::Result<OwnedFd> {
    // First without reading: to open a device may do something.
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::openat(folder, path, flags, Mode::empty())?;
    if !is_file(&found)? {
        return Err(io::Error::other("the link does not lead to a regular file"));
    }
    let mut file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    // Files that the kernel makes up have no size, or an absurd one; reading them may never end.
    if !(1..=MAX_LINKED_BYTES).contains(&file.metadata()?.len()) {
        return Err(io::Error::other("the link leads to a file that is empty or too large"));
    }
    let as_promised = match name {
        // It says no more than that this is a layout.
        Name::Marker => return Err(io::ErrorKind::NotFound.into()),
        Name::Blob(digest) => Digest::of_reader(&mut file)? == *digest,
        Name::Index => {
            let mut json = Vec::new();
            (&mut file).take(MAX_MANIFEST_BYTES).read_to_end(&mut json)?;
            manifest::parse(&json, path).is_ok()
        }
    };
    file.rewind()?;
    match as_promised {
        true => Ok(file.into()),
        false => Err(io::Error::other("the link leads to something else than its name says")),
    }
}

fn is_file(file: &OwnedFd) -> io::Result<bool> {
    let mode = rustix::fs::fstat(file)?.st_mode;
    Ok(FileType::from_raw_mode(mode) == FileType::RegularFile)
}

fn failed(path: &Path, error: &io::Error) -> FetchError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => FailureKind::NotFound,
        _ => FailureKind::Other,
    };
    let message = format!("cannot open {}: {}", path.display(), plain(error));
    FetchError::Failed { kind, message: message.into() }
}

fn told(message: String) -> FetchError {
    FetchError::Failed { kind: FailureKind::Other, message: message.into() }
}

/// A folder where a file should be: says what to do with it.
fn is_folder(source: &Source, path: &Path) -> FetchError {
    let path = path.display();
    told(match source {
        Source::Rootfs(_) => {
            format!(
                "{path} is a folder; write `tar -C {path} -c . | launch pull rootfs:-`, or rootfs:FILE with such a tar"
            )
        }
        _ => format!(
            "{path} is a folder; write oci:{path} for an OCI layout, dir:{path} for what skopeo made"
        ),
    })
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
        assert!(error.to_string().contains("something else than its name says"), "{error}");
    }

    #[test]
    fn a_link_is_followed_to_what_its_name_promises_only() {
        let (folder, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let blobs = folder.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let link = |name: &str, contents: &str| {
            let target = store.path().join(contents.len().to_string());
            std::fs::write(&target, contents).unwrap();
            symlink(target, folder.path().join(name)).unwrap();
        };
        let path = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
        link(&path(b"blob"), "blob");
        link("index.json", r#"{"manifests":[]}"#);
        link("oci-layout", "{}");
        symlink("/dev/zero", folder.path().join(path(b"device"))).unwrap();
        symlink("/proc/self/status", folder.path().join(path(b"made up"))).unwrap();
        symlink(store.path().join("none"), folder.path().join(path(b"none"))).unwrap();
        let source = Source::OciLayout { folder: folder.path().into(), tag: None };
        let opened = Opened::of(&source).unwrap();
        let read = |path: &str| io::read_to_string(File::from(opened.open(path).unwrap())).unwrap();
        assert_eq!(read(&path(b"blob")), "blob");
        assert_eq!(read("index.json"), r#"{"manifests":[]}"#);
        for (path, kind) in [
            ("oci-layout", io::ErrorKind::NotFound),
            (&path(b"device"), io::ErrorKind::Other),
            (&path(b"made up"), io::ErrorKind::Other),
            (&path(b"none"), io::ErrorKind::NotFound),
        ] {
            assert_eq!(opened.open(path).unwrap_err().kind(), kind, "{path}");
        }
        std::fs::remove_file(folder.path().join("index.json")).unwrap();
        link("index.json", r#"{"auths":{"registry":{"auth":"secret"}}}"#);
        let error = opened.open("index.json").unwrap_err();
        assert!(error.to_string().contains("something else than its name says"), "{error}");
    }

    #[test]
    fn a_folder_for_a_file_and_a_file_for_a_folder_say_what_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar");
        std::fs::write(&file, "").unwrap();
        let (folder, file) = (folder.path().display(), file.display());
        let told = |source: String| Opened::of(&source.parse().unwrap()).err().unwrap().to_string();
        let message = told(format!("rootfs:{folder}"));
        assert!(
            message.contains(&format!("`tar -C {folder} -c . | launch pull rootfs:-`")),
            "{message}"
        );
        let message = told(format!("docker-archive:{folder}"));
        assert!(message.contains(&format!("write oci:{folder}")), "{message}");
        let message = told(format!("oci:{file}"));
        assert!(message.contains(&format!("write oci-archive:{file}")), "{message}");
    }

    #[test]
    fn a_folder_of_skopeos_has_names_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let hex = Digest::of(b"x").hex();
        for name in ["manifest.json", "index.json", &hex, &format!("{hex}.manifest.json")] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let opened = Opened::of(&Source::Dir(folder.path().into())).unwrap();
        for good in ["manifest.json", &hex, &format!("{hex}.manifest.json")] {
            opened.open(good).unwrap();
        }
        let error = opened.open("index.json").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
