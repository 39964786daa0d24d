//! The files of a tar archive by name, each readable on its own while others are read.

use super::ArchiveError;
use crate::failure::Failure;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek as _},
    os::unix::fs::FileExt as _,
    sync::Arc,
};
use tar::{Archive, EntryType};

const MAX_ENTRIES: usize = 100_000;
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
    /// Older archives link layers that are the same.
    Link(String),
}

impl TarIndex {
    /// Reads the headers of the archive; `name` is for messages.
    pub(crate) fn read(file: File, name: &str) -> Result<Self, ArchiveError> {
        let archive = || name.to_owned();
        let read_error = |source| ArchiveError::Read { archive: archive(), source };
        let file = Arc::new(file);
        let mut head = [0; 6];
        match (&*file).stream_position() {
            Err(error) if error.raw_os_error() == Some(libc::ESPIPE) => {
                return Err(ArchiveError::Pipe { archive: archive() });
            }
            position => position.map_err(read_error)?,
        };
        let count = file.read_at(&mut head, 0).map_err(read_error)?;
        if let Some(method) = crate::layers::compression_of(&head[..count]) {
            return Err(ArchiveError::Compressed { archive: archive(), method });
        }
        let mut entries = HashMap::new();
        // Raw: PAX and GNU extensions are not read into memory. All names that matter here are
        // short, so no writer needs an extension for them.
        let mut tar = Archive::new(&*file);
        for entry in tar.entries_with_seek().map_err(read_error)?.raw(true) {
            let entry =
                entry.map_err(|source| ArchiveError::NotTar { archive: archive(), source })?;
            let Ok(path) = std::str::from_utf8(&entry.path_bytes()).map(normalize) else {
                continue;
            };
            let found = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    Entry::File { offset: entry.raw_file_position(), size: entry.size() }
                }
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
            entries.insert(path, found);
            if entries.len() > MAX_ENTRIES {
                return Err(ArchiveError::Entries { archive: archive(), allowed: MAX_ENTRIES });
            }
        }
        Ok(Self { file, name: archive(), entries })
    }

    /// Size and contents of a file.
    pub(crate) fn open(&self, path: &str) -> Result<(u64, Box<dyn Read + Send>), Failure> {
        let mut path = normalize(path);
        for _ in 0..MAX_LINKS {
            match self.entries.get(&path) {
                Some(Entry::Link(target)) => path.clone_from(target),
                Some(Entry::File { offset, size }) => {
                    let part = Part { file: Arc::clone(&self.file), offset: *offset, left: *size };
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

/// A stretch of a file that several readers share.
struct Part {
    file: Arc<File>,
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
