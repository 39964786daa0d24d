//! What an app writes, on its way to the log: over the domain's console, or, where there is too much
//! for that, over a vchan.
//!
//! Xenconsoled listens to a console 30 times in 200 ms, and each time finds 2 KiB at most. So
//! whoever writes more than a little is asked for it over a vchan. Nothing is lost on the way:
//! the guest says on the console where it goes on elsewhere.

use crate::console::{Console, ReadOutcome};
use crate::folder::FileError;
use crate::log::Log;
use crate::talk::Session;
use contract::streams::Splitter;
use contract::talk::Answer;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// A console that was silent for so long after the app's end has nothing more to say.
const QUIET: Duration = Duration::from_millis(50);
/// The same after much output: xenconsoled reads a busy console only every 200 ms.
const QUIET_AFTER_MUCH: Duration = Duration::from_millis(300);
/// How much output in [`QUIET_AFTER_MUCH`] is much.
const MUCH_BYTES: usize = 16 * 1024;
/// Much output counts for so long.
const LATELY: Duration = Duration::from_secs(5);
/// A guest is asked for a vchan so often at most.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// Where the console has said nothing for so long, what it was to say of the vchan was read by somebody else,
/// with `xl console`.
const MARK_LOST: Duration = Duration::from_secs(1);
/// Of a vchan no more is read than this in [`BURST_TIME`]: what comes without end would take all of
/// dom0's time.
const BURST_BYTES: usize = 1 << 20;
const BURST_TIME: Duration = Duration::from_micros(62_500);
/// A frame counts for so much besides what it brings, which may be nothing.
const FRAME_BYTES: usize = 64;

/// An app's output, and its log.
pub(crate) struct Output {
    log: Log,
    streams: Splitter,
    console: Option<Console>,
    vchan: Option<Session>,
    /// Whether the console has said that output goes on over the vchan.
    turned: bool,
    asked: Option<Instant>,
    /// When the console has said something last.
    heard_at: Instant,
    /// Since when, and how much the console has said.
    recent: (Instant, usize),
    /// When it last was much at once.
    much_at: Option<Instant>,
    /// Since when, and how much the vchan has said.
    burst: (Instant, usize),
}

impl Output {
    pub(crate) fn new(log: Log) -> Self {
        let none = (Instant::now(), 0);
        Self {
            log,
            streams: Splitter::default(),
            console: None,
            vchan: None,
            turned: false,
            asked: None,
            heard_at: none.0,
            recent: none,
            much_at: None,
            burst: none,
        }
    }

    pub(crate) fn has_console(&self) -> bool {
        self.console.is_some()
    }

    pub(crate) fn set_console(&mut self, console: Console) {
        self.console = Some(console);
    }

    /// Whether now is the time to ask for a vchan.
    pub(crate) fn wants_vchan(&mut self) -> bool {
        let wants = self.vchan.is_none()
            && self.much_at.is_some_and(|at| at.elapsed() < QUIET_AFTER_MUCH)
            && self.asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN);
        if wants {
            self.asked = Some(Instant::now());
        }
        wants
    }

    pub(crate) fn set_vchan(&mut self, session: Session) {
        (self.vchan, self.heard_at) = (Some(session), Instant::now());
    }

    /// Whether anything more can come.
    pub(crate) fn is_open(&self) -> bool {
        self.console.is_some() || self.turned
    }

    /// What to wait for.
    pub(crate) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let vchan = self.vchan.as_ref().filter(|_| self.turned && self.pause().is_none());
        let console = self.console.as_ref().map(Console::as_fd);
        console.into_iter().chain(vchan.into_iter().flat_map(Session::files))
    }

    /// How long the vchan is not listened to.
    pub(crate) fn pause(&self) -> Option<Duration> {
        if self.vchan.is_some() && !self.turned {
            return Some(MARK_LOST.saturating_sub(self.heard_at.elapsed()));
        }
        let (since, bytes) = self.burst;
        let left = BURST_TIME.saturating_sub(since.elapsed());
        // None left still means to go on by ourselves: nobody tells us of what we left unread.
        (self.turned && bytes >= BURST_BYTES).then_some(left)
    }

    /// How long there must be nothing more after the app's end.
    pub(crate) fn quiet(&self) -> Duration {
        // The last piece of much comes a pause of xenconsoled's after the one before.
        let much = self.turned || self.much_at.is_some_and(|at| at.elapsed() < LATELY);
        if much { QUIET_AFTER_MUCH } else { QUIET }
    }

    /// Takes what there is right now into the log; says how much it was.
    ///
    /// # Errors
    /// The console is broken, or the log cannot be written.
    pub(crate) fn copy(&mut self, folder: &Path) -> Result<usize, FileError> {
        let read = self.copy_console().map_err(FileError::io("read the console of", folder))?;
        let mut count = read.len();
        self.keep(&read)?;
        if self.vchan.is_some() && self.heard_at.elapsed() >= MARK_LOST {
            self.turned = true;
        }
        if self.turned {
            count += self.copy_vchan()?;
        }
        Ok(count)
    }

    fn copy_console(&mut self) -> io::Result<Vec<u8>> {
        let Some(console) = &self.console else { return Ok(vec![]) };
        let mut buffer = vec![0; 16 * 1024];
        match console.read(&mut buffer)? {
            ReadOutcome::Bytes(count) => {
                buffer.truncate(count);
                self.heard_at = Instant::now();
                if self.recent.0.elapsed() > QUIET_AFTER_MUCH {
                    self.recent = (Instant::now(), 0);
                }
                self.recent.1 += count;
                if self.recent.1 > MUCH_BYTES {
                    self.much_at = Some(Instant::now());
                }
                return Ok(buffer);
            }
            ReadOutcome::Nothing => {}
            ReadOutcome::Closed => self.console = None,
        }
        Ok(vec![])
    }

    fn copy_vchan(&mut self) -> Result<usize, FileError> {
        if self.burst.0.elapsed() >= BURST_TIME {
            self.burst = (Instant::now(), 0);
        }
        let mut count = 0;
        while self.burst.1 < BURST_BYTES {
            match self.vchan.as_mut().map(next) {
                Some(Ok(Some(Answer::Started))) => self.burst.1 += FRAME_BYTES,
                Some(Ok(Some(Answer::Stdout(bytes)))) => {
                    self.burst.1 += FRAME_BYTES + bytes.len();
                    count += bytes.len();
                    self.keep(&bytes)?;
                }
                Some(Ok(None)) => break,
                // Its end, or that of the vchan; a guest that says anything else is heard on the
                // console only.
                None | Some(Ok(Some(_)) | Err(_)) => {
                    (self.vchan, self.turned) = (None, false);
                    break;
                }
            }
        }
        Ok(count)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        for (stream, bytes) in self.streams.split(bytes) {
            self.log.write(stream, &bytes)?;
        }
        if self.streams.goes_on_elsewhere() {
            self.turned = self.vchan.is_some();
        }
        Ok(())
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(crate) fn finish(&mut self) -> Result<(), FileError> {
        for (stream, bytes) in self.streams.finish() {
            self.log.write(stream, &bytes)?;
        }
        Ok(())
    }
}

fn next(session: &mut Session) -> Result<Option<Answer>, crate::talk::TalkError> {
    session.take_notifications()?;
    session.begin_turn();
    session.next_answer()
}
