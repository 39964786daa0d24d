//! Limits of a domain.

/// The least memory of a domain in MiB, enough for the kernel and `init` alone.
pub(crate) const MIN_MEMORY_MIB: u32 = 16;

/// The largest number of vCPUs that Xen allows an HVM guest (`HVM_MAX_VCPUS`).
pub(crate) const MAX_VCPUS: u32 = 128;
