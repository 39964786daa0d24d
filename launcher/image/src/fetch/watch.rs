//! Limits a fetch from outside, whatever the child reports: its time, and the free space that
//! it leaves on the file system of the disk.

use super::error::FetchError;
use crate::{
    failure::{FailureKind, plain},
    limits::{LimitError, Limits},
    room,
};
use std::{
    fs::File,
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Time between two looks. A disk of 1 GiB/s can fill this much of the reserve in between.
const EACH: Duration = Duration::from_secs(1);

/// Runs in its own thread, because the launcher may wait for a child that has sent half a message.
pub(super) struct Watch<'a> {
    name: &'a str,
    limits: &'a Limits,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// `None`: too far in the future for the clock.
    deadline: Option<Instant>,
    uncounted: bool,
    disk: Option<File>,
    stopped: bool,
    failed: Option<FetchError>,
}

/// Stops the watch when it goes.
pub(super) struct Stop<'a>(pub(super) &'a Watch<'a>);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.state().stopped = true;
        self.0.changed.notify_all();
    }
}

impl<'a> Watch<'a> {
    pub(super) fn new(name: &'a str, limits: &'a Limits) -> Self {
        let deadline = Instant::now().checked_add(Duration::from_secs(limits.max_seconds));
        let state = State { deadline, uncounted: false, disk: None, stopped: false, failed: None };
        Self { name, limits, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Looks again and again until [`Stop`] goes, or something is wrong: then calls `end`.
    pub(super) fn run(&self, end: impl FnOnce()) {
        let mut state = self.state();
        while !state.stopped {
            let waited = self.changed.wait_timeout(state, EACH);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if let Err(error) = self.look(&state) {
                state.failed = Some(error);
                return end();
            }
        }
    }

    /// What was wrong.
    pub(super) fn failed(&self) -> Option<FetchError> {
        self.state().failed.take()
    }

    /// The disk that is being written.
    pub(super) fn disk(&self, disk: File) {
        self.state().disk = Some(disk);
    }

    /// Does `what` without counting its time.
    pub(super) fn uncounted<T>(&self, what: impl FnOnce() -> T) -> T {
        let before = Instant::now();
        self.state().uncounted = true;
        let outcome = what();
        let mut state = self.state();
        state.uncounted = false;
        state.deadline = state.deadline.and_then(|deadline| deadline.checked_add(before.elapsed()));
        outcome
    }

    fn look(&self, state: &State) -> Result<(), FetchError> {
        let over = state.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if over && !state.uncounted && !state.stopped {
            let limit = LimitError { name: "max_seconds", allowed: self.limits.max_seconds };
            return Err(FetchError::Slow { name: self.name.to_owned(), limit });
        }
        let room = |disk| room::check(disk, self.limits.min_free_bytes);
        match state.disk.as_ref().map_or(Ok(()), room) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let message = plain(&error);
                Err(FetchError::Failed { kind: FailureKind::DiskFull, message: message.into() })
            }
            // A file system that cannot be queried fails when it is written to.
            _ => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_that_takes_too_long_is_ended_with_the_limits_name() {
        let limits = Limits { max_seconds: 0, ..Limits::default() };
        let watch = Watch::new("x", &limits);
        let mut ended = false;
        watch.run(|| ended = true);
        let error = watch.failed().unwrap();
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(ended && text.contains("raise max_seconds under [image.limits]"), "{text}");
    }

    #[test]
    fn a_watch_ends_with_the_fetch() {
        let limits = Limits { max_seconds: u64::MAX, ..Limits::default() };
        let watch = Watch::new("x", &limits);
        std::thread::scope(|scope| {
            scope.spawn(|| watch.run(|| panic!("nothing is wrong")));
            drop(Stop(&watch));
        });
        assert!(watch.failed().is_none());
    }

    #[test]
    fn waiting_for_others_does_not_count() {
        let limits = Limits { max_seconds: 0, ..Limits::default() };
        let watch = Watch::new("x", &limits);
        let before = watch.state().deadline.unwrap();
        watch.uncounted(|| {
            watch.look(&watch.state()).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        });
        assert!(watch.state().deadline.unwrap() >= before + Duration::from_millis(5));
    }
}
