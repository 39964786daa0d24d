//! Waiting for an app's output and its end, without polling.

use crate::apps::{App, Apps, AppsError};
use crate::folder::{FileError, Folder, LOCK, LockWatch};
use crate::log::{Entry, Parser, Part};
use crate::log_files::{LogFiles, Piece};
use crate::record::{Outcome, Phase};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// So many entries are kept at least when only the last ones are wanted.
const MAX_ENTRIES: usize = 64 * 1024;
/// Events are the rule; this is how long a lost one can delay things.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// The kernel announces the close of a lock file a moment before it lets go of the lock.
const LOCK_MOMENT: Duration = Duration::from_millis(1);

/// What [`Follow::next`] brought.
#[derive(Debug)]
pub enum Followed {
    /// More of the log.
    Output(Vec<Entry>),
    /// Output may be missing here: it was put away before it was read.
    Gap,
    /// Nothing new within the time given.
    Nothing,
    /// The app has ended, everything is taken down, and all output was brought before.
    Ended(Outcome),
}

/// An app's log, followed.
#[derive(Debug)]
pub struct Follow<'a> {
    apps: &'a Apps,
    id: String,
    end: EndWatch,
    files: LogFiles,
    parser: Parser,
    part: Part,
    /// What was read beforehand.
    ready: Vec<Entry>,
}

impl<'a> Follow<'a> {
    pub(crate) fn new(apps: &'a Apps, app: &App, part: Part) -> Result<Self, AppsError> {
        let folder = apps.folder(&app.record.id);
        let end = EndWatch::new(&folder)?;
        let files = LogFiles::open(&folder)?;
        let (id, parser) = (app.record.id.clone(), Parser::default());
        let mut follow = Self { apps, id, end, files, parser, part, ready: Vec::new() };
        if part.tail.is_some() {
            let mut there = Vec::new();
            while let Some(found) = follow.read()? {
                // A gap can only be before the last lines, which are wanted.
                let Followed::Output(entries) = found else { continue };
                there.extend(entries);
                // Only now and then, as it moves all that stays.
                if there.len() > 2 * MAX_ENTRIES {
                    part.cut(&mut there);
                }
            }
            part.cut(&mut there);
            follow.ready = there;
        }
        Ok(follow)
    }

    /// The next piece of output, or the end; waits for at most `timeout`.
    ///
    /// Returns early with [`Followed::Nothing`] when a signal arrives.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn next(&mut self, timeout: Duration) -> Result<Followed, AppsError> {
        let deadline = Instant::now() + timeout;
        if !self.ready.is_empty() {
            return Ok(Followed::Output(std::mem::take(&mut self.ready)));
        }
        loop {
            // The question comes before the last look at the log: what is written in between is
            // not missed.
            let ended = !self.end.lock.is_held()?;
            if let Some(found) = self.read()? {
                return Ok(found);
            }
            if ended {
                match self.outcome()? {
                    Some(outcome) => return Ok(Followed::Ended(outcome)),
                    // Its monitor died. Another one takes over, and there is more to come.
                    None => drop(self.apps.repair(&self.id)?),
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.end.sleep(left)? {
                return Ok(Followed::Nothing);
            }
        }
    }

    /// What is there; `None` where nothing is.
    fn read(&mut self) -> Result<Option<Followed>, AppsError> {
        loop {
            match self.files.read()? {
                Piece::Bytes(bytes) => {
                    let mut entries = self.parser.parse(&bytes);
                    entries.retain(|entry| self.part.has(entry));
                    if !entries.is_empty() {
                        return Ok(Some(Followed::Output(entries)));
                    }
                }
                Piece::Gap => return Ok(Some(Followed::Gap)),
                Piece::Nothing => return Ok(None),
            }
        }
    }

    fn outcome(&self) -> Result<Option<Outcome>, AppsError> {
        if let Some(outcome) = self.end.lock.outcome()? {
            return Ok(Some(outcome));
        }
        match self.apps.folder(&self.id).read_state() {
            Ok(state)
                if matches!(state.phase, Phase::Starting | Phase::Running | Phase::Restarting) =>
            {
                Ok(None)
            }
            Ok(state) => Ok(Some(state.outcome.unwrap_or(Outcome { code: 0, message: None }))),
            Err(error) if error.is_not_found() => Err(AppsError::Unknown(self.id.clone())),
            Err(error) => Err(error.into()),
        }
    }
}

/// Wakes up when something happens in an app's state folder, and knows whether it has ended.
#[derive(Debug)]
pub(crate) struct EndWatch {
    pub(crate) lock: LockWatch,
    events: OwnedFd,
    path: PathBuf,
}

impl EndWatch {
    pub(crate) fn new(folder: &Folder) -> Result<Self, AppsError> {
        let path = folder.path().to_owned();
        let watch = || -> io::Result<OwnedFd> {
            let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let interest = WatchFlags::MODIFY
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::CREATE
                | WatchFlags::ONLYDIR;
            inotify::add_watch(&events, &path, interest)?;
            // By itself too: with `--rm` it has left the folder when it is closed.
            inotify::add_watch(&events, folder.file(LOCK), WatchFlags::CLOSE_WRITE)?;
            Ok(events)
        };
        let events = watch().map_err(FileError::io("watch", &path))?;
        Ok(Self { lock: folder.watch_lock()?, events, path })
    }

    /// Sleeps until something happens; says `false` when a signal arrived instead.
    pub(crate) fn sleep(&self, timeout: Duration) -> Result<bool, AppsError> {
        let failed = |errno: Errno| FileError::io("watch", &self.path)(errno.into());
        let timeout = Timespec::try_from(timeout.min(LONGEST_SLEEP)).unwrap_or_default();
        let mut fds = [PollFd::new(&self.events, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(errno) => return Err(failed(errno).into()),
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.events, &mut buffer);
        let mut closed = false;
        loop {
            match events.next() {
                // Events of the lock file itself have no name.
                Ok(event) => closed |= event.file_name().is_none(),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno).into()),
            }
        }
        if closed {
            std::thread::sleep(LOCK_MOMENT);
        }
        Ok(true)
    }

    /// Waits until nobody is in charge of the app any more; says `false` at `deadline`.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Result<bool, AppsError> {
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
