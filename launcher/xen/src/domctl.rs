//! Operations on one domain: creation, destruction, limits and state.

use crate::argument::{first_of, padded, sysctl};
use crate::error::{Cause, XenError};
use crate::{DomId, Hypervisor};
use rustix::io::Errno;
use std::time::Duration;
use xen_sys::{domctl, hypercall, sysctl};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// Xen's information about a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its number.
    pub domid: DomId,
    /// Its UUID, as given at its creation.
    pub uuid: [u8; 16],
    /// Why it shut down; `None` if it has not.
    pub shutdown: Option<ShutdownReason>,
    /// Whether Xen is destroying it, or waits for other domains to unmap its memory.
    pub dying: bool,
    /// Whether the toolstack has paused it.
    pub paused: bool,
    /// Whether it is PVH or HVM; otherwise PV.
    pub hvm: bool,
    /// Its current memory, in 4 KiB pages.
    pub total_pages: u64,
    /// The limit on its memory, in 4 KiB pages.
    pub max_pages: u64,
    /// Processor time used by all its vcpus.
    pub cpu_time: Duration,
    /// The number of its vcpus that are online.
    pub online_vcpus: u32,
    /// The frame of its shared info page.
    pub(crate) shared_info_frame: u64,
}

impl DomainInfo {
    fn new(info: &domctl::GetDomainInfo) -> Self {
        let is = |flag| info.flags & flag != 0;
        let code = (info.flags >> domctl::DOMINF_SHUTDOWN_SHIFT) & domctl::DOMINF_SHUTDOWN_MASK;
        let code = u8::try_from(code).unwrap_or(u8::MAX);
        Self {
            domid: DomId(info.domain),
            uuid: info.handle,
            shutdown: is(domctl::DOMINF_SHUTDOWN).then(|| ShutdownReason::from_code(code)),
            dying: is(domctl::DOMINF_DYING),
            paused: is(domctl::DOMINF_PAUSED),
            hvm: is(domctl::DOMINF_HVM_GUEST),
            total_pages: info.tot_pages,
            max_pages: info.max_pages,
            cpu_time: Duration::from_nanos(info.cpu_time),
            online_vcpus: info.nr_online_vcpus,
            shared_info_frame: info.shared_info_frame,
        }
    }
}

/// Why a domain shut down: reported by its kernel, or detected by Xen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownReason {
    /// It powered off normally.
    PowerOff,
    /// It requested a reboot.
    Reboot,
    /// It is suspended, to be saved or migrated.
    Suspend,
    /// Its kernel crashed.
    Crash,
    /// Its watchdog went off.
    Watchdog,
    /// It requested a reset within the same domain.
    SoftReset,
    /// Another code.
    Other(u8),
}

impl ShutdownReason {
    fn from_code(code: u8) -> Self {
        match u32::from(code) {
            domctl::SHUTDOWN_POWEROFF => Self::PowerOff,
            domctl::SHUTDOWN_REBOOT => Self::Reboot,
            domctl::SHUTDOWN_SUSPEND => Self::Suspend,
            domctl::SHUTDOWN_CRASH => Self::Crash,
            domctl::SHUTDOWN_WATCHDOG => Self::Watchdog,
            domctl::SHUTDOWN_SOFT_RESET => Self::SoftReset,
            _ => Self::Other(code),
        }
    }
}

/// The properties of a domain at its creation; all others are set later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewDomain {
    pub(crate) uuid: [u8; 16],
    /// Whether it is PVH; otherwise PV.
    pub(crate) hvm: bool,
    /// Whether it has hardware page tables, for PVH.
    pub(crate) hap: bool,
    pub(crate) max_vcpus: u32,
    pub(crate) max_grant_version: u32,
}

impl NewDomain {
    /// The highest event channel port, as in libxl: enough for a guest, and it limits what Xen allocates for the
    /// domain.
    const MAX_EVENT_CHANNEL_PORT: u32 = 1023;
    /// Xen's own default.
    const DEFAULT: i32 = -1;

