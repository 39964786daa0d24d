//! The domain's console and the log that its output is kept in.

use crate::folder::{FileError, Folder, LOG, OLD_LOG};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Pseudo-terminals are kept here; xenstore is not trusted to name other files.
const PTS: &str = "/dev/pts/";

/// Dom0's side of a domain's console: the pseudo-terminal that xenconsoled made for it.
#[derive(Debug)]
pub struct Console(OwnedFd);

/// What came of reading the console.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// This many bytes.
    Bytes(usize),
    /// Nothing right now.
    Nothing,
    /// Xenconsoled closed it: the domain is gone.
    Closed,
}

impl Console {
    /// Opens the pseudo-terminal at `path`.
    ///
    /// # Errors
    /// It is not one, or cannot be opened.
    pub fn open(path: &str) -> Result<Self, FileError> {
        let as_path = Path::new(path);
        if !path.starts_with(PTS) || path.contains("..") {
            let why = io::Error::new(io::ErrorKind::InvalidInput, "not a pseudo-terminal");
            return Err(FileError::io("open", as_path)(why));
        }
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || -> io::Result<OwnedFd> {
            let tty = rustix::fs::open(path, flags, Mode::empty())?;
            // Neither echo to the guest what it said nor change a byte of it.
            let mut settings = tcgetattr(&tty)?;
            settings.make_raw();
            tcsetattr(&tty, OptionalActions::Now, &settings)?;
            Ok(tty)
        };
        open().map(Self).map_err(FileError::io("open", as_path))
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// The terminal is broken.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<ReadOutcome> {
        match rustix::io::read(&self.0, buffer) {
            Ok(0) | Err(Errno::IO) => Ok(ReadOutcome::Closed),
            Ok(count) => Ok(ReadOutcome::Bytes(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(ReadOutcome::Nothing),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The log: what the app wrote, byte for byte, the oldest part dropped when it grows too large.
#[derive(Debug)]
pub struct Log {
    file: File,
    bytes: u64,
    max_bytes: u64,
    path: PathBuf,
    old_path: PathBuf,
}

impl Log {
    /// Opens an app's log to add to it; each of its two files may have `max_bytes`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(folder: &Folder, max_bytes: u64) -> Result<Self, FileError> {
        let path = folder.file(LOG);
        let (file, bytes) = open_to_add(&path).map_err(FileError::io("open", &path))?;
        Ok(Self { file, bytes, max_bytes, old_path: folder.file(OLD_LOG), path })
    }

    /// Adds to the log.
    ///
    /// # Errors
    /// Disk full and the like.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if self.bytes > 0 && self.bytes + bytes.len() as u64 > self.max_bytes {
            fs::rename(&self.path, &self.old_path).map_err(FileError::io("rename", &self.path))?;
            (self.file, self.bytes) =
                open_to_add(&self.path).map_err(FileError::io("open", &self.path))?;
        }
        self.file.write_all(bytes).map_err(FileError::io("write", &self.path))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn open_to_add(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_the_newest_output_in_two_files() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().into());
        let mut log = Log::open(&folder, 8).unwrap();
        for part in ["aaaa", "bbbb", "cc", "dddddddddddd", "e"] {
            log.write(part.as_bytes()).unwrap();
        }
        assert_eq!(fs::read(folder.file(OLD_LOG)).unwrap(), b"dddddddddddd");
        assert_eq!(fs::read(folder.file(LOG)).unwrap(), b"e");
    }

    #[test]
    fn a_log_goes_on_where_an_earlier_monitor_ended() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().into());
        Log::open(&folder, 8).unwrap().write(b"\x1b[31m\xff").unwrap();
        Log::open(&folder, 8).unwrap().write(b"x").unwrap();
        assert_eq!(fs::read(folder.file(LOG)).unwrap(), b"\x1b[31m\xffx");
    }

    #[test]
    fn only_pseudo_terminals_are_opened_as_consoles() {
        for path in ["/etc/passwd", "/dev/pts/../../etc/passwd", "", "/dev/ptmx"] {
            assert!(Console::open(path).is_err(), "{path:?} was opened");
        }
    }
}
