//! Replacing the domain that an app has taken out of a pool, once the app has its start behind it.

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an app has the machine to itself before pools are filled again: its own first steps
/// follow now.
const QUIET_START: Duration = Duration::from_secs(1);
/// When it is done, and who does it.
#[derive(Debug)]
pub(super) enum Refill {
    /// The app has not started yet.
    Unwanted,
    At(Instant),
    /// A process fills the pools; its end can be waited for.
    Runs(Child, OwnedFd),
    Done,
}

impl Refill {
    /// The app has started.
    pub(super) fn plan(&mut self) {
        if matches!(self, Self::Unwanted) {
            *self = Self::At(Instant::now() + QUIET_START);
        }
    }

    /// When [`Refill::go_on`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(*at),
            Self::Unwanted | Self::Runs(..) | Self::Done => None,
        }
    }

    /// Readable when [`Refill::go_on`] has something to do.
    pub(super) fn file(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Runs(_, end) => Some(end.as_fd()),
            Self::Unwanted | Self::At(_) | Self::Done => None,
        }
    }

    /// Starts `launcher` when it is time, and learns of its end.
    ///
    /// # Errors
    /// It cannot be run; it is not tried again.
    pub(super) fn go_on(&mut self, launcher: Option<&Path>) -> io::Result<()> {
        match self {
            Self::At(at) if Instant::now() >= *at => self.start(launcher),
            Self::Runs(child, _) => {
                if !matches!(child.try_wait(), Ok(None)) {
                    *self = Self::Done;
                }
                Ok(())
            }
            Self::Unwanted | Self::At(_) | Self::Done => Ok(()),
        }
    }

    /// Starts `launcher` now, unless that was done.
    ///
    /// # Errors
    /// As [`Refill::go_on`].
    pub(super) fn start(&mut self, launcher: Option<&Path>) -> io::Result<()> {
        if matches!(self, Self::Runs(..) | Self::Done) {
            return Ok(());
        }
        *self = Self::Done;
        let Some(launcher) = launcher else { return Ok(()) };
        let mut fill = Command::new(launcher);
        // Not our own standard input: that is the app's lock, which must not outlive us.
        let child = fill.arg0("launch").arg("__pool").stdin(Stdio::null()).spawn()?;
        // Its end is waited for with all else: with a thread for that, forks would not be safe.
        let end = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        *self = Self::Runs(child, end);
        Ok(())
    }
}
