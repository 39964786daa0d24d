//! Event channels: a bit that one domain sets and another domain waits for (`/dev/xen/evtchn`).
//!
//! Works in dom0 and in guests.

use crate::call::last_errno;
use crate::error::XenError;
use crate::{DomId, Hypervisor};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};
use xen_sys::{event_channel, hypercall};

const DEVICE: &str = "/dev/xen/evtchn";

/// The `ioctl` request of [`EventChannels::notify`], for lists of allowed system calls. A process that has bound its
/// ports needs no other request.
pub const NOTIFY_REQUEST: u64 = event_channel::IOCTL_NOTIFY;

/// A port: one end of an event channel, numbered by the domain it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port(pub u32);

/// Why an operation on event channels failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct EventChannelError {
    action: String,
    source: io::Error,
}

impl EventChannelError {
    /// Whether Xen calls the port invalid (`EINVAL`): it does not exist, or is already bound.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EINVAL)
    }

    /// Whether this domain has no more ports (`ENOSPC`).
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.source.raw_os_error() == Some(libc::ENOSPC)
    }
}

/// The ports of this process. Closing the device closes them all.
#[derive(Debug)]
pub struct EventChannels {
    device: File,
}

impl EventChannels {
    /// Opens `/dev/xen/evtchn`.
    ///
    /// # Errors
    /// This is not a Xen domain, or the process has no permission.
    pub fn open() -> Result<Self, EventChannelError> {
        // Non-blocking, so that a port which another thread has taken does not cause a hang.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
        match options.read(true).write(true).open(DEVICE) {
            Ok(device) => Ok(Self { device }),
            Err(source) => Err(EventChannelError { action: format!("open {DEVICE}"), source }),
        }
    }

    /// Allocates a new port that `remote` may bind to.
    ///
    /// # Errors
    /// `ENOSPC` if this domain has no more ports.
    pub fn allocate(&self, remote: DomId) -> Result<Port, EventChannelError> {
        let argument = event_channel::BindUnboundPort { remote_domain: remote.0.into() };
        // SAFETY: the request reads one BindUnboundPort.
        unsafe { self.ioctl(event_channel::IOCTL_BIND_UNBOUND_PORT, &argument) }.map(Port).map_err(
            |source| failed(format!("allocate an event channel for domain {remote}"), source),
        )
    }

    /// Binds a new port of this domain to one that `remote` allocated for it.
    ///
    /// # Errors
    /// `EINVAL` if the other port does not exist for this domain.
    pub fn bind(&self, remote: DomId, port: Port) -> Result<Port, EventChannelError> {
        let argument =
            event_channel::BindInterdomain { remote_domain: remote.0.into(), remote_port: port.0 };
        // SAFETY: the request reads one BindInterdomain.
        unsafe { self.ioctl(event_channel::IOCTL_BIND_INTERDOMAIN, &argument) }.map(Port).map_err(
            |source| failed(format!("bind to event channel {} of domain {remote}", port.0), source),
        )
    }

    /// Notifies the other end.
    ///
    /// # Errors
    /// `EINVAL` or `ENOTCONN` if the port does not belong to this process.
    pub fn notify(&self, port: Port) -> Result<(), EventChannelError> {
        let argument = event_channel::Notify { port: port.0 };
        // SAFETY: the request reads one Notify.
        unsafe { self.ioctl(event_channel::IOCTL_NOTIFY, &argument) }
            .map(drop)
            .map_err(|source| failed(format!("notify event channel {}", port.0), source))
    }

    /// Closes a port.
    ///
    /// # Errors
    /// Those of [`EventChannels::notify`].
    pub fn close(&self, port: Port) -> Result<(), EventChannelError> {
        let argument = event_channel::Unbind { port: port.0 };
        // SAFETY: the request reads one Unbind.
        unsafe { self.ioctl(event_channel::IOCTL_UNBIND, &argument) }
            .map(drop)
            .map_err(|source| failed(format!("close event channel {}", port.0), source))
    }

    /// Waits until one of the ports is notified, and takes the notification; `None` after `timeout` without one.
    /// Several pending notifications of a port count as one.
    ///
    /// # Errors
    /// The device fails.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<Port>, EventChannelError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let failed = |source| failed("wait for event channels".to_owned(), source);
        loop {
            if let Some(port) = self.take().map_err(failed)? {
                return Ok(Some(port));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(self, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) => return Ok(None),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }

    fn take(&self) -> io::Result<Option<Port>> {
        let mut number = [0; 4];
        match (&self.device).read(&mut number) {
            Ok(4) => {}
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(error) => return Err(error),
        }
        // The kernel masks a port that was read until it is written back.
        (&self.device).write_all(&number)?;
        Ok(Some(Port(u32::from_ne_bytes(number))))
    }

    /// # Safety
    /// `argument` must have the type that `request` reads.
    unsafe fn ioctl<T>(&self, request: u64, argument: &T) -> io::Result<u32> {
        // SAFETY: the argument lives through the call, and has the type that the request reads.
        let result = unsafe { libc::ioctl(self.device.as_raw_fd(), request, argument) };
        u32::try_from(result).map_err(|_| last_errno().into())
    }
}

impl AsFd for EventChannels {
    /// Readable when a port has been notified.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

fn failed(action: String, source: io::Error) -> EventChannelError {
    EventChannelError { action, source }
}

impl Hypervisor {
    /// Allocates a port of `domid` that `remote` may bind to.
    pub(crate) fn allocate_port(&self, domid: DomId, remote: DomId) -> Result<u32, XenError> {
        let mut argument =
            event_channel::AllocUnbound { dom: domid.0, remote_dom: remote.0, port: 0 };
        // SAFETY: the argument has no addresses.
        let result = unsafe {
            self.call.invoke(hypercall::EVENT_CHANNEL_OP, &mut argument, |address| {
                [event_channel::ALLOC_UNBOUND, address, 0, 0, 0]
            })
        };
        match result {
            Ok(_) => Ok(argument.port),
            Err(errno) => {
                let action = format!("allocate an event channel for domain {domid}");
                Err(XenError::refused(action, errno))
            }
        }
    }
}
