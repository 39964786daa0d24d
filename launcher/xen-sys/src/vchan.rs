//! `xen/include/public/io/libxenvchan.h`: the page that the two ends of a vchan share.
#![expect(missing_docs, reason = "fields and constants are documented in the header")]

use crate::layout::{constants, layouts};
use zerocopy::{FromBytes, Immutable, IntoBytes};

constants!(CONSTANTS {
    NOTIFY_WRITE: u8 = 1 => "VCHAN_NOTIFY_WRITE";
    NOTIFY_READ: u8 = 2 => "VCHAN_NOTIFY_READ";
});

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct RingShared {
    pub cons: u32,
    pub prod: u32,
}

/// The grants of the rings' pages follow in memory.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Interface {
    pub left: RingShared,
    pub right: RingShared,
    pub left_order: u16,
    pub right_order: u16,
    pub cli_live: u8,
    pub srv_live: u8,
    pub cli_notify: u8,
    pub srv_notify: u8,
}

/// Where a ring of 1 KiB lies in the page.
pub const SMALL_RING_OFFSET: usize = 1024;
/// Where a ring of 2 KiB lies in the page.
pub const LARGE_RING_OFFSET: usize = 2048;

layouts!(LAYOUTS {
    RingShared = "struct ring_shared", 8, { cons @ 0, prod @ 4 };
    Interface = "struct vchan_interface", 24, {
        left @ 0, right @ 8, left_order @ 16, right_order @ 18, cli_live @ 20, srv_live @ 21,
        cli_notify @ 22, srv_notify @ 23,
    };
});
