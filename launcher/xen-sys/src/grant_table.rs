//! `xen/include/public/grant_table.h`: entries of version 1, and Linux's `/dev/xen/gntdev` and
//! `/dev/xen/gntalloc`.
#![expect(missing_docs, reason = "fields and constants are documented in the header")]

use crate::layout::{constants, layouts};
use zerocopy::{FromBytes, Immutable, IntoBytes};

constants!(CONSTANTS {
    PERMIT_ACCESS: u16 = 1 => "GTF_permit_access";
    RESERVED_CONSOLE: usize = 0 => "GNTTAB_RESERVED_CONSOLE";
    RESERVED_XENSTORE: usize = 1 => "GNTTAB_RESERVED_XENSTORE";

    IOCTL_MAP_GRANT_REF: u64 = 0x0018_4700 => "IOCTL_GNTDEV_MAP_GRANT_REF";
    IOCTL_UNMAP_GRANT_REF: u64 = 0x0010_4701 => "IOCTL_GNTDEV_UNMAP_GRANT_REF";
    IOCTL_ALLOC_GREF: u64 = 0x0018_4705 => "IOCTL_GNTALLOC_ALLOC_GREF";
    IOCTL_DEALLOC_GREF: u64 = 0x0010_4706 => "IOCTL_GNTALLOC_DEALLOC_GREF";
    IOCTL_SET_UNMAP_NOTIFY_MAPPED: u64 = 0x0010_4707 => "IOCTL_GNTDEV_SET_UNMAP_NOTIFY";
    IOCTL_SET_UNMAP_NOTIFY_ALLOCATED: u64 = 0x0010_4707 => "IOCTL_GNTALLOC_SET_UNMAP_NOTIFY";
    UNMAP_NOTIFY_CLEAR_BYTE: u32 = 1 => "UNMAP_NOTIFY_CLEAR_BYTE";
    UNMAP_NOTIFY_SEND_EVENT: u32 = 2 => "UNMAP_NOTIFY_SEND_EVENT";
});

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct EntryV1 {
    pub flags: u16,
    pub domid: u16,
    pub frame: u32,
}

/// Holds one reference; more follow in memory.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct MapGrantRef {
    pub count: u32,
    pub pad: u32,
    pub index: u64,
    pub domid: u32,
    pub reference: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct UnmapGrantRef {
    pub index: u64,
    pub count: u32,
    pub pad: u32,
}

/// Holds one reference; more follow in memory.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct AllocGref {
    pub domid: u16,
    pub flags: u16,
    pub count: u32,
    pub index: u64,
    pub gref_ids: [u32; 1],
    pub pad: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct DeallocGref {
    pub index: u64,
    pub count: u32,
    pub pad: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct UnmapNotify {
    pub index: u64,
    pub action: u32,
    pub event_channel_port: u32,
}

layouts!(LAYOUTS {
    EntryV1 = "struct grant_entry_v1", 8, { flags @ 0, domid @ 2, frame @ 4 };
    MapGrantRef = "struct ioctl_gntdev_map_grant_ref", 24, {
        count @ 0, pad @ 4, index @ 8, domid @ 16 as "refs[0].domid",
        reference @ 20 as "refs[0].ref",
    };
    UnmapGrantRef = "struct ioctl_gntdev_unmap_grant_ref", 16, {
        index @ 0, count @ 8, pad @ 12,
    };
    AllocGref = "struct ioctl_gntalloc_alloc_gref", 24, {
        domid @ 0, flags @ 2, count @ 4, index @ 8, gref_ids @ 16, pad @ 20 as "",
    };
    DeallocGref = "struct ioctl_gntalloc_dealloc_gref", 16, {
        index @ 0, count @ 8, pad @ 12 as "",
    };
    UnmapNotify = "struct ioctl_gntdev_unmap_notify", 16, {
        index @ 0, action @ 8, event_channel_port @ 12,
    };
});
