//! The real toolstack: the domains of this dom0, built by either toolstack.

use crate::domains::Domains;
use crate::error::ToolstackError;
use crate::guest_nodes::GuestNodes;
use crate::native::Native;
use crate::orphans::detach_orphans;
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::spec::{Disk, DomainSpec, Kind, Shape, ToolstackKind, Uuid};
use crate::state::DomainState;
use crate::toolstack::{AppDomain, Booted, Built, Toolstack};
use crate::usage::Usage;
use crate::xl::Xl;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use xen::DomId;

/// The domains of this dom0.
#[derive(Debug)]
pub struct Dom0 {
    domains: Arc<Domains>,
    native: Native,
    xl: Xl,
}

impl Dom0 {
    /// The toolstacks with these settings. Opens Xen only when it is first needed.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let domains = Arc::new(Domains::default());
        Self {
            native: Native::new(settings),
            xl: Xl::new(settings.clone(), Arc::clone(&domains)),
            domains,
        }
    }
}

impl Toolstack for Dom0 {
    fn check(&self) -> Result<(), ToolstackError> {
        self.domains.check()
    }

    fn is_xen_known(&self) -> Result<bool, ToolstackError> {
        self.domains.known()
    }

    fn usual_kind(&self) -> Kind {
        self.domains.usual_kind()
    }

    fn check_name(&self, name: &str) -> Result<(), ToolstackError> {
        self.domains.check_name(name)
    }

    fn boot(&self, name: &str, uuid: Uuid, shape: &Shape) -> Result<Booted, ToolstackError> {
        match shape.toolstack {
            ToolstackKind::Native => self.native.boot(name, uuid, shape),
            ToolstackKind::Xl => Ok(Booted::NotYet),
        }
    }

    fn furnish(
        &self,
        booted: Booted,
        spec: &DomainSpec,
        nodes: &GuestNodes,
        promised: Option<&Disk>,
    ) -> Result<Booted, ToolstackError> {
        match booted {
            Booted::NotYet => Ok(booted),
            Booted::Domain { domid, .. } => self.native.furnish(domid, spec, nodes, promised),
        }
    }

    fn complete(
        &self,
        booted: Booted,
        spec: &DomainSpec,
        nodes: &GuestNodes,
        lock: File,
    ) -> Result<DomId, ToolstackError> {
        match booted {
            Booted::NotYet => self.xl.create(spec, nodes, lock),
            Booted::Domain { domid, devices } => {
                self.native.complete(domid, devices, spec, nodes)?;
                Ok(domid)
            }
        }
    }

    fn destroy(&self, kind: ToolstackKind, domid: DomId, uuid: Uuid) -> Result<(), ToolstackError> {
        match kind {
            ToolstackKind::Native => self.native.destroy(domid, uuid),
            ToolstackKind::Xl => self.xl.destroy(domid, uuid),
        }
    }

    fn write_config(
        &self,
        spec: &DomainSpec,
        nodes: &GuestNodes,
    ) -> Result<String, ToolstackError> {
        self.xl.write_config(spec, nodes)
    }

    fn detach_orphans(&self) -> Result<Vec<String>, ToolstackError> {
        detach_orphans(&self.domains)
    }

    fn find(&self, uuid: Uuid) -> Result<Option<DomId>, ToolstackError> {
        self.domains.find(uuid)
    }

    fn state(&self, domid: DomId, uuid: Uuid) -> Result<DomainState, ToolstackError> {
        self.domains.state(domid, uuid)
    }

    fn is_paused(&self, domain: AppDomain) -> Result<bool, ToolstackError> {
        self.domains.is_paused(domain)
    }

    fn pause(&self, domain: AppDomain) -> Result<(), ToolstackError> {
        self.domains.pause(domain)
    }

    fn unpause(&self, domain: AppDomain) -> Result<(), ToolstackError> {
        self.domains.unpause(domain)
    }

    fn shut_down(
        &self,
        domain: AppDomain,
        stop_time: Option<Duration>,
    ) -> Result<(), ToolstackError> {
        self.domains.shut_down(domain, stop_time)
    }

    fn schedule(&self, domain: AppDomain, schedule: Schedule) -> Result<(), ToolstackError> {
        self.domains.set_schedule(domain, schedule)
    }

    fn resize(
        &self,
        domain: AppDomain,
        memory_mib: Option<u32>,
        vcpus: Option<u32>,
    ) -> Result<Built, ToolstackError> {
        self.domains.resize(domain, memory_mib, vcpus)
    }

    fn rename(&self, domain: AppDomain, name: &str) -> Result<(), ToolstackError> {
        self.domains.rename(domain, name)
    }

    fn usage(&self, domain: AppDomain, shape: &Shape) -> Result<Option<Usage>, ToolstackError> {
        let info = self.domains.info(domain)?;
        Ok(info.map(|info| Usage::read(domain.domid(), &info, shape)))
    }
}
