//! A new domain's memory: populated in the largest extents, then written to.

use super::error::BuildError;
use super::payload::Payload;
use crate::error::XenError;
use crate::foreignmemory::Mapping;
use crate::{DomId, Hypervisor};
use rustix::io::Errno;
use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use xen_sys::{PAGE_BYTES, PAGE_SHIFT};

/// Orders of the extents that are tried: 1 GiB and 2 MiB, then pages.
const ORDERS: [u32; 2] = [18, 9];
/// How many pages are mapped at a time, to bound the lists for it: 16 MiB.
const WINDOW_PAGES: usize = 4096;

/// The memory of a domain that has not run yet.
#[derive(Debug)]
pub(super) struct Ram<'a> {
    pub(super) xen: &'a Hypervisor,
    pub(super) domid: DomId,
    /// For PV: the machine frame of each guest page. PVH domains are addressed by guest frames.
    p2m: Option<Vec<u64>>,
    /// What the domain takes in all, for the error when it cannot be had.
    wanted_pages: u64,
}

impl<'a> Ram<'a> {
    /// The memory of a PVH domain, which takes `wanted_pages` in all.
    pub(super) fn translated(xen: &'a Hypervisor, domid: DomId, wanted_pages: u64) -> Self {
        Self { xen, domid, p2m: None, wanted_pages }
    }

    /// The memory of a PV domain of `pages` pages.
    pub(super) fn direct(xen: &'a Hypervisor, domid: DomId, pages: u64) -> Self {
        Self { xen, domid, p2m: Some(vec![]), wanted_pages: pages }
    }

    /// Claims the memory before any is taken, so that of several domains that are built at once
    /// and do not all fit, some are built and some fail at once.
    pub(super) fn claim(&mut self) -> Result<(), BuildError> {
        match self.xen.claim_pages(self.domid, self.wanted_pages) {
            Ok(()) => {
                // Not before: a list of more pages than there are may be more than dom0 has.
                if let Some(p2m) = &mut self.p2m {
                    *p2m = (0..self.wanted_pages).collect();
                }
                Ok(())
            }
            Err(Errno::NOMEM) => Err(self.out_of_memory()),
            Err(errno) => {
                let action = format!("claim memory for domain {}", self.domid);
                Err(XenError::refused(action, errno).into())
            }
        }
    }

    /// Gives back what is left of the claim, now that the domain has all its memory.
    pub(super) fn end_claim(&self) -> Result<(), BuildError> {
        self.xen.claim_pages(self.domid, 0).map_err(|errno| {
            let action = format!("end the claim of memory for domain {}", self.domid);
            XenError::refused(action, errno).into()
        })
    }

    fn out_of_memory(&self) -> BuildError {
        match self.xen.machine() {
            Ok(machine) => BuildError::OutOfMemory {
                wanted_mib: self.wanted_pages.div_ceil(256),
                free_mib: machine.free_pages / 256,
            },
            Err(error) => error.into(),
        }
    }

    /// Gives the domain all pages of `range` (guest frame numbers).
    pub(super) fn populate(&mut self, range: Range<u64>) -> Result<(), BuildError> {
        let mut at = range.start;
        while at < range.end {
            at = self.populate_some(at, range.end)?;
        }
        Ok(())
    }

    /// Gives the domain a run of pages from `start` on, of the largest order that can be had;
    /// returns where the run ends.
    fn populate_some(&mut self, start: u64, end: u64) -> Result<u64, BuildError> {
        // PV: 2 MiB at most, for its page tables map single pages anyway.
        let largest = usize::from(self.p2m.is_some());
        for order in &ORDERS[largest..] {
            let run = run_of_order(start, end, *order);
            if run.start == run.end || run.start != start {
                continue;
            }
            let given = self.populate_run(run, *order)?;
            if given > 0 {
                return Ok(start + given);
            }
        }
        // To the next 2 MiB boundary, where larger extents may be had again.
        let next = (start + 1).next_multiple_of(1 << ORDERS[1]).min(end);
        let given = self.populate_run(start..next, 0)?;
        if given < next - start {
            return Err(self.out_of_memory());
        }
        Ok(next)
    }

