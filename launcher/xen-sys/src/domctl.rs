//! `xen/include/public/domctl.h`: operations on one domain, for the toolstack.
//!
//! Interface versions 0x15 (Xen 4.17) to 0x17 (Xen 4.19 to 4.21). Of the operations in this module only `createdomain`
//! differs: 0x17 has one more field.
#![expect(missing_docs, reason = "fields and constants are documented in the header")]

use crate::layout::{constants, layouts};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The supported interface versions, the newest first.
pub const VERSIONS: [u32; 3] = [0x17, 0x16, 0x15];
/// The size of the union of arguments, in bytes.
pub const PAYLOAD_BYTES: usize = 128;

constants!(CONSTANTS {
    CREATEDOMAIN: u32 = 1 => "XEN_DOMCTL_createdomain";
    DESTROYDOMAIN: u32 = 2 => "XEN_DOMCTL_destroydomain";
    PAUSEDOMAIN: u32 = 3 => "XEN_DOMCTL_pausedomain";
    UNPAUSEDOMAIN: u32 = 4 => "XEN_DOMCTL_unpausedomain";
    GETDOMAININFO: u32 = 5 => "XEN_DOMCTL_getdomaininfo";
    MAX_MEM: u32 = 11 => "XEN_DOMCTL_max_mem";
    SETVCPUCONTEXT: u32 = 12 => "XEN_DOMCTL_setvcpucontext";
    MAX_VCPUS: u32 = 15 => "XEN_DOMCTL_max_vcpus";
    SCHEDULER_OP: u32 = 16 => "XEN_DOMCTL_scheduler_op";
    HYPERCALL_INIT: u32 = 22 => "XEN_DOMCTL_hypercall_init";
    GETHVMCONTEXT: u32 = 33 => "XEN_DOMCTL_gethvmcontext";
    SETHVMCONTEXT: u32 = 34 => "XEN_DOMCTL_sethvmcontext";
    SET_ADDRESS_SIZE: u32 = 35 => "XEN_DOMCTL_set_address_size";
    SETTSCINFO: u32 = 60 => "XEN_DOMCTL_settscinfo";
    SET_PAGING_MEMPOOL_SIZE: u32 = 86 => "XEN_DOMCTL_set_paging_mempool_size";

    CDF_HVM: u32 = 1 << 0 => "XEN_DOMCTL_CDF_hvm";
    CDF_HAP: u32 = 1 << 1 => "XEN_DOMCTL_CDF_hap";
    CDF_OOS_OFF: u32 = 1 << 3 => "XEN_DOMCTL_CDF_oos_off";

    DOMINF_DYING: u32 = 1 << 0 => "XEN_DOMINF_dying";
    DOMINF_HVM_GUEST: u32 = 1 << 1 => "XEN_DOMINF_hvm_guest";
    DOMINF_SHUTDOWN: u32 = 1 << 2 => "XEN_DOMINF_shutdown";
    DOMINF_PAUSED: u32 = 1 << 3 => "XEN_DOMINF_paused";
    DOMINF_BLOCKED: u32 = 1 << 4 => "XEN_DOMINF_blocked";
    DOMINF_RUNNING: u32 = 1 << 5 => "XEN_DOMINF_running";
    DOMINF_SHUTDOWN_MASK: u32 = 255 => "XEN_DOMINF_shutdownmask";
    DOMINF_SHUTDOWN_SHIFT: u32 = 16 => "XEN_DOMINF_shutdownshift";

    EMU_LAPIC: u32 = 1 => "XEN_X86_EMU_LAPIC";

    SCHEDULER_CREDIT: u32 = 5 => "XEN_SCHEDULER_CREDIT";
    SCHEDULER_CREDIT2: u32 = 6 => "XEN_SCHEDULER_CREDIT2";
    SCHEDOP_PUTINFO: u32 = 0 => "XEN_DOMCTL_SCHEDOP_putinfo";

    SHUTDOWN_POWEROFF: u32 = 0 => "SHUTDOWN_poweroff";
    SHUTDOWN_REBOOT: u32 = 1 => "SHUTDOWN_reboot";
    SHUTDOWN_SUSPEND: u32 = 2 => "SHUTDOWN_suspend";
    SHUTDOWN_CRASH: u32 = 3 => "SHUTDOWN_crash";
    SHUTDOWN_WATCHDOG: u32 = 4 => "SHUTDOWN_watchdog";
    SHUTDOWN_SOFT_RESET: u32 = 5 => "SHUTDOWN_soft_reset";
});

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Domctl {
    pub cmd: u32,
    pub interface_version: u32,
    pub domain: u16,
    pub pad: [u16; 3],
    /// One of the structures below, followed by zeroes.
    pub payload: [u64; PAYLOAD_BYTES / 8],
}

/// `struct xen_arch_domainconfig`, x86.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct ArchDomainConfig {
    pub emulation_flags: u32,
    pub misc_flags: u32,
}

/// `createdomain` up to version 0x16.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct CreateDomain16 {
    pub ssidref: u32,
    pub handle: [u8; 16],
    pub flags: u32,
    pub iommu_opts: u32,
    pub max_vcpus: u32,
    pub max_evtchn_port: u32,
    pub max_grant_frames: i32,
    pub max_maptrack_frames: i32,
    pub grant_opts: u32,
    pub vmtrace_size: u32,
    pub cpupool_id: u32,
    pub arch: ArchDomainConfig,
}

