//! A conversation with a process in a guest: input, signals and the terminal's size there, output
//! and the end back.

use crate::terminal::Screen;
use anyhow::{Context, Result, bail};
use contract::Exit;
use contract::talk::{Answer, Ask};
use domain::{Session, TalkError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::io::{Stdin, Write};
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most input that is read at once.
const BUFFER_BYTES: usize = 16 << 10;

/// Those that a process can be sent in this command's place, and that of a terminal's new size.
pub(crate) const ALL_SIGNALS: [i32; 4] = [SIGHUP, SIGINT, SIGTERM, SIGWINCH];

/// Passes everything on in both directions until the process has ended.
pub(crate) fn converse(
    session: &mut Session,
    interactive: bool,
    screen: Option<&Screen>,
    signals: &Signals,
) -> Result<Exit> {
    let mut input = Input::new(interactive, None);
    loop {
        while let Some(answer) = session.next_answer()? {
            match answer {
                Answer::Stdout(bytes) => write(&mut std::io::stdout().lock(), &bytes, "stdout")?,
                Answer::Stderr(bytes) => write(&mut std::io::stderr().lock(), &bytes, "stderr")?,
                Answer::Exited(exit) => return Ok(exit),
                _ => {}
            }
        }
        session.check_patience()?;
        input.pass_on(session, screen, signals, None)?;
    }
}

/// How [`give`] came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// The app has ended, or is not to be given anything any more.
    Ended,
    /// The detach keys were pressed.
    Detached,
}

/// Gives an app input, signals and the terminal's size, until it ends, `end` is closed, or `keys`
/// are pressed.
pub(crate) fn give(
    session: &mut Session,
    interactive: bool,
    screen: Option<&Screen>,
    signals: &Signals,
    keys: Option<&DetachKeys>,
    end: &UnixStream,
) -> Result<Given> {
    let mut input = Input::new(interactive, keys);
    if let Some(screen) = screen {
        session.send(&Ask::Resize(screen.size()))?;
    }
    loop {
        loop {
            match session.next_answer() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(TalkError::Ended(_)) => return Ok(Given::Ended),
                Err(error) => return Err(error.into()),
            }
        }
        match input.pass_on(session, screen, signals, Some(end))? {
            Passed::Detach => return Ok(Given::Detached),
            Passed::End => return Ok(Given::Ended),
            Passed::Something => {}
        }
    }
}

/// What [`Input::pass_on`] saw.
enum Passed {
    Something,
    /// The detach keys.
    Detach,
    /// The end of waiting.
    End,
}

/// This command's standard input, until its end.
struct Input<'a> {
    stdin: Option<Stdin>,
    keys: Option<&'a DetachKeys>,
    /// How many of the detach keys were pressed already.
    pressed: usize,
    buffer: Vec<u8>,
}

impl<'a> Input<'a> {
    fn new(interactive: bool, keys: Option<&'a DetachKeys>) -> Self {
        let stdin = interactive.then(std::io::stdin);
        Self { stdin, keys, pressed: 0, buffer: vec![0; BUFFER_BYTES] }
    }

    /// Passes on what there is, after waiting for anything at all: an answer, too.
    fn pass_on(
        &mut self,
        session: &mut Session,
        screen: Option<&Screen>,
        signals: &Signals,
        end: Option<&UnixStream>,
    ) -> Result<Passed> {
        if let Some(number) = signals.take() {
            session.send(&Ask::Signal(number))?;
        }
        if signals.has_resized() {
            if let Some(screen) = screen {
                session.send(&Ask::Resize(screen.size()))?;
            }
        }
        let room = session.input_room().min(self.buffer.len());
        let stdin = self.stdin.as_ref().filter(|_| room > 0);
        let mut fds = vec![PollFd::new(&*session, PollFlags::IN)];
        fds.push(PollFd::new(&signals.wake, PollFlags::IN));
        let end_at = end.map(|end| {
            fds.push(PollFd::new(end, PollFlags::IN));
            fds.len() - 1
        });
        let stdin_at = stdin.map(|stdin| {
            fds.push(PollFd::new(stdin, PollFlags::IN));
            fds.len() - 1
        });
        let timeout = session.patience().and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for input"),
        }
        let told: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let has = |at: Option<usize>| at.is_some_and(|at| told.get(at) == Some(&true));
        if has(Some(0)) {
            session.take_notification()?;
        }
        if has(Some(1)) {
            signals.drain();
        }
        if has(end_at) {
            return Ok(Passed::End);
        }
        match has(stdin_at) {
            true => self.read(session, room),
            false => Ok(Passed::Something),
        }
    }

    fn read(&mut self, session: &mut Session, room: usize) -> Result<Passed> {
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
                    return Ok(Passed::Detach);
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno).context("cannot read stdin"),
        }
        Ok(Passed::Something)
    }

    /// The bytes just read without the detach keys, and whether these are complete. Keys that may
    /// be the first of them are kept until it is clear.
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

