//! Xen's raw ABI for dom0: structures, constants, ioctls.
//!
//! One module for each header, x86-64 only, no logic. The compiler checks sizes and offsets ([`layout`]), and
//! `tests/headers.rs` compares them with the installed headers. Structures have the headers' names without their
//! prefix; addresses are `u64`, and padding is a field.

pub mod domctl;
pub mod event_channel;
pub mod grant_table;
pub mod hvm;
pub mod hypercall;
pub mod layout;
pub mod memory;
pub mod privcmd;
pub mod pv;
pub mod sysctl;
pub mod vchan;

use layout::{Constant, Layout};

/// The size of a page in bytes, in all of Xen's x86 interfaces.
pub const PAGE_BYTES: usize = 4096;
/// The base-2 logarithm of [`PAGE_BYTES`].
pub const PAGE_SHIFT: u32 = 12;

/// Every structure of this crate that also exists in a C header.
#[must_use]
pub fn layouts() -> Vec<Layout> {
    [
        domctl::LAYOUTS,
        event_channel::LAYOUTS,
        grant_table::LAYOUTS,
        hvm::LAYOUTS,
        memory::LAYOUTS,
        privcmd::LAYOUTS,
        pv::LAYOUTS,
        sysctl::LAYOUTS,
        vchan::LAYOUTS,
    ]
    .concat()
}

/// Every constant of this crate that also exists in a C header.
#[must_use]
pub fn constants() -> Vec<Constant> {
    [
        domctl::CONSTANTS,
        event_channel::CONSTANTS,
        grant_table::CONSTANTS,
        hvm::CONSTANTS,
        hypercall::CONSTANTS,
        memory::CONSTANTS,
        privcmd::CONSTANTS,
        pv::CONSTANTS,
        sysctl::CONSTANTS,
        vchan::CONSTANTS,
    ]
    .concat()
}
