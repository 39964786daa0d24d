//! vchan: two streams of bytes between two domains, one each way (`libxenvchan`'s wire format).
//!
//! The [`Server`] shares the pages and tells where; the [`Client`] maps them. Nothing here waits
//! but where it says so: [`Vchan::read`] and [`Vchan::write`] do what can be done now and have
//! the other side notify when there is more. The other side is not trusted: see [`ring`].
//!
//! Source: `xen/include/public/io/libxenvchan.h`, Xen 4.20.

mod client;
mod ring;
mod server;

pub use client::Client;
pub use server::{Peer, Server};

use crate::evtchn::{EventChannelError, EventChannels, Port};
use crate::gnttab::{GrantError, SharedMemory};
use crate::store::StoreError;
use ring::{Buffer, Corrupt, Ring};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use xen_sys::vchan as wire;

/// The node below a vchan's path that names the shared page's grant.
pub const RING_REF: &str = "ring-ref";
/// The node below a vchan's path that names the server's event channel port.
pub const EVENT_CHANNEL: &str = "event-channel";

/// Offsets in the shared page.
const LEFT: usize = core::mem::offset_of!(wire::Interface, left);
const RIGHT: usize = core::mem::offset_of!(wire::Interface, right);
const LEFT_ORDER: usize = core::mem::offset_of!(wire::Interface, left_order);
const CLIENT_LIVE: usize = core::mem::offset_of!(wire::Interface, cli_live);
const SERVER_LIVE: usize = core::mem::offset_of!(wire::Interface, srv_live);
const CLIENT_NOTIFY: usize = core::mem::offset_of!(wire::Interface, cli_notify);
const SERVER_NOTIFY: usize = core::mem::offset_of!(wire::Interface, srv_notify);
const GRANTS: usize = size_of::<wire::Interface>();

/// What a side's byte says: it has ended, it is there, or (the client's only) it may come.
const GONE: u8 = 0;
const LIVE: u8 = 1;
const AWAITED: u8 = 2;

/// The largest ring: 2^20 bytes.
const MAX_ORDER: u16 = 20;
/// The base-2 logarithm of a page.
const PAGE_ORDER: u16 = 12;

/// Why a vchan cannot be had or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VchanError {
    /// Pages cannot be shared or mapped.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// Event channels fail.
    #[error(transparent)]
    Events(#[from] EventChannelError),
    /// Xenstore refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another client has it.
    #[error("the vchan is in use")]
    Busy,
    /// The server does not await a client.
    #[error("the vchan's server does not answer")]
    NotReady,
    /// Ring sizes that cannot be.
    #[error("the other domain offers a vchan that cannot be ({0})")]
    Invalid(&'static str),
    /// An index that cannot be.
    #[error("the other domain has corrupted its vchan")]
    Corrupt,
    /// The other side has ended.
    #[error("the other domain has closed its vchan")]
    Closed,
}

impl From<Corrupt> for VchanError {
    fn from(Corrupt: Corrupt) -> Self {
        Self::Corrupt
    }
}

/// One end of a vchan.
#[derive(Debug)]
pub struct Vchan {
    // Dropped in this order: the page before the port, through which its end is told.
    input: Ring,
    output: Ring,
    page: SharedMemory,
    port: Port,
    events: EventChannels,
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl Side {
    /// The byte that says whether the other side is there.
    fn other_live(self) -> usize {
        match self {
            Self::Client => SERVER_LIVE,
            Self::Server => CLIENT_LIVE,
        }
    }

    /// What this side wants to be told of; the other side reads it.
    fn wishes(self) -> usize {
        match self {
            Self::Client => SERVER_NOTIFY,
            Self::Server => CLIENT_NOTIFY,
        }
    }

    /// What the other side wants to be told of.
    fn others_wishes(self) -> usize {
        match self {
            Self::Client => CLIENT_NOTIFY,
            Self::Server => SERVER_NOTIFY,
        }
    }
}

impl Vchan {
    /// Whether the other side is there. What it sent before it ended can still be read.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.page.get_byte(self.side.other_live()) == LIVE
    }

    /// Reads what has come, as much as fits; 0 where there is nothing now: the end, if
    /// [`Vchan::is_open`] said `false` before, else there will be a notification.
    ///
    /// # Errors
    /// [`VchanError::Corrupt`].
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<usize, VchanError> {
        let mut ready = self.input.ready(&self.page)?;
        if (ready as usize) < bytes.len() {
            self.page.set_bits(self.side.wishes(), wire::NOTIFY_WRITE);
            // More may have come before the other side saw the wish.
            ready = self.input.ready(&self.page)?;
        }
        let count = bytes.len().min(ready as usize);
        if count > 0 {
            self.input.take(&self.page, &mut bytes[..count]);
            self.tell(wire::NOTIFY_READ)?;
        }
        Ok(count)
    }

    /// Writes as much as there is room for now. Where that is not all, there will be a
    /// notification.
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

    /// Whether the other side has taken everything that was written.
    ///
    /// # Errors
    /// [`VchanError::Corrupt`].
    pub fn is_taken(&self) -> Result<bool, VchanError> {
        self.page.set_bits(self.side.wishes(), wire::NOTIFY_READ);
        Ok(self.output.room(&self.page)? == self.output.size())
    }

    /// Waits for a notification, and takes it; says `false` after `timeout` without one. With no
    /// time at all, to be called when the file is readable.
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
        // For a client the kernel does both, once the page is not mapped any more. Done sooner, the
        // server might await the next client, and then take it for gone.
        if self.side == Side::Server {
            self.page.set_byte(SERVER_LIVE, GONE);
            // Nobody may be there any more.
            let _ = self.events.notify(self.port);
        }
    }
}

