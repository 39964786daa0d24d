//! The format: a preamble, then records. Each record has a header of fixed size; most consist of the header only.
//!
//! | record | header | after the header |
//! | --- | --- | --- |
//! | folder | name's length, mode, owner, time | name; then the folder's entries, then a leave |
//! | file | the same, size | name; then its data in order, then its end |
//! | link | the same, target's length | name, target |
//! | pipe | name's length, rights, owner, time | name |
//! | same file | name's length, number of an earlier file | name |
//! | data | length, offset in the file | that many bytes; the space between two of them is a hole |
//! | end of file | the file's final size | |
//! | leave | | |
//! | left out | name's length, reason | name |
//! | end | | |
//!
//! A file that may have further names says so. These files are numbered from 0, and each further name gives its
//! file's number.
//!
//! A name is that of one entry in its folder; the first entry's name is empty, because the receiver decides where it
//! goes. All numbers are little-endian.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// The beginning of each stream; the top entry's kind follows in one byte.
pub(crate) const MAGIC: [u8; 15] = *b"launch copy 02\n";
/// The size of each record's header in bytes.
pub(crate) const HEADER_BYTES: usize = 40;
/// The longest name in Linux (`NAME_MAX`).
pub(crate) const MAX_NAME: usize = 255;
/// The longest target of a symbolic link in Linux (`PATH_MAX` without its NUL).
pub(crate) const MAX_TARGET: usize = 4095;
/// The most data in one record.
pub(crate) const MAX_DATA: usize = 64 << 10;

pub(crate) mod tag {
    pub(crate) const FOLDER: u8 = 1;
    pub(crate) const FILE: u8 = 2;
    pub(crate) const LINK: u8 = 3;
    pub(crate) const DATA: u8 = 4;
    pub(crate) const END_OF_FILE: u8 = 5;
    pub(crate) const LEAVE: u8 = 6;
    pub(crate) const LEFT_OUT: u8 = 7;
    pub(crate) const END: u8 = 8;
    pub(crate) const PIPE: u8 = 9;
    pub(crate) const SAME_FILE: u8 = 10;
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
}

impl Kind {
    pub(crate) fn tag(self) -> u8 {
        match self {
            Self::Folder => tag::FOLDER,
            Self::File => tag::FILE,
            Self::Link => tag::LINK,
            Self::Pipe => tag::PIPE,
        }
    }

    pub(crate) fn from_tag(tag: u8) -> Option<Self> {
        [Self::Folder, Self::File, Self::Link, Self::Pipe]
            .into_iter()
            .find(|kind| kind.tag() == tag)
    }
}

/// Why the sender left an entry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// A socket: it has no content, and no process listens on a copy of it.
    Socket,
    /// A device node.
    Device,
    /// The files of a file system that the kernel generates, such as `/proc`, mounted below the copied folder.
    KernelFiles,
}

impl LeftOut {
    const ALL: [Self; 3] = [Self::Socket, Self::Device, Self::KernelFiles];

    pub(crate) fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// The attributes of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, with set-user-ID, set-group-ID and sticky: at most `0o7777`.
    pub mode: u16,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When it was last written, in seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds to add to `mtime`, less than a second.
    pub mtime_nanos: u32,
}

/// A record's header, with unchecked fields.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Header {
    pub(crate) tag: u8,
    /// The mode of an entry; in a record for an entry left out, the reason.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The length of a name or of data.
    pub(crate) length: u32,
    /// The length of a link's target; for a file 1 if further names of it may follow.
    pub(crate) target: u32,
    pub(crate) mtime: i64,
    pub(crate) mtime_nanos: u32,
    /// The size of a file, the offset of data, or the number of the file that has a further name.
    pub(crate) size: u64,
}

impl Header {
    fn new(tag: u8, meta: &Meta, name: &OsStr) -> io::Result<Self> {
        let Meta { mode, uid, gid, mtime, mtime_nanos } = *meta;
        let length = length(name.len())?;
        Ok(Self { tag, mode, uid, gid, length, mtime, mtime_nanos, ..Self::default() })
    }

