//! What a domain can have.

/// What a domain needs for kernel and `init` alone, in MiB.
pub(crate) const MIN_MEMORY_MIB: u32 = 16;

/// The largest number of vCPUs that Xen gives an HVM guest (`HVM_MAX_VCPUS`).
pub(crate) const MAX_VCPUS: u32 = 128;
