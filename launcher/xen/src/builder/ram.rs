//! A new domain's memory: populated with the largest possible extents, then written to.

use super::error::BuildError;
use super::piece::{Piece, to_index};
use crate::error::XenError;
use crate::{DomId, Hypervisor};
use rustix::io::Errno;
use std::ops::Range;

/// Orders of the extents to try before single pages: 1 GiB and 2 MiB.
const ORDERS: [u32; 2] = [18, 9];
/// How many pages are mapped at a time, which bounds the lists for them: 16 MiB.
const WINDOW_PAGES: usize = 4096;

/// The memory of a domain that has not run.
#[derive(Debug)]
pub(super) struct Ram<'a> {
    pub(super) xen: &'a Hypervisor,
    pub(super) domid: DomId,
    /// For PV: the machine frame of each guest page. PVH domains are addressed by guest frames.
    p2m: Option<Vec<u64>>,
    /// All pages that the domain takes, for the error when there are too few.
    wanted_pages: u64,
}

impl<'a> Ram<'a> {
    /// The memory of a PVH domain that takes `wanted_pages` in all.
    pub(super) fn translated(xen: &'a Hypervisor, domid: DomId, wanted_pages: u64) -> Self {
        Self { xen, domid, p2m: None, wanted_pages }
    }

    /// The memory of a PV domain of `pages` pages.
    pub(super) fn direct(xen: &'a Hypervisor, domid: DomId, pages: u64) -> Self {
        Self { xen, domid, p2m: Some(vec![]), wanted_pages: pages }
    }

    /// Claims the memory before taking any. If several domains are built at once and do not all fit, some are built and
    /// the others fail immediately.
    pub(super) fn claim(&mut self) -> Result<(), BuildError> {
        match self.xen.claim_pages(self.domid, self.wanted_pages) {
            Ok(()) => {
                // Not before the claim: dom0 may not have enough memory for a list of more pages than exist.
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

    /// Gives back the rest of the claim, after the domain has all its memory.
    pub(super) fn end_claim(&self) -> Result<(), BuildError> {
        self.xen.claim_pages(self.domid, 0).map_err(|errno| {
            let action = format!("end the claim of memory for domain {}", self.domid);
            XenError::refused(action, errno).into()
        })
    }

    fn out_of_memory(&self) -> BuildError {
        match self.xen.host() {
            Ok(host) => BuildError::OutOfMemory {
                wanted_mib: self.wanted_pages.div_ceil(256),
                free_mib: host.free_pages / 256,
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

    /// Gives the domain a run of pages from `start` on, of the largest available order. Returns the end of the run.
    fn populate_some(&mut self, start: u64, end: u64) -> Result<u64, BuildError> {
        // PV: 2 MiB at most, because its page tables map single pages anyway.
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
        // Up to the next 2 MiB boundary, where larger extents may be available again.
        let next = (start + 1).next_multiple_of(1 << ORDERS[1]).min(end);
        let given = self.populate_run(start..next, 0)?;
        if given < next - start {
            return Err(self.out_of_memory());
        }
        Ok(next)
    }

    /// Requests a run of whole extents; returns the number of pages that Xen gave.
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

    /// The frame number that Xen uses for guest page `pfn`.
    pub(super) fn frame(&self, pfn: u64) -> u64 {
        match &self.p2m {
            Some(p2m) => p2m[to_index(pfn)],
            None => pfn,
        }
    }

    /// For PV: the machine frames of all pages.
    pub(super) fn p2m(&self) -> &[u64] {
        self.p2m.as_deref().unwrap_or_default()
    }

    /// Puts all pieces in place, with as few mappings as possible: pages that are far apart in the guest are mapped
    /// side by side.
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

/// The whole extents of this order within `start..end`.
fn run_of_order(start: u64, end: u64, order: u32) -> Range<u64> {
    let extent = 1u64 << order;
    let first = start.next_multiple_of(extent);
    let last = end - end % extent;
    first..last.max(first)
}

#[cfg(test)]
mod tests {
    use super::*;

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
