//! Grants: pages that one domain shares with another (`/dev/xen/gntalloc`, `/dev/xen/gntdev`).
//!
//! Works in dom0 and in guests. The other domain may change shared memory at any time, so no function here returns a
//! reference into it: words are read and written atomically, bytes are copied.

use crate::call::last_errno;
use crate::error::XenError;
use crate::{DomId, Hypervisor, Port};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use xen_sys::{PAGE_BYTES, grant_table};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const ALLOCATE_DEVICE: &str = "/dev/xen/gntalloc";
const MAP_DEVICE: &str = "/dev/xen/gntdev";
/// The most pages that one call shares or maps: 4 MiB.
const MAX_PAGES: usize = 1024;
/// The unit in which bytes are copied where alignment allows.
const WORD_BYTES: usize = size_of::<u64>();

/// A grant reference: the granting domain's number for a shared page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrantRef(pub u32);

/// Why pages cannot be shared or mapped.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct GrantError {
    action: String,
    source: io::Error,
}

/// Memory that another domain can read, and perhaps write, at the same time.
#[derive(Debug)]
pub struct SharedMemory {
    start: NonNull<u8>,
    bytes: usize,
    writable: bool,
    /// Keeps the grants or their mapping alive.
    device: File,
    index: u64,
    origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// This domain's own pages.
    Allocated,
    /// The other domain's pages.
    Mapped,
    /// Pages of a file, which stands in for the other domain.
    #[cfg(test)]
    File,
}

