//! The stage of a copy: a new folder, beside the copy's destination or in the folder that the copy goes into. The
//! receiver writes only there. A complete copy is moved to its place; anything else is removed.

use super::receiver::NAME;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstatvfs, mkdirat, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A copy leaves one part in so many of the file system free, unless its size is given.
const RESERVE: u64 = 20;

/// The new folder, and the destination of its content.
pub(super) struct Stage {
    /// The parent of the new folder.
    folder: OwnedFd,
    stage: OwnedFd,
    stage_name: String,
    /// The copy's name in `folder`; `None` if the copy goes into `folder`.
    name: Option<OsString>,
    /// The copy's path, for messages.
    target: PathBuf,
}

impl Stage {
    /// A stage for a copy that becomes `name` in `folder`, or goes into `folder` if `name` is a dot. If a folder of
    /// that name exists, the copy is merged into it.
    pub(super) fn new(folder: &Path, name: &Path) -> Result<Self> {
        let target: PathBuf = folder.join(name).components().collect();
        let failed = || format!("cannot write {}", target.display());
        let outer = open_folder(CWD, folder.as_os_str(), true).with_context(failed)?;
        let (folder, name) = match name == Path::new(".") {
            true => (outer, None),
            false => match kind(outer.as_fd(), name.as_os_str()).with_context(failed)? {
                Some(FileType::Directory) => {
                    let inner = open_folder(outer.as_fd(), name.as_os_str(), false);
                    (inner.with_context(failed)?, None)
                }
                None | Some(FileType::RegularFile | FileType::Symlink) => {
                    (outer, Some(name.as_os_str().to_owned()))
                }
                Some(_) => {
                    bail!(
                        "{} is a device, pipe or socket; choose another destination",
                        target.display()
                    )
                }
            },
        };
        let (stage, stage_name) = make(folder.as_fd()).with_context(failed)?;
        Ok(Self { folder, stage, stage_name, name, target })
    }

