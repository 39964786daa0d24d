//! The server: the end of a vchan that shares its pages.

use super::end::{Side, Vchan};
use super::error::VchanError;
use super::page::{
    AWAITED, CLIENT_LIVE, CLIENT_NOTIFY, GRANTS, LEFT, LEFT_ORDER, LIVE, Orders, PAGE_ORDER, RIGHT,
    SERVER_LIVE, buffer,
};
use super::ring::Ring;
use crate::store::Store;
use crate::{DomId, EventChannels, GrantRef, SharedMemory};
use std::ops::{Deref, DerefMut};
use std::time::Duration;
use xen_sys::vchan as wire;

/// The node below a vchan's path that names the shared page's grant.
pub const RING_REF: &str = "ring-ref";
/// The node below a vchan's path that names the server's event channel port.
pub const EVENT_CHANNEL: &str = "event-channel";

/// The state of a server's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// No client has come yet.
    Awaited,
    /// The client is connected.
    Connected,
    /// The client has ended.
    Gone,
}

/// The server's end of a vchan. It serves one client at a time, and may serve many in turn.
#[derive(Debug)]
pub struct Server {
    vchan: Vchan,
    page_ref: GrantRef,
}

impl Server {
    /// Creates a vchan for `peer`. Each ring has 2^order bytes: at least a page (12), at most 1 MiB (20). The client
    /// writes the left one.
    ///
    /// # Errors
    /// Pages, grants or event channels are used up.
    pub fn listen(peer: DomId, left_order: u16, right_order: u16) -> Result<Self, VchanError> {
        let orders = Orders { left: left_order, right: right_order }.check()?;
        if orders.left < PAGE_ORDER || orders.right < PAGE_ORDER {
            return Err(VchanError::Invalid("a ring's size"));
        }
        let events = EventChannels::open()?;
        let port = events.allocate(peer)?;
        let (page, page_ref) = SharedMemory::share(peer, 1)?;
        let page_ref = page_ref.first().copied().ok_or(VchanError::Invalid("no grant"))?;
        page.notify_when_gone(SERVER_LIVE, port)?;
        let mut grants = vec![];
        let mut share = |order: u16| {
            buffer(order, |count| {
                let (memory, references) = SharedMemory::share(peer, count)?;
                grants.extend(references);
                Ok(memory)
            })
        };
        let input = Ring::new(share(orders.left)?, LEFT, 0);
        let output = Ring::new(share(orders.right)?, RIGHT, 0);
        for (index, grant) in grants.iter().enumerate() {
            page.store(GRANTS + index * size_of::<u32>(), grant.0);
        }
        page.store(LEFT_ORDER, u32::from(orders.left) | u32::from(orders.right) << 16);
        page.set_byte(CLIENT_NOTIFY, wire::NOTIFY_WRITE);
        page.set_byte(CLIENT_LIVE, AWAITED);
        page.set_byte(SERVER_LIVE, LIVE);
        let vchan = Vchan { input, output, page, port, events, side: Side::Server };
        Ok(Self { vchan, page_ref })
    }

    /// Writes the connection's details below `path` in xenstore, as `libxenvchan` does. Dom0 can read them there.
    ///
    /// # Errors
    /// Xenstore refuses.
    pub fn publish(&self, store: &Store, path: &str) -> Result<(), VchanError> {
        store.write(&format!("{path}/{EVENT_CHANNEL}"), &self.vchan.port.0.to_string())?;
        // Last, because a client looks for this node first.
        Ok(store.write(&format!("{path}/{RING_REF}"), &self.page_ref.0.to_string())?)
    }

    /// The current state of the client.
    #[must_use]
    pub fn peer(&self) -> Peer {
        match self.vchan.page.get_byte(CLIENT_LIVE) {
            AWAITED => Peer::Awaited,
            LIVE => Peer::Connected,
            _ => Peer::Gone,
        }
    }

    /// Waits for a client. Returns `false` after `timeout` without one.
    ///
    /// # Errors
    /// The device fails.
    pub fn wait_for_client(&self, timeout: Option<Duration>) -> Result<bool, VchanError> {
        while self.peer() == Peer::Awaited {
            if !self.vchan.wait(timeout)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets the client, which must be [`Peer::Gone`], and all bytes in both rings. Another client may then connect.
    ///
    /// # Errors
    /// The device fails.
    pub fn renew(&mut self) -> Result<(), VchanError> {
        let Vchan { input, output, page, port, events, .. } = &mut self.vchan;
        input.reset(page);
        output.reset(page);
        page.set_byte(CLIENT_NOTIFY, wire::NOTIFY_WRITE);
        page.set_byte(CLIENT_LIVE, AWAITED);
        // The next client may already wait for this notification.
        Ok(events.notify(*port)?)
    }
}

impl Deref for Server {
    type Target = Vchan;

    fn deref(&self) -> &Vchan {
        &self.vchan
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Vchan {
        &mut self.vchan
    }
}