    /// Asks for a run of whole extents; returns how many pages were given.
    fn populate_run(&mut self, run: Range<u64>, order: u32) -> Result<u64, BuildError> {
        let mut frames: Vec<u64> = run.clone().step_by(1 << order).collect();
        let given = self.xen.populate(self.domid, order, &mut frames)?;
        if let Some(p2m) = &mut self.p2m {
            for (index, base) in frames[..given].iter().enumerate() {
                let first = to_index(run.start) + (index << order);
                for (offset, entry) in (0..).zip(&mut p2m[first..first + (1 << order)]) {
                    *entry = base + offset;
                }
            }
        }
        Ok((given as u64) << order)
    }

    /// The frame by which Xen knows guest page `pfn`.
    pub(super) fn frame(&self, pfn: u64) -> u64 {
        match &self.p2m {
            Some(p2m) => p2m[to_index(pfn)],
            None => pfn,
        }
    }

    /// The machine frames of all pages, for PV.
    pub(super) fn p2m(&self) -> &[u64] {
        self.p2m.as_deref().unwrap_or_default()
    }

    /// Puts all pieces in place, with as few mappings as possible: pages that are far from each
    /// other in the guest are mapped side by side.
    pub(super) fn load(&self, pieces: &[Piece<'_>]) -> Result<(), BuildError> {
        let mut pages: Vec<u64> = pieces.iter().flat_map(Piece::pages).collect();
        pages.sort_unstable();
        pages.dedup();
        for window in pages.chunks(WINDOW_PAGES) {
            let frames: Vec<u64> = window.iter().map(|pfn| self.frame(*pfn)).collect();
            let mut mapping = self.xen.map_foreign(self.domid, &frames)?;
            for piece in pieces {
                piece.copy_to(&mut mapping, window)?;
            }
        }
        Ok(())
    }
}

/// Where the bytes of a [`Piece`] are.
#[derive(Clone, Debug)]
pub(super) enum Data<'a> {
    Bytes(Cow<'a, [u8]>),
    /// This part of a file, which errors call `what`.
    File {
        what: &'static str,
        file: &'a File,
        range: Range<u64>,
    },
}

impl<'a> Data<'a> {
    /// All of a file.
    pub(super) fn of(what: &'static str, payload: Payload<'a>) -> Self {
        Self::File { what, file: payload.file, range: 0..payload.bytes }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { range, .. } => range.end - range.start,
        }
    }
}

impl<'a> From<&'a [u8]> for Data<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Data<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// Bytes to be put into the guest.
#[derive(Clone, Debug)]
pub(super) struct Piece<'a> {
    /// Guest physical address.
    address: u64,
    data: Data<'a>,
    /// Its size in memory; zeroes follow the data.
    memory_bytes: u64,
}

impl<'a> Piece<'a> {
    /// `data` at guest physical address `address`.
    pub(super) fn new(address: u64, data: impl Into<Data<'a>>) -> Self {
        let data = data.into();
        let memory_bytes = data.len();
        Self { address, data, memory_bytes }
    }

    /// With zeroes up to a size of `memory_bytes`.
    pub(super) fn padded(self, memory_bytes: u64) -> Self {
        Self { memory_bytes: memory_bytes.max(self.memory_bytes), ..self }
    }

    /// A page of zeroes.
    pub(super) fn zero_page(pfn: u64) -> Self {
        Self::new(pfn << PAGE_SHIFT, &[][..]).padded(PAGE_BYTES as u64)
    }

    fn end(&self) -> u64 {
        self.address + self.memory_bytes
    }

    fn pages(&self) -> Range<u64> {
        self.address >> PAGE_SHIFT..pages_of(self.end())
    }

