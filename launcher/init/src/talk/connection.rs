//! Frames over a vchan, for the guest.

use contract::talk::{Answer, Ask, Decoder, FrameError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::time::Duration;
use xen::vchan::{Server, VchanError};

/// The conversation has ended: the client has disconnected or sent an invalid frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disconnected;

impl From<VchanError> for Disconnected {
    fn from(_: VchanError) -> Self {
        Self
    }
}

impl From<FrameError> for Disconnected {
    fn from(_: FrameError) -> Self {
        Self
    }
}

pub(super) struct Connection<'a> {
    pub(super) vchan: &'a mut Server,
    decoder: Decoder<Ask>,
    buffer: Vec<u8>,
    out: Vec<u8>,
    /// How many of `out` are in the ring.
    sent: usize,
}

/// The most output that waits for room in the ring. With more, the process that writes it waits.
pub(super) const MAX_PENDING: usize = 64 << 10;
/// The most output in one frame.
pub(super) const FRAME_BYTES: usize = 16 << 10;
const BUFFER_BYTES: usize = 16 << 10;

impl<'a> Connection<'a> {
    pub(super) fn new(vchan: &'a mut Server) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Self { vchan, decoder: Decoder::asks(), buffer, out: vec![], sent: 0 }
    }

    /// The next frame, if one has come.
    pub(super) fn receive(&mut self) -> Result<Option<Ask>, Disconnected> {
        loop {
            if let Some(ask) = self.decoder.next_frame()? {
                return Ok(Some(ask));
            }
            let open = self.vchan.is_open();
            match self.vchan.read(&mut self.buffer)? {
                0 if open => return Ok(None),
                0 => return Err(Disconnected),
                count => self.decoder.feed(&self.buffer[..count]),
            }
        }
    }

    /// Waits for the next frame.
    pub(super) fn wait(&mut self) -> Result<Ask, Disconnected> {
        loop {
            if let Some(ask) = self.receive()? {
                return Ok(ask);
            }
            self.vchan.wait(None)?;
        }
    }

    /// Adds a frame to what is to be sent.
    pub(super) fn send(&mut self, answer: &Answer) {
        answer.render(&mut self.out);
    }

    /// How much is still to be sent, in bytes.
    pub(super) fn pending(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Sends as much as there is room for.
    pub(super) fn flush(&mut self) -> Result<(), Disconnected> {
        if self.pending() > 0 {
            self.sent += self.vchan.write(&self.out[self.sent..])?;
        }
        if self.pending() == 0 {
            self.out.clear();
            self.sent = 0;
        }
        Ok(())
    }

    /// Waits until the client does something, or one of `others` is ready.
    pub(super) fn sleep<'f>(
        &'f self,
        others: impl IntoIterator<Item = PollFd<'f>>,
    ) -> Result<(), Disconnected> {
        let told = {
            let ours = PollFd::from_borrowed_fd(self.vchan.as_fd(), PollFlags::IN);
            let mut fds: Vec<PollFd<'_>> = [ours].into_iter().chain(others).collect();
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Err(Disconnected),
            }
            !fds[0].revents().is_empty()
        };
        if told {
            self.vchan.wait(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// Sends the rest and waits for the client to disconnect.
    pub(super) fn finish(&mut self) -> Result<(), Disconnected> {
        loop {
            self.flush()?;
            while self.receive()?.is_some() {}
            self.vchan.wait(None)?;
        }
    }
}