/// The bytes that the detach keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl FromStr for DetachKeys {
    type Err = anyhow::Error;

    /// Keys as Docker takes them, with commas between: a character, or `ctrl-` and one of
    /// `a` to `z`, `@`, `[`, `\\`, `]`, `^`, `_`. Nothing at all is no keys.
    fn from_str(text: &str) -> Result<Self> {
        let key = |key: &str| -> Result<u8> {
            match (key.strip_prefix("ctrl-").map(str::as_bytes), key.as_bytes()) {
                (Some([letter @ b'a'..=b'z']), _) => Ok(letter - b'a' + 1),
                (Some([sign @ (b'@' | b'['..=b'_')]), _) => Ok(sign - b'@'),
                (None, [character]) if character.is_ascii() => Ok(*character),
                _ => bail!("{key:?} is no key; give single characters or ctrl-a to ctrl-z"),
            }
        };
        let keys = text.split(',').filter(|_| !text.is_empty()).map(key);
        Ok(Self(keys.collect::<Result<_>>()?))
    }
}

fn write(out: &mut impl Write, bytes: &[u8], name: &str) -> Result<()> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .with_context(|| format!("cannot write to {name}"))
}

/// Signals to this command that the process gets in its place.
pub(crate) struct Signals {
    last: Arc<AtomicUsize>,
    resized: Arc<AtomicUsize>,
    /// Readable when one came.
    wake: UnixStream,
}

impl Signals {
    pub(crate) fn catch(numbers: &[i32]) -> Result<Self> {
        let (wake, waker) = UnixStream::pair().context("cannot make a pair of sockets")?;
        wake.set_nonblocking(true).context("cannot set up a socket")?;
        let (last, resized) = (Arc::default(), Arc::default());
        for &signal in numbers {
            let number = usize::try_from(signal).unwrap_or_default();
            let slot = if signal == SIGWINCH { &resized } else { &last };
            let caught = signal_hook::flag::register_usize(signal, Arc::clone(slot), number);
            caught
                .map(drop)
                .and_then(|()| {
                    signal_hook::low_level::pipe::register(signal, waker.try_clone()?).map(drop)
                })
                .with_context(|| format!("cannot handle signal {signal}"))?;
        }
        Ok(Self { last, resized, wake })
    }

    fn take(&self) -> Option<i32> {
        let number = self.last.swap(0, Ordering::Relaxed);
        i32::try_from(number).ok().filter(|number| *number > 0)
    }

    fn has_resized(&self) -> bool {
        self.resized.swap(0, Ordering::Relaxed) > 0
    }

    fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!(rustix::io::read(&self.wake, &mut bytes[..]), Ok(1..)) {}
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

    #[test]
    fn detach_keys_are_named_as_docker_names_them() {
        let keys = |text: &str| text.parse::<DetachKeys>().map(|keys| keys.0).ok();
        assert_eq!(keys("ctrl-p,ctrl-q"), Some(vec![16, 17]));
        assert_eq!(keys("a,ctrl-@,ctrl-_"), Some(vec![b'a', 0, 31]));
        assert_eq!(keys(""), Some(vec![]));
        for text in ["ctrl-", "ctrl-1", "ab", "ctrl-p,,x", "\u{e9}"] {
            assert_eq!(keys(text), None, "{text:?}");
        }
    }
}
