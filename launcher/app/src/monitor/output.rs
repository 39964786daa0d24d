//! An app's output on its way to the log: over the domain's console, or, if there is too much for that,
//! over a vchan.
//!
//! Xenconsoled looks at a console 30 times in 200 ms, and finds 2 KiB at most each time. So an app that
//! writes more than a little is asked for its output over a vchan. Nothing is lost on the way:
//! the guest says on the console where the output goes on elsewhere.
//!
//! The guest decides what comes and how fast. What it costs dom0 is limited by a [`Limiter`]: when a budget
//! is used up, neither console nor vchan is read, their buffers fill up, and the guest waits.

use crate::guest::session::Session;
use crate::log::writer::Log;
use crate::monitor::console::{Console, ReadOutcome};
use crate::monitor::limiter::{Clocks, Limiter};
use contract::streams::Splitter;
use contract::talk::Answer;
use files::FileError;
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
/// A guest that gave no vchan, or soon closed it, is asked again after this time, then each time after twice as long, up
/// to [`MOST_DOUBLINGS`] times: each question takes a new process.
const ASK_AGAIN: Duration = Duration::from_millis(300);
const MOST_DOUBLINGS: u8 = 6;
/// The count of questions starts over for a guest that was not asked for this long.
const LONG_AGO: Duration = Duration::from_secs(60);
/// If the console has said nothing for so long, somebody else has read, with `xl console`, where the output
/// goes on.
const MARK_LOST: Duration = Duration::from_secs(1);
/// A terminal gives no more at once.
const CONSOLE_BYTES: usize = 4096;
/// One [`Output::copy`] takes no more frames of a vchan, and writes no more bytes of them, than this: its
/// caller has others to listen to.
const TURN_FRAMES: u32 = 256;
const TURN_BYTES: u64 = 1 << 20;
/// So many frames, or bytes, are taken between two looks at the clocks.
const FRAMES_A_CHARGE: u32 = 16;
const BYTES_A_CHARGE: u64 = 128 << 10;

/// An app's output, and its log.
pub(crate) struct Output {
    log: Log,
    limiter: Limiter,
    /// How much of the log the limiter was charged for.
    charged_bytes: u64,
    /// Whether the limits count: not at the app's end, when little can be left.
    limited: bool,
    streams: Splitter,
    console: Option<Console>,
    vchan: Option<Session>,
    /// Whether the console has said that output goes on over the vchan.
    turned: bool,
    /// Whether the last turn ended with something left in the vchan, for which no notification will come.
    unread: bool,
    /// When the guest was asked for a vchan last, and how often lately.
    asked: Instant,
    asks: u8,
    /// When the console has said something last.
    heard_at: Instant,
    /// Since when, and how much the console has said.
    recent: (Instant, usize),
    /// When it last was much at once.
    much_at: Option<Instant>,
}

impl Output {
    /// The output that `console` brings, and the vchan once the console says so; `streams` goes on where an
    /// earlier reader of the console stopped. The guest was asked for the vchan so often as the number says, the last
    /// time just now.
    pub(crate) fn new(
        log: Log,
        limiter: Limiter,
        streams: Splitter,
        console: Option<Console>,
        (vchan, asks): (Option<Session>, u8),
    ) -> Self {
        let now = Instant::now();
        Self {
            log,
            limiter,
            charged_bytes: 0,
            limited: true,
            streams,
            console,
            vchan,
            turned: false,
            unread: false,
            asked: now,
            asks,
            heard_at: now,
            recent: (now, 0),
            much_at: None,
        }
    }

    /// Whether now is the time to ask for a vchan.
    pub(crate) fn wants_vchan(&mut self) -> bool {
        if self.asked.elapsed() >= LONG_AGO {
            self.asks = 0;
        }
        let backoff = match self.asks.checked_sub(1) {
            Some(doublings) => ASK_AGAIN * (1 << doublings.min(MOST_DOUBLINGS)),
            None => Duration::ZERO,
        };
        let wants = self.vchan.is_none()
            && self.much_at.is_some_and(|at| at.elapsed() < QUIET_AFTER_MUCH)
            && self.asked.elapsed() >= backoff;
        if wants {
            (self.asked, self.asks) = (Instant::now(), self.asks.saturating_add(1));
        }
        wants
    }

    /// What a reader that takes over goes on with: the state of the streams and of the limits, and how often the guest
    /// was asked for a vchan lately.
    pub(crate) fn state(&self) -> (&Splitter, &Limiter, u8) {
        (&self.streams, &self.limiter, self.asks)
    }

