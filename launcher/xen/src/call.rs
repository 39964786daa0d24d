//! Hypercalls: the device that makes them (`/dev/xen/privcmd`), and memory that Xen may access (`/dev/xen/hypercall`).
//!
//! Arguments must not be in ordinary memory, because the kernel may move or copy a page while Xen uses it. It never
//! moves pages of `/dev/xen/hypercall` (Linux 4.18 and later).

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::cell::RefCell;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr::NonNull;
use xen_sys::{PAGE_BYTES, privcmd};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const PRIVCMD: &str = "/dev/xen/privcmd";
const BUFFERS: &str = "/dev/xen/hypercall";

/// Why hypercalls are not possible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The device does not exist.
    #[error("cannot open {0}: it does not exist; is this a Xen dom0 with its xen modules loaded?")]
    Absent(&'static str),
    /// The process is not root.
    #[error("cannot open {0}: permission denied; run as root in dom0")]
    NotPermitted(&'static str),
    /// Any other cause.
    #[error("cannot open {path}")]
    Open {
        /// The device.
        path: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// Dom0 has not enough memory.
    #[error("cannot get {bytes} bytes of {BUFFERS} for a hypercall's arguments")]
    Buffer {
        /// The requested size.
        bytes: usize,
        /// The cause.
        source: io::Error,
    },
}

/// The device for hypercalls, and a buffer for their arguments.
#[derive(Debug)]
pub(crate) struct Call {
    privcmd: File,
    buffers: File,
    /// One page for the argument of most hypercalls, kept to avoid a mapping for each.
    scratch: RefCell<Buffer>,
}

impl Call {
    pub(crate) fn open() -> Result<Self, CallError> {
        let privcmd = open(PRIVCMD)?;
        let buffers = open(BUFFERS)?;
        let scratch = RefCell::new(Buffer::map(&buffers, PAGE_BYTES)?);
        Ok(Self { privcmd, buffers, scratch })
    }

    /// The device for foreign mappings.
    pub(crate) fn privcmd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.privcmd.as_fd()
    }

    /// Allocates memory for a hypercall's longer arguments: at least `bytes`, all zero.
    pub(crate) fn buffer(&self, bytes: usize) -> Result<Buffer, CallError> {
        Buffer::map(&self.buffers, bytes)
    }

    /// Makes a hypercall whose argument `argument` is in memory and may be changed by Xen.
    ///
    /// `arguments` receives the address of `argument`.
    ///
    /// # Safety
    /// Each address in `argument` or added by `arguments` must be that of a [`Buffer`] that outlives the call and is as
    /// large as this hypercall accesses it.
    pub(crate) unsafe fn invoke<T: FromBytes + IntoBytes + Immutable>(
        &self,
        number: u64,
        argument: &mut T,
        arguments: impl FnOnce(u64) -> [u64; 5],
    ) -> Result<u64, Errno> {
        let mut scratch = self.scratch.borrow_mut();
        scratch.write(0, argument);
        let arg = arguments(scratch.address());
        // SAFETY: the address of the scratch buffer holds a whole T (`write` checked the size); the caller ensures all
        // other addresses.
        let result = unsafe { self.invoke_raw(number, arg) };
        *argument = scratch.read(0);
        result
    }

    /// Makes a hypercall.
    ///
    /// # Safety
    /// As for [`Call::invoke`], for all addresses.
    pub(crate) unsafe fn invoke_raw(&self, number: u64, arg: [u64; 5]) -> Result<u64, Errno> {
        let call = privcmd::Hypercall { op: number, arg };
        // SAFETY: the ioctl reads one Hypercall, which lives through the call; the caller ensures the addresses in it.
        let result = unsafe {
            libc::ioctl(self.privcmd.as_raw_fd(), privcmd::IOCTL_HYPERCALL, &raw const call)
        };
        u64::try_from(result).map_err(|_| last_errno())
    }
}

/// The errno of the last failed system call.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn open(path: &'static str) -> Result<File, CallError> {
    File::options().read(true).write(true).open(Path::new(path)).map_err(|source| {
        match source.kind() {
            io::ErrorKind::NotFound => CallError::Absent(path),
            io::ErrorKind::PermissionDenied => CallError::NotPermitted(path),
            // ENODEV and ENXIO: the device file exists without a driver.
            _ if matches!(source.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)) => {
                CallError::Absent(path)
            }
            _ => CallError::Open { path, source },
        }
    })
}

/// Pages that Xen may access during a hypercall.
#[derive(Debug)]
pub(crate) struct Buffer {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the pages belong to this value alone and are not bound to a thread.
unsafe impl Send for Buffer {}

impl Buffer {
    fn map(device: &File, bytes: usize) -> Result<Self, CallError> {
        let bytes = bytes.max(1).next_multiple_of(PAGE_BYTES);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use.
        let start =
            unsafe { mmap(std::ptr::null_mut(), bytes, access, MapFlags::SHARED, device, 0) };
        let failed = |source| CallError::Buffer { bytes, source };
        let start = start.map_err(|errno| failed(errno.into()))?;
        match NonNull::new(start.cast::<u8>()) {
            Some(start) => Ok(Self { start, bytes }),
            None => Err(failed(io::ErrorKind::OutOfMemory.into())),
        }
    }

    /// The buffer's address, for Xen.
    pub(crate) fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Writes `value` at `index`, counted in values of its type.
    ///
    /// # Panics
    /// If the value would end beyond the buffer.
    pub(crate) fn write<T: FromBytes + IntoBytes + Immutable>(&mut self, index: usize, value: &T) {
        let start = index * size_of::<T>();
        self.as_bytes_mut()[start..start + size_of::<T>()].copy_from_slice(value.as_bytes());
    }

    /// Reads the value at `index`, counted in values of its type.
    ///
    /// # Panics
    /// If the value would end beyond the buffer.
    #[expect(clippy::expect_used, reason = "the caller's own number, never input")]
    pub(crate) fn read<T: FromBytes + IntoBytes + Immutable>(&self, index: usize) -> T {
        let bytes = &self.as_bytes()[index * size_of::<T>()..];
        T::read_from_prefix(bytes).expect("within the buffer").0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `bytes` long, readable, and owned by this value; Xen writes to it only during
        // hypercalls, which borrow it mutably or not at all.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    pub(crate) fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_bytes`, and writable; the borrow of `self` is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping made in `map`, and no references to it are left. Unmapping a mapped range
        // cannot fail.
        let _ = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.bytes) };
    }
}
