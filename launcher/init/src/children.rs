//! Processes that sessions wait for. Only the supervisor reaps children; it reports here how they ended.

use crate::failure::{Failure, OrFail};
use contract::Exit;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The app, and the children whose end a session waits for.
#[derive(Debug, Default)]
pub struct Children(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// No more are started: the domain ends.
    closed: bool,
    app: Option<App>,
    awaited: HashMap<Pid, Arc<Ended>>,
}

#[derive(Debug)]
struct App {
    pid: Pid,
    /// The same process, by a descriptor that never means another one.
    pidfd: Arc<OwnedFd>,
}

/// The end of one child, to be.
#[derive(Debug)]
pub struct Ended {
    exit: OnceLock<Exit>,
    event: OwnedFd,
}

impl Ended {
    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.exit.get().cloned()
    }
}

impl AsFd for Ended {
    /// Readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Children {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a child with `start` and notes that its end is waited for.
    ///
    /// # Errors
    /// What `start` returned, or the domain is ending.
    pub fn start(
        &self,
        start: impl FnOnce() -> Result<Pid, Failure>,
    ) -> Result<(Pid, Arc<Ended>), Failure> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let event = eventfd(0, flags).or_fail(|| "make an eventfd".into())?;
        // Held until the child is noted: its end may be seen before this thread goes on.
        let mut inner = self.lock();
        if inner.closed {
            return Err(app_has_ended());
        }
        let pid = start()?;
        let ended = Arc::new(Ended { exit: OnceLock::new(), event });
        inner.awaited.insert(pid, Arc::clone(&ended));
        Ok((pid, ended))
    }

    /// Sends a signal to a child of [`Children::start`] that has not ended.
    pub fn signal(&self, pid: Pid, number: i32) {
        // Under the lock, so that the number cannot be another process's by now.
        let inner = self.lock();
        if inner.awaited.contains_key(&pid) {
            send(pid, number);
        }
    }

    /// Sends a signal to the app. Returns whether the app runs and the signal exists.
    pub fn signal_app(&self, number: i32) -> bool {
        self.lock().app.as_ref().is_some_and(|app| send(app.pid, number))
    }

    /// The app, as a pidfd.
    ///
    /// # Errors
    /// It has ended.
    pub fn app(&self) -> Result<Arc<OwnedFd>, Failure> {
        let inner = self.lock();
        inner.app.as_ref().map(|app| Arc::clone(&app.pidfd)).ok_or_else(app_has_ended)
    }

    /// Notes which the app is. It must not have been reaped.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn set_app(&self, pid: Pid) -> Result<(), Failure> {
        let pidfd =
            pidfd_open(pid, PidfdFlags::empty()).or_fail(|| "open the app's process".into())?;
        self.lock().app = Some(App { pid, pidfd: Arc::new(pidfd) });
        Ok(())
    }

    /// Notes that a child has ended.
    pub(crate) fn has_ended(&self, pid: Pid, exit: &Exit) {
        let mut inner = self.lock();
        if inner.app.as_ref().is_some_and(|app| app.pid == pid) {
            inner.app = None;
        }
        if let Some(ended) = inner.awaited.remove(&pid) {
            let _ = ended.exit.set(exit.clone());
            let _ = rustix::io::write(&ended.event, &1u64.to_ne_bytes());
        }
    }

    /// Lets no more be started.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }
}

fn app_has_ended() -> Failure {
    Failure::set_up("the app has ended")
}

/// Says whether it could be sent.
pub(crate) fn send(pid: Pid, signal: i32) -> bool {
    // SAFETY: plain system call; a wrong number is an error that leaves the process as it is.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) == 0 }
}