    fn flags(self) -> u32 {
        match (self.hvm, self.hap) {
            (false, _) => 0,
            (true, true) => domctl::CDF_HVM | domctl::CDF_HAP | domctl::CDF_OOS_OFF,
            (true, false) => domctl::CDF_HVM | domctl::CDF_OOS_OFF,
        }
    }

    fn arch(self) -> domctl::ArchDomainConfig {
        let emulation_flags = if self.hvm { domctl::EMU_LAPIC } else { 0 };
        domctl::ArchDomainConfig { emulation_flags, misc_flags: 0 }
    }

    fn version_16(self) -> domctl::CreateDomain16 {
        domctl::CreateDomain16 {
            handle: self.uuid,
            flags: self.flags(),
            max_vcpus: self.max_vcpus,
            max_evtchn_port: Self::MAX_EVENT_CHANNEL_PORT,
            max_grant_frames: Self::DEFAULT,
            max_maptrack_frames: Self::DEFAULT,
            grant_opts: self.max_grant_version,
            arch: self.arch(),
            ..domctl::CreateDomain16::new_zeroed()
        }
    }

    fn version_17(self) -> domctl::CreateDomain17 {
        domctl::CreateDomain17 {
            handle: self.uuid,
            flags: self.flags(),
            max_vcpus: self.max_vcpus,
            max_evtchn_port: Self::MAX_EVENT_CHANNEL_PORT,
            max_grant_frames: Self::DEFAULT,
            max_maptrack_frames: Self::DEFAULT,
            grant_opts: self.max_grant_version,
            arch: self.arch(),
            ..domctl::CreateDomain17::new_zeroed()
        }
    }
}

impl Hypervisor {
    /// Xen's information about `domid`; `None` if there is no such domain.
    ///
    /// # Errors
    /// [`XenError::Refused`].
    pub fn domain_info(&self, domid: DomId) -> Result<Option<DomainInfo>, XenError> {
        let empty = domctl::GetDomainInfo::new_zeroed();
        // SAFETY: no addresses in this argument.
        match unsafe { self.domctl(domctl::GETDOMAININFO, domid, &empty) } {
            // If there is no domain with this number, older versions of Xen return the next domain.
            Ok(info) => Ok(Some(DomainInfo::new(&info)).filter(|info| info.domid == domid)),
            Err(Errno::SRCH) => Ok(None),
            Err(errno) => Err(XenError::refused(format!("ask Xen for domain {domid}"), errno)),
        }
    }

    /// Xen's information about all domains, dom0 first.
    ///
    /// # Errors
    /// [`XenError::Refused`].
    pub fn domains(&self) -> Result<Vec<DomainInfo>, XenError> {
        const BATCH: u32 = 256;
        let bytes = BATCH as usize * size_of::<domctl::GetDomainInfo>();
        let buffer = self.call.buffer(bytes)?;
        let mut found: Vec<DomainInfo> = Vec::new();
        loop {
            let ask = sysctl::GetDomainInfoList {
                first_domain: found.last().map_or(0, |last| last.domid.0 + 1),
                max_domains: BATCH,
                buffer: buffer.address(),
                ..sysctl::GetDomainInfoList::new_zeroed()
            };
            // SAFETY: the buffer outlives the call and has room for `max_domains` answers.
            let answer =
                unsafe { sysctl(&self.call, self.sysctl_version, sysctl::GETDOMAININFOLIST, &ask) };
            let count = answer
                .map_err(|errno| XenError::refused("ask Xen for all domains", errno))?
                .num_domains
                .min(BATCH);
            let infos = (0..count as usize).map(|index| DomainInfo::new(&buffer.read(index)));
            found.extend(infos);
            if count < BATCH {
                return Ok(found);
            }
        }
    }