    /// The path of the new folder, valid for this process and its children until they execute a program.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.stage.as_raw_fd()).into()
    }

    /// Free bytes and inodes of the file system, less a reserve.
    pub(super) fn free(&self) -> Result<(u64, u64)> {
        let file_system = fstatvfs(&self.stage)
            .with_context(|| format!("cannot look at {}", self.target.display()))?;
        let blocks = file_system.f_bavail.saturating_sub(file_system.f_blocks / RESERVE);
        let entries = match file_system.f_files {
            // This file system has no fixed number of inodes.
            0 => u64::MAX,
            files => file_system.f_favail.saturating_sub(files / RESERVE),
        };
        Ok((blocks.saturating_mul(file_system.f_frsize), entries))
    }

    /// Moves the copy to its place; with `folder_only`, only if it is a folder.
    pub(super) fn put(self, folder_only: bool) -> Result<()> {
        let target = self.target.as_path();
        let copied = kind(self.stage.as_fd(), OsStr::new(NAME))?.context("the app sent nothing")?;
        let is_folder = copied == FileType::Directory;
        ensure!(is_folder || !folder_only, "folder {} does not exist", target.display());
        let failed = || format!("cannot write {}", target.display());
        match &self.name {
            None if is_folder => {
                let from = open_folder(self.stage.as_fd(), OsStr::new(NAME), false);
                merge(&from.with_context(failed)?, &self.folder, target)
            }
            None => bail!("{} is a folder here but not in the app", target.display()),
            Some(name) => {
                let moved = renameat(&self.stage, NAME, &self.folder, name);
                moved.with_context(failed)
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Through the open folder, because it may have been renamed meanwhile.
        let inside = self.path().join(NAME);
        let _ = match fs::symlink_metadata(&inside) {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(inside),
            _ => fs::remove_file(inside),
        };
        let _ = unlinkat(&self.folder, &self.stage_name, AtFlags::REMOVEDIR);
    }
}

fn make(folder: BorrowedFd<'_>) -> rustix::io::Result<(OwnedFd, String)> {
    let mut tries = 0;
    loop {
        let name = format!(".launch-cp-{}-{tries}", std::process::id());
        match mkdirat(folder, &name, Mode::RWXU) {
            Ok(()) => return Ok((open_folder(folder, OsStr::new(&name), false)?, name)),
            // Left by a copy that was killed.
            Err(Errno::EXIST) if tries < 100 => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

fn open_folder(at: BorrowedFd<'_>, name: &OsStr, follow: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    openat(at, name, flags, Mode::empty())
}

/// The type of the file called `name`, if it exists.
fn kind(folder: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Option<FileType>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(Stat { st_mode, .. }) => Ok(Some(FileType::from_raw_mode(st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Moves the content of `from` into `to`, and merges folders that are in both. Follows no links.
fn merge(from: &OwnedFd, to: &OwnedFd, shown: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", shown.display());
    let entries = Dir::read_from(from).with_context(failed)?;
    // Reads all names first, because moving them changes the folder.
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    for name in names.collect::<rustix::io::Result<Vec<_>>>().with_context(failed)? {
        let name = OsStr::from_bytes(name.to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let shown = shown.join(name);
        let failed = || format!("cannot write {}", shown.display());
        let ours = kind(from.as_fd(), name).with_context(failed)? == Some(FileType::Directory);
        let theirs = kind(to.as_fd(), name).with_context(failed)? == Some(FileType::Directory);
        if ours && theirs {
            let inner = open_folder(from.as_fd(), name, false).with_context(failed)?;
            let outer = open_folder(to.as_fd(), name, false).with_context(failed)?;
            merge(&inner, &outer, &shown)?;
        } else {
            renameat(from, name, to, name).with_context(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A stage with a copy as the receiver would have made it.
    fn staged(folder: &Path, name: &str, fill: impl FnOnce(&Path)) -> Stage {
        let stage = Stage::new(folder, Path::new(name)).unwrap();
        fill(&stage.path().join(NAME));
        stage
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    fn line(error: &anyhow::Error) -> String {
        contract::one_line(error.as_ref())
    }

    #[test]
    fn a_copy_takes_its_place_whole_or_not_at_all() {
        let at = tempfile::tempdir().unwrap();
        fs::write(at.path().join("file"), "old").unwrap();
        drop(staged(at.path(), "file", |copy| fs::write(copy, "half").unwrap()));
        drop(staged(at.path(), "new", |copy| {
            fs::create_dir_all(copy.join("a/b")).unwrap();
        }));
        assert_eq!(names(at.path()), ["file"]);
        assert_eq!(fs::read_to_string(at.path().join("file")).unwrap(), "old");
        staged(at.path(), "file", |copy| fs::write(copy, "new").unwrap()).put(false).unwrap();
        staged(at.path(), "link", |copy| symlink("file", copy).unwrap()).put(false).unwrap();
        assert_eq!(names(at.path()), ["file", "link"]);
        assert_eq!(fs::read_to_string(at.path().join("link")).unwrap(), "new");
    }

    #[test]
    fn folders_that_are_there_are_gone_into_and_keep_what_they_have() {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir_all(at.path().join("copy/both")).unwrap();
        fs::write(at.path().join("copy/both/old"), "old").unwrap();
        fs::write(at.path().join("copy/file"), "old").unwrap();
        let fill = |copy: &Path| {
            fs::create_dir_all(copy.join("both/new")).unwrap();
            fs::write(copy.join("file"), "new").unwrap();
        };
        staged(at.path(), "copy", fill).put(true).unwrap();
        assert_eq!(names(&at.path().join("copy")), ["both", "file"]);
        assert_eq!(names(&at.path().join("copy/both")), ["new", "old"]);
        assert_eq!(fs::read_to_string(at.path().join("copy/file")).unwrap(), "new");
        staged(&at.path().join("copy"), ".", fill).put(true).unwrap();
        assert_eq!(names(&at.path().join("copy")), ["both", "file"]);
    }

    #[test]
    fn a_link_that_was_here_before_is_not_followed() {
        let (at, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(at.path().join("copy")).unwrap();
        symlink(outside.path(), at.path().join("copy/link")).unwrap();
        symlink(outside.path(), at.path().join("link")).unwrap();
        let fill = |copy: &Path| {
            fs::create_dir_all(copy.join("link")).unwrap();
            fs::write(copy.join("link/file"), "x").unwrap();
        };
        for name in ["copy", "link"] {
            let error = line(&staged(at.path(), name, fill).put(false).unwrap_err());
            assert!(error.contains("link: Not a directory"), "{error}");
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert_eq!(names(at.path()), ["copy", "link"]);
    }

    #[test]
    fn what_cannot_be_replaced_is_named() {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir(at.path().join("folder")).unwrap();
        let stage = staged(at.path(), "folder", |copy| fs::write(copy, "x").unwrap());
        let error = line(&stage.put(false).unwrap_err());
        assert!(error.ends_with("folder is a folder here but not in the app"), "{error}");
        let stage = staged(at.path(), "file", |copy| fs::write(copy, "x").unwrap());
        let error = line(&stage.put(true).unwrap_err());
        assert!(error.ends_with("file does not exist"), "{error}");
        let error = Stage::new(Path::new("/dev"), Path::new("null")).map(drop).unwrap_err();
        assert!(line(&error).starts_with("/dev/null is a device"), "{error}");
        assert_eq!(names(at.path()), ["folder"]);
    }
}
