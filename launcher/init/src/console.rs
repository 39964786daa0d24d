//! The domain's console: the app's output goes there as it is, and so do lines of `init`'s own.

use crate::failure::{Failure, OrFail};
use contract::Stream;
use contract::untrusted::printable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, write};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The Xen console.
const TTY: &str = "/dev/hvc0";
/// How long a line of our own waits for room on the console.
const LINE_PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// The console, opened so that `write` does not block.
#[derive(Debug)]
pub struct Console(OwnedFd);

impl Console {
    /// Opens the console and turns off all processing: what goes in comes out in dom0.
    ///
    /// # Errors
    /// There is no console.
    pub fn open() -> Result<Self, Failure> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let tty = open(TTY, flags, Mode::empty()).or_fail(|| format!("open {TTY}"))?;
        let mut settings = tcgetattr(&tty).or_fail(|| format!("read the settings of {TTY}"))?;
        settings.make_raw();
        tcsetattr(&tty, OptionalActions::Now, &settings)
            .or_fail(|| format!("make {TTY} transparent"))?;
        Ok(Self(tty))
    }

    /// Writes to any other file instead.
    #[must_use]
    pub fn over(file: OwnedFd) -> Self {
        Self(file)
    }

    /// Writes one line of `init`'s own, marked as standard error. If the console stays full, the line is lost.
    pub fn say(&self, text: &str) {
        // It may name what the image or the app chose.
        let line = format!("launch-init: {}\n", printable(text));
        let line = [&Stream::Stderr.mark(), line.as_bytes(), &Stream::Stdout.mark()].concat();
        let mut rest = &line[..];
        while !rest.is_empty() {
            match write(&self.0, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let mut fds = [PollFd::new(&self.0, PollFlags::OUT)];
                    if !matches!(poll(&mut fds, Some(&LINE_PATIENCE)), Ok(1..)) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::streams::Splitter;
    use rustix::io::read;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn a_line_of_ours_stays_one_line_and_is_no_output_of_the_apps() {
        let flags = PipeFlags::NONBLOCK | PipeFlags::CLOEXEC;
        let (console_out, console_in) = pipe_with(flags).unwrap();
        Console::over(console_in).say("a\nb\rc");
        let mut text = [0u8; 64];
        let got = read(&console_out, &mut text[..]).unwrap();
        let mut streams = Splitter::default();
        let parts = streams.split(&text[..got]);
        assert_eq!(parts, [(Stream::Stderr, b"launch-init: a b c\n".to_vec())]);
    }
}
