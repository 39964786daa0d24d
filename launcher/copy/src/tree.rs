//! Writes entries below a folder and nowhere else, never through a link, whatever the folder holds already.

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

/// Where the top entry goes.
#[derive(Debug)]
pub enum Top {
    /// Its content into this folder. Where it was made for that, it gets the entry's rights and time.
    Folder {
        /// The folder.
        folder: OwnedFd,
        /// Whether it is new.
        is_new: bool,
    },
    /// Its content into this file.
    File(File),
    /// To this name in a folder.
    Named {
        /// The folder.
        folder: OwnedFd,
        /// The name in it.
        name: OsString,
    },
}

/// What an entry may bring with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The permission bits that are kept.
    pub mode: u16,
    /// Whether owners are kept; otherwise entries belong to the writing process's user.
    pub owners: bool,
    /// Whether a link to a folder may stand for the folder.
    pub follow: bool,
}

/// Writes entries. A file, link or pipe replaces one of these; a folder that exists stays as it is.
#[derive(Debug)]
pub struct Tree {
    /// Until the top entry has come.
    top: Option<Top>,
    rights: Rights,
    folders: Vec<Folder>,
    /// The file that is being written, with what it gets when it is complete.
    file: Option<(File, Meta)>,
}

#[derive(Debug)]
struct Folder {
    folder: OwnedFd,
    /// Of a new one: what it gets when it is complete.
    meta: Option<Meta>,
}

impl Tree {
    /// A tree whose top entry is yet to come.
    #[must_use]
    pub fn new(top: Top, rights: Rights) -> Self {
        Self { top: Some(top), rights, folders: vec![], file: None }
    }

    /// The folder and the name in it where an entry goes that is not put into something open.
    fn place<'a>(&'a self, named: &'a Option<Top>, name: &'a OsStr) -> io::Result<Place<'a>> {
        match (named, self.folders.last()) {
            (Some(Top::Named { folder, name }), _) => Ok((folder.as_fd(), name)),
            (None, Some(folder)) => Ok((folder.folder.as_fd(), name)),
            // A link as top entry for which a folder or file is open.
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
    let mut from = File::from(openat(top, first, flags | OFlags::RDONLY, Mode::empty())?);
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&from)?.st_mode);
    let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    io::copy(&mut from, &mut File::from(openat(folder, name, flags, mode)?)).map(drop)
}

/// Makes room for an entry: takes away what has its name, unless that is a folder.
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