    /// Destroys a domain. Xen gets its memory back once no other domain maps it. The domain's xenstore nodes remain.
    /// Returns `Ok` if there is no such domain.
    ///
    /// # Errors
    /// [`XenError::Refused`].
    pub fn destroy_domain(&self, domid: DomId) -> Result<(), XenError> {
        match self.plain_domctl(domctl::DESTROYDOMAIN, domid, "destroy") {
            Err(error) if error.cause() == Some(Cause::NoSuchDomain) => Ok(()),
            other => other,
        }
    }

    /// Pauses a domain; each pause needs one unpause.
    ///
    /// # Errors
    /// [`XenError::Refused`] ([`Cause::NoSuchDomain`]).
    pub fn pause_domain(&self, domid: DomId) -> Result<(), XenError> {
        self.plain_domctl(domctl::PAUSEDOMAIN, domid, "pause")
    }

    /// Lets a paused domain run.
    ///
    /// # Errors
    /// [`XenError::Refused`] ([`Cause::NoSuchDomain`]; [`Cause::Invalid`] if it is not paused).
    pub fn unpause_domain(&self, domid: DomId) -> Result<(), XenError> {
        self.plain_domctl(domctl::UNPAUSEDOMAIN, domid, "unpause")
    }

    /// Sets a domain's weight and its cap in percent of one processor (0 means no cap), if Xen's scheduler is credit2
    /// or credit.
    ///
    /// # Errors
    /// [`XenError::Refused`] ([`Cause::NoSuchDomain`]; [`Cause::Invalid`] with another scheduler).
    ///
    /// Source: `xen/include/public/domctl.h` (`xen_domctl_scheduler_op`).
    pub fn set_schedule(&self, domid: DomId, weight: u16, cap: u16) -> Result<(), XenError> {
        let mut answer = Err(Errno::INVAL);
        // Xen answers `EINVAL` for a scheduler that is not the domain's.
        for sched_id in [domctl::SCHEDULER_CREDIT2, domctl::SCHEDULER_CREDIT] {
            let payload = domctl::SchedulerOp {
                sched_id,
                cmd: domctl::SCHEDOP_PUTINFO,
                weight,
                cap,
                ..domctl::SchedulerOp::new_zeroed()
            };
            // SAFETY: with this command the argument contains no addresses.
            answer = unsafe { self.domctl(domctl::SCHEDULER_OP, domid, &payload) }.map(drop);
            if answer != Err(Errno::INVAL) {
                break;
            }
        }
        let action = || format!("give domain {domid} the weight {weight} and a cap of {cap} %");
        answer.map_err(|errno| XenError::refused(action(), errno))
    }

    /// Creates an empty, paused domain with the next free number.
    pub(crate) fn create_domain(&self, new: NewDomain) -> Result<DomId, XenError> {
        let any = DomId(0);
        let arguments = if self.domctl_version >= 0x17 {
            padded(&new.version_17())
        } else {
            padded(&new.version_16())
        };
        let mut domctl = self.new_domctl(domctl::CREATEDOMAIN, any, arguments);
        // SAFETY: no addresses in this argument.
        unsafe { self.call_domctl(&mut domctl) }
            .map_err(|errno| XenError::refused("create a domain", errno))?;
        Ok(DomId(domctl.domain))
    }

    /// Allocates the domain's vcpus, as many as at its creation.
    pub(crate) fn set_max_vcpus(&self, domid: DomId, max: u32) -> Result<(), XenError> {
        // SAFETY: no addresses in this argument.
        unsafe { self.domctl(domctl::MAX_VCPUS, domid, &domctl::MaxVcpus { max }) }
            .map(drop)
            .map_err(|errno| XenError::refused(format!("give domain {domid} {max} vcpus"), errno))
    }

