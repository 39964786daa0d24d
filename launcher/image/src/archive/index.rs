//! The files of a tar archive by name, each readable on its own while others are read.

use super::error::ArchiveError;
use crate::failure::Failure;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt as _,
    sync::Arc,
};
use tar::{Archive, EntryType, PaxExtensions};

const MAX_ENTRIES: usize = 100_000;
/// The longest extended header that is read.
const MAX_EXTENSION: u64 = 64 << 10;
const BLOCK: u64 = 512;
/// Links from link to link.
const MAX_LINKS: usize = 8;

/// Where each file of an archive is.
pub(crate) struct TarIndex {
    file: Arc<File>,
    pub(super) name: String,
    entries: HashMap<String, Entry>,
}

enum Entry {
    File {
        offset: u64,
        size: u64,
    },
    /// Older archives have links for identical layers.
    Link(String),
}

impl TarIndex {
    /// Reads the headers of the archive; `name` is for messages.
    pub(crate) fn read(file: File, name: &str) -> Result<Self, ArchiveError> {
        let archive = || name.to_owned();
        let read_error = |source| ArchiveError::Read { archive: archive(), source };
        let file = Arc::new(file);
        let mut head = [0; 6];
        let count = file.read_at(&mut head, 0).map_err(read_error)?;
        if let Some(method) = crate::layers::compression_of(&head[..count]) {
            return Err(ArchiveError::Compressed { archive: archive(), method });
        }
        let mut index = Self { file, name: archive(), entries: HashMap::new() };
        let mut start = 0;
        while let Some(next) = index.add_from(start)? {
            start = next;
        }
        Ok(index)
    }

    /// Adds what comes from `start` on, in bytes, up to the end or to a file whose size is in an
    /// extension only; returns where that one ends.
    fn add_from(&mut self, start: u64) -> Result<Option<u64>, ArchiveError> {
        let archive = || self.name.clone();
        let file = Arc::clone(&self.file);
        // Raw: PAX and GNU extensions are not read into memory. All names that matter here are short, so
        // no writer needs an extension for them; sizes of 8 GiB and more it does.
        let read_error = |source| ArchiveError::Read { archive: archive(), source };
        let left = file.metadata().map_err(read_error)?.len().saturating_sub(start);
        let mut tar = Archive::new(Part { file, start, offset: start, left });
        let entries = tar.entries_with_seek().map_err(read_error)?;
        let mut told_size = None;
        for entry in entries.raw(true) {
            let mut entry =
                entry.map_err(|source| ArchiveError::NotTar { archive: archive(), source })?;
            if entry.header().entry_type() == EntryType::XHeader {
                told_size = size_in(&mut entry);
                continue;
            }
            let offset = start + entry.raw_file_position();
            let size = told_size.take().unwrap_or(entry.size());
            let Ok(path) = std::str::from_utf8(&entry.path_bytes()).map(normalize) else {
                continue;
            };
            let found = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => Entry::File { offset, size },
                EntryType::Symlink => match entry.link_name_bytes() {
                    Some(target) => {
                        let target = String::from_utf8_lossy(&target).into_owned();
                        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                        Entry::Link(normalize(&format!("{parent}/{target}")))
                    }
                    None => continue,
                },
                EntryType::Link => match entry.link_name_bytes() {
                    Some(target) => Entry::Link(normalize(&String::from_utf8_lossy(&target))),
                    None => continue,
                },
                _ => continue,
            };
            let is_file = matches!(found, Entry::File { .. });
            self.entries.insert(path, found);
            if self.entries.len() > MAX_ENTRIES {
                return Err(ArchiveError::Entries { archive: archive(), allowed: MAX_ENTRIES });
            }
            if is_file && size != entry.size() {
                // A file that reaches past the archive's end is an error when it is read.
                return Ok(size
                    .checked_next_multiple_of(BLOCK)
                    .and_then(|size| offset.checked_add(size)));
            }
        }
        Ok(None)
    }

    /// Size and contents of a file.
    pub(crate) fn open(&self, path: &str) -> Result<(u64, Box<dyn Read + Send>), Failure> {
        let mut path = normalize(path);
        for _ in 0..MAX_LINKS {
            match self.entries.get(&path) {
                Some(Entry::Link(target)) => path.clone_from(target),
                Some(Entry::File { offset, size }) => {
                    let (file, start) = (Arc::clone(&self.file), *offset);
                    let part = Part { file, start, offset: start, left: *size };
                    return Ok((*size, Box::new(part)));
                }
                None => break,
            }
        }
        Err(ArchiveError::NoFile { archive: self.name.clone(), file: path }.into())
    }
}

/// A path without `.`, `..` and double slashes; nothing is opened by it.
fn normalize(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The size that an extended header has for the file after it.
fn size_in(entry: &mut tar::Entry<'_, impl Read>) -> Option<u64> {
    if entry.size() > MAX_EXTENSION {
        return None;
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).ok()?;
    let mut fields = PaxExtensions::new(&bytes).flatten();
    fields.find(|field| field.key_bytes() == b"size")?.value().ok()?.parse().ok()
}

/// A stretch of a file that several readers share.
struct Part {
    file: Arc<File>,
    /// Where it begins in the file, and where it is read next.
    start: u64,
    offset: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.offset)?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends early"));
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Forwards only, as reading an archive needs it; positions count from the start of the stretch.
impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Current(distance) = to else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let distance = u64::try_from(distance).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.left = self.left.saturating_sub(distance);
        self.offset = self.offset.saturating_add(distance);
        Ok(self.offset - self.start)
    }
}
