//! The code that both ends of a vchan share.

use super::error::VchanError;
use super::page::{CLIENT_LIVE, CLIENT_NOTIFY, GONE, LIVE, SERVER_LIVE, SERVER_NOTIFY};
use super::ring::Ring;
use crate::evtchn::{EventChannels, Port};
use crate::gnttab::SharedMemory;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use xen_sys::vchan as wire;

/// One end of a vchan.
#[derive(Debug)]
pub struct Vchan {
    // Dropped in this order: the page before the port, which notifies the other side of the end.
    pub(super) input: Ring,
    pub(super) output: Ring,
    pub(super) page: SharedMemory,
    pub(super) port: Port,
    pub(super) events: EventChannels,
    pub(super) side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    /// The offset of the byte that says whether the other side is connected.
    fn other_live(self) -> usize {
        match self {
            Self::Client => SERVER_LIVE,
            Self::Server => CLIENT_LIVE,
        }
    }

    /// The offset of the notifications that this side wants; the other side reads it.
    fn wishes(self) -> usize {
        match self {
            Self::Client => SERVER_NOTIFY,
            Self::Server => CLIENT_NOTIFY,
        }
    }

    /// The offset of the notifications that the other side wants.
    fn others_wishes(self) -> usize {
        match self {
            Self::Client => CLIENT_NOTIFY,
            Self::Server => SERVER_NOTIFY,
        }
    }
}

impl Vchan {
    /// Whether the other side is connected. What it sent before its end can still be read.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.page.get_byte(self.side.other_live()) == LIVE
    }

    /// Reads available bytes, as many as fit. Returns 0 if there are none: if [`Vchan::is_open`] returned `false`
    /// before the call, the stream has ended; otherwise a notification will follow.
    ///
    /// # Errors
    /// [`VchanError::Corrupt`].
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<usize, VchanError> {
        let mut ready = self.input.ready(&self.page)?;
        if (ready as usize) < bytes.len() {
            self.page.set_bits(self.side.wishes(), wire::NOTIFY_WRITE);
            // More bytes may have come before the other side saw the request.
            ready = self.input.ready(&self.page)?;
        }
        let count = bytes.len().min(ready as usize);
        if count > 0 {
            self.input.take(&self.page, &mut bytes[..count]);
            self.tell(wire::NOTIFY_READ)?;
        }
        Ok(count)
    }

    /// Writes as many bytes as there is room for. If that is not all, a notification will follow when there is more
    /// room.
    ///
    /// # Errors
    /// [`VchanError::Closed`], [`VchanError::Corrupt`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, VchanError> {
        if !self.is_open() {
            return Err(VchanError::Closed);
        }
        let mut room = self.output.room(&self.page)?;
        if (room as usize) < bytes.len() {
            self.page.set_bits(self.side.wishes(), wire::NOTIFY_READ);
            room = self.output.room(&self.page)?;
        }
        let count = bytes.len().min(room as usize);
        if count > 0 {
            self.output.add(&self.page, &bytes[..count]);
            self.tell(wire::NOTIFY_WRITE)?;
        }
        Ok(count)
    }

    /// Whether the other side has read everything that was written.
    ///
    /// # Errors
    /// [`VchanError::Corrupt`].
    pub fn is_taken(&self) -> Result<bool, VchanError> {
        self.page.set_bits(self.side.wishes(), wire::NOTIFY_READ);
        Ok(self.output.room(&self.page)? == self.output.size())
    }

    /// Waits for a notification and takes it. Returns `false` after `timeout` without one. Call it with a zero timeout
    /// when the file is readable.
    ///
    /// # Errors
    /// The device fails.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, VchanError> {
        Ok(self.events.wait(timeout)?.is_some())
    }

    fn tell(&self, what: u8) -> Result<(), VchanError> {
        if self.page.take_bits(self.side.others_wishes(), what) {
            self.events.notify(self.port)?;
        }
        Ok(())
    }
}

impl AsFd for Vchan {
    /// Readable when there was a notification; then [`Vchan::wait`] takes it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl Drop for Vchan {
    fn drop(&mut self) {
        // For a client the kernel does both once the page is unmapped. If the client did it earlier, the server might
        // expect the next client, and then take that one as gone.
        if self.side == Side::Server {
            self.page.set_byte(SERVER_LIVE, GONE);
            // Fails if the client has already ended.
            let _ = self.events.notify(self.port);
        }
    }
}
