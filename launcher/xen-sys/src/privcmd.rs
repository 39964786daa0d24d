//! Linux's `/dev/xen/privcmd` (`include/uapi/xen/privcmd.h`): hypercalls and foreign mappings.
#![expect(missing_docs, reason = "fields and constants are documented in the header")]

use crate::layout::{constants, layouts};
use zerocopy::{FromBytes, Immutable, IntoBytes};

constants!(CONSTANTS {
    IOCTL_HYPERCALL: u64 = 0x0030_5000 => "IOCTL_PRIVCMD_HYPERCALL";
    IOCTL_MMAPBATCH_V2: u64 = 0x0020_5004 => "IOCTL_PRIVCMD_MMAPBATCH_V2";
    IOCTL_MMAP_RESOURCE: u64 = 0x0020_5007 => "IOCTL_PRIVCMD_MMAP_RESOURCE";
});

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Hypercall {
    pub op: u64,
    pub arg: [u64; 5],
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct MmapBatchV2 {
    pub num: u32,
    pub dom: u16,
    pub pad: u16,
    pub addr: u64,
    /// Address of `num` frame numbers.
    pub arr: u64,
    /// Address of `num` results, 0 or a negative errno.
    pub err: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct MmapResource {
    pub dom: u16,
    pub pad: u16,
    pub kind: u32,
    pub id: u32,
    pub idx: u32,
    pub num: u64,
    pub addr: u64,
}

layouts!(LAYOUTS {
    Hypercall = "struct privcmd_hypercall", 48, { op @ 0, arg @ 8 };
    MmapBatchV2 = "struct privcmd_mmapbatch_v2", 32, {
        num @ 0, dom @ 4, pad @ 6 as "", addr @ 8, arr @ 16, err @ 24,
    };
    MmapResource = "struct privcmd_mmap_resource", 32, {
        dom @ 0, pad @ 2 as "", kind @ 4 as "type", id @ 8, idx @ 12, num @ 16, addr @ 24,
    };
});
