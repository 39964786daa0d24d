//! Reads a stream that a hostile peer may have sent.

use crate::error::{CopyError, Limit};
use crate::wire::{
    HEADER_BYTES, Header, Kind, LeftOut, MAGIC, MAX_DATA, MAX_NAME, MAX_TARGET, Meta, tag,
};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The most bytes of paths that are kept for files with further names.
const MAX_NAMED: usize = 32 << 20;
/// File systems allocate space in pages of this size.
const PAGE: u64 = 4096;

/// The limits on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Space that all files take together, in bytes. Each page of 4 KiB with data counts in full; a hole counts
    /// nothing, unless `holes_count` is set.
    pub bytes: u64,
    /// Number of entries, including those that the sender left out.
    pub entries: u64,
    /// Depth of nested folders.
    pub depth: usize,
    /// Whether a file counts with its announced size, because its holes are written as zeros.
    pub holes_count: bool,
}

/// What was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Space that all files take together, counted as in [`Limits::bytes`].
    pub bytes: u64,
    /// Number of entries, including those that the sender left out.
    pub entries: u64,
    /// Number of entries that the sender left out.
    pub left_out: u64,
    /// The first entry that was left out, as a path below the top entry.
    pub first_left_out: Option<(PathBuf, LeftOut)>,
}

/// Receives the entries. The reader calls these in a valid order: data only between a file and its end, at
/// growing offsets; an entry only at the top or in a folder that is still open.
pub trait Sink {
    /// Begins a folder. The top entry has an empty name; each other name is a single path component.
    ///
    /// # Errors
    /// The folder cannot be created.
    fn folder(&mut self, name: &OsStr, meta: &Meta) -> io::Result<()>;
    /// Ends the innermost folder.
    ///
    /// # Errors
    /// See [`Sink::folder`].
    fn leave(&mut self) -> io::Result<()>;
    /// Begins a file of at most `size` bytes.
    ///
    /// # Errors
    /// See [`Sink::folder`].
    fn file(&mut self, name: &OsStr, meta: &Meta, size: u64) -> io::Result<()>;
    /// Adds data to the current file.
    ///
    /// # Errors
    /// See [`Sink::folder`].
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Ends the current file and sets its final size, which is not less than the end of its data.
    ///
    /// # Errors
    /// See [`Sink::folder`].
    fn end_of_file(&mut self, size: u64) -> io::Result<()>;
    /// Creates a symbolic link.
    ///
    /// # Errors
    /// See [`Sink::folder`].
    fn link(&mut self, name: &OsStr, meta: &Meta, target: &OsStr) -> io::Result<()>;
    /// A named pipe.
    ///
    /// # Errors
    /// See [`Sink::folder`].
    fn pipe(&mut self, name: &OsStr, meta: &Meta) -> io::Result<()>;
    /// One more name for a file that is complete, at `first` below the top entry, which is a folder.
    ///
    /// # Errors
    /// See [`Sink::folder`].
    fn same_file(&mut self, name: &OsStr, first: &Path) -> io::Result<()>;
}

/// Reads the beginning of a stream: the kind of its top entry.
///
/// # Errors
/// [`CopyError::Ended`] if there is no stream, [`CopyError::Version`], [`CopyError::Read`].
pub fn read_preamble(from: &mut impl Read) -> Result<Kind, CopyError> {
    let mut preamble = [0; MAGIC.len() + 1];
    read_exact(from, &mut preamble)?;
    let [magic @ .., kind] = preamble;
    match Kind::from_tag(kind) {
        Some(kind) if magic == MAGIC => Ok(kind),
        _ => Err(CopyError::Version),
    }
}

/// Reads the rest of a stream, after its preamble.
///
/// # Errors
/// See [`CopyError`]. Entries that the sink has already received are not undone.
pub fn receive(
    from: impl Read,
    top: Kind,
    limits: &Limits,
    sink: &mut impl Sink,
) -> Result<Summary, CopyError> {
    let reader = Reader {
        from,
        limits,
        sink,
        path: PathBuf::new(),
        depth: 0,
        sum: Summary::default(),
        named: vec![],
        named_bytes: 0,
        buffer: vec![0; MAX_DATA],
    };
    reader.run(top)
}

