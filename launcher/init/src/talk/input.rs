//! A process's standard input, as it comes from dom0.

use super::connection::{Connection, Disconnected};
use crate::streams::Target;
use crate::terminal;
use contract::talk::{Answer, STDIN_WINDOW, Size};
use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, write};
use std::os::fd::AsFd;

/// The client is told after each so many bytes that the process took.
const TAKEN_STEP: u32 = STDIN_WINDOW / 4;

/// Input on its way to a process. What the process has not read yet waits here, at most one window.
pub(super) struct Input {
    /// `None` once it is closed.
    target: Option<Target>,
    waiting: Vec<u8>,
    /// No more is to come.
    ends: bool,
    /// How much was taken since that was told.
    taken: u32,
}

impl Input {
    pub(super) fn new(target: Option<Target>) -> Self {
        Self { ends: target.is_none(), target, waiting: vec![], taken: 0 }
    }

    /// Takes what came.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Disconnected> {
        if self.ends || self.waiting.len() + bytes.len() > STDIN_WINDOW as usize {
            return Err(Disconnected);
        }
        self.waiting.extend(bytes);
        Ok(())
    }

    /// There is no more.
    pub(super) fn end(&mut self) {
        self.ends = true;
    }

    /// Whether all is given and the end told.
    pub(super) fn is_closed(&self) -> bool {
        self.target.is_none()
    }

    pub(super) fn resize(&self, size: Size) {
        if let Some(target) = self.target.as_ref().filter(|target| target.is_terminal) {
            terminal::resize(&*target.file, size);
        }
    }

    /// Gives the process what it takes now, and tells dom0.
    pub(super) fn give(&mut self, connection: &mut Connection<'_>) {
        while let Some(target) = self.target.as_ref().filter(|_| !self.waiting.is_empty()) {
            match write(&*target.file, &self.waiting) {
                Ok(count) => self.took(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The process has closed it.
                Err(_) => self.target = None,
            }
        }
        if self.target.is_none() {
            self.took(self.waiting.len());
        }
        // A terminal stays open: output comes from it too.
        let is_pipe = self.target.as_ref().is_some_and(|target| !target.is_terminal);
        if self.ends && self.waiting.is_empty() && is_pipe {
            self.target = None;
        }
        if self.taken >= TAKEN_STEP || (self.taken > 0 && self.waiting.is_empty()) {
            connection.send(&Answer::Taken(self.taken));
            self.taken = 0;
        }
    }

    fn took(&mut self, count: usize) {
        self.waiting.drain(..count);
        self.taken += u32::try_from(count).unwrap_or(STDIN_WINDOW);
    }

    /// What to wait for, if any of it waits.
    pub(super) fn room(&self) -> Option<PollFd<'_>> {
        let target = self.target.as_ref().filter(|_| !self.waiting.is_empty())?;
        Some(PollFd::from_borrowed_fd(target.file.as_fd(), PollFlags::OUT))
    }
}