// SAFETY: the mapping is not bound to a thread; all access is through atomics.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// Allocates `pages` zeroed pages and lets `domid` map them with the returned references.
    ///
    /// # Errors
    /// `/dev/xen/gntalloc` is missing, or too few grants are left (`ENOSPC`).
    pub fn share(domid: DomId, pages: usize) -> Result<(Self, Vec<GrantRef>), GrantError> {
        const WRITABLE: u16 = 1;
        let failed = failed(format!("share {pages} pages with domain {domid}"));
        let count = check_count(pages).map_err(&failed)?;
        let header = grant_table::AllocGref {
            domid: domid.0,
            flags: WRITABLE,
            count,
            ..grant_table::AllocGref::new_zeroed()
        };
        // The kernel writes the references from the structure's first reference on, so all must be one piece of memory:
        // `u32` words, the first four of which are the header.
        let mut words = vec![0u64; 2 + pages.div_ceil(2)];
        words[0] = first_word(header.as_bytes());
        let device = open(ALLOCATE_DEVICE)?;
        // SAFETY: the request reads the header's 16 bytes and writes them and `count` references, which is the size of
        // `words`.
        unsafe { ioctl(&device, grant_table::IOCTL_ALLOC_GREF, words.as_mut_ptr()) }
            .map_err(&failed)?;
        let index = words[1];
        let references = words[2..].iter().flat_map(|pair| halves(*pair)).map(GrantRef);
        let references = references.take(pages).collect();
        match map(&device, index, pages, true) {
            Ok(start) => {
                let (bytes, origin) = (pages * PAGE_BYTES, Origin::Allocated);
                Ok((Self { start, bytes, writable: true, device, index, origin }, references))
            }
            // Closing the device returns the grants.
            Err(error) => Err(failed(error)),
        }
    }

    /// Maps pages that `domid` shares with this domain, in the given order.
    ///
    /// # Errors
    /// `EINVAL` if a reference is not granted to this domain, or not for writing.
    pub fn map(domid: DomId, references: &[GrantRef], writable: bool) -> Result<Self, GrantError> {
        let pages = references.len();
        let failed = failed(format!("map {pages} pages that domain {domid} shares"));
        let count = check_count(pages).map_err(&failed)?;
        let mut words = vec![u64::from(count), 0];
        let pair = |reference: &GrantRef| u64::from(domid.0) | u64::from(reference.0) << 32;
        words.extend(references.iter().map(pair));
        let device = open(MAP_DEVICE)?;
        // SAFETY: the request reads the header's 16 bytes and `count` pairs of domain and reference, 8 bytes each, and
        // writes the header: this is the size of `words`.
        unsafe { ioctl(&device, grant_table::IOCTL_MAP_GRANT_REF, words.as_mut_ptr()) }
            .map_err(&failed)?;
        let index = words[1];
        let start = map(&device, index, pages, writable).map_err(&failed)?;
        let (bytes, origin) = (pages * PAGE_BYTES, Origin::Mapped);
        Ok(Self { start, bytes, writable, device, index, origin })
    }

    /// Two mappings of the same pages, as in two domains.
    #[cfg(test)]
    pub(crate) fn pair(pages: usize) -> (Self, Self) {
        let name = "shared memory";
        let file = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(file);
        file.set_len((pages * PAGE_BYTES) as u64).unwrap();
        let view = |device: File| {
            let start = map(&device, 0, pages, true).unwrap();
            let (bytes, origin) = (pages * PAGE_BYTES, Origin::File);
            Self { start, bytes, writable: true, device, index: 0, origin }
        };
        (view(file.try_clone().unwrap()), view(file))
    }

    /// Its size in bytes, a multiple of the page size.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes
    }

    /// Reads the 32-bit word at `offset`. Later reads see what the other domain wrote before that word.
    ///
    /// # Panics
    /// If the word would end beyond the memory, or `offset` is not a multiple of 4.
    #[must_use]
    pub fn load(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Writes the 32-bit word at `offset`. A domain that reads it then also sees all earlier writes.
    ///
    /// # Panics
    /// As [`SharedMemory::load`], and if the memory was mapped read-only.
    pub fn store(&self, offset: usize, value: u32) {
        assert!(self.writable, "shared memory is mapped read-only");
        self.word(offset).store(value, Ordering::Release);
    }

    /// Copies bytes out of the memory from `offset` on; each byte is read once.
    ///
    /// # Panics
    /// If the range ends beyond the memory.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let (head, words, tail) = self.pieces(offset, bytes.len());
        let (first, rest) = bytes.split_at_mut(head.len());
        let (middle, last) = rest.split_at_mut(words.len() * WORD_BYTES);
        let single = |cells: &[AtomicU8], bytes: &mut [u8]| {
            for (cell, byte) in cells.iter().zip(bytes) {
                *byte = cell.load(Ordering::Relaxed);
            }
        };
        single(head, first);
        for (word, bytes) in words.iter().zip(middle.chunks_exact_mut(WORD_BYTES)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        single(tail, last);
    }

    /// Copies bytes into the memory from `offset` on.
    ///
    /// # Panics
    /// If the range ends beyond the memory, or the memory was mapped read-only.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(self.writable, "shared memory is mapped read-only");
        let (head, words, tail) = self.pieces(offset, bytes.len());
        let (first, rest) = bytes.split_at(head.len());
        let (middle, last) = rest.split_at(words.len() * WORD_BYTES);
        let single = |cells: &[AtomicU8], bytes: &[u8]| {
            for (cell, byte) in cells.iter().zip(bytes) {
                cell.store(*byte, Ordering::Relaxed);
            }
        };
        single(head, first);
        for (word, bytes) in words.iter().zip(middle.chunks_exact(WORD_BYTES)) {
            word.store(first_word(bytes), Ordering::Relaxed);
        }
        single(tail, last);
    }

    /// Sets the byte at `offset`.
    ///
    /// # Panics
    /// As [`SharedMemory::write`].
    pub(crate) fn set_byte(&self, offset: usize, value: u8) {
        self.byte(offset).store(value, Ordering::SeqCst);
    }

    /// The byte at `offset`.
    ///
    /// # Panics
    /// As [`SharedMemory::read`].
    pub(crate) fn get_byte(&self, offset: usize) -> u8 {
        self.cells(offset, 1)[0].load(Ordering::SeqCst)
    }

    /// Sets bits of the byte at `offset`. Later reads see what the other domain wrote before.
    ///
    /// # Panics
    /// As [`SharedMemory::write`].
    pub(crate) fn set_bits(&self, offset: usize, bits: u8) {
        self.byte(offset).fetch_or(bits, Ordering::SeqCst);
    }

    /// Clears bits of the byte at `offset`; returns whether one of them was set.
    ///
    /// # Panics
    /// As [`SharedMemory::write`].
    pub(crate) fn take_bits(&self, offset: usize, bits: u8) -> bool {
        self.byte(offset).fetch_and(!bits, Ordering::SeqCst) & bits != 0
    }

    /// When these pages are unmapped here for any reason, the kernel sets the byte at `offset` to 0 and notifies
    /// `port`.
    ///
    /// # Errors
    /// The port does not belong to this process.
    pub(crate) fn notify_when_gone(&self, offset: usize, port: Port) -> Result<(), GrantError> {
        let mut wish = grant_table::UnmapNotify {
            index: self.index + offset as u64,
            action: grant_table::UNMAP_NOTIFY_CLEAR_BYTE | grant_table::UNMAP_NOTIFY_SEND_EVENT,
            event_channel_port: port.0,
        };
        let request = match self.origin {
            Origin::Allocated => grant_table::IOCTL_SET_UNMAP_NOTIFY_ALLOCATED,
            Origin::Mapped => grant_table::IOCTL_SET_UNMAP_NOTIFY_MAPPED,
            #[cfg(test)]
            Origin::File => return Ok(()),
        };
        // SAFETY: both requests read the same 16 bytes: index, action, port.
        unsafe { ioctl(&self.device, request, &raw mut wish) }
            .map_err(failed("ask the kernel to notify the other domain at the end".to_owned()))
    }

    fn byte(&self, offset: usize) -> &AtomicU8 {
        assert!(self.writable, "shared memory is mapped read-only");
        &self.cells(offset, 1)[0]
    }

    /// The bytes from `offset` on, split so that the aligned middle part is whole words.
    fn pieces(&self, offset: usize, count: usize) -> (&[AtomicU8], &[AtomicU64], &[AtomicU8]) {
        let cells = self.cells(offset, count);
        // SAFETY: an AtomicU64 is eight bytes that another domain may change, as it may change these.
        unsafe { cells.align_to::<AtomicU64>() }
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset % 4 == 0 && offset + 4 <= self.bytes, "not a word of shared memory");
        // SAFETY: the word is within the mapping and aligned (checked), because the mapping starts on a page; it is
        // valid as long as `self`; atomics may be changed by others.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    fn cells(&self, offset: usize, count: usize) -> &[AtomicU8] {
        let end = offset.checked_add(count);
        assert!(end.is_some_and(|end| end <= self.bytes), "beyond the end of shared memory");
        // SAFETY: the range is within the mapping (checked) and valid as long as `self`; an AtomicU8 is a byte that
        // others may change.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset).cast(), count) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping, and no reference to it is left. Unmapping a mapped range cannot fail.
        let _ = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.bytes) };
        let count = u32::try_from(self.bytes / PAGE_BYTES).unwrap_or_default();
        let mut give_back = grant_table::UnmapGrantRef { index: self.index, count, pad: 0 };
        let request = match self.origin {
            Origin::Allocated => grant_table::IOCTL_DEALLOC_GREF,
            Origin::Mapped => grant_table::IOCTL_UNMAP_GRANT_REF,
            #[cfg(test)]
            Origin::File => return,
        };
        // If this fails, closing the device has the same effect.
        // SAFETY: both requests read the same 16 bytes: index, count, padding.
        let _ = unsafe { ioctl(&self.device, request, &raw mut give_back) };
    }
}

