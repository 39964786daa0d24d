//! The orders: taken from xenstore as soon as they are there.

use crate::device;
use crate::failure::{Failure, OrFail};
use crate::signals::{Event, Signals};
use contract::{Orders, store};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::OwnedFd;
use std::time::Duration;
use xen::store::Store;

/// Takes the orders; waits for them where they are not there yet, as in a pooled domain.
///
/// `before_wait` runs once, only if there is a wait; `on_disk` runs in the wait, whenever a disk may
/// have come.
///
/// # Errors
/// xenstore fails, the orders are not valid, or dom0 asks for a shutdown instead.
pub fn receive(
    xenstore: &Store,
    signals: &Signals,
    before_wait: impl FnOnce() -> Result<(), Failure>,
    mut on_disk: impl FnMut(),
) -> Result<Orders, Failure> {
    // Reading first saves a round trip where the domain was started with its orders.
    let mut head = read(xenstore, store::ORDERS)?;
    if head.is_none() {
        before_wait()?;
        xenstore.watch(store::ORDERS, "orders").map_err(|error| Failure::from_error(&error))?;
        let disks = device::listen(device::Kind::Disk)?;
        on_disk();
        while head.is_none() {
            wait(xenstore, signals, &disks, &mut on_disk)?;
            head = read(xenstore, store::ORDERS)?;
        }
    }
    let head = head.unwrap_or_default();
    let read = |path: &str| xenstore.read_optional(path);
    let json = store::join(store::ORDERS, &head, store::MAX_CHUNKS, read)
        .map_err(|error| Failure::from_error(&error))?;
    Orders::parse(&json).map_err(|error| Failure::from_error(&error))
}

fn read(xenstore: &Store, path: &str) -> Result<Option<String>, Failure> {
    xenstore.read_optional(path).map_err(|error| Failure::from_error(&error))
}

fn wait(
    xenstore: &Store,
    signals: &Signals,
    disks: &OwnedFd,
    on_disk: &mut impl FnMut(),
) -> Result<(), Failure> {
    loop {
        let event = xenstore
            .wait_event(Some(Duration::ZERO))
            .map_err(|error| Failure::from_error(&error))?;
        if event.is_some() {
            return Ok(());
        }
        let mut fds = [
            PollFd::new(xenstore, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(disks, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).or_fail(|| "wait for the orders".into()),
        }
        if !fds[2].revents().is_empty() {
            device::drain(disks);
            on_disk();
        }
        if signals.take() == Some(Event::Stop) {
            return Err(Failure::set_up("shut down before there were orders"));
        }
    }
}