/// `createdomain` of version 0x17.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct CreateDomain17 {
    pub ssidref: u32,
    pub handle: [u8; 16],
    pub flags: u32,
    pub iommu_opts: u32,
    pub max_vcpus: u32,
    pub max_evtchn_port: u32,
    pub max_grant_frames: i32,
    pub max_maptrack_frames: i32,
    pub grant_opts: u32,
    /// Xen 4.21 splits this field into options and a count; both layouts agree if all is zero.
    pub altp2m_opts: u32,
    pub vmtrace_size: u32,
    pub cpupool_id: u32,
    pub arch: ArchDomainConfig,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct GetDomainInfo {
    pub domain: u16,
    pub pad1: u16,
    pub flags: u32,
    pub tot_pages: u64,
    pub max_pages: u64,
    pub outstanding_pages: u64,
    pub shr_pages: u64,
    pub paged_pages: u64,
    pub shared_info_frame: u64,
    /// In nanoseconds.
    pub cpu_time: u64,
    pub nr_online_vcpus: u32,
    pub max_vcpu_id: u32,
    pub ssidref: u32,
    pub handle: [u8; 16],
    pub cpupool: u32,
    pub gpaddr_bits: u8,
    pub pad2: [u8; 7],
    pub arch_config: ArchDomainConfig,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct MaxMem {
    pub max_memkb: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct MaxVcpus {
    pub max: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct VcpuContext {
    pub vcpu: u32,
    pub pad: u32,
    /// Address of a [`crate::pv::VcpuGuestContext`].
    pub ctxt: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct HypercallInit {
    pub gmfn: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct HvmContext {
    pub size: u32,
    pub pad: u32,
    /// Address of the records, or 0 to ask for their size.
    pub buffer: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct AddressSize {
    pub size: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct TscInfo {
    pub tsc_mode: u32,
    pub gtsc_khz: u32,
    pub incarnation: u32,
    pub pad: u32,
    pub elapsed_nsec: u64,
}

/// A value of [`TscInfo::tsc_mode`]. Xen's public headers do not name it; `arch-x86/cpuid.h` describes it at
/// leaf 4, sub-leaf 0: "2=no emulation".
pub const TSC_NEVER_EMULATE: u32 = 2;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct PagingMempool {
    /// In bytes.
    pub size: u64,
}

/// `struct xen_domctl_scheduler_op`, with the parameters of credit and credit2, which have the same layout.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct SchedulerOp {
    pub sched_id: u32,
    pub cmd: u32,
    pub weight: u16,
    /// In percent of one processor; 0 means no cap.
    pub cap: u16,
    pub rest: [u32; 3],
}

layouts!(LAYOUTS {
    Domctl = "struct xen_domctl", 144, {
        cmd @ 0, interface_version @ 4, domain @ 8, pad @ 10 as "_pad", payload @ 16 as "u",
    };
    ArchDomainConfig = "struct xen_arch_domainconfig", 8, {
        emulation_flags @ 0, misc_flags @ 4,
    };
    CreateDomain16 = "struct xen_domctl_createdomain", 64, domctl 0x15 ..= 0x16, {
        ssidref @ 0, handle @ 4, flags @ 20, iommu_opts @ 24, max_vcpus @ 28, max_evtchn_port @ 32,
        max_grant_frames @ 36, max_maptrack_frames @ 40, grant_opts @ 44, vmtrace_size @ 48,
        cpupool_id @ 52, arch @ 56,
    };
    CreateDomain17 = "struct xen_domctl_createdomain", 68, domctl 0x17 ..= 0x17, {
        ssidref @ 0, handle @ 4, flags @ 20, iommu_opts @ 24, max_vcpus @ 28, max_evtchn_port @ 32,
        max_grant_frames @ 36, max_maptrack_frames @ 40, grant_opts @ 44, altp2m_opts @ 48,
        vmtrace_size @ 52, cpupool_id @ 56, arch @ 60,
    };
    GetDomainInfo = "struct xen_domctl_getdomaininfo", 112, {
        domain @ 0, pad1 @ 2, flags @ 4, tot_pages @ 8, max_pages @ 16, outstanding_pages @ 24,
        shr_pages @ 32, paged_pages @ 40, shared_info_frame @ 48, cpu_time @ 56,
        nr_online_vcpus @ 64, max_vcpu_id @ 68, ssidref @ 72, handle @ 76, cpupool @ 92,
        gpaddr_bits @ 96, pad2 @ 97, arch_config @ 104,
    };
    MaxMem = "struct xen_domctl_max_mem", 8, { max_memkb @ 0 };
    MaxVcpus = "struct xen_domctl_max_vcpus", 4, { max @ 0 };
    // The padding has no name in C.
    VcpuContext = "struct xen_domctl_vcpucontext", 16, {
        vcpu @ 0, pad @ 4 as "", ctxt @ 8,
    };
    HypercallInit = "struct xen_domctl_hypercall_init", 8, { gmfn @ 0 };
    HvmContext = "struct xen_domctl_hvmcontext", 16, {
        size @ 0, pad @ 4 as "", buffer @ 8,
    };
    AddressSize = "struct xen_domctl_address_size", 4, { size @ 0 };
    TscInfo = "struct xen_domctl_tsc_info", 24, {
        tsc_mode @ 0, gtsc_khz @ 4, incarnation @ 8, pad @ 12, elapsed_nsec @ 16,
    };
    PagingMempool = "struct xen_domctl_paging_mempool", 8, { size @ 0 };
    SchedulerOp = "struct xen_domctl_scheduler_op", 24, {
        sched_id @ 0, cmd @ 4, weight @ 8 as "u.credit2.weight", cap @ 10 as "u.credit2.cap",
        rest @ 12 as "",
    };
});
