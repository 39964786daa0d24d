//! `xen/include/public/xen.h`: the hypercalls' numbers.
#![expect(missing_docs, reason = "constants are documented in the header")]

use crate::layout::constants;

constants!(CONSTANTS {
    MEMORY_OP: u64 = 12 => "__HYPERVISOR_memory_op";
    XEN_VERSION: u64 = 17 => "__HYPERVISOR_xen_version";
    MMUEXT_OP: u64 = 26 => "__HYPERVISOR_mmuext_op";
    EVENT_CHANNEL_OP: u64 = 32 => "__HYPERVISOR_event_channel_op";
    HVM_OP: u64 = 34 => "__HYPERVISOR_hvm_op";
    SYSCTL: u64 = 35 => "__HYPERVISOR_sysctl";
    DOMCTL: u64 = 36 => "__HYPERVISOR_domctl";
    /// Returns major << 16 | minor.
    XENVER_VERSION: u64 = 0 => "XENVER_version";
    DOMID_SELF: u16 = 0x7FF0 => "DOMID_SELF";
    DOMID_FIRST_RESERVED: u16 = 0x7FF0 => "DOMID_FIRST_RESERVED";
});
