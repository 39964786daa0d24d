//! The domain's console.

use files::FileError;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The folder of pseudo-terminals; a path from xenstore to any other file is refused.
const PTS: &str = "/dev/pts/";

/// Dom0's side of a domain's console: the pseudo-terminal that xenconsoled made for it.
#[derive(Debug)]
pub(crate) struct Console(OwnedFd);

/// The result of reading the console.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// This many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// Xenconsoled closed it because the domain is gone.
    Closed,
}

impl Console {
    /// Opens the pseudo-terminal at `path`.
    ///
    /// # Errors
    /// The file is not a pseudo-terminal, or cannot be opened.
    pub(crate) fn open(path: &str) -> Result<Self, FileError> {
        let as_path = Path::new(path);
        if !path.starts_with(PTS) || path.contains("..") {
            let why = io::Error::new(io::ErrorKind::InvalidInput, "not a pseudo-terminal");
            return Err(FileError::io("open", as_path)(why));
        }
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || -> io::Result<OwnedFd> {
            let tty = rustix::fs::open(path, flags, Mode::empty())?;
            // Raw mode: the terminal must not echo the output to the guest or change a byte of it.
            let mut settings = tcgetattr(&tty)?;
            settings.make_raw();
            tcsetattr(&tty, OptionalActions::Now, &settings)?;
            Ok(tty)
        };
        open().map(Self).map_err(FileError::io("open", as_path))
    }

    /// A pipe in place of a console.
    #[cfg(test)]
    pub(crate) fn of_pipe(pipe: OwnedFd) -> Self {
        rustix::io::ioctl_fionbio(&pipe, true).unwrap();
        Self(pipe)
    }

    /// A second handle of the same terminal.
    ///
    /// # Errors
    /// There are too many open files.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Reads the available bytes.
    ///
    /// # Errors
    /// The terminal fails.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<ReadOutcome> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pseudo_terminals_are_opened_as_consoles() {
        for path in ["/etc/passwd", "/dev/pts/../../etc/passwd", "", "/dev/ptmx"] {
            let error = Console::open(path).unwrap_err();
            let FileError::Io { source, .. } = &error else { panic!("{path:?}: {error}") };
            assert_eq!(source.kind(), io::ErrorKind::InvalidInput, "{path:?}");
        }
    }
}
