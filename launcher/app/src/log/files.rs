//! Reads a log's two files while another process writes and rotates them.

use crate::store::folder::{Folder, LOG, OLD_LOG};
use files::FileError;
use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The most bytes that one call reads.
const CHUNK_BYTES: u64 = 64 * 1024;
/// The most files that a reader holds if it is slower than the app: an open file takes disk space even after it was
/// rotated away.
const MOST_FILES: usize = 8;

/// What [`LogFiles::read`] returns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// Files may be missing here that were written and rotated away since the last read.
    Gap,
    /// Nothing new yet.
    Nothing,
}

/// A log's files, from the oldest byte on.
#[derive(Debug)]
pub(crate) struct LogFiles {
    path: PathBuf,
    old_path: PathBuf,
    /// The oldest file first. The last file was the growing one when it was opened.
    files: VecDeque<Opened>,
}

#[derive(Debug)]
struct Opened {
    file: File,
    /// Whether files may be missing between the previous file and this one.
    after_gap: bool,
}

impl LogFiles {
    pub(crate) fn open(folder: &Folder) -> Result<Self, FileError> {
        let (path, old_path) = (folder.file(LOG), folder.file(OLD_LOG));
        let mut opened = Self { path, old_path, files: VecDeque::new() };
        let pair = opened.pair().and_then(|pair| pair.ok_or(io::ErrorKind::NotFound.into()));
        let (old, new) = pair.map_err(FileError::io("open", &opened.path))?;
        opened.add(old, new, false);
        Ok(opened)
    }

    /// Reads the next piece.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn read(&mut self) -> Result<Piece, FileError> {
        // Before each piece, not only at a file's end: by then the next file may have been removed.
        self.look().map_err(FileError::io("examine", &self.path))?;
        while let Some(Opened { file, after_gap }) = self.files.front_mut() {
            if std::mem::take(after_gap) {
                return Ok(Piece::Gap);
            }
            let mut bytes = Vec::new();
            let failed = FileError::io("read", &self.path);
            file.take(CHUNK_BYTES).read_to_end(&mut bytes).map_err(failed)?;
            if !bytes.is_empty() {
                return Ok(Piece::Bytes(bytes));
            }
            if self.files.len() == 1 {
                break;
            }
            // The file was rotated before this read, so nothing is added to it any more.
            self.files.pop_front();
        }
        Ok(Piece::Nothing)
    }

    /// Opens the files that are new since the last call.
    fn look(&mut self) -> io::Result<()> {
        let Some(last) = self.files.back() else { return Ok(()) };
        let last = last.file.metadata()?;
        let is_last = |other: &Metadata| other.ino() == last.ino();
        if self.files.len() >= MOST_FILES || fs::metadata(&self.path).is_ok_and(|now| is_last(&now))
        {
            return Ok(());
        }
        let Some((old, new)) = self.pair()? else { return Ok(()) };
        let old = match old {
            Some(old) if is_last(&old.metadata()?) => None,
            other => other,
        };
        self.add(old, new, true);
        Ok(())
    }

    /// Adds the growing file, and the older file if it is new too.
    fn add(&mut self, old: Option<File>, new: File, after_gap: bool) {
        self.files.extend(old.map(|file| Opened { file, after_gap }));
        self.files.push_back(Opened { file: new, after_gap: false });
    }

    /// The older and the growing file at the same moment; `None` between the rename and the creation of a rotation, and
    /// after the app was removed.
    fn pair(&self) -> io::Result<Option<(Option<File>, File)>> {
        loop {
            let old = open(&self.old_path)?;
            let Some(new) = open(&self.path)? else { return Ok(None) };
            let number = |file: &Option<File>| {
                file.as_ref().map(|file| file.metadata().map(|it| it.ino())).transpose()
            };
            if number(&old)? == number(&open(&self.old_path)?)? {
                return Ok(Some((old, new)));
            }
        }
    }
}

fn open(path: &PathBuf) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log whose files the test writes as [`crate::log::Log`] does.
    struct Written {
        root: tempfile::TempDir,
        files: LogFiles,
    }

    impl Written {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join(LOG), "").unwrap();
            let files = LogFiles::open(&Folder::new(root.path().into())).unwrap();
            Self { root, files }
        }

        fn rotate_to(&self, text: &str) {
            let path = |name| self.root.path().join(name);
            fs::rename(path(LOG), path(OLD_LOG)).unwrap();
            fs::write(path(LOG), text).unwrap();
        }

        /// All that can be read, with `|` for each gap.
        fn read(&mut self) -> String {
            let mut all = String::new();
            loop {
                match self.files.read().unwrap() {
                    Piece::Bytes(bytes) => all += std::str::from_utf8(&bytes).unwrap(),
                    Piece::Gap => all += "|",
                    Piece::Nothing => return all,
                }
            }
        }
    }

    #[test]
    fn a_reader_within_a_file_still_gets_the_files_that_follow_it() {
        let mut log = Written::new();
        let large = "a".repeat(usize::try_from(CHUNK_BYTES).unwrap());
        log.rotate_to(&(large.clone() + &large + &large));
        assert_eq!(log.files.read().unwrap(), Piece::Bytes(large.clone().into()));
        log.rotate_to("b");
        assert_eq!(log.files.read().unwrap(), Piece::Bytes(large.clone().into()));
        log.rotate_to("c");
        assert_eq!(log.read(), large + "bc");
    }

    #[test]
    fn a_reader_that_slept_gets_what_is_there_and_is_told_where_something_may_be_missing() {
        let mut log = Written::new();
        log.rotate_to("a");
        assert_eq!(log.read(), "a");
        ["b", "c", "d"].into_iter().for_each(|text| log.rotate_to(text));
        assert_eq!(log.read(), "|cd");
        log.rotate_to("e");
        assert_eq!(log.read(), "e");
    }

    #[test]
    fn a_slow_reader_does_not_hold_ever_more_files() {
        let mut log = Written::new();
        for number in 0..3 * MOST_FILES {
            log.rotate_to(&number.to_string());
            log.files.look().unwrap();
        }
        assert!(log.files.files.len() <= MOST_FILES + 1, "{}", log.files.files.len());
        let all = log.read();
        assert!(all.starts_with("0123") && all.ends_with("|2223"), "{all}");
    }
}
