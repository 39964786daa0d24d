//! `xen/include/public/sysctl.h`: operations on the whole machine, for the toolstack.
#![expect(missing_docs, reason = "fields and constants are documented in the header")]

use crate::layout::{constants, layouts};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The supported interface versions, the newest first: 0x15 is Xen 4.17 to 4.20.
pub const VERSIONS: [u32; 2] = [0x16, 0x15];

constants!(CONSTANTS {
    PHYSINFO: u32 = 3 => "XEN_SYSCTL_physinfo";
    GETDOMAININFOLIST: u32 = 6 => "XEN_SYSCTL_getdomaininfolist";
    PHYSCAP_HVM: u32 = 1 << 0 => "XEN_SYSCTL_PHYSCAP_hvm";
    PHYSCAP_PV: u32 = 1 << 1 => "XEN_SYSCTL_PHYSCAP_pv";
    PHYSCAP_HAP: u32 = 1 << 3 => "XEN_SYSCTL_PHYSCAP_hap";
    PHYSCAP_GNTTAB_V1: u32 = 1 << 8 => "XEN_SYSCTL_PHYSCAP_gnttab_v1";
    PHYSCAP_GNTTAB_V2: u32 = 1 << 9 => "XEN_SYSCTL_PHYSCAP_gnttab_v2";
});

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Sysctl {
    pub cmd: u32,
    pub interface_version: u32,
    /// One of the structures below, followed by zeroes.
    pub payload: [u64; 16],
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct PhysInfo {
    pub threads_per_core: u32,
    pub cores_per_socket: u32,
    pub nr_cpus: u32,
    pub max_cpu_id: u32,
    pub nr_nodes: u32,
    pub max_node_id: u32,
    pub cpu_khz: u32,
    pub capabilities: u32,
    pub arch_capabilities: u32,
    pub pad: u32,
    pub total_pages: u64,
    pub free_pages: u64,
    pub scrub_pages: u64,
    pub outstanding_pages: u64,
    pub max_mfn: u64,
    pub hw_cap: [u32; 8],
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct GetDomainInfoList {
    pub first_domain: u16,
    pub pad1: u16,
    pub max_domains: u32,
    /// Address of `max_domains` [`crate::domctl::GetDomainInfo`].
    pub buffer: u64,
    pub num_domains: u32,
    pub pad2: u32,
}

layouts!(LAYOUTS {
    Sysctl = "struct xen_sysctl", 136, {
        cmd @ 0, interface_version @ 4, payload @ 8 as "u",
    };
    PhysInfo = "struct xen_sysctl_physinfo", 112, {
        threads_per_core @ 0, cores_per_socket @ 4, nr_cpus @ 8, max_cpu_id @ 12, nr_nodes @ 16,
        max_node_id @ 20, cpu_khz @ 24, capabilities @ 28, arch_capabilities @ 32, pad @ 36,
        total_pages @ 40, free_pages @ 48, scrub_pages @ 56, outstanding_pages @ 64, max_mfn @ 72,
        hw_cap @ 80,
    };
    GetDomainInfoList = "struct xen_sysctl_getdomaininfolist", 24, {
        first_domain @ 0, pad1 @ 2 as "", max_domains @ 4, buffer @ 8, num_domains @ 16,
        pad2 @ 20 as "",
    };
});