struct Reader<'a, R, S> {
    from: R,
    limits: &'a Limits,
    sink: &'a mut S,
    /// The innermost folder, as a path below the top entry.
    path: PathBuf,
    /// Number of folders that are still open.
    depth: usize,
    sum: Summary,
    /// Where the files are that may get further names, and how much room these paths take.
    named: Vec<PathBuf>,
    named_bytes: usize,
    buffer: Vec<u8>,
}

impl<R: Read, S: Sink> Reader<'_, R, S> {
    fn run(mut self, top: Kind) -> Result<Summary, CopyError> {
        let first = self.header()?;
        if first.tag != top.tag() {
            return Err(CopyError::Invalid("its first entry is not of the announced kind"));
        }
        self.entry(&first, top)?;
        while self.depth > 0 {
            let header = self.header()?;
            match (header.tag, Kind::from_tag(header.tag)) {
                (_, Some(kind)) => self.entry(&header, kind)?,
                (tag::LEAVE, _) => {
                    self.wrote(Path::new(""), |sink| sink.leave())?;
                    self.path.pop();
                    self.depth -= 1;
                }
                (tag::SAME_FILE, _) => self.same_file(&header)?,
                (tag::LEFT_OUT, _) => {
                    self.count_entry()?;
                    let name = self.name(&header, false)?;
                    let why = LeftOut::from_number(header.mode)
                        .ok_or(CopyError::Invalid("an entry is left out for an unknown reason"))?;
                    self.sum.left_out += 1;
                    if self.sum.first_left_out.is_none() {
                        self.sum.first_left_out = Some((self.path.join(name), why));
                    }
                }
                _ => return Err(CopyError::Invalid("a record that cannot be in a folder")),
            }
        }
        match self.header()?.tag {
            tag::END => Ok(self.sum),
            _ => Err(CopyError::Invalid("something follows the last entry")),
        }
    }

    fn entry(&mut self, header: &Header, kind: Kind) -> Result<(), CopyError> {
        self.count_entry()?;
        let name = self.name(header, self.depth == 0)?;
        let meta = meta(header)?;
        match kind {
            Kind::Folder => {
                if self.depth >= self.limits.depth {
                    let limit = Limit::Depth(self.limits.depth);
                    return Err(CopyError::Limit { path: self.path.join(name), limit });
                }
                self.wrote(Path::new(&name), |sink| sink.folder(&name, &meta))?;
                self.depth += 1;
                // The top entry has no name, so leaving it must not shorten the path.
                if !name.is_empty() {
                    self.path.push(name);
                }
                Ok(())
            }
            Kind::File => {
                self.file(header.size, &name, &meta)?;
                if header.target == 0 { Ok(()) } else { self.remember(&name) }
            }
            Kind::Pipe => self.wrote(Path::new(&name), |sink| sink.pipe(&name, &meta)),
            Kind::Link => {
                let length = header.target as usize;
                if length == 0 || length > MAX_TARGET {
                    return Err(CopyError::Invalid("a link's target is empty or too long"));
                }
                let target = self.text(length)?;
                self.wrote(Path::new(&name), |sink| sink.link(&name, &meta, &target))
            }
        }
    }

    /// Keeps the place of a file that may get further names.
    fn remember(&mut self, name: &OsStr) -> Result<(), CopyError> {
        let path = self.path.join(name);
        self.named_bytes += path.as_os_str().len() + size_of::<PathBuf>();
        if self.named_bytes > MAX_NAMED {
            return Err(CopyError::Invalid("there are too many files with further names"));
        }
        self.named.push(path);
        Ok(())
    }

    fn same_file(&mut self, header: &Header) -> Result<(), CopyError> {
        self.count_entry()?;
        let name = self.name(header, false)?;
        let number = usize::try_from(header.size).ok();
        let Some(first) = number.and_then(|number| self.named.get(number)).cloned() else {
            return Err(CopyError::Invalid("a name is for a file that has not come"));
        };
        self.wrote(Path::new(&name), |sink| sink.same_file(&name, &first))
    }

    fn file(&mut self, size: u64, name: &OsStr, meta: &Meta) -> Result<(), CopyError> {
        if i64::try_from(size).is_err() {
            return Err(CopyError::Invalid("a file is larger than a file can be"));
        }
        let path = Path::new(name);
        if self.limits.holes_count {
            self.count_bytes(size, path)?;
        }
        self.wrote(path, |sink| sink.file(name, meta, size))?;
        // The end of the data so far, and the end of the pages already counted.
        let (mut end, mut counted) = (0, 0);
        loop {
            let header = self.header()?;
            let (offset, length) = (header.size, u64::from(header.length));
            match header.tag {
                tag::DATA if offset < end || length == 0 || length > MAX_DATA as u64 => {
                    return Err(CopyError::Invalid("a file's data is out of order"));
                }
                tag::DATA if offset.checked_add(length).is_none_or(|end| end > size) => {
                    return Err(CopyError::Invalid("a file is larger than announced"));
                }
                tag::DATA => {
                    end = offset + length;
                    let pages = end.next_multiple_of(PAGE);
                    let room = pages - counted.max(offset - offset % PAGE);
                    if !self.limits.holes_count {
                        // Each record counts at least its header, so that a stream of small records ends too.
                        self.count_bytes(room.max(HEADER_BYTES as u64), path)?;
                    }
                    counted = pages;
                    let buffer = &mut self.buffer[..header.length as usize];
                    read_exact(&mut self.from, buffer)?;
                    let buffer = std::mem::take(&mut self.buffer);
                    let data = &buffer[..header.length as usize];
                    let wrote = self.wrote(path, |sink| sink.data(offset, data));
                    self.buffer = buffer;
                    wrote?;
                }
                tag::END_OF_FILE if offset < end || offset > size => {
                    return Err(CopyError::Invalid("a file's final size does not fit its data"));
                }
                tag::END_OF_FILE => return self.wrote(path, |sink| sink.end_of_file(offset)),
                _ => return Err(CopyError::Invalid("a record that cannot be in a file")),
            }
        }
    }

    fn header(&mut self) -> Result<Header, CopyError> {
        let mut bytes = [0; HEADER_BYTES];
        read_exact(&mut self.from, &mut bytes)?;
        Ok(Header::parse(&bytes))
    }

    /// Reads the name behind a header. Accepts only a single path component, so that no entry can be outside its
    /// folder.
    fn name(&mut self, header: &Header, is_top: bool) -> Result<OsString, CopyError> {
        let length = header.length as usize;
        if length > MAX_NAME || (length == 0) != is_top {
            return Err(CopyError::Invalid("a name is empty or too long"));
        }
        let name = self.text(length)?;
        let is_path = name.as_bytes().contains(&b'/') || name == "." || name == "..";
        match is_path {
            true => Err(CopyError::Invalid("a name is a path")),
            false => Ok(name),
        }
    }

    fn text(&mut self, length: usize) -> Result<OsString, CopyError> {
        let mut text = vec![0; length];
        read_exact(&mut self.from, &mut text)?;
        match text.contains(&0) {
            true => Err(CopyError::Invalid("a name has a zero byte")),
            false => Ok(OsString::from_vec(text)),
        }
    }

    fn count_entry(&mut self) -> Result<(), CopyError> {
        self.sum.entries += 1;
        if self.sum.entries > self.limits.entries {
            let limit = Limit::Entries(self.limits.entries);
            return Err(CopyError::Limit { path: PathBuf::new(), limit });
        }
        Ok(())
    }

    fn count_bytes(&mut self, more: u64, path: &Path) -> Result<(), CopyError> {
        self.sum.bytes = self.sum.bytes.saturating_add(more);
        if self.sum.bytes > self.limits.bytes {
            let limit = Limit::Bytes(self.limits.bytes);
            // This limit is on all files together, so the error names the whole copy.
            let path = if self.depth == 0 { path.to_owned() } else { PathBuf::new() };
            return Err(CopyError::Limit { path, limit });
        }
        Ok(())
    }

    fn wrote(
        &mut self,
        path: &Path,
        write: impl FnOnce(&mut S) -> io::Result<()>,
    ) -> Result<(), CopyError> {
        write(self.sink).map_err(|source| {
            let path: PathBuf = self.path.join(path).components().collect();
            CopyError::Write { path, source }
        })
    }
}

fn meta(header: &Header) -> Result<Meta, CopyError> {
    let Header { mode, uid, gid, mtime, mtime_nanos, .. } = *header;
    match mode <= 0o7777 && mtime_nanos < 1_000_000_000 {
        true => Ok(Meta { mode, uid, gid, mtime, mtime_nanos }),
        false => Err(CopyError::Invalid("an entry's mode or time is invalid")),
    }
}

fn read_exact(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), CopyError> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => CopyError::Ended,
        _ => CopyError::Read(error),
    })
}

#[cfg(test)]
mod tests;
