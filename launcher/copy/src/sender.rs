//! Walks a tree and writes it as a stream, even if the tree changes at the same time.

use crate::wire::{Kind, LeftOut, MAX_DATA, Meta, Writer};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat, fstat, fstatfs, openat, readlinkat,
    seek, statat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A file with an announced size up to this is read before its size is sent, because the announced size of the kernel's
/// files is wrong.
const SMALL_FILE: u64 = 64 << 10;
/// The most content of a file with an announced size of zero.
const MAX_WITHOUT_SIZE: u64 = 16 << 20;
/// The magic numbers, in `statfs`, of file systems whose files the kernel generates on reading: proc, sysfs, devpts,
/// cgroup, cgroup2, debugfs, tracefs, securityfs, configfs, pstore, bpf, binfmt_misc, xenfs. Source: `linux/magic.h`.
const KERNEL_FILE_SYSTEMS: [u64; 13] = [
    0x9fa0,
    0x6265_6572,
    0x1cd1,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x6265_6570,
    0x6165_676c,
    0xcafe_4a11,
    0x4249_4e4d,
    0xabba_1974,
];

/// Why a tree was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A file, folder or link cannot be read.
    #[error("{}", path.display())]
    Read {
        /// The entry.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The path names something without content to copy.
    #[error("{} is {what}; only files, folders, links and pipes are copied", path.display())]
    NotCopied {
        /// The path.
        path: PathBuf,
        /// Its type, as a noun with an article.
        what: &'static str,
    },
    /// The stream cannot be written.
    #[error("cannot write the stream")]
    Stream(#[source] io::Error),
}

/// Sends `path` and everything below it. Links are sent as links.
///
/// # Errors
/// See [`SendError`]. The stream then has no end record, so the receiver notices.
pub fn send(path: &Path, out: impl Write) -> Result<(), SendError> {
    let failed = |source: Errno| SendError::Read { path: path.to_owned(), source: source.into() };
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    let kind = match kind(&stat) {
        Ok(kind) => kind,
        Err(why) => {
            let what = match why {
                LeftOut::Socket => "a socket",
                _ => "a device",
            };
            return Err(SendError::NotCopied { path: path.to_owned(), what });
        }
    };
    let writer = Writer::begin(out, kind).map_err(SendError::Stream)?;
    let mut sender = Sender { writer, path: path.to_owned(), named: HashMap::new() };
    sender.entry(CWD, path.as_os_str(), OsStr::new(""), &stat, kind)?;
    sender.writer.end().map_err(SendError::Stream)
}

fn kind(stat: &Stat) -> Result<Kind, LeftOut> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(Kind::Folder),
        FileType::RegularFile => Ok(Kind::File),
        FileType::Symlink => Ok(Kind::Link),
        FileType::Fifo => Ok(Kind::Pipe),
        FileType::CharacterDevice | FileType::BlockDevice => Err(LeftOut::Device),
        _ => Err(LeftOut::Socket),
    }
}

struct Sender<W> {
    writer: Writer<W>,
    /// The current entry, for errors.
    path: PathBuf,
    /// Files with further names, by device and inode: their numbers.
    named: HashMap<(u64, u64), u64>,
}

