//! Copies an app's output to the log: from the domain's console or, if there is too much for it, from a vchan.
//!
//! Xenconsoled reads a console 30 times in 200 ms, and gets at most 2 KiB each time. So the monitor asks the guest for
//! a vchan if an app writes more than a little. No output is lost: the guest marks on the console where the output
//! continues on the vchan.
//!
//! The guest decides what it sends and how fast. A [`Limiter`] limits the cost for dom0: while a budget is used up,
//! neither console nor vchan is read, their buffers fill up, and the guest waits.

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

/// After the app's end, a console that is silent for this long has no more output.
const QUIET: Duration = Duration::from_millis(50);
/// The same after much output, because xenconsoled reads a busy console only every 200 ms.
const QUIET_AFTER_MUCH: Duration = Duration::from_millis(300);
/// This much output in [`QUIET_AFTER_MUCH`] counts as much.
const MUCH_BYTES: usize = 16 * 1024;
/// For this long after much output, [`QUIET_AFTER_MUCH`] applies.
const LATELY: Duration = Duration::from_secs(5);
/// The wait before a guest that gave no vchan, or soon closed it, is asked again. It doubles each time, at most
/// [`MOST_DOUBLINGS`] times, because each question needs a new process.
const ASK_AGAIN: Duration = Duration::from_millis(300);
const MOST_DOUBLINGS: u8 = 6;
/// The count of questions starts again at zero if the guest was not asked for this long.
const LONG_AGO: Duration = Duration::from_secs(60);
/// If the console was silent for this long, another program, such as `xl console`, has read the mark at which the
/// output continues on the vchan.
const MARK_LOST: Duration = Duration::from_secs(1);
/// The most bytes that a terminal returns at once.
const CONSOLE_BYTES: usize = 4096;
/// The most frames of a vchan, and the most bytes from them, that one [`Output::copy`] takes, because its caller has
/// other work too.
const TURN_FRAMES: u32 = 256;
const TURN_BYTES: u64 = 1 << 20;
/// The most frames, or bytes, between two charges of the limiter.
const FRAMES_A_CHARGE: u32 = 16;
const BYTES_A_CHARGE: u64 = 128 << 10;

/// An app's output, and the log that it goes to.
pub(crate) struct Output {
    log: Log,
    limiter: Limiter,
    /// How many bytes of the log the limiter was charged for.
    charged_bytes: u64,
    /// Whether the limits apply. They do not after the app's end, when little output can be left.
    limited: bool,
    streams: Splitter,
    console: Option<Console>,
    vchan: Option<Session>,
    /// Whether the console has said that output continues on the vchan.
    turned: bool,
    /// Whether the last turn left something in the vchan, for which no notification will come.
    unread: bool,
    /// When the guest was last asked for a vchan; `asks` counts the recent questions.
    asked: Instant,
    asks: u8,
    /// When the console last had output.
    heard_at: Instant,
    /// A time, and how many bytes of output the console has had since.
    recent: (Instant, usize),
    /// When the output was last much at once.
    much_at: Option<Instant>,
}

impl Output {
    /// Output from `console`, and from the vchan once the console says so. `streams` continues where the previous
    /// reader of the console stopped. `asks` counts the recent questions for a vchan; the last one was just now.
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

    /// Whether to ask the guest for a vchan now.
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

    /// The state for the next reader: streams, limits, and how often the guest was recently asked for a vchan.
    pub(crate) fn state(&self) -> (&Splitter, &Limiter, u8) {
        (&self.streams, &self.limiter, self.asks)
    }

    /// Whether more output can come.
    pub(crate) fn is_open(&self) -> bool {
        self.console.is_some() || self.turned
    }

    /// The files to wait for.
    pub(crate) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let free = self.wait_for_budget().is_none();
        let vchan = self.vchan.as_ref().filter(|_| free && self.turned);
        let console = self.console.as_ref().filter(|_| free).map(Console::as_fd);
        console.into_iter().chain(vchan.into_iter().flat_map(Session::files))
    }

    /// How long the caller may wait before it calls [`Output::copy`] even if no file is ready.
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

    /// How long the output must be silent after the app's end to count as complete.
    pub(crate) fn quiet(&self) -> Duration {
        // After much output, xenconsoled waits before it reads the last piece.
        let much = self.turned || self.much_at.is_some_and(|at| at.elapsed() < LATELY);
        if much { QUIET_AFTER_MUCH } else { QUIET }
    }

    /// Lifts the limits after the app's end, so that the little output left is taken at once.
    pub(crate) fn lift_limits(&mut self) {
        self.limited = false;
    }

    /// Copies the available output into the log, as far as the limits allow. Returns the number of bytes.
    ///
    /// # Errors
    /// The console fails, or the log cannot be written.
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

    /// Charges the bytes and the processor time since the last call.
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
                // The output or the vchan has ended. If the guest sent an unexpected answer, only the console is read
                // on.
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

    /// Completes the log after the last output.
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

/// What the vchan has next.
enum Next {
    Answer(Answer),
    /// Only empty frames so far; more frames may wait.
    Silence,
    /// Nothing yet.
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
