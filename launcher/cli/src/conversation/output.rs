//! Passes the output of a process in a guest to this command's reader.

use anyhow::{Context, Result};
use app::Stream;
use rustix::io::Errno;
use std::io::{Stderr, Stdout};
use std::os::fd::{AsFd, BorrowedFd};

/// Output that this command's reader has not taken yet. It is written in pieces that do not block, so that a slow
/// reader does not delay signals.
#[derive(Default)]
pub(super) struct Pending {
    held: Option<(Stream, Vec<u8>)>,
    written: usize,
}

/// A writable pipe takes at least this many bytes at once (`PIPE_BUF`).
const PIECE_BYTES: usize = 4096;

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    /// Holds the next piece, which may be empty. The previous piece must have been written.
    pub(super) fn hold(&mut self, stream: Stream, bytes: Vec<u8>) {
        (self.held, self.written) =
            (Some((stream, bytes)).filter(|(_, bytes)| !bytes.is_empty()), 0);
    }

    /// The stream that must be writable, if anything is left to write.
    pub(super) fn file(&self) -> Option<Out> {
        self.held.as_ref().map(|(stream, _)| Out::of(*stream))
    }

    /// Writes a piece. Call it when the stream is writable.
    pub(super) fn write_some(&mut self) -> Result<()> {
        let Some((stream, bytes)) = &self.held else { return Ok(()) };
        let rest = &bytes[self.written..];
        let piece = &rest[..rest.len().min(PIECE_BYTES)];
        match rustix::io::write(Out::of(*stream), piece) {
            Ok(count) => self.written += count,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => {
                let error = std::io::Error::from(errno);
                let name = match stream {
                    Stream::Stdout => "stdout",
                    Stream::Stderr => "stderr",
                };
                return Err(error).with_context(|| format!("cannot write to {name}"));
            }
        }
        if self.written == bytes.len() {
            self.held = None;
        }
        Ok(())
    }
}

/// This command's standard output or standard error.
pub(super) enum Out {
    Stdout(Stdout),
    Stderr(Stderr),
}

impl Out {
    fn of(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout(std::io::stdout()),
            Stream::Stderr => Self::Stderr(std::io::stderr()),
        }
    }
}

impl AsFd for Out {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout(file) => file.as_fd(),
            Self::Stderr(file) => file.as_fd(),
        }
    }
}
