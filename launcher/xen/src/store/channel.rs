//! The channel to xenstored: its socket in dom0, the kernel's device in a guest.

use super::StoreError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// xenstored's socket in dom0; the second is for systems on which `/var/run` is not `/run`.
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];
/// The kernel's device for xenstored in a guest, or in a dom0 whose xenstored runs in another domain.
const DEVICES: [&str; 2] = ["/dev/xen/xenbus", "/proc/xen/xenbus"];

/// A stream of bytes to and from xenstored.
#[derive(Debug)]
pub(super) enum Channel {
    Socket(UnixStream),
    Device(File),
}

impl Channel {
    /// Opens the first that exists: `XENSTORED_PATH` if set, otherwise the sockets, then the devices.
    pub(super) fn open() -> Result<Self, StoreError> {
        let named = std::env::var_os("XENSTORED_PATH").map(PathBuf::from);
        let sockets = match &named {
            Some(path) => vec![path.as_path()],
            None => SOCKETS.iter().map(Path::new).collect(),
        };
        let devices = if named.is_some() { &[][..] } else { &DEVICES[..] };

        for path in &sockets {
            match UnixStream::connect(path) {
                Ok(socket) => return Ok(Self::Socket(socket)),
                // A dead xenstored may leave a socket file; the device may still work.
                Err(error) if named.is_none() && is_absent(&error) => {}
                Err(error) => return Err(refused(Path::new(path), error)),
            }
        }
        for path in devices {
            match File::options().read(true).write(true).open(path) {
                Ok(device) => return Ok(Self::Device(device)),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(refused(Path::new(path), error)),
            }
        }
        let tried = sockets.iter().map(|path| path.display().to_string());
        let tried = tried.chain(devices.iter().map(|path| (*path).to_owned())).collect();
        Err(StoreError::Absent { tried })
    }

    /// As [`Channel::open`], but tries the devices before the sockets.
    pub(super) fn open_device() -> Result<Self, StoreError> {
        let mut devices = DEVICES.iter().filter(|_| std::env::var_os("XENSTORED_PATH").is_none());
        let opened =
            devices.find_map(|path| File::options().read(true).write(true).open(path).ok());
        opened.map_or_else(Self::open, |device| Ok(Self::Device(device)))
    }

    pub(super) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Socket(socket) => (&*socket).write_all(bytes),
            Self::Device(device) => (&*device).write_all(bytes),
        }
    }

    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => (&*socket).read(bytes),
            Self::Device(device) => (&*device).read(bytes),
        }
    }

    /// Waits until there is something to read; `false` after `deadline`.
    pub(super) fn wait_readable(&self, deadline: Option<Instant>) -> io::Result<bool> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(self, PollFlags::IN)], timeout.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.as_fd(),
            Self::Device(device) => device.as_fd(),
        }
    }
}

fn refused(path: &Path, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => StoreError::NotPermitted(path.into()),
        _ => StoreError::Connect { path: path.into(), source },
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