impl<W: Write> Sender<W> {
    /// Sends the entry `at` in `folder` under the name `name`.
    fn entry(
        &mut self,
        folder: BorrowedFd<'_>,
        at: &OsStr,
        name: &OsStr,
        stat: &Stat,
        kind: Kind,
    ) -> Result<(), SendError> {
        match kind {
            Kind::Folder => {
                let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = openat(folder, at, open, Mode::empty());
                let opened = opened.map_err(|error| self.failed(error))?;
                self.folder(opened, name, stat)
            }
            Kind::File => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                // The entry may have become a pipe, whose opening would block.
                let opened = openat(folder, at, flags | OFlags::NONBLOCK, Mode::empty());
                let opened = opened.map_err(|error| self.failed(error))?;
                self.file(File::from(opened), name)
            }
            Kind::Pipe => self.writer.pipe(name, &meta(stat)).map_err(SendError::Stream),
            Kind::Link => {
                let target = readlinkat(folder, at, vec![]).map_err(|error| self.failed(error))?;
                let target = OsString::from_vec(target.into_bytes());
                self.writer.link(name, &meta(stat), &target).map_err(SendError::Stream)
            }
        }
    }

    fn folder(&mut self, folder: OwnedFd, name: &OsStr, stat: &Stat) -> Result<(), SendError> {
        self.writer.folder(name, &meta(stat)).map_err(SendError::Stream)?;
        let mut entries = Dir::new(folder).map_err(|error| self.failed(error))?;
        while let Some(entry) = entries.next() {
            let entry = match entry {
                // The folder has been removed, so it has no more entries.
                Err(Errno::NOENT) => break,
                other => other.map_err(|error| self.failed(error))?,
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let folder = entries.fd().map_err(|error| self.failed(error))?;
            self.path.push(name);
            match self.below(folder, name, stat.st_dev) {
                // The entry was removed after the folder was read.
                Err(SendError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                }
                other => other?,
            }
            self.path.pop();
        }
        self.writer.leave().map_err(SendError::Stream)
    }

    fn below(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        device: u64,
    ) -> Result<(), SendError> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|error| self.failed(error))?;
        match kind(&stat) {
            Err(why) => self.writer.left_out(name, why).map_err(SendError::Stream),
            Ok(Kind::Folder) if stat.st_dev != device && is_the_kernels(folder, name) => {
                let stream = SendError::Stream;
                self.writer.left_out(name, LeftOut::KernelFiles).map_err(stream)?;
                self.writer.folder(name, &meta(&stat)).map_err(stream)?;
                self.writer.leave().map_err(stream)
            }
            Ok(kind) => self.entry(folder, name, name, &stat, kind),
        }
    }

    fn file(&mut self, file: File, name: &OsStr) -> Result<(), SendError> {
        let stat = fstat(&file).map_err(|error| self.failed(error))?;
        match kind(&stat) {
            Ok(Kind::Pipe) => {
                return self.writer.pipe(name, &meta(&stat)).map_err(SendError::Stream);
            }
            Ok(_) => {}
            Err(why) => return self.writer.left_out(name, why).map_err(SendError::Stream),
        }
        let inode = (stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
        if let Some(number) = inode.and_then(|inode| self.named.get(&inode)) {
            return self.writer.same_file(name, *number).map_err(SendError::Stream);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let meta = meta(&stat);
        match size {
            0 => {
                let content = self.read_all(&file, MAX_WITHOUT_SIZE + 1)?;
                if content.len() as u64 > MAX_WITHOUT_SIZE {
                    let error = "it has no size and more than 16 MiB of content";
                    return Err(self.failed(io::Error::other(error)));
                }
                self.whole(&content, name, &meta, inode)
            }
            1..=SMALL_FILE => {
                let content = self.read_all(&file, size)?;
                self.whole(&content, name, &meta, inode)
            }
            _ => {
                self.begin_file(name, &meta, size, inode).map_err(SendError::Stream)?;
                let end = self.pieces(&file, size)?;
                self.writer.end_of_file(end).map_err(SendError::Stream)
            }
        }
    }

    fn read_all(&mut self, file: &File, most: u64) -> Result<Vec<u8>, SendError> {
        let mut content = vec![];
        match file.take(most).read_to_end(&mut content) {
            // For example the kernel's log, when it has no more to read.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(content),
            Err(error) => Err(self.failed(error)),
            Ok(_) => Ok(content),
        }
    }

    /// Begins a file; one with an `inode` may be met by further names, and is numbered.
    fn begin_file(
        &mut self,
        name: &OsStr,
        meta: &Meta,
        size: u64,
        inode: Option<(u64, u64)>,
    ) -> io::Result<()> {
        let number = self.named.len() as u64;
        if let Some(inode) = inode {
            self.named.insert(inode, number);
        }
        self.writer.file_with_names(name, meta, size, inode.is_some())
    }

    fn whole(
        &mut self,
        content: &[u8],
        name: &OsStr,
        meta: &Meta,
        inode: Option<(u64, u64)>,
    ) -> Result<(), SendError> {
        let stream = SendError::Stream;
        let size = content.len() as u64;
        self.begin_file(name, meta, size, inode).map_err(stream)?;
        let pieces = content.chunks(MAX_DATA);
        for (piece, offset) in pieces.zip((0..).step_by(MAX_DATA)) {
            self.writer.data(offset, piece).map_err(stream)?;
        }
        self.writer.end_of_file(size).map_err(stream)
    }

    /// Sends the file's data up to `size`, without its holes. Returns where the data ends: before `size` if the file
    /// has become shorter.
    fn pieces(&mut self, mut file: &File, size: u64) -> Result<u64, SendError> {
        let mut buffer = vec![0; MAX_DATA];
        let mut at = 0;
        while at < size {
            let hole = match seek(file, SeekFrom::Data(at)) {
                Ok(begin) => {
                    at = begin.min(size);
                    seek(file, SeekFrom::Hole(at)).unwrap_or(size).min(size)
                }
                // No data from here on: a hole up to the current end of the file.
                Err(Errno::NXIO) => {
                    let stat = fstat(file).map_err(|error| self.failed(error))?;
                    let now = u64::try_from(stat.st_size).unwrap_or(0);
                    return Ok(now.clamp(at.min(size), size));
                }
                // The file system does not support holes.
                Err(_) => size,
            };
            seek(file, SeekFrom::Start(at)).map_err(|error| self.failed(error))?;
            while at < hole {
                let most = usize::try_from(hole - at).unwrap_or(MAX_DATA).min(MAX_DATA);
                match file.read(&mut buffer[..most]) {
                    Ok(0) => return Ok(at),
                    Ok(count) => {
                        self.writer.data(at, &buffer[..count]).map_err(SendError::Stream)?;
                        at += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(self.failed(error)),
                }
            }
        }
        Ok(size)
    }

    fn failed(&self, source: impl Into<io::Error>) -> SendError {
        SendError::Read { path: self.path.clone(), source: source.into() }
    }
}

/// Whether a file system of [`KERNEL_FILE_SYSTEMS`] is mounted at a folder.
fn is_the_kernels(folder: BorrowedFd<'_>, name: &OsStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(folder, name, flags, Mode::empty());
    let file_system = opened.and_then(|opened| fstatfs(opened.as_fd()));
    file_system.is_ok_and(|file_system| {
        u64::try_from(file_system.f_type).is_ok_and(|kind| KERNEL_FILE_SYSTEMS.contains(&kind))
    })
}

fn meta(stat: &Stat) -> Meta {
    Meta {
        mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