    /// Whether anything more can come.
    pub(crate) fn is_open(&self) -> bool {
        self.console.is_some() || self.turned
    }

    /// What to wait for.
    pub(crate) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let free = self.wait_for_budget().is_none();
        let vchan = self.vchan.as_ref().filter(|_| free && self.turned);
        let console = self.console.as_ref().filter(|_| free).map(Console::as_fd);
        console.into_iter().chain(vchan.into_iter().flat_map(Session::files))
    }

    /// After how long [`Output::copy`] is to be called even if no file is ready.
    pub(crate) fn longest_wait(&self) -> Option<Duration> {
        if let Some(wait) = self.wait_for_budget() {
            return Some(wait);
        }
        if self.vchan.is_some() && !self.turned {
            return Some(MARK_LOST.saturating_sub(self.heard_at.elapsed()));
        }
        self.unread.then_some(Duration::ZERO)
    }

    fn wait_for_budget(&self) -> Option<Duration> {
        self.limiter.wait().filter(|_| self.limited)
    }

    /// How long there must be nothing more after the app's end.
    pub(crate) fn quiet(&self) -> Duration {
        // xenconsoled waits before it reads the last piece of much output.
        let much = self.turned || self.much_at.is_some_and(|at| at.elapsed() < LATELY);
        if much { QUIET_AFTER_MUCH } else { QUIET }
    }

    /// The app has ended: what is left is little, and is taken at once.
    pub(crate) fn lift_limits(&mut self) {
        self.limited = false;
    }

    /// Takes what there is right now into the log, as far as the limits allow; returns how many bytes of
    /// output it was.
    ///
    /// # Errors
    /// The console is broken, or the log cannot be written.
    pub(crate) fn copy(&mut self, folder: &Path) -> Result<usize, FileError> {
        self.unread = false;
        self.charge();
        if self.wait_for_budget().is_some() {
            return Ok(0);
        }
        let read = self.copy_console().map_err(FileError::io("read the console of", folder))?;
        let mut count = read.len();
        let kept = self.keep(&read);
        self.charge();
        kept?;
        if self.vchan.is_some() && self.heard_at.elapsed() >= MARK_LOST {
            self.turned = true;
        }
        if self.turned {
            let copied = self.copy_vchan();
            self.charge();
            count += copied?;
        }
        Ok(count)
    }

    /// Charges what was written and worked since the last call.
    fn charge(&mut self) {
        let written = self.log.written();
        self.limiter.charge(written - self.charged_bytes, Clocks::now());
        self.charged_bytes = written;
    }

    fn copy_console(&mut self) -> io::Result<Vec<u8>> {
        let Some(console) = &self.console else { return Ok(vec![]) };
        let mut buffer = vec![0; CONSOLE_BYTES];
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
        let (mut count, mut frames, begin) = (0, 0, self.log.written());
        loop {
            let turn_bytes = self.log.written() - begin;
            if frames >= TURN_FRAMES || turn_bytes >= TURN_BYTES {
                self.unread = true;
                return Ok(count);
            }
            let uncharged = self.log.written() - self.charged_bytes;
            if frames % FRAMES_A_CHARGE == 0 || uncharged >= BYTES_A_CHARGE {
                self.charge();
                if self.wait_for_budget().is_some() {
                    self.unread = true;
                    return Ok(count);
                }
            }
            match self.vchan.as_mut().map(next) {
                Some(Ok(Next::Answer(Answer::Started))) => frames += 1,
                Some(Ok(Next::Answer(Answer::Stdout(bytes)))) => {
                    frames += 1;
                    count += bytes.len();
                    self.keep(&bytes)?;
                }
                Some(Ok(Next::Silence)) => frames += FRAMES_A_CHARGE,
                Some(Ok(Next::Nothing)) => return Ok(count),
                // Its end, or that of the vchan; a guest that says anything else is heard on the
                // console only.
                None | Some(Ok(Next::Answer(_)) | Err(_)) => {
                    (self.vchan, self.turned) = (None, false);
                    return Ok(count);
                }
            }
        }
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

/// What a vchan brings.
enum Next {
    Answer(Answer),
    /// Frames that bring nothing, and there may be more.
    Silence,
    /// Nothing now.
    Nothing,
}

fn next(session: &mut Session) -> Result<Next, crate::guest::error::TalkError> {
    session.take_notifications()?;
    session.begin_turn();
    Ok(match session.next_answer()? {
        Some(answer) => Next::Answer(answer),
        None if session.is_turn_over() => Next::Silence,
        None => Next::Nothing,
    })
}
