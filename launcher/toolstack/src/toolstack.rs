//! The trait by which domains are built, asked, changed and destroyed.

use crate::error::ToolstackError;
use crate::guest_nodes::GuestNodes;
use crate::schedule::Schedule;
use crate::spec::{Disk, DomainSpec, Kind, Shape, ToolstackKind, Uuid};
use crate::state::DomainState;
use crate::usage::Usage;
use std::fmt;
use std::fs::File;
use std::time::Duration;
use xen::DomId;

/// A domain that was found, by its UUID, to be the one of an app.
///
/// Xen gives the number of a domain that has ended to another one, after a reboot of the host at once. So
/// a number that was noted in a file may be anybody's by now. [`Toolstack::of_app`] is the only way
/// from such a number to this type, and what changes a domain takes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppDomain {
    domid: DomId,
    uuid: Uuid,
}

impl AppDomain {
    /// Its number.
    #[must_use]
    pub fn domid(self) -> DomId {
        self.domid
    }

    /// Its UUID.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        self.uuid
    }

    /// Its folder in xenstore.
    #[must_use]
    pub fn home(self) -> String {
        format!("/local/domain/{}", self.domid)
    }
}

/// A domain on its way: what [`Toolstack::boot`] has begun and [`Toolstack::complete`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booted {
    /// Nothing yet: the toolstack builds the domain in one go when all of it is known, as `xl` does.
    NotYet,
    /// A domain whose kernel starts, or has started; its `init` waits for devices and orders.
    Domain {
        /// Its number.
        domid: DomId,
        /// What it has already.
        devices: Devices,
    },
}

impl Booted {
    /// The number of the domain, if there is one.
    #[must_use]
    pub fn domid(&self) -> Option<DomId> {
        match self {
            Self::NotYet => None,
            Self::Domain { domid, .. } => Some(*domid),
        }
    }
}

/// The devices that a booted domain has ahead of its app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// None.
    Nothing,
    /// All but the image's disk, which is promised: its backend has agreed with the guest on all but the block
    /// device in dom0.
    DiskPromised,
    /// All.
    Everything,
}

/// What a running domain was built with, and so the most that it can have; `None` where it was not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Number of vCPUs.
    pub vcpus: Option<u32>,
}

/// Builds, asks, changes and destroys the domains of apps.
///
/// Calls block. They are safe to make from several threads and processes at once, for different domains.
pub trait Toolstack: fmt::Debug + Send + Sync {
    /// Checks that domains can be built here at all: Xen is there, and so are the rights.
    ///
    /// # Errors
    /// What is missing.
    fn check(&self) -> Result<(), ToolstackError>;

    /// Whether this Xen's interface is known; if not, [`ToolstackKind::Xl`] is the only toolstack.
    ///
    /// # Errors
    /// There is no Xen, or this process may not use it.
    fn is_xen_known(&self) -> Result<bool, ToolstackError>;

    /// The kind of domain that suits this host.
    fn usual_kind(&self) -> Kind;

    /// Checks that no domain but one of ours has this name.
    ///
    /// # Errors
    /// One has, or Xen or xenstore cannot be asked.
    fn check_name(&self, name: &str) -> Result<(), ToolstackError>;

    /// Boots a domain without devices, for a pool or early in a start; returns while its kernel starts.
    ///
    /// # Errors
    /// The domain could not be built; nothing of it is left then.
    fn boot(&self, name: &str, uuid: Uuid, shape: &Shape) -> Result<Booted, ToolstackError>;

    /// Adds devices ahead of their app, for a pool: those of `spec`, and the promise of the disk `promised`.
    ///
    /// # Errors
    /// A device cannot be made. The domain is of no use any more then: the caller destroys it.
    fn furnish(
        &self,
        booted: Booted,
        spec: &DomainSpec,
        nodes: &GuestNodes,
        promised: Option<&Disk>,
    ) -> Result<Booted, ToolstackError>;

