//! The trait with which apps build, ask, change and destroy domains.

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

/// A domain that was found, by its UUID, to belong to an app.
///
/// Xen reuses the numbers of ended domains, and all numbers after a reboot of the host. So a number from a file may
/// belong to any domain by now. [`Toolstack::of_app`] is the only way from such a number to this type, and functions
/// that change a domain take only this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppDomain {
    domid: DomId,
    uuid: Uuid,
}

impl AppDomain {
    /// The domain's number.
    #[must_use]
    pub fn domid(self) -> DomId {
        self.domid
    }

    /// The domain's UUID.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        self.uuid
    }

    /// The domain's folder in xenstore.
    #[must_use]
    pub fn home(self) -> String {
        format!("/local/domain/{}", self.domid)
    }
}

/// A domain between [`Toolstack::boot`] and [`Toolstack::complete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booted {
    /// No domain yet: the toolstack builds it in one step once everything is known, as `xl` does.
    NotYet,
    /// A domain whose kernel is starting or has started; its `init` waits for devices and orders.
    Domain {
        /// The domain's number.
        domid: DomId,
        /// The devices that the domain already has.
        devices: Devices,
    },
}

impl Booted {
    /// The domain's number, if there is one.
    #[must_use]
    pub fn domid(&self) -> Option<DomId> {
        match self {
            Self::NotYet => None,
            Self::Domain { domid, .. } => Some(*domid),
        }
    }
}

/// The devices that a booted domain has before its app is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// None.
    Nothing,
    /// All except the image's disk, which is promised: its backend and the guest have agreed on everything but the
    /// block device in dom0.
    DiskPromised,
    /// All.
    Everything,
}

/// What a running domain was built with, which is also its maximum; `None` for what was not asked.
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
    /// Checks that domains can be built here: Xen runs, and this process may use it.
    ///
    /// # Errors
    /// Xen or a right is missing; the error says which.
    fn check(&self) -> Result<(), ToolstackError>;

    /// Whether `launch` knows the interface of this Xen; if not, [`ToolstackKind::Xl`] is the only toolstack.
    ///
    /// # Errors
    /// Xen does not run, or this process may not use it.
    fn is_xen_known(&self) -> Result<bool, ToolstackError>;

    /// The type of domain that suits this host.
    fn usual_kind(&self) -> Kind;

    /// Checks that no domain of another tool has this name.
    ///
    /// # Errors
    /// Such a domain has it, or Xen or xenstore cannot be asked.
    fn check_name(&self, name: &str) -> Result<(), ToolstackError>;

    /// Boots a domain without devices, for a pool or early in a start. Returns while the guest's kernel starts.
    ///
    /// # Errors
    /// The domain cannot be built. Nothing of it is left then.
    fn boot(&self, name: &str, uuid: Uuid, shape: &Shape) -> Result<Booted, ToolstackError>;

    /// Adds devices for a pool, before the app is known: those of `spec`, and the promise of the disk `promised`.
    ///
    /// # Errors
    /// A device cannot be made. The domain is then unusable, and the caller destroys it.
    fn furnish(
        &self,
        booted: Booted,
        spec: &DomainSpec,
        nodes: &GuestNodes,
        promised: Option<&Disk>,
    ) -> Result<Booted, ToolstackError>;

    /// Makes `booted` the domain that `spec` describes, and gives its guest `nodes`.
    ///
    /// Programs that build the domain inherit `lock`, the open lock file of the app. So if this process is killed, no
    /// other process repairs the app while such a program still works.
    ///
    /// # Errors
    /// The domain cannot be completed. If it was booted before, it still exists, and the caller destroys it. If it is
    /// new, nothing of it is left.
    fn complete(
        &self,
        booted: Booted,
        spec: &DomainSpec,
        nodes: &GuestNodes,
        lock: File,
    ) -> Result<DomId, ToolstackError>;

    /// Destroys the domain with all its devices, as the toolstack `kind` does. It is no error if the domain is already
    /// gone. A domain with another UUID is left alone.
    ///
    /// # Errors
    /// The domain still exists.
    fn destroy(&self, kind: ToolstackKind, domid: DomId, uuid: Uuid) -> Result<(), ToolstackError>;

    /// Writes the config for `xl create` and the guest's nodes into the folder of `spec`, so that a user can start the
    /// domain by hand. Returns the config.
    ///
    /// # Errors
    /// A value does not fit a config, a template has an error, or the file system fails.
    fn write_config(&self, spec: &DomainSpec, nodes: &GuestNodes)
    -> Result<String, ToolstackError>;

    /// Detaches the disks of domains that no longer exist; returns a line for each.
    ///
    /// # Errors
    /// Xen or the loop driver cannot be asked.
    fn detach_orphans(&self) -> Result<Vec<String>, ToolstackError>;

    /// The domain with this UUID, unless it is being destroyed.
    ///
    /// # Errors
    /// Xen or xenstore cannot be asked.
    fn find(&self, uuid: Uuid) -> Result<Option<DomId>, ToolstackError>;

    /// The state of the domain with this number and UUID.
    ///
    /// # Errors
    /// Xen or xenstore cannot be asked.
    fn state(&self, domid: DomId, uuid: Uuid) -> Result<DomainState, ToolstackError>;

    /// The domain with the number `domid`, if it has this UUID and still exists, running or shut down.
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

    /// Pauses a domain: its vCPUs do not run until [`Toolstack::unpause`].
    ///
    /// # Errors
    /// The domain has ended, or Xen refuses.
    fn pause(&self, domain: AppDomain) -> Result<(), ToolstackError>;

    /// Unpauses a domain.
    ///
    /// # Errors
    /// The domain has ended, or Xen refuses.
    fn unpause(&self, domain: AppDomain) -> Result<(), ToolstackError>;

    /// Asks the guest to shut down, as `xl shutdown` does. `stop_time` replaces the stop time of the guest's orders.
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
    /// Xen refuses, or its scheduler has no shares.
    fn schedule(&self, domain: AppDomain, schedule: Schedule) -> Result<(), ToolstackError>;

    /// Asks the guest to use this much memory and this many vCPUs, at most as many as its domain was built with.
    ///
    /// # Errors
    /// Xenstore refuses.
    fn resize(
        &self,
        domain: AppDomain,
        memory_mib: Option<u32>,
        vcpus: Option<u32>,
    ) -> Result<Built, ToolstackError>;

    /// Renames the domain.
    ///
    /// # Errors
    /// Xenstore refuses.
    fn rename(&self, domain: AppDomain, name: &str) -> Result<(), ToolstackError>;

    /// What a domain of this shape has used so far; `None` if it has ended.
    ///
    /// # Errors
    /// Xen cannot be asked, or `launch` does not know its interface.
    fn usage(&self, domain: AppDomain, shape: &Shape) -> Result<Option<Usage>, ToolstackError>;
}