    /// Sets the limit on the domain's memory, in KiB. Does not allocate memory.
    pub(crate) fn set_max_memory(&self, domid: DomId, max_kib: u64) -> Result<(), XenError> {
        let payload = domctl::MaxMem { max_memkb: max_kib };
        // SAFETY: no addresses in this argument.
        unsafe { self.domctl(domctl::MAX_MEM, domid, &payload) }.map(drop).map_err(|errno| {
            XenError::refused(format!("limit domain {domid}'s memory to {max_kib} KiB"), errno)
        })
    }

    /// Lets the domain read the TSC directly. Otherwise, unless Xen knows the TSC to be steady, it traps each read,
    /// also reads for the guest's Xen clock. That clock is correct in both cases, because Xen keeps it for each vcpu.
    pub(crate) fn set_native_tsc(&self, domid: DomId) -> Result<(), XenError> {
        let payload = domctl::TscInfo {
            tsc_mode: domctl::TSC_NEVER_EMULATE,
            ..domctl::TscInfo::new_zeroed()
        };
        // SAFETY: no addresses in this argument.
        unsafe { self.domctl(domctl::SETTSCINFO, domid, &payload) }
            .map(drop)
            .map_err(|errno| XenError::refused(format!("set domain {domid}'s TSC mode"), errno))
    }

    /// Reserves Xen's own memory for the page tables of a PVH domain.
    pub(crate) fn set_paging_memory(&self, domid: DomId, bytes: u64) -> Result<(), XenError> {
        let payload = domctl::PagingMempool { size: bytes };
        // SAFETY: no addresses in this argument.
        unsafe { self.domctl(domctl::SET_PAGING_MEMPOOL_SIZE, domid, &payload) }.map(drop).map_err(
            |errno| {
                let kib = bytes / 1024;
                let action = format!("set {kib} KiB aside for domain {domid}'s page tables");
                XenError::refused(action, errno)
            },
        )
    }

    fn plain_domctl(&self, cmd: u32, domid: DomId, verb: &str) -> Result<(), XenError> {
        // SAFETY: these operations take no argument.
        unsafe { self.domctl(cmd, domid, &0u64) }
            .map(drop)
            .map_err(|errno| XenError::refused(format!("{verb} domain {domid}"), errno))
    }

    /// Carries out one domctl and returns its argument as Xen left it.
    ///
    /// # Safety
    /// Each address in `payload` must be that of a buffer as large as this operation accesses it.
    pub(crate) unsafe fn domctl<P: FromBytes + IntoBytes + Immutable>(
        &self,
        cmd: u32,
        domid: DomId,
        payload: &P,
    ) -> Result<P, Errno> {
        let mut domctl = self.new_domctl(cmd, domid, padded(payload));
        // SAFETY: the caller ensures this function's contract.
        unsafe { self.call_domctl(&mut domctl) }?;
        first_of(&domctl.payload)
    }

    fn new_domctl(&self, cmd: u32, domid: DomId, payload: [u64; 16]) -> domctl::Domctl {
        domctl::Domctl {
            cmd,
            interface_version: self.domctl_version,
            domain: domid.0,
            payload,
            ..domctl::Domctl::new_zeroed()
        }
    }

    /// # Safety
    /// As for [`Hypervisor::domctl`].
    unsafe fn call_domctl(&self, domctl: &mut domctl::Domctl) -> Result<u64, Errno> {
        // SAFETY: the caller ensures this function's contract.
        unsafe { self.call.invoke(hypercall::DOMCTL, domctl, |address| [address, 0, 0, 0, 0]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pvh_domain_has_a_local_apic_and_a_pv_domain_has_nothing_emulated() {
        let new =
            NewDomain { uuid: [7; 16], hvm: true, hap: true, max_vcpus: 2, max_grant_version: 1 };
        assert_eq!(new.version_17().arch.emulation_flags, 1);
        assert_eq!(new.version_16().flags, 0b1011);
        let new = NewDomain { hvm: false, ..new };
        assert_eq!(new.version_17().arch.emulation_flags, 0);
        assert_eq!(new.version_16().flags, 0);
    }
}
