//! Watches over a fetch from outside, whatever the child says of itself: its time, and the room that
//! it leaves on the file system of the disk.

use super::{FailureKind, FetchError};
use crate::{
    failure::plain,
    limits::{LimitError, Limits},
    room,
};
use std::{
    fs::File,
    io,
    time::{Duration, Instant},
};

/// Time between two looks. A disk of 1 GiB/s can fill this much of the reserve in between.
const EACH: Duration = Duration::from_secs(1);

pub(super) struct Watch<'a> {
    name: &'a str,
    limits: &'a Limits,
    /// `None`: so far in the future that no clock gets there.
    deadline: Option<Instant>,
    next: Instant,
    disk: Option<File>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(name: &'a str, limits: &'a Limits) -> Self {
        let now = Instant::now();
        let deadline = now.checked_add(Duration::from_secs(limits.max_seconds));
        Self { name, limits, deadline, next: now + EACH, disk: None }
    }

    /// The disk that is being written.
    pub(super) fn disk(&mut self, disk: File) {
        self.disk = Some(disk);
    }

    /// Time until [`Watch::look`] has to be called again.
    pub(super) fn next_look(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Does `what` without counting its time.
    pub(super) fn pause<T>(&mut self, what: impl FnOnce() -> T) -> T {
        let before = Instant::now();
        let outcome = what();
        self.deadline = self.deadline.and_then(|deadline| deadline.checked_add(before.elapsed()));
        outcome
    }

    /// Looks, if it is time to.
    ///
    /// # Errors
    /// The time is over, or too little room is left.
    pub(super) fn look(&mut self) -> Result<(), FetchError> {
        let now = Instant::now();
        if now < self.next {
            return Ok(());
        }
        self.next = now + EACH;
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            let limit = LimitError { name: "max_seconds", allowed: self.limits.max_seconds };
            return Err(FetchError::Slow { name: self.name.to_owned(), limit });
        }
        let room = |disk| room::check(disk, self.limits.min_free_bytes);
        match self.disk.as_ref().map_or(Ok(()), room) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let message = plain(&error);
                Err(FetchError::Failed { kind: FailureKind::DiskFull, message: message.into() })
            }
            // A file system that cannot be asked says so when it is written to.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_once(limits: &Limits, disk: Option<File>) -> Result<(), FetchError> {
        let mut watch = Watch::new("x", limits);
        watch.disk = disk;
        watch.next = Instant::now();
        watch.look()
    }

    #[test]
    fn a_fetch_that_takes_too_long_is_ended_with_the_limits_name() {
        let limits = Limits { max_seconds: 0, ..Limits::default() };
        let error = at_once(&limits, None).unwrap_err();
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.contains("raise max_seconds under [image.limits]"), "{text}");
        assert!(at_once(&Limits { max_seconds: u64::MAX, ..Limits::default() }, None).is_ok());
    }

    #[test]
    fn waiting_for_others_does_not_count() {
        let limits = Limits { max_seconds: 0, ..Limits::default() };
        let mut watch = Watch::new("x", &limits);
        let before = watch.deadline.unwrap();
        watch.pause(|| std::thread::sleep(Duration::from_millis(5)));
        assert!(watch.deadline.unwrap() >= before + Duration::from_millis(5));
    }
}