fn failed(action: String) -> impl Fn(Errno) -> GrantError {
    move |errno| GrantError { action: action.clone(), source: errno.into() }
}

fn check_count(pages: usize) -> Result<u32, Errno> {
    match u32::try_from(pages) {
        Ok(count) if (1..=MAX_PAGES).contains(&pages) => Ok(count),
        _ => Err(Errno::INVAL),
    }
}

fn first_word(bytes: &[u8]) -> u64 {
    u64::read_from_prefix(bytes).map_or(0, |(word, _)| word)
}

/// The two 32-bit words of `pair`, in the order of memory.
fn halves(pair: u64) -> [u32; 2] {
    let bytes = pair.to_ne_bytes();
    [0, 4].map(|at| u32::read_from_prefix(&bytes[at..]).map_or(0, |(word, _)| word))
}

fn open(path: &str) -> Result<File, GrantError> {
    File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|source| GrantError { action: format!("open {path}"), source })
}

fn map(device: &File, index: u64, pages: usize, writable: bool) -> Result<NonNull<u8>, Errno> {
    let mut access = ProtFlags::READ;
    access.set(ProtFlags::WRITE, writable);
    let bytes = pages * PAGE_BYTES;
    // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use.
    let start =
        unsafe { mmap(std::ptr::null_mut(), bytes, access, MapFlags::SHARED, device, index) }?;
    NonNull::new(start.cast::<u8>()).ok_or(Errno::NOMEM)
}

