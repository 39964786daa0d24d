//! `xen/include/public/memory.h`: guest memory.
#![expect(missing_docs, reason = "fields and constants are documented in the header")]

use crate::layout::{constants, layouts};
use zerocopy::{FromBytes, Immutable, IntoBytes};

constants!(CONSTANTS {
    POPULATE_PHYSMAP: u64 = 6 => "XENMEM_populate_physmap";
    SET_MEMORY_MAP: u64 = 13 => "XENMEM_set_memory_map";
    CLAIM_PAGES: u64 = 24 => "XENMEM_claim_pages";
    RESOURCE_GRANT_TABLE: u32 = 1 => "XENMEM_resource_grant_table";
    RESOURCE_GRANT_TABLE_ID_SHARED: u32 = 0 => "XENMEM_resource_grant_table_id_shared";
});

/// The types of memory: `E820_RAM` and others, from `xen/include/public/hvm/e820.h` and ACPI.
pub const E820_RAM: u32 = 1;
pub const E820_RESERVED: u32 = 2;
pub const E820_ACPI: u32 = 3;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct MemoryReservation {
    /// Address of `nr_extents` frame numbers.
    pub extent_start: u64,
    pub nr_extents: u64,
    pub extent_order: u32,
    pub mem_flags: u32,
    pub domid: u16,
    pub pad: [u16; 3],
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct ForeignMemoryMap {
    pub domid: u16,
    pub pad: [u16; 3],
    pub nr_entries: u32,
    pub pad2: u32,
    /// Address of `nr_entries` [`E820Entry`].
    pub buffer: u64,
}

/// A range of the guest's memory map. It is packed in C, so each 64-bit number is two halves here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct E820Entry {
    addr: [u32; 2],
    size: [u32; 2],
    kind: u32,
}

// Xen's public headers do not have this structure; Linux has it as `struct boot_e820_entry`.
const _: () = assert!(size_of::<E820Entry>() == 20 && align_of::<E820Entry>() == 4);

impl E820Entry {
    /// A range of `size` bytes from `addr` on, of type `kind` (`E820_RAM` and others).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a 64-bit number")]
    pub fn new(addr: u64, size: u64, kind: u32) -> Self {
        let halves = |number: u64| [number as u32, (number >> 32) as u32];
        Self { addr: halves(addr), size: halves(size), kind }
    }
}

layouts!(LAYOUTS {
    MemoryReservation = "struct xen_memory_reservation", 32, {
        extent_start @ 0, nr_extents @ 8, extent_order @ 16, mem_flags @ 20, domid @ 24,
        pad @ 26 as "",
    };
    ForeignMemoryMap = "struct xen_foreign_memory_map", 24, {
        domid @ 0, pad @ 2 as "", nr_entries @ 8 as "map.nr_entries", pad2 @ 12 as "",
        buffer @ 16 as "map.buffer",
    };
});