/// Where the two rings of a vchan are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Orders {
    left: u16,
    right: u16,
}

impl Orders {
    /// Orders as the other side states them.
    fn check(self) -> Result<Self, VchanError> {
        let range = 10..=MAX_ORDER;
        if !range.contains(&self.left) || !range.contains(&self.right) {
            return Err(VchanError::Invalid("a ring's size"));
        }
        if self.left == self.right && self.left < PAGE_ORDER {
            return Err(VchanError::Invalid("two rings at one place"));
        }
        // The list of grants must end before a ring that lies in the page, or the page's end.
        let end = [self.left, self.right].into_iter().filter_map(place_in_page).min();
        let grants = pages(self.left) + pages(self.right);
        if GRANTS + grants * size_of::<u32>() > end.unwrap_or(xen_sys::PAGE_BYTES) {
            return Err(VchanError::Invalid("too many grants"));
        }
        Ok(self)
    }
}

/// Pages of its own that a ring of this order has.
fn pages(order: u16) -> usize {
    order.checked_sub(PAGE_ORDER).map_or(0, |more| 1 << more)
}

/// Where in the shared page a ring of this order lies, if it does.
fn place_in_page(order: u16) -> Option<usize> {
    match order {
        10 => Some(wire::SMALL_RING_OFFSET),
        11 => Some(wire::LARGE_RING_OFFSET),
        _ => None,
    }
}

/// The ring of this order, whose pages, if it has any, `share` brings.
fn buffer(
    order: u16,
    share: impl FnOnce(usize) -> Result<SharedMemory, VchanError>,
) -> Result<Buffer, VchanError> {
    let bytes = 1 << order;
    Ok(match place_in_page(order) {
        Some(offset) => Buffer { pages: None, offset, bytes },
        None => Buffer { pages: Some(share(pages(order))?), offset: 0, bytes },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rings_that_fit_are_taken() {
        for (left, right) in [(10, 11), (11, 10), (12, 12), (15, 16), (20, 20), (11, 20), (10, 12)]
        {
            Orders { left, right }.check().unwrap();
        }
        for (left, right) in
            [(9, 11), (10, 10), (11, 11), (21, 12), (12, 21), (0, 0), (u16::MAX, 12), (10, 20)]
        {
            assert!(Orders { left, right }.check().is_err(), "{left} {right}");
        }
    }
}
