//! Replaces the domain that an app has taken out of a pool, once the app has started.

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long pools are not filled after an app's start, so that the app has the machine to itself.
const QUIET_START: Duration = Duration::from_secs(1);
/// The state of the replacement.
#[derive(Debug)]
pub(super) enum Refill {
    /// The app has not started yet.
    Unwanted,
    At(Instant),
    /// A process fills the pools; the file reports its end.
    Runs(Child, OwnedFd),
    Done,
}

impl Refill {
    /// Plans the replacement, because the app has started.
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

    /// Starts `launcher` when it is due, and notices its end.
    ///
    /// # Errors
    /// The launcher cannot be run. It is not tried again.
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

    /// Starts `launcher` now, unless it was started before.
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
        // Not the monitor's standard input: that is the app's lock, which must be free when the monitor has ended.
        let child = fill.arg0("launch").arg("__pool").stdin(Stdio::null()).spawn()?;
        // The keeper waits for this file with all others. A thread would make forks unsafe.
        let end = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        *self = Self::Runs(child, end);
        Ok(())
    }
}
