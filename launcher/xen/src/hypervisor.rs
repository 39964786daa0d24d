//! Xen itself: opens it, and reports its version and its host.

use crate::argument::sysctl;
use crate::call::Call;
use crate::error::XenError;
use rustix::io::Errno;
use xen_sys::{domctl, hypercall, sysctl};
use zerocopy::FromZeros;

/// An open connection to Xen, from dom0.
///
/// Can be moved between threads; threads that use Xen at the same time open one connection each.
#[derive(Debug)]
pub struct Hypervisor {
    pub(crate) call: Call,
    pub(crate) domctl_version: u32,
    pub(crate) sysctl_version: u32,
    version: (u16, u16),
}

/// The host's resources and abilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Memory of the host, in 4 KiB pages.
    pub total_pages: u64,
    /// Memory available to new domains, in 4 KiB pages.
    pub free_pages: u64,
    /// Memory that Xen still has to scrub before it is free, in 4 KiB pages.
    pub scrub_pages: u64,
    /// Processors that are online.
    pub cpus: u32,
    /// Whether PVH domains can run: the processor has virtualization and Xen uses it.
    pub hvm: bool,
    /// Whether PVH domains have hardware page tables, without which they are slow.
    pub hap: bool,
    /// Whether PV domains can run.
    pub pv: bool,
}

impl Hypervisor {
    /// Opens `/dev/xen/privcmd` and finds out which interface versions this Xen uses.
    ///
    /// # Errors
    /// [`XenError::Call`] outside dom0 or without root; [`XenError::UnknownDomctl`] for a version of Xen that only the
    /// toolstack `xl` supports.
    pub fn open() -> Result<Self, XenError> {
        let call = Call::open()?;
        let version = version(&call)?;
        let (major, minor) = version;
        let domctl_version = probe(domctl::VERSIONS, |version| probe_domctl(&call, version))
            .map_err(|errno| match errno {
                Errno::ACCESS => XenError::UnknownDomctl { major, minor },
                _ => XenError::refused("ask Xen for its domctl version", errno),
            })?;
        let sysctl_version = probe(sysctl::VERSIONS, |version| physinfo(&call, version).map(drop))
            .map_err(|errno| XenError::refused("ask Xen for its sysctl version", errno))?;
        Ok(Self { call, domctl_version, sysctl_version, version })
    }

    /// Xen's version: major and minor.
    #[must_use]
    pub fn version(&self) -> (u16, u16) {
        self.version
    }

    /// The host's current memory and abilities.
    ///
    /// # Errors
    /// [`XenError::Refused`].
    ///
    /// Source: `xen/include/public/sysctl.h` (`xen_sysctl_physinfo`).
    pub fn host(&self) -> Result<Host, XenError> {
        let info = physinfo(&self.call, self.sysctl_version)
            .map_err(|errno| XenError::refused("ask Xen for the machine's memory", errno))?;
        let can = |flag| info.capabilities & flag != 0;
        Ok(Host {
            total_pages: info.total_pages,
            // Xen counts claimed memory as free, but it is reserved.
            free_pages: info.free_pages.saturating_sub(info.outstanding_pages),
            scrub_pages: info.scrub_pages,
            cpus: info.nr_cpus,
            hvm: can(sysctl::PHYSCAP_HVM),
            hap: can(sysctl::PHYSCAP_HAP),
            pv: can(sysctl::PHYSCAP_PV),
        })
    }
}

/// Whether QEMU emulates this machine's processor, as far as dom0 can detect it.
///
/// If Xen cannot hide the real processor's identity from PV domains (no CPUID faulting, as in QEMU), dom0's processes
/// see it. Otherwise they see the identity that Xen shows, and the answer is `false`.
///
/// Source: QEMU `target/i386/cpu.c`, leaf 0x40000000 of its TCG processors.
#[must_use]
pub fn processor_is_emulated() -> bool {
    const HYPERVISOR_NAME: u32 = 0x4000_0000;
    // SAFETY: every x86-64 processor has this instruction; for an unknown leaf it returns other data.
    #[allow(unused_unsafe, reason = "it is safe in newer compilers only")]
    let leaf = unsafe { std::arch::x86_64::__cpuid(HYPERVISOR_NAME) };
    [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).as_flattened() == b"TCGTCGTCGTCG"
}

/// Tries versions until Xen does not refuse one as another version (`EACCES`).
fn probe<const N: usize>(
    versions: [u32; N],
    mut attempt: impl FnMut(u32) -> Result<(), Errno>,
) -> Result<u32, Errno> {
    let mut result = Err(Errno::ACCESS);
    for version in versions {
        result = attempt(version).map(|()| version);
        if result != Err(Errno::ACCESS) {
            break;
        }
    }
    result
}

fn version(call: &Call) -> Result<(u16, u16), XenError> {
    let mut unused = 0u64;
    // SAFETY: this operation takes no addresses.
    let answer = unsafe {
        call.invoke(hypercall::XEN_VERSION, &mut unused, |_| {
            [hypercall::XENVER_VERSION, 0, 0, 0, 0]
        })
    };
    let number = answer.map_err(|errno| XenError::refused("ask Xen for its version", errno))?;
    let half = |bits: u64| u16::try_from(bits & 0xffff).unwrap_or_default();
    Ok((half(number >> 16), half(number)))
}

/// Asks about dom0, which always exists.
fn probe_domctl(call: &Call, version: u32) -> Result<(), Errno> {
    let mut domctl = domctl::Domctl {
        cmd: domctl::GETDOMAININFO,
        interface_version: version,
        ..domctl::Domctl::new_zeroed()
    };
    // SAFETY: this operation has no addresses in its argument.
    unsafe { call.invoke(hypercall::DOMCTL, &mut domctl, |address| [address, 0, 0, 0, 0]) }
        .map(drop)
}

fn physinfo(call: &Call, version: u32) -> Result<sysctl::PhysInfo, Errno> {
    // SAFETY: this operation has no addresses in its argument.
    unsafe { sysctl(call, version, sysctl::PHYSINFO, &sysctl::PhysInfo::new_zeroed()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probing_goes_on_only_while_the_version_is_refused() {
        let only = |known: u32| {
            probe(
                domctl::VERSIONS,
                move |version| {
                    if version == known { Ok(()) } else { Err(Errno::ACCESS) }
                },
            )
        };
        assert_eq!(only(0x15), Ok(0x15));
        assert_eq!(only(0x17), Ok(0x17));
        assert_eq!(only(0x18), Err(Errno::ACCESS));
        let mut tries = 0;
        let result = probe(domctl::VERSIONS, |_| {
            tries += 1;
            Err(Errno::PERM)
        });
        assert_eq!((result, tries), (Err(Errno::PERM), 1));
    }
}
