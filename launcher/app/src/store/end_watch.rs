//! Waits for the end of an app, without polling.

use crate::store::folder::{Folder, LOCK};
use crate::store::lock::LockWatch;
use files::FileError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The longest sleep without an event, in case an event is lost.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// The kernel reports the close of a lock file a moment before it releases the lock.
const LOCK_MOMENT: Duration = Duration::from_millis(1);

/// Wakes up when something happens in an app's state folder, and checks whether the app has ended.
#[derive(Debug)]
pub(crate) struct EndWatch {
    pub(crate) lock: LockWatch,
    events: OwnedFd,
    path: PathBuf,
}

impl EndWatch {
    pub(crate) fn new(folder: &Folder) -> Result<Self, FileError> {
        let path = folder.path().to_owned();
        let watch = || -> io::Result<OwnedFd> {
            let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let interest = WatchFlags::MODIFY
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::CREATE
                | WatchFlags::ONLYDIR;
            inotify::add_watch(&events, &path, interest)?;
            // Watches the file itself too: with `--rm` it is no longer in the folder when it is closed.
            inotify::add_watch(&events, folder.file(LOCK), WatchFlags::CLOSE_WRITE)?;
            Ok(events)
        };
        let events = watch().map_err(FileError::io("watch", &path))?;
        Ok(Self { lock: folder.watch_lock()?, events, path })
    }

    /// Sleeps until something happens; returns `false` if a signal interrupted it.
    pub(crate) fn sleep(&self, timeout: Duration) -> Result<bool, FileError> {
        let failed = |errno: Errno| FileError::io("watch", &self.path)(errno.into());
        let timeout = Timespec::try_from(timeout.min(LONGEST_SLEEP)).unwrap_or_default();
        let mut fds = [PollFd::new(&self.events, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(errno) => return Err(failed(errno)),
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.events, &mut buffer);
        let mut closed = false;
        loop {
            match events.next() {
                // Events of the lock file itself carry no name.
                Ok(event) => closed |= event.file_name().is_none(),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        if closed {
            std::thread::sleep(LOCK_MOMENT);
        }
        Ok(true)
    }

    /// Waits until no process is in charge of the app; returns `false` at `deadline`.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Result<bool, FileError> {
        while self.lock.is_held()? {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            self.sleep(left.unwrap_or(LONGEST_SLEEP))?;
        }
        Ok(true)
    }
}
