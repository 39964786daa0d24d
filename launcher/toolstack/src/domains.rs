//! Asks Xen about domains of both toolstacks.

use crate::error::ToolstackError;
use crate::schedule::Schedule;
use crate::spec::{Kind, Uuid};
use crate::state::DomainState;
use crate::toolstack::{AppDomain, Built};
use crate::xl_program as xl;
use contract::store as nodes;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use xen::store::Store;
use xen::{DomId, Hypervisor, XenError};

/// Dom0's name in xenstore, which Xen's own init program gives it.
const DOM0_NAME: &str = "Domain-0";
const PRIVCMD: &str = "/dev/xen/privcmd";

/// The domains of this machine. If `launch` does not know the interface of this Xen, asks xenstore and `xl` instead.
#[derive(Debug, Default)]
pub(crate) struct Domains {
    /// Opened when first needed. The inner `None`: `launch` does not know the interface of this Xen.
    hypervisor: Mutex<Option<Option<Hypervisor>>>,
}

impl Domains {
    /// Checks that domains can be built here: Xen runs, and this process may use it.
    ///
    /// # Errors
    /// Xen or a right is missing; the error says which.
    pub(crate) fn check(&self) -> Result<(), ToolstackError> {
        let path = PathBuf::from(PRIVCMD);
        match File::options().read(true).write(true).open(&path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(ToolstackError::NotRoot { path })
            }
            Err(_) => Err(ToolstackError::NoXen { path }),
        }
    }

    /// Whether `launch` knows the interface of this Xen; if not, only the xl toolstack works.
    ///
    /// # Errors
    /// Xen does not run, or this process may not use it.
    pub(crate) fn known(&self) -> Result<bool, ToolstackError> {
        Ok(self.ask(|_| Ok(()))?.is_some())
    }

    /// Asks Xen itself; `None` if `launch` does not know its interface.
    fn ask<T>(
        &self,
        question: impl FnOnce(&Hypervisor) -> Result<T, XenError>,
    ) -> Result<Option<T>, ToolstackError> {
        let mut slot = self.hypervisor.lock().unwrap_or_else(PoisonError::into_inner);
        let hypervisor = match &mut *slot {
            Some(opened) => opened,
            empty => empty.insert(match Hypervisor::open() {
                Ok(hypervisor) => Some(hypervisor),
                Err(XenError::UnknownDomctl { .. }) => None,
                Err(error) => return Err(error.into()),
            }),
        };
        Ok(hypervisor.as_ref().map(question).transpose()?)
    }

    /// Checks that this machine can run domains of this type. An unknown Xen counts as able.
    ///
    /// # Errors
    /// It cannot.
    pub(crate) fn check_kind(&self, kind: Kind) -> Result<(), ToolstackError> {
        let Some(machine) = self.ask(Hypervisor::host)? else { return Ok(()) };
        let possible = match kind {
            Kind::Pv => machine.pv,
            Kind::Pvh => machine.hvm,
        };
        if possible { Ok(()) } else { Err(ToolstackError::KindImpossible(kind)) }
    }

    /// The type that suits this machine: PVH. PV if hardware virtualization is missing or emulated, because an
    /// emulated one is slow and sometimes corrupts its guests' registers.
    #[must_use]
    pub(crate) fn usual_kind(&self) -> Kind {
        match self.ask(Hypervisor::host) {
            Ok(Some(machine)) if machine.pv && (!machine.hap || xen::processor_is_emulated()) => {
                Kind::Pv
            }
            // If Xen is missing, the app's start returns the error.
            _ => Kind::Pvh,
        }
    }

    /// Memory that a new domain can get, in MiB, if known.
    #[must_use]
    pub(crate) fn free_mib(&self) -> Option<u64> {
        self.ask(Hypervisor::host).ok().flatten().map(|machine| machine.free_pages / 256)
    }

    /// The state of a domain.
    ///
    /// # Errors
    /// Xen or xenstore cannot be asked.
    pub(crate) fn state(&self, domid: DomId, uuid: Uuid) -> Result<DomainState, ToolstackError> {
        let Some(info) = self.ask(|hypervisor| hypervisor.domain_info(domid))? else {
            return xl::state(domid, uuid);
        };
        Ok(match info {
            Some(info) if info.uuid == uuid.bytes() && !info.dying => {
                info.shutdown.map_or(DomainState::Alive, DomainState::ShutDown)
            }
            _ => DomainState::Gone,
        })
    }

    /// The numbers of all domains.
    ///
    /// # Errors
    /// Xen or xenstore cannot be asked.
    pub(crate) fn alive(&self) -> Result<HashSet<DomId>, ToolstackError> {
        Ok(match self.ask(Hypervisor::domains)? {
            Some(domains) => {
                domains.into_iter().filter(|info| !info.dying).map(|info| info.domid).collect()
            }
            None => {
                let all = Store::connect()?.list("/local/domain")?;
                all.iter().filter_map(|name| name.parse().ok()).collect()
            }
        })
    }

    /// The domain with this UUID.
    ///
    /// # Errors
    /// Xen or xenstore cannot be asked.
    pub(crate) fn find(&self, uuid: Uuid) -> Result<Option<DomId>, ToolstackError> {
        match self.ask(Hypervisor::domains)? {
            Some(domains) => Ok(domains
                .into_iter()
                .find(|info| info.uuid == uuid.bytes() && !info.dying)
                .map(|info| info.domid)),
            None => find_in_xenstore(uuid),
        }
    }

    /// Whether a toolstack has paused the domain.
    ///
    /// # Errors
    /// Xen cannot be asked.
    pub(crate) fn is_paused(&self, domain: AppDomain) -> Result<bool, ToolstackError> {
        match self.ask(|hypervisor| hypervisor.domain_info(domain.domid()))? {
            Some(info) => Ok(info.is_some_and(|info| info.paused)),
            None => xl::is_paused(domain.domid()),
        }
    }

    /// Pauses a domain.
    ///
    /// # Errors
    /// The domain has ended, or Xen refuses.
    pub(crate) fn pause(&self, domain: AppDomain) -> Result<(), ToolstackError> {
        match self.ask(|hypervisor| hypervisor.pause_domain(domain.domid()))? {
            Some(()) => Ok(()),
            None => xl::run("pause", domain.domid()),
        }
    }

    /// Unpauses a domain.
    ///
    /// # Errors
    /// The domain has ended, or Xen refuses.
    pub(crate) fn unpause(&self, domain: AppDomain) -> Result<(), ToolstackError> {
        match self.ask(|hypervisor| hypervisor.unpause_domain(domain.domid()))? {
            Some(()) => Ok(()),
            None => xl::run("unpause", domain.domid()),
        }
    }

    /// Xen's information about a domain; `None` if the domain has ended.
    ///
    /// # Errors
    /// Xen cannot be asked, or `launch` does not know its interface.
    pub(crate) fn info(
        &self,
        domain: AppDomain,
    ) -> Result<Option<xen::DomainInfo>, ToolstackError> {
        let info = self.ask(|hypervisor| hypervisor.domain_info(domain.domid()))?;
        info.ok_or(ToolstackError::UnknownXen)
    }

    /// Sets a domain's share of the processors.
    ///
    /// # Errors
    /// Xen refuses, or its scheduler has no shares.
    pub(crate) fn set_schedule(
        &self,
        domain: AppDomain,
        schedule: Schedule,
    ) -> Result<(), ToolstackError> {
        let (weight, cap) = (schedule.weight(), schedule.cap());
        match self.ask(|hypervisor| hypervisor.set_schedule(domain.domid(), weight, cap))? {
            Some(()) => Ok(()),
            None => xl::set_schedule(domain.domid(), weight, cap),
        }
    }

    /// Asks the guest to shut down, as `xl shutdown` does. `stop_time` replaces the stop time of the guest's orders.
    ///
    /// # Errors
    /// Xenstore refuses the request.
    pub(crate) fn shut_down(
        &self,
        domain: AppDomain,
        stop_time: Option<Duration>,
    ) -> Result<(), ToolstackError> {
        let store = Store::connect()?;
        let home = domain.home();
        if let Some(time) = stop_time {
            let most_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            store.write(&format!("{home}/{}", nodes::STOP_TIMEOUT), &most_ms.to_string())?;
        }
        Ok(store.write(&format!("{home}/control/shutdown"), "poweroff")?)
    }

    /// Tells the guest how much memory and how many vCPUs to use, at most as many as its domain was built with.
    ///
    /// # Errors
    /// Xenstore refuses.
    pub(crate) fn resize(
        &self,
        domain: AppDomain,
        memory_mib: Option<u32>,
        vcpus: Option<u32>,
    ) -> Result<Built, ToolstackError> {
        let store = Store::connect()?;
        let home = domain.home();
        let mut built = Built::default();
        if let Some(memory_mib) = memory_mib {
            let most = store.read_optional(&format!("{home}/memory/static-max"))?;
            let most_kib: u64 = most.and_then(|kib| kib.parse().ok()).unwrap_or_default();
            built.memory_mib = Some(most_kib / 1024);
            // The guest's balloon driver then gives up or takes back memory, page by page.
            let target = (u64::from(memory_mib) * 1024).min(most_kib);
            store.write(&format!("{home}/memory/target"), &target.to_string())?;
        }
        if let Some(vcpus) = vcpus {
            let most = store.list(&format!("{home}/cpu"))?.len().try_into().unwrap_or(u32::MAX);
            built.vcpus = Some(most);
            for vcpu in 0..most {
                let state = if vcpu < vcpus { "online" } else { "offline" };
                store.write(&format!("{home}/cpu/{vcpu}/availability"), state)?;
            }
        }
        Ok(built)
    }

    /// Renames the domain.
    ///
    /// # Errors
    /// Xenstore refuses.
    pub(crate) fn rename(&self, domain: AppDomain, name: &str) -> Result<(), ToolstackError> {
        let store = Store::connect()?;
        store.write(&format!("{}/name", domain.home()), name)?;
        Ok(store.write(&format!("/vm/{}/name", domain.uuid()), name)?)
    }

    /// Checks that no other tool's domain has this name.
    ///
    /// # Errors
    /// Such a domain has it, or xenstore cannot be asked.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), ToolstackError> {
        let Some(domains) = self.ask(Hypervisor::domains)? else { return Ok(()) };
        let taken = Err(ToolstackError::NameTaken(name.to_owned()));
        if name == DOM0_NAME {
            return taken;
        }
        // Skips the domains of `launch`: the names of apps are unique already.
        let is_foreign = |domain: &xen::DomainInfo| {
            Uuid::from_bytes(domain.uuid).app().is_none()
                && !domain.dying
                && domain.domid != DomId::DOM0
        };
        let mut store = None;
        for domain in domains.iter().filter(|domain| is_foreign(domain)) {
            let store = match &store {
                Some(store) => store,
                None => store.insert(Store::connect()?),
            };
            let node = format!("/local/domain/{}/name", domain.domid);
            if store.read_optional(&node)?.as_deref() == Some(name) {
                return taken;
            }
        }
        Ok(())
    }
}

fn find_in_xenstore(uuid: Uuid) -> Result<Option<DomId>, ToolstackError> {
    let store = Store::connect()?;
    let wanted = format!("/vm/{uuid}");
    let mut domids: Vec<DomId> =
        store.list("/local/domain")?.iter().filter_map(|name| name.parse().ok()).collect();
    // Newest first: it has the highest number, unless numbers have wrapped around.
    domids.sort_unstable_by(|a, b| b.cmp(a));
    for domid in domids {
        if store.read_optional(&format!("/local/domain/{domid}/vm"))?.as_deref() == Some(&wanted) {
            return Ok(Some(domid));
        }
    }
    Ok(None)
}
