//! Maps another domain's pages into this process.

use crate::call::last_errno;
use crate::error::XenError;
use crate::{DomId, Hypervisor};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect, munmap};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use xen_sys::{PAGE_BYTES, memory, privcmd};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Pages of another domain, mapped writable until this value is dropped.
///
/// The other domain may change them at any time, so no function here returns a reference into them: bytes are copied
/// in.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    /// If the range ends beyond the mapping.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let start = self.at(offset, bytes.len());
        // SAFETY: `at` checked that the range is within the mapping, which is writable and owned by this value; `bytes`
        // does not overlap it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
    }

    /// Reads `count` bytes of a file, starting at its byte `from`, to `offset`, without a copy in between.
    ///
    /// # Errors
    /// The file cannot be read, or ends early.
    ///
    /// # Panics
    /// If the range ends beyond the mapping.
    pub(crate) fn read_file(
        &mut self,
        offset: usize,
        file: &File,
        from: u64,
        count: usize,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < count {
            let left = count - done;
            let start = self.at(offset + done, left);
            let from = libc::off_t::try_from(from + done as u64).map_err(io::Error::other)?;
            // SAFETY: `at` checked that the range is within the mapping, which is writable and owned by this value; the
            // kernel writes at most `left` bytes there.
            match unsafe { libc::pread(file.as_raw_fd(), start.cast(), left, from) } {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                ..0 => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
                read => done += read.unsigned_abs(),
            }
        }
        Ok(())
    }

    /// Sets `count` bytes from `offset` on to zero.
    ///
    /// # Panics
    /// If the range ends beyond the mapping.
    pub(crate) fn clear(&mut self, offset: usize, count: usize) {
        let start = self.at(offset, count);
        // SAFETY: as in `write`.
        unsafe { std::ptr::write_bytes(start, 0, count) };
    }

    /// Copies one structure to `offset`.
    ///
    /// # Panics
    /// If the structure would end beyond the mapping.
    pub(crate) fn write_plain<T: FromBytes + IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: &T,
    ) {
        self.write(offset, value.as_bytes());
    }

    fn at(&self, offset: usize, count: usize) -> *mut u8 {
        let end = offset.checked_add(count);
        assert!(end.is_some_and(|end| end <= self.bytes), "beyond the end of a foreign mapping");
        // SAFETY: `offset` is within the mapping, or at its end.
        unsafe { self.start.as_ptr().add(offset) }
    }
}

impl Drop for Mapping {
    /// Unmaps the pages. In a PV dom0 `munmap` traps into Xen once per page, so large mappings are made inaccessible
    /// instead, and their addresses stay reserved until the process exits. In other dom0s that would keep the pages, so
    /// they are unmapped.
    fn drop(&mut self) {
        let start = self.start.as_ptr().cast::<c_void>();
        let left = self.bytes > PAGE_BYTES
            && dom0_is_pv()
            // SAFETY: this is the whole mapping, and no reference into it exists.
            && unsafe { mprotect(start, self.bytes, MprotectFlags::empty()) }.is_ok();
        if !left {
            // SAFETY: as above. Unmapping a mapped range cannot fail.
            let _ = unsafe { munmap(start, self.bytes) };
        }
    }
}

fn dom0_is_pv() -> bool {
    std::fs::read("/sys/hypervisor/guest_type").is_ok_and(|kind| kind.trim_ascii() == b"PV")
}

impl Hypervisor {
    /// Maps the pages `frames` of a domain, in this order: guest frame numbers for PVH, machine frame numbers for PV.
    pub(crate) fn map_foreign(&self, domid: DomId, frames: &[u64]) -> Result<Mapping, XenError> {
        let failed = |errno| {
            let count = frames.len();
            XenError::refused(format!("map {count} pages of domain {domid}"), errno)
        };
        let mapping = self.reserve(frames.len()).map_err(failed)?;
        let mut results = vec![0i32; frames.len()];
        let batch = privcmd::MmapBatchV2 {
            num: u32::try_from(frames.len()).map_err(|_| failed(Errno::INVAL))?,
            dom: domid.0,
            pad: 0,
            addr: mapping.start.as_ptr() as u64,
            arr: frames.as_ptr() as u64,
            err: results.as_mut_ptr() as u64,
        };
        // SAFETY: the kernel reads `num` frames and writes `num` results, which are the lengths of both buffers, and
        // fills the range at `addr`, which was reserved for as many pages.
        unsafe { self.privcmd_ioctl(privcmd::IOCTL_MMAPBATCH_V2, &raw const batch) }
            .map_err(failed)?;
        match results.iter().find(|result| **result != 0) {
            Some(result) => Err(failed(Errno::from_raw_os_error(-*result))),
            None => Ok(mapping),
        }
    }

    /// Maps the first page of a domain's grant table, which holds entries of version 1.
    pub(crate) fn map_grant_table(&self, domid: DomId) -> Result<Mapping, XenError> {
        let failed = |errno| XenError::refused(format!("map domain {domid}'s grant table"), errno);
        let mapping = self.reserve(1).map_err(failed)?;
        let resource = privcmd::MmapResource {
            dom: domid.0,
            pad: 0,
            kind: memory::RESOURCE_GRANT_TABLE,
            id: memory::RESOURCE_GRANT_TABLE_ID_SHARED,
            idx: 0,
            num: 1,
            addr: mapping.start.as_ptr() as u64,
        };
        // SAFETY: the kernel fills one page at `addr`, which was reserved for it.
        unsafe { self.privcmd_ioctl(privcmd::IOCTL_MMAP_RESOURCE, &raw const resource) }
            .map_err(failed)?;
        Ok(mapping)
    }

    /// Reserves a range of addresses that an ioctl fills with pages.
    fn reserve(&self, pages: usize) -> Result<Mapping, Errno> {
        let bytes = pages.checked_mul(PAGE_BYTES).filter(|bytes| *bytes > 0).ok_or(Errno::INVAL)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use.
        let start = unsafe {
            mmap(std::ptr::null_mut(), bytes, access, MapFlags::SHARED, self.call.privcmd(), 0)
        }?;
        let start = NonNull::new(start.cast::<u8>()).ok_or(Errno::NOMEM)?;
        Ok(Mapping { start, bytes })
    }

    /// # Safety
    /// `argument` must have the type that `request` takes, with valid addresses.
    unsafe fn privcmd_ioctl<T>(&self, request: u64, argument: *const T) -> Result<(), Errno> {
        // SAFETY: the caller ensures this function's contract.
        let result = unsafe { libc::ioctl(self.call.privcmd().as_raw_fd(), request, argument) };
        if result < 0 { Err(last_errno()) } else { Ok(()) }
    }
}

#[cfg(test)]
impl Mapping {
    /// A substitute in this process's own memory, filled with `byte`.
    pub(crate) fn anonymous(pages: usize, byte: u8) -> Self {
        let bytes = pages * PAGE_BYTES;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use.
        let start = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, access, MapFlags::PRIVATE)
        };
        let start = NonNull::new(start.unwrap().cast::<u8>()).unwrap();
        let mapping = Self { start, bytes };
        // SAFETY: this is the whole of the new mapping.
        unsafe { std::ptr::write_bytes(mapping.at(0, bytes), byte, bytes) };
        mapping
    }

    /// A copy of one page.
    pub(crate) fn page(&self, index: usize) -> Vec<u8> {
        let start = self.at(index * PAGE_BYTES, PAGE_BYTES);
        // SAFETY: the page is within the mapping, which is readable, and nothing else changes it.
        unsafe { std::slice::from_raw_parts(start, PAGE_BYTES) }.to_vec()
    }
}