    /// Writes what is in the pages `window` (sorted, each once) to their mapping.
    fn copy_to(&self, mapping: &mut Mapping, window: &[u64]) -> Result<(), BuildError> {
        let all = self.pages();
        let first = window.partition_point(|pfn| *pfn < all.start);
        let count = window.partition_point(|pfn| *pfn < all.end) - first;
        // All pages of a piece are in some window, so those in this one follow each other.
        let Some(first_page) = window.get(first).filter(|_| count > 0) else { return Ok(()) };
        let window_start = first_page << PAGE_SHIFT;
        let window_end = window_start + ((count as u64) << PAGE_SHIFT);
        let start = self.address.max(window_start);
        let end = self.end().min(window_end);
        let data_end = (self.address + self.data.len()).clamp(start, end);

        let offset = (first << PAGE_SHIFT) + to_index(start - window_start);
        let from = (start - self.address).min(self.data.len());
        let count = to_index(data_end - start);
        match &self.data {
            Data::Bytes(bytes) => mapping.write(offset, &bytes[to_index(from)..][..count]),
            Data::File { what, file, range } => mapping
                .read_file(offset, file, range.start + from, count)
                .map_err(|source| BuildError::Payload { what, source })?,
        }
        mapping.clear(offset + count, to_index(end - data_end));
        Ok(())
    }
}

/// The whole extents of this order within `start..end` that begin at or after `start`.
fn run_of_order(start: u64, end: u64, order: u32) -> Range<u64> {
    let extent = 1u64 << order;
    let first = start.next_multiple_of(extent);
    let last = end - end % extent;
    first..last.max(first)
}

/// Guest addresses and frame numbers fit dom0's own address space.
#[expect(clippy::cast_possible_truncation, reason = "64-bit x86 only")]
pub(super) fn to_index(number: u64) -> usize {
    const { assert!(size_of::<usize>() == size_of::<u64>()) };
    number as usize
}

/// How many pages `bytes` take.
pub(super) fn pages_of(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::super::payload::file_of;
    use super::*;
    use crate::foreignmemory::Mapping;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn pieces_reach_their_addresses_whatever_the_windows(
            address in 0u64..20_000,
            data in prop::collection::vec(1u8.., 0..20_000),
            zeroes in 0u64..9_000,
            hole in 0u64..8,
            from_file in any::<bool>(),
        ) {
            let file = file_of(&data);
            let content = match from_file {
                true => Data::of("file", Payload::new(&file).unwrap()),
                false => Data::from(&data[..]),
            };
            let piece = Piece::new(address, content).padded(data.len() as u64 + zeroes);
            // The piece's pages and some around it, but for a window that ends within it.
            let pages: Vec<u64> = (0..16).filter(|pfn| piece.pages().contains(pfn) || pfn % 3 == 0).collect();
            let split = pages.len().min(to_index(hole) + 1);
            for window in [&pages[..split], &pages[split..]] {
                if window.is_empty() {
                    continue;
                }
                let mut mapping = Mapping::anonymous(window.len(), 0xEE);
                piece.copy_to(&mut mapping, window).unwrap();
                for (index, pfn) in window.iter().enumerate() {
                    let page = mapping.page(index);
                    for (offset, byte) in page.iter().enumerate() {
                        let at = (pfn << PAGE_SHIFT) + offset as u64;
                        let expected = match at.checked_sub(address) {
                            Some(position) if position < data.len() as u64 => data[to_index(position)],
                            Some(position) if position < data.len() as u64 + zeroes => 0,
                            _ => 0xEE,
                        };
                        prop_assert_eq!(*byte, expected, "at {}", at);
                    }
                }
            }
        }
    }

    #[test]
    fn a_file_that_has_become_shorter_is_an_error_and_not_zeroes() {
        let file = file_of(&[7; 5000]);
        let piece = Piece::new(0, Data::of("initramfs", Payload::new(&file).unwrap()));
        file.set_len(4999).unwrap();
        let error = piece.copy_to(&mut Mapping::anonymous(2, 0), &[0, 1]).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the initramfs: "), "{error}");
    }

    #[test]
    fn runs_are_whole_aligned_extents() {
        assert_eq!(run_of_order(0, 16384, 9), 0..16384);
        assert_eq!(run_of_order(0, 16385, 9), 0..16384);
        assert_eq!(run_of_order(1, 16384, 9), 512..16384);
        let none = run_of_order(1, 511, 9);
        assert!(none.is_empty());
        assert!(run_of_order(0, 16384, 18).is_empty());
    }
}
