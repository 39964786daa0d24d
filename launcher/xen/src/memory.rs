//! A guest's memory: gives it to the domain, and describes it.

use crate::call::Buffer;
use crate::error::XenError;
use crate::{DomId, Hypervisor};
use rustix::io::Errno;
use xen_sys::{hypercall, memory};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// The most extents in one hypercall; their numbers fill eight pages.
const BATCH: usize = 4096;

impl Hypervisor {
    /// Claims memory for a domain, so that populating it cannot fail for lack of memory.
    ///
    /// `pages` includes those that the domain already has. Claiming 0 gives back the rest of a claim.
    pub(crate) fn claim_pages(&self, domid: DomId, pages: u64) -> Result<(), Errno> {
        let mut reservation = memory::MemoryReservation {
            nr_extents: pages,
            domid: domid.0,
            ..memory::MemoryReservation::new_zeroed()
        };
        // SAFETY: this operation takes no list of extents; the argument has no addresses.
        unsafe { self.memory_op(memory::CLAIM_PAGES, &mut reservation) }.map(drop)
    }

    /// Gives a domain extents of 2^`order` pages at `frames` (guest frame numbers), in order, until Xen has none left.
    /// In `frames`, replaces each given extent by the number that Xen returned (for PV the machine frame number).
    /// Returns how many were given.
    pub(crate) fn populate(
        &self,
        domid: DomId,
        order: u32,
        frames: &mut [u64],
    ) -> Result<usize, XenError> {
        let bytes = frames.len().min(BATCH) * size_of::<u64>();
        let mut buffer = self.call.buffer(bytes)?;
        let mut given = 0;
        for batch in frames.chunks_mut(BATCH) {
            let count = self
                .populate_batch(domid, order, batch, &mut buffer)
                .map_err(|errno| XenError::refused(format!("give domain {domid} memory"), errno))?;
            given += count;
            if count < batch.len() {
                break;
            }
        }
        Ok(given)
    }

    fn populate_batch(
        &self,
        domid: DomId,
        order: u32,
        batch: &mut [u64],
        buffer: &mut Buffer,
    ) -> Result<usize, Errno> {
        for (index, frame) in batch.iter().enumerate() {
            buffer.write(index, frame);
        }
        let mut reservation = memory::MemoryReservation {
            extent_start: buffer.address(),
            nr_extents: batch.len() as u64,
            extent_order: order,
            domid: domid.0,
            ..memory::MemoryReservation::new_zeroed()
        };
        // SAFETY: the buffer outlives the call and holds `nr_extents` frame numbers: `write` checked each of them.
        let given = unsafe { self.memory_op(memory::POPULATE_PHYSMAP, &mut reservation) }?;
        let given = usize::try_from(given).unwrap_or(usize::MAX).min(batch.len());
        for (index, frame) in batch[..given].iter_mut().enumerate() {
            *frame = buffer.read(index);
        }
        Ok(given)
    }

    /// Sets the memory map that Xen reports to a PVH domain.
    pub(crate) fn set_memory_map(
        &self,
        domid: DomId,
        map: &[memory::E820Entry],
    ) -> Result<(), XenError> {
        let mut buffer = self.call.buffer(size_of_val(map))?;
        for (index, entry) in map.iter().enumerate() {
            buffer.write(index, entry);
        }
        let mut argument = memory::ForeignMemoryMap {
            domid: domid.0,
            nr_entries: u32::try_from(map.len()).unwrap_or(u32::MAX),
            buffer: buffer.address(),
            ..memory::ForeignMemoryMap::new_zeroed()
        };
        // SAFETY: the buffer outlives the call and holds `nr_entries` entries, as above.
        unsafe { self.memory_op(memory::SET_MEMORY_MAP, &mut argument) }
            .map(drop)
            .map_err(|errno| XenError::refused(format!("set domain {domid}'s memory map"), errno))
    }

    /// # Safety
    /// As for [`crate::call::Call::invoke`], for the addresses in `argument`.
    unsafe fn memory_op<T: FromBytes + IntoBytes + Immutable>(
        &self,
        operation: u64,
        argument: &mut T,
    ) -> Result<u64, Errno> {
        // SAFETY: the caller ensures this function's contract.
        unsafe {
            self.call
                .invoke(hypercall::MEMORY_OP, argument, |address| [operation, address, 0, 0, 0])
        }
    }
}
