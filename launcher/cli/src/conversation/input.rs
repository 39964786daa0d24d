//! Passes this command's standard input, signals and terminal size to the guest.

use super::keys::DetachKeys;
use super::output::Pending;
use super::signals::Signals;
use crate::terminal::Screen;
use anyhow::{Context, Result};
use app::Session;
use contract::talk::Ask;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::Stdin;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The most bytes of input that one read takes.
const BUFFER_BYTES: usize = 16 << 10;

/// What happened in [`Input::pass_on`].
pub(super) enum InputEvent {
    Something,
    /// The detach keys were pressed.
    Detach,
    /// The caller's `end` was closed.
    End,
}

/// The user has asked the process three times within a short while to end, and it did not.
#[derive(Debug, thiserror::Error)]
#[error(
    "the process did not end after three signals; this command ends without it, and the process may still run in the guest"
)]
pub(crate) struct Insisted {
    /// The last signal.
    pub(crate) signal: i32,
}

/// This many of SIGINT and SIGTERM within [`INSISTING`] end this command, whatever the guest does with them.
const MOST_ASKED: usize = 3;
const INSISTING: Duration = Duration::from_secs(5);

/// A file that [`Input::pass_on`] waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    /// An answer of the guest, or the end of its domain.
    Guest,
    /// The end of the wait.
    End,
    Stdin,
    /// The reader of this command's output can take more.
    Reader,
}

/// This command's standard input, until it ends.
pub(super) struct Input<'a> {
    stdin: Option<Stdin>,
    keys: Option<&'a DetachKeys>,
    /// How many of the detach keys have been pressed.
    pressed: usize,
    buffer: Vec<u8>,
    /// The times of the last signals that ask the process to end.
    asked: Vec<Instant>,
}

impl<'a> Input<'a> {
    pub(super) fn new(interactive: bool, keys: Option<&'a DetachKeys>) -> Self {
        let stdin = interactive.then(std::io::stdin);
        Self { stdin, keys, pressed: 0, buffer: vec![0; BUFFER_BYTES], asked: vec![] }
    }

    /// Waits for any event and passes it on, except answers, which the caller reads. While `output` waits for its
    /// reader, does not wait for answers.
    pub(super) fn pass_on(
        &mut self,
        session: &mut Session,
        screen: Option<&Screen>,
        signals: &Signals,
        end: Option<&UnixStream>,
        output: &mut Pending,
    ) -> Result<InputEvent> {
        if let Some(number) = signals.take() {
            session.send(&Ask::Signal(number))?;
            self.insist(number)?;
        }
        if signals.has_resized() {
            if let Some(screen) = screen {
                session.send(&Ask::Resize(screen.size()))?;
            }
        }
        let room = session.input_room().min(self.buffer.len());
        let stdin = self.stdin.as_ref().filter(|_| room > 0);
        // While answers are not read, they need not wake this process.
        let timeout = session.longest_wait().filter(|_| output.is_empty());
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        let guest: Vec<BorrowedFd<'_>> = match output.is_empty() {
            true => session.files().collect(),
            false => session.end_file().into_iter().collect(),
        };
        let reader = output.file();
        let readable = |source, file| (source, PollFd::from_borrowed_fd(file, PollFlags::IN));
        let mut watched = vec![readable(Source::Signals, signals.wake.as_fd())];
        watched.extend(guest.into_iter().map(|file| readable(Source::Guest, file)));
        watched.extend(end.map(|end| readable(Source::End, end.as_fd())));
        watched.extend(stdin.map(|stdin| readable(Source::Stdin, stdin.as_fd())));
        watched.extend(reader.as_ref().map(|reader| {
            (Source::Reader, PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::OUT))
        }));
        let (sources, mut fds): (Vec<Source>, Vec<PollFd<'_>>) = watched.into_iter().unzip();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for input"),
        }
        let told = sources.into_iter().zip(fds).filter(|(_, fd)| !fd.revents().is_empty());
        let told: Vec<Source> = told.map(|(source, _)| source).collect();
        if told.contains(&Source::Guest) {
            session.take_notifications()?;
        }
        if told.contains(&Source::Signals) {
            signals.drain();
        }
        if told.contains(&Source::End) {
            return Ok(InputEvent::End);
        }
        if told.contains(&Source::Reader) {
            output.write_some()?;
        }
        match told.contains(&Source::Stdin) {
            true => self.read(session, room),
            false => Ok(InputEvent::Something),
        }
    }

    /// Lets the user end this command even if the guest passes no signal on, or the process ignores it.
    fn insist(&mut self, signal: i32) -> Result<(), Insisted> {
        if matches!(signal, SIGINT | SIGTERM) {
            self.asked.retain(|at| at.elapsed() < INSISTING);
            self.asked.push(Instant::now());
        }
        if self.asked.len() < MOST_ASKED { Ok(()) } else { Err(Insisted { signal }) }
    }

    fn read(&mut self, session: &mut Session, room: usize) -> Result<InputEvent> {
        match rustix::io::read(std::io::stdin(), &mut self.buffer[..room]) {
            Ok(0) => {
                self.stdin = None;
                session.send(&Ask::StdinEnd)?;
            }
            Ok(count) => {
                let (typed, detach) = self.without_keys(count);
                if !typed.is_empty() {
                    session.send_input(&typed)?;
                }
                if detach {
                    return Ok(InputEvent::Detach);
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno).context("cannot read stdin"),
        }
        Ok(InputEvent::Something)
    }

    /// The bytes just read without the detach keys, and whether all of these were pressed. Holds bytes back while they
    /// may be the beginning of the detach keys.
    fn without_keys(&mut self, count: usize) -> (Vec<u8>, bool) {
        let read = &self.buffer[..count];
        let Some(DetachKeys(keys)) = self.keys.filter(|keys| !keys.0.is_empty()) else {
            return (read.to_vec(), false);
        };
        let mut typed = vec![];
        for byte in read {
            if keys[self.pressed] != *byte {
                typed.extend(&keys[..self.pressed]);
                self.pressed = 0;
            }
            if keys[self.pressed] != *byte {
                typed.push(*byte);
                continue;
            }
            self.pressed += 1;
            if self.pressed == keys.len() {
                return (typed, true);
            }
        }
        (typed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_kept_from_the_app_and_others_are_not() {
        let keys = "ctrl-p,ctrl-q".parse().unwrap();
        let mut input = Input::new(false, Some(&keys));
        let mut typed = |bytes: &[u8]| {
            input.buffer[..bytes.len()].copy_from_slice(bytes);
            input.without_keys(bytes.len())
        };
        assert_eq!(typed(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(typed(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(typed(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(typed(b"\x11d"), (vec![], true));
    }
}
