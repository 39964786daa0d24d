//! Devices that may appear later than `init`: waited for by the kernel's own announcements.

use crate::failure::{Failure, OrFail};
use crate::signals::{Event, Signals};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a device may take to appear.
///
/// Under load dom0 attaches a device within seconds; one that has not appeared by then never will.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first multicast group of both protocols: kernel events about devices and about interfaces.
const KERNEL_GROUP: u32 = 1;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block device, with its node in `/dev`.
    Disk,
    /// A network interface. It is announced as a device before it can be found by its name, and
    /// as an interface after it.
    Interface,
}

/// Tries `probe` until it finds its device, again after each announcement of the kernel.
///
/// # Errors
/// `probe` fails, nothing comes within a minute, or dom0 asks for a shutdown.
pub fn wait_for<T>(
    kind: Kind,
    name: &str,
    signals: &Signals,
    mut probe: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    if let Some(found) = probe()? {
        return Ok(found);
    }
    let announcements = listen(kind)?;
    let deadline = Instant::now() + PATIENCE;
    // Probed again after opening: the device may have come in between.
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        wait(&announcements, signals, name, deadline)?;
    }
}

/// What the kernel announces from now on, as a file to poll and to [`drain`].
///
/// # Errors
/// The kernel announces nothing.
pub fn listen(kind: Kind) -> Result<OwnedFd, Failure> {
    open(kind).or_fail(|| "listen to device announcements".into())
}

/// Forgets what was announced. It does not matter, and an overrun (`ENOBUFS`) says as much as a
/// message: the caller looks for the device itself.
pub fn drain(announcements: &OwnedFd) {
    let mut message = [0u8; 64];
    while recv(announcements, &mut message[..], RecvFlags::empty()).is_ok() {}
}

fn open(kind: Kind) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = match kind {
        Kind::Disk => Some(netlink::KOBJECT_UEVENT),
        // NETLINK_ROUTE
        Kind::Interface => None,
    };
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
    Ok(socket)
}

fn wait(
    announcements: &OwnedFd,
    signals: &Signals,
    name: &str,
    deadline: Instant,
) -> Result<(), Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).unwrap_or_default();
    let mut fds = [PollFd::new(announcements, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(0) => {
            return Err(Failure::set_up(format!(
                "no {name} after {} seconds; see the domain's backends in dom0's xenstore",
                PATIENCE.as_secs()
            )));
        }
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error).or_fail(|| format!("wait for {name}")),
    }
    if signals.take() == Some(Event::Stop) {
        return Err(Failure::set_up(format!("shut down while waiting for {name}")));
    }
    drain(announcements);
    Ok(())
}
