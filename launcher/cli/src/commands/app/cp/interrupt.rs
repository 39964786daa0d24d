//! Lets Ctrl-C and SIGTERM end a copy cleanly, whatever the guest does.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Signals to this command, which do not end the process directly.
pub(super) struct Interrupt {
    last: Arc<AtomicUsize>,
    /// Readable when a signal came.
    wake: UnixStream,
}

/// The error that stands for a signal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interrupted(u8);

impl Interrupted {
    /// The exit code that a shell shows: 128 plus the signal's number.
    pub(super) fn exit_code(self) -> u8 {
        128 + self.0
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupt {
    pub(super) fn catch() -> Result<Self> {
        let (wake, waker) = UnixStream::pair().context("cannot make a pair of sockets")?;
        let last = Arc::default();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, Arc::clone(&last), number)
                .and_then(|_| signal_hook::low_level::pipe::register(signal, waker.try_clone()?))
                .with_context(|| format!("cannot handle signal {signal}"))?;
        }
        Ok(Self { last, wake })
    }

    /// # Errors
    /// [`Interrupted`] if a signal has come.
    pub(super) fn check(&self) -> Result<()> {
        match u8::try_from(self.last.load(Ordering::Relaxed)) {
            Ok(0) | Err(_) => Ok(()),
            Ok(number) => Err(Interrupted(number).into()),
        }
    }

    /// Waits until `file` is readable or closed, for at most `patience`.
    ///
    /// # Errors
    /// [`Interrupted`] if a signal comes first.
    pub(super) fn wait(&self, file: BorrowedFd<'_>, patience: Option<Duration>) -> Result<()> {
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        loop {
            self.check()?;
            let mut files = [
                PollFd::from_borrowed_fd(file, PollFlags::IN),
                PollFd::new(&self.wake, PollFlags::IN),
            ];
            match poll(&mut files, timeout.as_ref()) {
                Ok(0) => return Ok(()),
                Ok(_) if !files[0].revents().is_empty() => return self.check(),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context("cannot wait for a process"),
            }
        }
    }
}
