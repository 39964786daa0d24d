//! An app's log: its output with stream and time. The oldest part is dropped when the log grows too large.
//!
//! A line of the file holds one line of the app's output or a part of it: the time, the stream, `F` (the line ends
//! here) or `P` (it continues), and the unchanged bytes, separated by spaces. Kubernetes prescribes this form for the
//! logs of container runtimes:
//!
//! ```text
//! 2026-11-25T03:15:00.123456789Z stdout F ready to accept connections
//! ```

use crate::log::timestamp;
use crate::store::folder::{Folder, LOG, OLD_LOG};
pub(crate) use contract::Stream;
use files::FileError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Entries are collected to this many bytes before they are written.
const BATCH_BYTES: usize = 32 * 1024;

fn name_of(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// A line of the log, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the monitor read it from the guest, in nanoseconds since 1970; 0 if not known.
    pub unix_ns: u64,
    /// The stream that the app wrote to.
    pub stream: Stream,
    /// The bytes as the app wrote them, including the newline if the app wrote one.
    pub bytes: Vec<u8>,
}

impl Entry {
    /// Whether the line ends here.
    #[must_use]
    pub fn ends_line(&self) -> bool {
        self.bytes.ends_with(b"\n")
    }

    /// Parses one line of the file, without its newline.
    fn parse(line: &[u8]) -> Self {
        let known = || {
            let mut words = line.splitn(4, |byte| *byte == b' ');
            let time = std::str::from_utf8(words.next()?).ok()?;
            let stream = match words.next()? {
                b"stdout" => Stream::Stdout,
                b"stderr" => Stream::Stderr,
                _ => return None,
            };
            let whole = match words.next()? {
                b"F" => true,
                b"P" => false,
                _ => return None,
            };
            let mut bytes = words.next()?.to_vec();
            if whole {
                bytes.push(b'\n');
            }
            Some(Self { unix_ns: timestamp::parse(time)?, stream, bytes })
        };
        // Not written by `launch`: shown unchanged.
        known().unwrap_or_else(|| {
            let bytes = [line, b"\n"].concat();
            Self { unix_ns: 0, stream: Stream::Stdout, bytes }
        })
    }
}

/// The two files of an app's log, by their paths.
#[derive(Clone, Debug)]
pub(crate) struct LogPaths {
    path: PathBuf,
    old_path: PathBuf,
}

impl LogPaths {
    pub(crate) fn new(folder: &Folder) -> Self {
        Self { path: folder.file(LOG), old_path: folder.file(OLD_LOG) }
    }

    /// Opens the newer file to append to it. Ends a line that a killed writer left incomplete.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(&self) -> Result<File, FileError> {
        let open = || -> io::Result<File> {
            let mut file = open_to_add(&self.path)?;
            if file.metadata()?.len() > 0 {
                let mut last = [0];
                let mut written = File::open(&self.path)?;
                written.seek(SeekFrom::End(-1))?;
                written.read_exact(&mut last)?;
                if last != *b"\n" {
                    file.write_all(b"\n")?;
                }
            }
            Ok(file)
        };
        open().map_err(FileError::io("open", &self.path))
    }

    /// Replaces the older file by the newer one, and opens a new newer file.
    ///
    /// # Errors
    /// The file system fails, e.g. because the disk is full.
    pub(crate) fn rotate(&self) -> Result<File, FileError> {
        fs::rename(&self.path, &self.old_path).map_err(FileError::io("rename", &self.path))?;
        open_to_add(&self.path).map_err(FileError::io("open", &self.path))
    }
}

/// The log, open for writing.
pub(crate) struct Log {
    file: File,
    bytes: u64,
    max_bytes: u64,
    /// How many bytes were written to all of its files.
    written: u64,
    path: PathBuf,
    /// Rotates the files and returns the next one.
    rotate: Box<dyn FnMut() -> Result<File, FileError> + Send>,
}

impl Log {
    /// Opens an app's log to append to it; each of its two files may have `max_bytes`.
    ///
    /// # Errors
    /// The file cannot be opened.
    #[cfg(test)]
    pub(crate) fn open(folder: &Folder, max_bytes: u64) -> Result<Self, FileError> {
        let paths = LogPaths::new(folder);
        let file = paths.open()?;
        Self::over(file, max_bytes, folder, move || paths.rotate())
    }

    /// A log that continues in `file`. When a file has reached `max_bytes`, the log continues in the one that `rotate`
    /// returns. Only messages use the path of `folder`.
    ///
    /// # Errors
    /// The file cannot be examined.
    pub(crate) fn over(
        file: File,
        max_bytes: u64,
        folder: &Folder,
        rotate: impl FnMut() -> Result<File, FileError> + Send + 'static,
    ) -> Result<Self, FileError> {
        let path = folder.file(LOG);
        let bytes = file.metadata().map_err(FileError::io("examine", &path))?.len();
        Ok(Self { file, bytes, max_bytes, written: 0, path, rotate: Box::new(rotate) })
    }

    /// How many bytes this value has written to the disk so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Appends output that the app has just written.
    ///
    /// # Errors
    /// The file system fails, e.g. because the disk is full.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), FileError> {
        let time = timestamp::render(timestamp::now_ns());
        let mut batch = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, tag) = match line.strip_suffix(b"\n") {
                Some(text) => (text, "F"),
                None => (line, "P"),
            };
            batch.extend_from_slice(format!("{time} {} {tag} ", name_of(stream)).as_bytes());
            batch.extend_from_slice(text);
            batch.push(b'\n');
            if batch.len() >= BATCH_BYTES {
                self.append(&batch)?;
                batch.clear();
            }
        }
        if batch.is_empty() { Ok(()) } else { self.append(&batch) }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if self.bytes > 0 && self.bytes + bytes.len() as u64 > self.max_bytes {
            (self.file, self.bytes) = ((self.rotate)()?, 0);
        }
        self.file.write_all(bytes).map_err(FileError::io("write", &self.path))?;
        self.bytes += bytes.len() as u64;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

