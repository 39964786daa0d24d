//! A conversation with a process in a guest: input, signals and the terminal's size there, output
//! and the end back.

use crate::terminal::Screen;
use anyhow::{Context, Result};
use contract::Exit;
use contract::talk::{Answer, Ask};
use domain::Session;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Those that a process can be sent in this command's place, and that of a terminal's new size.
pub(crate) const ALL_SIGNALS: [i32; 4] = [SIGHUP, SIGINT, SIGTERM, SIGWINCH];

/// Passes everything on in both directions until the process has ended.
pub(crate) fn converse(
    session: &mut Session,
    interactive: bool,
    screen: Option<&Screen>,
    signals: &Signals,
) -> Result<Exit> {
    let stdin = std::io::stdin();
    let mut input = interactive.then_some(&stdin);
    let mut buffer = [0; 16 << 10];
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
        if let Some(number) = signals.take() {
            session.send(&Ask::Signal(number))?;
        }
        if signals.has_resized() {
            if let Some(screen) = screen {
                session.send(&Ask::Resize(screen.size()))?;
            }
        }
        let room = session.input_room().min(buffer.len());
        let mut fds = vec![
            PollFd::new(&*session, PollFlags::IN),
            PollFd::new(&signals.wake, PollFlags::IN),
        ];
        if let Some(stdin) = input.filter(|_| room > 0) {
            fds.push(PollFd::new(stdin, PollFlags::IN));
        }
        let timeout = session.patience().and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for input"),
        }
        let told: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if told[0] {
            session.take_notification()?;
        }
        if told[1] {
            signals.drain();
        }
        if told.get(2) == Some(&true) {
            match rustix::io::read(&stdin, &mut buffer[..room]) {
                Ok(0) => {
                    input = None;
                    session.send(&Ask::StdinEnd)?;
                }
                Ok(count) => session.send_input(&buffer[..count])?,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(errno).context("cannot read stdin"),
            }
        }
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