    /// Makes `booted` the domain that `spec` describes, and tells its guest `nodes`.
    ///
    /// Programs that take part inherit `lock`, the open lock file of the app: as long as one of
    /// them goes on building after this process was killed, the app is not taken for left behind.
    ///
    /// # Errors
    /// The domain could not be completed. One that was booted before is still there, for the caller to destroy; of a
    /// new one nothing is left.
    fn complete(
        &self,
        booted: Booted,
        spec: &DomainSpec,
        nodes: &GuestNodes,
        lock: File,
    ) -> Result<DomId, ToolstackError>;

    /// Destroys the domain with all its devices, as the toolstack `kind` does. A domain that is already gone is no
    /// error, and one with another UUID is left alone.
    ///
    /// # Errors
    /// The domain is still there.
    fn destroy(&self, kind: ToolstackKind, domid: DomId, uuid: Uuid) -> Result<(), ToolstackError>;

    /// Writes the config with which `xl create` starts the domain by hand, and what its guest is then told, into the
    /// folder of `spec`; returns the config.
    ///
    /// # Errors
    /// A value that no config can hold, a template with an error, or disk full and the like.
    fn write_config(&self, spec: &DomainSpec, nodes: &GuestNodes)
    -> Result<String, ToolstackError>;

    /// Detaches the disks of domains that are gone; returns a line for each.
    ///
    /// # Errors
    /// Xen or the loop driver cannot be asked.
    fn detach_orphans(&self) -> Result<Vec<String>, ToolstackError>;

    /// The domain with this UUID, if there is one that is not being destroyed.
    ///
    /// # Errors
    /// Xen or xenstore cannot be asked.
    fn find(&self, uuid: Uuid) -> Result<Option<DomId>, ToolstackError>;

    /// What has become of the domain with this number and UUID.
    ///
    /// # Errors
    /// Xen or xenstore cannot be asked.
    fn state(&self, domid: DomId, uuid: Uuid) -> Result<DomainState, ToolstackError>;

    /// The domain with the number `domid`, if it has this UUID and is still there, running or shut down.
    ///
    /// # Errors
    /// As [`Toolstack::state`].
    fn of_app(&self, domid: DomId, uuid: Uuid) -> Result<Option<AppDomain>, ToolstackError> {
        let there = self.state(domid, uuid)? != DomainState::Gone;
        Ok(there.then_some(AppDomain { domid, uuid }))
    }

    /// Whether a toolstack has paused the domain.
    ///
    /// # Errors
    /// Xen cannot be asked.
    fn is_paused(&self, domain: AppDomain) -> Result<bool, ToolstackError>;

    /// Pauses a domain: none of its vCPUs runs until [`Toolstack::unpause`].
    ///
    /// # Errors
    /// The domain has ended, or Xen refuses.
    fn pause(&self, domain: AppDomain) -> Result<(), ToolstackError>;

    /// Lets a paused domain run.
    ///
    /// # Errors
    /// The domain has ended, or Xen refuses.
    fn unpause(&self, domain: AppDomain) -> Result<(), ToolstackError>;

    /// Asks the guest to shut down, as `xl shutdown` does; `stop_time` is how long its app may take, if that is not
    /// what its orders say.
    ///
    /// # Errors
    /// Xenstore refuses the request.
    fn shut_down(
        &self,
        domain: AppDomain,
        stop_time: Option<Duration>,
    ) -> Result<(), ToolstackError>;

    /// Sets a domain's share of the processors.
    ///
    /// # Errors
    /// Xen refuses, or its scheduler knows no shares.
    fn schedule(&self, domain: AppDomain, schedule: Schedule) -> Result<(), ToolstackError>;

    /// Asks the guest to use this much memory and this many vCPUs, as far as its domain was built with so many.
    ///
    /// # Errors
    /// Xenstore refuses.
    fn resize(
        &self,
        domain: AppDomain,
        memory_mib: Option<u32>,
        vcpus: Option<u32>,
    ) -> Result<Built, ToolstackError>;

    /// Gives the domain another name.
    ///
    /// # Errors
    /// Xenstore refuses.
    fn rename(&self, domain: AppDomain, name: &str) -> Result<(), ToolstackError>;

    /// What a domain of this shape has used so far; `None` where it has ended.
    ///
    /// # Errors
    /// Xen cannot be asked, or its interface is not known.
    fn usage(&self, domain: AppDomain, shape: &Shape) -> Result<Option<Usage>, ToolstackError>;
}
