//! The app's output on its way to the console, or to dom0 over a vchan.

use crate::bulk_output::BulkOutput;
use crate::console::Console;
use contract::Stream;
use contract::streams::{ELSEWHERE, MARK_BYTES};
use rustix::io::{Errno, read, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// The most output that is held here; beyond it the app waits, as on any full pipe.
const BUFFER_BYTES: usize = 64 * 1024;

/// What a [`Relay`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Output of the app.
    Output,
    /// Room on the console.
    Room,
    /// Nothing: every writer has closed the pipe, and all is written.
    Nothing,
}

/// Copies the app's output to the console, or to a vchan while a client takes it there.
///
/// Standard output and standard error come in separate pipes and go to one console, with marks around
/// standard error, so that a reader that starts anywhere can tell them apart.
#[derive(Debug)]
pub struct Relay {
    sources: Vec<Source>,
    bulk_output: Arc<BulkOutput>,
    way: Way,
    /// Whose turn it is to be read first.
    turn: usize,
    /// Room for a mark, for output, and for a mark.
    buffer: Vec<u8>,
    pending: std::ops::Range<usize>,
    wait: Wait,
}

#[derive(Debug)]
enum Way {
    Console,
    /// To the console still, to say there that this is next.
    Turning(OwnedFd),
    BulkOutput(OwnedFd),
}

#[derive(Debug)]
struct Source {
    stream: Stream,
    /// `None` once every writer has closed it.
    file: Option<OwnedFd>,
}

impl Relay {
    /// Copies from these pipes, or the one terminal, which must not block.
    #[must_use]
    pub fn new(
        sources: impl IntoIterator<Item = (Stream, OwnedFd)>,
        bulk_output: Arc<BulkOutput>,
    ) -> Self {
        let source = |(stream, file)| Source { stream, file: Some(file) };
        Self {
            sources: sources.into_iter().map(source).collect(),
            bulk_output,
            way: Way::Console,
            turn: 0,
            buffer: vec![0; MARK_BYTES + BUFFER_BYTES + MARK_BYTES],
            pending: 0..0,
            wait: Wait::Output,
        }
    }

    /// What to wait for before the next [`Relay::copy`].
    #[must_use]
    pub fn wait(&self) -> Wait {
        self.wait
    }

