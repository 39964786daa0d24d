//! The client: the end of a vchan that maps the other domain's pages.

use super::end::{Side, Vchan};
use super::error::VchanError;
use super::page::{
    AWAITED, CLIENT_LIVE, GONE, GRANTS, LEFT, LEFT_ORDER, LIVE, Orders, RIGHT, SERVER_LIVE,
    SERVER_NOTIFY, buffer, pages,
};
use super::ring::{Buffer, Ring};
use crate::{DomId, EventChannels, GrantRef, Port, SharedMemory};
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};
use xen_sys::vchan as wire;

/// The client's end of a vchan. When it is dropped or its process dies, the server is notified.
#[derive(Debug)]
pub struct Client(Vchan);

impl Client {
    /// Connects to the vchan whose server, in domain `domid`, shares the page `ring_ref` and listens at `port`.
    ///
    /// If several clients try at once, one succeeds: the one that binds to the port. `patience` is the time for a
    /// server that has not yet noticed the end of its last client.
    ///
    /// # Errors
    /// [`VchanError::Busy`] if another client uses the vchan or it no longer exists; [`VchanError::NotReady`];
    /// [`VchanError::Invalid`]; [`VchanError::Grant`].
    pub fn connect(
        domid: DomId,
        ring_ref: GrantRef,
        port: Port,
        patience: Duration,
    ) -> Result<Self, VchanError> {
        let events = EventChannels::open()?;
        let port = events.bind(domid, port).map_err(|error| match error.is_invalid() {
            true => VchanError::Busy,
            false => error.into(),
        })?;
        let page = SharedMemory::map(domid, &[ring_ref], true)?;
        // From here on the kernel keeps the port as long as the page.
        page.notify_when_gone(CLIENT_LIVE, port)?;
        await_server(&page, &events, patience)?;
        let (input, output) = map_rings(domid, &page)?;
        page.set_byte(SERVER_NOTIFY, wire::NOTIFY_WRITE);
        page.set_byte(CLIENT_LIVE, LIVE);
        let vchan = Vchan { input, output, page, port, events, side: Side::Client };
        vchan.events.notify(port)?;
        Ok(Self(vchan))
    }
}

/// Waits until the server expects a client.
fn await_server(
    page: &SharedMemory,
    events: &EventChannels,
    patience: Duration,
) -> Result<(), VchanError> {
    let deadline = Instant::now() + patience;
    loop {
        match (page.get_byte(SERVER_LIVE), page.get_byte(CLIENT_LIVE)) {
            (GONE, _) => return Err(VchanError::NotReady),
            (_, AWAITED) => return Ok(()),
            _ => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || events.wait(Some(left))?.is_none() {
            return Err(VchanError::NotReady);
        }
    }
}

/// Reads each value from the server once, and checks it before use.
fn map_rings(domid: DomId, page: &SharedMemory) -> Result<(Ring, Ring), VchanError> {
    let both = page.load(LEFT_ORDER).to_ne_bytes();
    let [left, right] = [[both[0], both[1]], [both[2], both[3]]].map(u16::from_ne_bytes);
    let orders = Orders { left, right }.check()?;
    let grants = |from: usize, count: usize| -> Vec<GrantRef> {
        (from..from + count).map(|index| GrantRef(page.load(GRANTS + index * 4))).collect()
    };
    let left_pages = pages(orders.left);
    let map = |order: u16, from: usize, writable: bool| -> Result<Buffer, VchanError> {
        buffer(order, |count| Ok(SharedMemory::map(domid, &grants(from, count), writable)?))
    };
    let output = Ring::new(map(orders.left, 0, true)?, LEFT, page.load(LEFT + 4));
    let input = Ring::new(map(orders.right, left_pages, false)?, RIGHT, page.load(RIGHT));
    Ok((input, output))
}

impl Deref for Client {
    type Target = Vchan;

    fn deref(&self) -> &Vchan {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Vchan {
        &mut self.0
    }
}
