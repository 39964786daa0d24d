//! A faster way for the app's output than the console, for as long as somebody in dom0 takes it there.
//!
//! It is a pipe: what copies output writes into it instead of to the console, and who serves the
//! taker reads it.

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Where those who copy output and those who serve takers meet.
#[derive(Debug)]
pub struct BulkOutput {
    state: Mutex<State>,
    /// Readable when a pipe is there to be taken.
    offered: OwnedFd,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    offer: Option<OwnedFd>,
    /// Whether somebody is served.
    open: bool,
}

impl BulkOutput {
    /// None yet.
    ///
    /// # Errors
    /// The kernel has no event for it.
    pub fn new() -> rustix::io::Result<Self> {
        let offered = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { state: Mutex::default(), offered, closed: Condvar::new() })
    }

    /// Opens it: from now on, or a moment later, output comes out of what is returned; `None` where it
    /// is open already.
    ///
    /// # Errors
    /// There is no pipe to be had.
    pub fn open(&self) -> rustix::io::Result<Option<OwnedFd>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open {
            return Ok(None);
        }
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        *state = State { offer: Some(ours), open: true };
        write(&self.offered, &1u64.to_ne_bytes())?;
        Ok(Some(theirs))
    }

    /// Nobody is served any more, or all is passed on.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::default();
        self.closed.notify_all();
    }

    /// The pipe's other end, for whoever copies output.
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let offer = state.offer.take()?;
        let _ = read(&self.offered, &mut [0u8; 8]);
        Some(offer)
    }

    /// Waits until all is passed on, after the end of output; for `patience` at most.
    pub(crate) fn settle(&self, patience: Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |state: &mut State| state.open && state.offer.is_none();
        drop(self.closed.wait_timeout_while(state, patience, open));
    }
}

impl AsFd for BulkOutput {
    /// Readable when there may be something to [`BulkOutput::take`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.offered.as_fd()
    }
}
