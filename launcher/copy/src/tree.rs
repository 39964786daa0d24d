//! Writes entries only below one folder, whatever it already contains. Follows links only if [`Rights::follow`] is set.

use crate::reader::Sink;
use crate::wire::Meta;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, fchmod, fchown, futimens,
    linkat, mkdirat, mknodat, openat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The destination of the top entry.
#[derive(Debug)]
pub enum Top {
    /// The top entry's content goes into this folder. If the folder was created for it, the folder gets the entry's
    /// mode and time.
    Folder {
        /// The folder.
        folder: OwnedFd,
        /// Whether the folder was created for the copy.
        is_new: bool,
    },
    /// The top entry's content goes into this file.
    File(File),
    /// The top entry goes into a folder, under this name.
    Named {
        /// The folder.
        folder: OwnedFd,
        /// The name in the folder.
        name: OsString,
    },
}

/// Which attributes of the entries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The permission bits that are kept.
    pub mode: u16,
    /// Whether owners are kept; otherwise entries belong to the user of the writing process.
    pub owners: bool,
    /// Whether an existing link to a folder is used as that folder.
    pub follow: bool,
}

/// Writes entries. A file, link or pipe replaces one of these; an existing folder stays unchanged.
#[derive(Debug)]
pub struct Tree {
    /// The destination of the top entry, until that entry is received.
    top: Option<Top>,
    rights: Rights,
    folders: Vec<Folder>,
    /// The current file, with the attributes to set when it is complete.
    file: Option<(File, Meta)>,
}

#[derive(Debug)]
struct Folder {
    folder: OwnedFd,
    /// For a new folder: the attributes to set when it is complete.
    meta: Option<Meta>,
}

impl Tree {
    /// A tree that has not received its top entry.
    #[must_use]
    pub fn new(top: Top, rights: Rights) -> Self {
        Self { top: Some(top), rights, folders: vec![], file: None }
    }

    /// The folder and the name in it for an entry that needs a place of its own.
    fn place<'a>(&'a self, named: &'a Option<Top>, name: &'a OsStr) -> io::Result<Place<'a>> {
        match (named, self.folders.last()) {
            (Some(Top::Named { folder, name }), _) => Ok((folder.as_fd(), name)),
            (None, Some(folder)) => Ok((folder.folder.as_fd(), name)),
            // The top entry is a link, but the destination is an open folder or file.
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn set(&self, file: BorrowedFd<'_>, meta: &Meta) -> io::Result<()> {
        if self.rights.owners {
            fchown(file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
        }
        // After the owner, because changing the owner clears set-user-ID.
        fchmod(file, Mode::from_bits_truncate(u32::from(meta.mode & self.rights.mode)))?;
        Ok(futimens(file, &times(meta))?)
    }
}

type Place<'a> = (BorrowedFd<'a>, &'a OsStr);

impl Sink for Tree {
    fn folder(&mut self, name: &OsStr, meta: &Meta) -> io::Result<()> {
        let folder = match self.top.take() {
            Some(Top::Folder { folder, is_new }) => {
                Folder { folder, meta: is_new.then_some(*meta) }
            }
            Some(Top::File(_)) => return Err(Errno::NOTDIR.into()),
            named => {
                let (folder, name) = self.place(&named, name)?;
                let is_new = match mkdirat(folder, name, Mode::RWXU) {
                    Ok(()) => true,
                    Err(Errno::EXIST) => false,
                    Err(error) => return Err(error.into()),
                };
                let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                flags.set(OFlags::NOFOLLOW, is_new || !self.rights.follow);
                let folder = openat(folder, name, flags, Mode::empty())?;
                Folder { folder, meta: is_new.then_some(*meta) }
            }
        };
        self.folders.push(folder);
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        match self.folders.pop() {
            Some(Folder { folder, meta: Some(meta) }) => self.set(folder.as_fd(), &meta),
            _ => Ok(()),
        }
    }

    fn file(&mut self, name: &OsStr, meta: &Meta, _size: u64) -> io::Result<()> {
        let file = match self.top.take() {
            Some(Top::File(file)) => file,
            Some(Top::Folder { .. }) => return Err(Errno::ISDIR.into()),
            named => {
                let (folder, name) = self.place(&named, name)?;
                remove(folder, name)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?)
            }
        };
        self.file = Some((file, *meta));
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match &self.file {
            Some((file, _)) => file.write_all_at(bytes, offset),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn end_of_file(&mut self, size: u64) -> io::Result<()> {
        let Some((file, meta)) = self.file.take() else { return Ok(()) };
        file.set_len(size)?;
        self.set(file.as_fd(), &meta)
    }

    fn link(&mut self, name: &OsStr, meta: &Meta, target: &OsStr) -> io::Result<()> {
        let named = self.top.take();
        let (folder, name) = self.place(&named, name)?;
        remove(folder, name)?;
        symlinkat(target, folder, name)?;
        if self.rights.owners {
            let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(folder, name, Some(uid), Some(gid), flags)?;
        }
        Ok(())
    }

    fn pipe(&mut self, name: &OsStr, meta: &Meta) -> io::Result<()> {
        let named = self.top.take();
        let (folder, name) = self.place(&named, name)?;
        remove(folder, name)?;
        mknodat(folder, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        // Open for both it never waits for anybody.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.set(openat(folder, name, flags, Mode::empty())?.as_fd(), meta)
    }

    fn same_file(&mut self, name: &OsStr, first: &Path) -> io::Result<()> {
        let (Some(top), Some(folder)) = (self.folders.first(), self.folders.last()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (top, folder) = (top.folder.as_fd(), folder.folder.as_fd());
        remove(folder, name)?;
        link_or_copy(top, first, folder, name)
    }
}

/// Gives the file at `first` in `top` one more name, or a copy where the file system has no such names.
fn link_or_copy(
    top: BorrowedFd<'_>,
    first: &Path,
    folder: BorrowedFd<'_>,
    name: &OsStr,
) -> io::Result<()> {
    match linkat(top, first, folder, name, AtFlags::empty()) {
        Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) => {}
        result => return Ok(result?),
    }
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A later entry of that name may be a pipe: opening it must not wait.
    let reading = flags | OFlags::RDONLY | OFlags::NONBLOCK;
    let mut from = File::from(openat(top, first, reading, Mode::empty())?);
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&from)?.st_mode);
    let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    io::copy(&mut from, &mut File::from(openat(folder, name, flags, mode)?)).map(drop)
}

/// Makes room for an entry: removes what has its name, unless that is a folder.
fn remove(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec { tv_sec: meta.mtime, tv_nsec: i64::from(meta.mtime_nanos) };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests;