    /// What to wait for at [`Wait::Output`].
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.open_sources().chain([self.bulk_output.as_fd()])
    }

    /// The other way out for large outputs, shared with the one who opens it.
    #[must_use]
    pub fn bulk_output(&self) -> Arc<BulkOutput> {
        Arc::clone(&self.bulk_output)
    }

    /// What to wait for at [`Wait::Room`].
    pub fn target<'a>(&'a self, console: &'a Console) -> BorrowedFd<'a> {
        match &self.way {
            Way::Console | Way::Turning(_) => console.as_fd(),
            Way::BulkOutput(pipe) => pipe.as_fd(),
        }
    }

    fn open_sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sources.iter().filter_map(|source| Some(source.file.as_ref()?.as_fd()))
    }

    /// Nothing more comes: waits until all is where it was to go, for `patience` at most.
    pub fn finish(&mut self, patience: Duration) {
        self.way = Way::Console;
        self.bulk_output.settle(patience);
    }

    /// Copies what there is, as far as the console takes it; whether anything moved.
    pub fn copy(&mut self, console: &Console) -> bool {
        let mut moved = false;
        loop {
            if self.pending.is_empty() {
                self.turn();
                if self.pending.is_empty() && !self.read() {
                    let open = self.open_sources().next().is_some();
                    self.wait = if open { Wait::Output } else { Wait::Nothing };
                    return moved;
                }
                moved = true;
            }
            match write(self.target(console), &self.buffer[self.pending.clone()]) {
                Ok(0) | Err(Errno::AGAIN) => {
                    self.wait = Wait::Room;
                    return moved;
                }
                Ok(written) => {
                    self.pending.start += written;
                    moved = true;
                }
                Err(Errno::INTR) => {}
                // The client has gone.
                Err(Errno::PIPE) if matches!(self.way, Way::BulkOutput(_)) => {
                    self.way = Way::Console
                }
                // A console that is broken takes nothing any more; the app must not hang on it.
                Err(_) => self.pending = 0..0,
            }
        }
    }

    /// Goes the way that was offered, once the console is told so.
    fn turn(&mut self) {
        if let Some(pipe) = self.bulk_output.take() {
            self.buffer[..MARK_BYTES].copy_from_slice(&ELSEWHERE);
            self.pending = 0..MARK_BYTES;
            self.way = Way::Turning(pipe);
        } else {
            self.way = match std::mem::replace(&mut self.way, Way::Console) {
                Way::Turning(pipe) => Way::BulkOutput(pipe),
                same => same,
            };
        }
    }

    /// Reads from the next source that has something; returns whether one had.
    fn read(&mut self) -> bool {
        let count = self.sources.len();
        for _ in 0..count {
            let source = &mut self.sources[self.turn];
            self.turn = (self.turn + 1) % count;
            let Some(file) = &source.file else { continue };
            let got = loop {
                match read(file, &mut self.buffer[MARK_BYTES..][..BUFFER_BYTES]) {
                    Err(Errno::INTR) => {}
                    got => break got,
                }
            };
            match got {
                // EIO: a terminal that no process has open any more.
                Ok(0) | Err(Errno::IO) => source.file = None,
                Ok(bytes) => {
                    let end = MARK_BYTES + bytes;
                    self.pending = MARK_BYTES..end;
                    if source.stream == Stream::Stderr {
                        let room = &mut self.buffer;
                        room[..MARK_BYTES].copy_from_slice(&Stream::Stderr.mark());
                        room[end..end + MARK_BYTES].copy_from_slice(&Stream::Stdout.mark());
                        self.pending = 0..end + MARK_BYTES;
                    }
                    return true;
                }
                Err(_) => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap()
    }

    fn bulk_output() -> Arc<BulkOutput> {
        Arc::new(BulkOutput::new().unwrap())
    }

    fn text_in(file: &OwnedFd) -> Vec<u8> {
        let mut text = [0u8; 256];
        let got = read(file, &mut text[..]).unwrap_or(0);
        text[..got].to_vec()
    }

    #[test]
    fn output_survives_a_console_that_is_full_for_a_while() {
        let (app_out, app_in) = pipe();
        let (console_out, console_in) = pipe();
        let console = Console::over(console_in);
        let mut relay = Relay::new([(Stream::Stdout, app_out)], bulk_output());
        let text: Vec<u8> = (0..150_000u32).map(|n| (n % 251) as u8).collect();
        let (mut sent, mut received) = (0, Vec::new());
        let mut chunk = [0u8; 5000];
        let mut was_full = false;
        while received.len() < text.len() {
            sent += write(&app_in, &text[sent..]).unwrap_or(0);
            relay.copy(&console);
            was_full |= relay.wait() == Wait::Room;
            let got = read(&console_out, &mut chunk[..]).unwrap_or(0);
            received.extend_from_slice(&chunk[..got]);
        }
        assert!(was_full);
        assert!(received == text);
        drop(app_in);
        relay.copy(&console);
        assert_eq!(relay.wait(), Wait::Nothing);
    }

    #[test]
    fn standard_error_can_be_told_apart() {
        let ((out, to_out), (err, to_err)) = (pipe(), pipe());
        let (console_out, console_in) = pipe();
        let console = Console::over(console_in);
        let mut relay = Relay::new([(Stream::Stdout, out), (Stream::Stderr, err)], bulk_output());
        for (pipe, words) in
            [(&to_out, "a"), (&to_out, "b"), (&to_err, "c"), (&to_err, "d"), (&to_out, "e")]
        {
            write(pipe, words.as_bytes()).unwrap();
            relay.copy(&console);
        }
        drop(to_out);
        write(&to_err, b"f").unwrap();
        relay.copy(&console);
        assert_eq!(relay.wait(), Wait::Output);
        drop(to_err);
        relay.copy(&console);
        assert_eq!(relay.wait(), Wait::Nothing);
        let mut text = [0u8; 256];
        let got = read(&console_out, &mut text[..]).unwrap();
        let pieces = contract::streams::Splitter::default().split(&text[..got]);
        let words = |words: &str| words.as_bytes().to_vec();
        let (out, err) = (Stream::Stdout, Stream::Stderr);
        assert_eq!(
            pieces,
            [(out, words("ab")), (err, words("cd")), (out, words("e")), (err, words("f"))]
        );
    }

    #[test]
    fn output_goes_over_the_vchan_for_as_long_as_a_client_takes_it() {
        let (app_out, app_in) = pipe();
        let (console_out, console_in) = pipe();
        let (console, bulk_output) = (Console::over(console_in), bulk_output());
        let mut relay = Relay::new([(Stream::Stdout, app_out)], Arc::clone(&bulk_output));
        let mut say = |words: &str| {
            write(&app_in, words.as_bytes()).unwrap();
            relay.copy(&console);
        };
        say("a");
        let taker = bulk_output.open().unwrap().unwrap();
        assert!(bulk_output.open().unwrap().is_none());
        say("b");
        assert_eq!(text_in(&console_out), [b"a", &ELSEWHERE[..]].concat());
        assert_eq!(text_in(&taker), b"b");
        drop(taker);
        bulk_output.close();
        say("c");
        assert_eq!(text_in(&console_out), b"c");
        let taker = bulk_output.open().unwrap().unwrap();
        say("d");
        assert_eq!(text_in(&console_out), ELSEWHERE);
        assert_eq!(text_in(&taker), b"d");
        relay.finish(Duration::ZERO);
        assert_eq!(read(&taker, &mut [0u8; 1]), Ok(0));
    }
}