/// # Safety
/// `argument` must point to memory as large as `request` reads and writes.
unsafe fn ioctl<T>(device: &File, request: u64, argument: *mut T) -> Result<(), Errno> {
    // SAFETY: the caller ensures this function's contract.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request, argument) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

impl Hypervisor {
    /// Grants dom0 a new domain's console and xenstore pages, as Xen's tools do. Both are guest frame numbers, or
    /// machine frame numbers for PV.
    pub(crate) fn seed_grants(
        &self,
        domid: DomId,
        console_gfn: u64,
        store_gfn: u64,
    ) -> Result<(), XenError> {
        let mut table = self.map_grant_table(domid)?;
        let rings = [
            (grant_table::RESERVED_CONSOLE, console_gfn),
            (grant_table::RESERVED_XENSTORE, store_gfn),
        ];
        for (index, gfn) in rings {
            // An entry of version 1 has 32 bits for the frame, which reach up to 16 TiB.
            let frame = u32::try_from(gfn).map_err(|_| XenError::Nonsense {
                action: format!("grant domain {domid}'s rings to dom0"),
                what: "a frame beyond 16 TiB",
            })?;
            let domid = DomId::DOM0.0;
            let entry = grant_table::EntryV1 { flags: grant_table::PERMIT_ACCESS, domid, frame };
            table.write_plain(index * size_of_val(&entry), &entry);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_in_the_order_they_lie_in_memory() {
        let bytes = [1u32, 2].map(u32::to_ne_bytes).concat();
        assert_eq!(halves(first_word(&bytes)), [1, 2]);
    }

    #[test]
    fn bytes_arrive_whatever_their_place_and_number() {
        let (ours, theirs) = SharedMemory::pair(1);
        let bytes: Vec<u8> = (1..=100).collect();
        for offset in 0..9 {
            for count in [0, 1, 3, 7, 8, 9, 17, 100] {
                ours.write(offset, &bytes[..count]);
                ours.write(offset + count, &[0xAA]);
                let mut seen = vec![0; count + 1];
                theirs.read(offset, &mut seen);
                assert_eq!(seen, [&bytes[..count], &[0xAA]].concat(), "{count} at {offset}");
            }
        }
    }

    #[test]
    fn no_pages_and_too_many_are_refused() {
        assert_eq!(check_count(0), Err(Errno::INVAL));
        assert_eq!(check_count(MAX_PAGES).map(|count| count as usize), Ok(MAX_PAGES));
        assert_eq!(check_count(MAX_PAGES + 1), Err(Errno::INVAL));
    }
}
