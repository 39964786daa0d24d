//! The shared page of a vchan: its offsets and states, and where the two rings are.

use super::error::VchanError;
use super::ring::Buffer;
use crate::gnttab::SharedMemory;
use xen_sys::vchan as wire;

/// Offsets in the shared page.
pub(super) const LEFT: usize = core::mem::offset_of!(wire::Interface, left);
pub(super) const RIGHT: usize = core::mem::offset_of!(wire::Interface, right);
pub(super) const LEFT_ORDER: usize = core::mem::offset_of!(wire::Interface, left_order);
pub(super) const CLIENT_LIVE: usize = core::mem::offset_of!(wire::Interface, cli_live);
pub(super) const SERVER_LIVE: usize = core::mem::offset_of!(wire::Interface, srv_live);
pub(super) const CLIENT_NOTIFY: usize = core::mem::offset_of!(wire::Interface, cli_notify);
pub(super) const SERVER_NOTIFY: usize = core::mem::offset_of!(wire::Interface, srv_notify);
pub(super) const GRANTS: usize = size_of::<wire::Interface>();

/// The value of a side's byte: it has ended, it is connected, or (client only) it may connect.
pub(super) const GONE: u8 = 0;
pub(super) const LIVE: u8 = 1;
pub(super) const AWAITED: u8 = 2;

/// The largest ring: 2^20 bytes.
pub(super) const MAX_ORDER: u16 = 20;
/// The base-2 logarithm of the page size.
pub(super) const PAGE_ORDER: u16 = 12;

/// The sizes of a vchan's two rings, as base-2 logarithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) left: u16,
    pub(super) right: u16,
}

impl Orders {
    /// Checks orders that the other side states.
    pub(super) fn check(self) -> Result<Self, VchanError> {
        let range = 10..=MAX_ORDER;
        if !range.contains(&self.left) || !range.contains(&self.right) {
            return Err(VchanError::Invalid("a ring's size"));
        }
        if self.left == self.right && self.left < PAGE_ORDER {
            return Err(VchanError::Invalid("two rings at one place"));
        }
        // The list of grants must end before a ring in the page, or at the page's end.
        let end = [self.left, self.right].into_iter().filter_map(place_in_page).min();
        let grants = pages(self.left) + pages(self.right);
        if GRANTS + grants * size_of::<u32>() > end.unwrap_or(xen_sys::PAGE_BYTES) {
            return Err(VchanError::Invalid("too many grants"));
        }
        Ok(self)
    }
}

/// The number of separate pages of a ring of this order.
pub(super) fn pages(order: u16) -> usize {
    order.checked_sub(PAGE_ORDER).map_or(0, |more| 1 << more)
}

/// The offset in the shared page of a ring of this order, if it is in that page.
pub(super) fn place_in_page(order: u16) -> Option<usize> {
    match order {
        10 => Some(wire::SMALL_RING_OFFSET),
        11 => Some(wire::LARGE_RING_OFFSET),
        _ => None,
    }
}

/// The ring of this order; if it has separate pages, `share` provides them.
pub(super) fn buffer(
    order: u16,
    share: impl FnOnce(usize) -> Result<SharedMemory, VchanError>,
) -> Result<Buffer, VchanError> {
    let bytes = 1 << order;
    Ok(match place_in_page(order) {
        Some(offset) => Buffer { pages: None, offset, bytes },
        None => Buffer { pages: Some(share(pages(order))?), offset: 0, bytes },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rings_that_fit_are_taken() {
        for (left, right) in [(10, 11), (11, 10), (12, 12), (15, 16), (20, 20), (11, 20), (10, 12)]
        {
            Orders { left, right }.check().unwrap();
        }
        for (left, right) in
            [(9, 11), (10, 10), (11, 11), (21, 12), (12, 21), (0, 0), (u16::MAX, 12), (10, 20)]
        {
            let error = Orders { left, right }.check().unwrap_err();
            assert!(matches!(error, VchanError::Invalid(_)), "{left} {right}: {error}");
        }
    }
}
