//! A faster way for the app's output than the console, for as long as a client in dom0 asks for it.
//!
//! It is a pipe: the relay writes output into it instead of to the console, and the thread that serves the
//! client reads it.

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Where the relay and the thread that serves a client meet.
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
    /// Whether a client is served.
    open: bool,
}

impl BulkOutput {
    /// Makes a closed one.
    ///
    /// # Errors
    /// The kernel has no event for it.
    pub fn new() -> rustix::io::Result<Self> {
        let offered = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { state: Mutex::default(), offered, closed: Condvar::new() })
    }

    /// Opens it: from now on, or a moment later, output comes out of the returned pipe. `None` if a client
    /// has it open already.
    ///
    /// # Errors
    /// No pipe can be made.
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

    /// Ends it: the client has gone, or all output is passed on.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::default();
        self.closed.notify_all();
    }

    /// The pipe's other end, for the relay.
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let offer = state.offer.take()?;
        let _ = read(&self.offered, &mut [0u8; 8]);
        Some(offer)
    }

    /// Waits after the end of output until all of it is passed on, for `patience` at most.
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