    fn render(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = self.tag;
        bytes[2..4].copy_from_slice(&self.mode.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.uid.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.gid.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.target.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.mtime.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.mtime_nanos.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [
            tag,
            _,
            m0,
            m1,
            u0,
            u1,
            u2,
            u3,
            g0,
            g1,
            g2,
            g3,
            l0,
            l1,
            l2,
            l3,
            t0,
            t1,
            t2,
            t3,
            tail @ ..,
        ] = *bytes;
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, z @ ..] = tail;
        Self {
            tag,
            mode: u16::from_le_bytes([m0, m1]),
            uid: u32::from_le_bytes([u0, u1, u2, u3]),
            gid: u32::from_le_bytes([g0, g1, g2, g3]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            target: u32::from_le_bytes([t0, t1, t2, t3]),
            mtime: i64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            mtime_nanos: u32::from_le_bytes([n0, n1, n2, n3]),
            size: u64::from_le_bytes(z),
        }
    }
}

/// Writes records. It does not check their order; the reader does.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a stream with a top entry of this kind.
    ///
    /// # Errors
    /// The stream cannot be written. This is the only error of all these methods.
    pub fn begin(mut out: W, top: Kind) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&[top.tag()])?;
        Ok(Self { out })
    }

    /// Begins a folder; its entries follow, and then [`Writer::leave`].
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn folder(&mut self, name: &OsStr, meta: &Meta) -> io::Result<()> {
        self.put(&Header::new(tag::FOLDER, meta, name)?, name.as_bytes())
    }

    /// Begins a file of at most `size` bytes; its data follows, and then [`Writer::end_of_file`].
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn file(&mut self, name: &OsStr, meta: &Meta, size: u64) -> io::Result<()> {
        self.file_with_names(name, meta, size, false)
    }

    /// The same; with `more`, it is counted, and [`Writer::same_file`] may give it further names.
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn file_with_names(
        &mut self,
        name: &OsStr,
        meta: &Meta,
        size: u64,
        more: bool,
    ) -> io::Result<()> {
        let header = Header { size, target: more.into(), ..Header::new(tag::FILE, meta, name)? };
        self.put(&header, name.as_bytes())
    }

    /// Writes a further name of the file with this number, which is complete.
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn same_file(&mut self, name: &OsStr, number: u64) -> io::Result<()> {
        let header = Header::new(tag::SAME_FILE, &Meta::default(), name)?;
        self.put(&Header { size: number, ..header }, name.as_bytes())
    }

    /// Writes a named pipe.
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn pipe(&mut self, name: &OsStr, meta: &Meta) -> io::Result<()> {
        self.put(&Header::new(tag::PIPE, meta, name)?, name.as_bytes())
    }

    /// Writes a symbolic link.
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn link(&mut self, name: &OsStr, meta: &Meta, target: &OsStr) -> io::Result<()> {
        let header = Header::new(tag::LINK, meta, name)?;
        self.put(&Header { target: length(target.len())?, ..header }, name.as_bytes())?;
        self.out.write_all(target.as_bytes())
    }

    /// Writes data of the current file, at most 64 KiB, behind its earlier data.
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = length(bytes.len())?;
        self.put(&Header { tag: tag::DATA, length, size: offset, ..Header::default() }, bytes)
    }

    /// Ends the current file and sets its final size, at most the announced one.
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn end_of_file(&mut self, size: u64) -> io::Result<()> {
        self.put(&Header { tag: tag::END_OF_FILE, size, ..Header::default() }, &[])
    }

    /// Ends the innermost folder.
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn leave(&mut self) -> io::Result<()> {
        self.put(&Header { tag: tag::LEAVE, ..Header::default() }, &[])
    }

    /// Reports that this entry, or the files in it, are not sent.
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn left_out(&mut self, name: &OsStr, why: LeftOut) -> io::Result<()> {
        let header = Header::new(tag::LEFT_OUT, &Meta::default(), name)?;
        let mode = LeftOut::ALL.iter().zip(0u16..).find(|(each, _)| **each == why);
        let mode = mode.map_or(0, |(_, number)| number);
        self.put(&Header { mode, ..header }, name.as_bytes())
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// See [`Writer::begin`].
    pub fn end(mut self) -> io::Result<()> {
        self.put(&Header { tag: tag::END, ..Header::default() }, &[])?;
        self.out.flush()
    }

    fn put(&mut self, header: &Header, more: &[u8]) -> io::Result<()> {
        self.out.write_all(&header.render())?;
        self.out.write_all(more)
    }
}

fn length(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}