fn open_to_add(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Parses a log that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The beginning of a line whose end has not arrived.
    rest: Vec<u8>,
}

impl Parser {
    /// Returns the lines that are complete with `bytes`.
    pub(crate) fn parse(&mut self, bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(end) if self.rest.is_empty() => entries.push(Entry::parse(end)),
                Some(end) => {
                    self.rest.extend_from_slice(end);
                    entries.push(Entry::parse(&std::mem::take(&mut self.rest)));
                }
                None => self.rest.extend_from_slice(line),
            }
        }
        entries
    }
}

/// Selects a part of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Only the last lines of the existing log.
    pub tail: Option<usize>,
    /// Only what was written at or after this time, in nanoseconds since 1970.
    pub since_ns: Option<u64>,
    /// Only what was written until this time.
    pub until_ns: Option<u64>,
}

impl LogFilter {
    /// Whether the time of an entry is selected.
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        self.since_ns.is_none_or(|since| entry.unix_ns >= since)
            && self.until_ns.is_none_or(|until| entry.unix_ns <= until)
    }

    /// Removes all entries except the wanted last lines.
    pub(crate) fn cut(&self, entries: &mut Vec<Entry>) {
        let Some(tail) = self.tail else { return };
        let mut lines = 0;
        let mut start = entries.len();
        for (index, entry) in entries.iter().enumerate().rev() {
            // The last line may be incomplete.
            if entry.ends_line() || index + 1 == entries.len() {
                if lines == tail {
                    break;
                }
                lines += 1;
            }
            start = index;
        }
        entries.drain(..start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(max_bytes: u64) -> (tempfile::TempDir, Folder, Log) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().into());
        let log = Log::open(&folder, max_bytes).unwrap();
        (root, folder, log)
    }

    fn entries(path: &Path) -> Vec<Entry> {
        Parser::default().parse(&fs::read(path).unwrap())
    }

    #[test]
    fn what_an_app_wrote_comes_back_byte_for_byte_and_stream_by_stream() {
        let (_root, folder, mut log) = log(1 << 20);
        let before = timestamp::now_ns();
        log.write(Stream::Stdout, b"\x1b[31mred\xff\n\n  two ").unwrap();
        log.write(Stream::Stderr, b"oops\r\n").unwrap();
        log.write(Stream::Stdout, b"words\n").unwrap();
        let entries = entries(&folder.file(LOG));
        let of = |stream| {
            let of_it = entries.iter().filter(|entry| entry.stream == stream);
            of_it.flat_map(|entry| entry.bytes.clone()).collect::<Vec<u8>>()
        };
        assert_eq!(of(Stream::Stdout), b"\x1b[31mred\xff\n\n  two words\n");
        assert_eq!(of(Stream::Stderr), b"oops\r\n");
        assert!(entries.iter().all(|entry| entry.unix_ns >= before));
        assert!(!entries[2].ends_line() && entries[4].ends_line());
    }

    #[test]
    fn a_log_keeps_the_newest_output_in_two_files() {
        let (_root, folder, mut log) = log(100);
        for part in ["a\n", "b\n", "c\n", "d\n", "e\n"] {
            log.write(Stream::Stdout, part.as_bytes()).unwrap();
        }
        let bytes =
            |name| entries(&folder.file(name)).iter().flat_map(|e| e.bytes.clone()).collect();
        let (old, new): (Vec<u8>, Vec<u8>) = (bytes(OLD_LOG), bytes(LOG));
        assert_eq!((old, new), (b"c\nd\n".to_vec(), b"e\n".to_vec()));
    }

    #[test]
    fn a_line_that_a_killed_monitor_cut_off_spoils_no_other() {
        let (_root, folder, mut log) = log(1 << 20);
        log.write(Stream::Stdout, b"whole\n").unwrap();
        log.append(b"2026-11-25T03:15:00.1234").unwrap();
        Log::open(&folder, 1 << 20).unwrap().write(Stream::Stdout, b"next\n").unwrap();
        let texts: Vec<Vec<u8>> = entries(&folder.file(LOG)).into_iter().map(|e| e.bytes).collect();
        assert_eq!(
            (texts.len(), &texts[0][..], &texts[2][..]),
            (3, &b"whole\n"[..], &b"next\n"[..])
        );
    }

    #[test]
    fn the_tail_counts_lines_and_not_their_parts() {
        let entry = |text: &str| Entry { unix_ns: 1, stream: Stream::Stdout, bytes: text.into() };
        let all = || ["one\n", "tw", "o\n", "three\n", "fo"].map(entry).to_vec();
        let tail = |tail| {
            let mut entries = all();
            LogFilter { tail: Some(tail), ..LogFilter::default() }.cut(&mut entries);
            entries.into_iter().flat_map(|entry| entry.bytes).collect::<Vec<u8>>()
        };
        assert_eq!(tail(0), b"");
        assert_eq!(tail(1), b"fo");
        assert_eq!(tail(3), b"two\nthree\nfo");
        assert_eq!(tail(9), b"one\ntwo\nthree\nfo");
    }
}
