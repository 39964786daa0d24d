//! Builds PV and PVH domains: the native toolstack's work, from a description to a paused domain.
//!
//! Nothing here runs a script or waits for a device: all nodes are written at once, and backends connect while the
//! guest boots.

mod acpi;
mod error;
mod guest;
mod kernel;
mod nodes;
mod pagetables;
mod payload;
mod piece;
mod pv;
mod pvh;
mod ram;

pub use error::{BuildError, KernelError};
pub use guest::{Devices, Disk, Guest, Interface, Kind, Nodes, PromisedDisk};
pub use nodes::disk_number;
pub use payload::Payload;

use crate::domctl::NewDomain;
use crate::error::Cause;
use crate::evtchn::EventChannels;
use crate::store::Store;
use crate::{DomId, Hypervisor};
use guest::{Ports, Rings};

/// The memory that Xen's tools allow a domain beyond its own, in KiB; its special pages are part of it.
const SLACK_KIB: u64 = 1024;
/// The newest version of grant tables that a guest may use; version 2 is for machines beyond 16 TiB.
const MAX_GRANT_VERSION: u32 = 1;

/// Event channels that a domain takes from dom0: one each for xenstored, xenconsoled and its two disks, two for its
/// interface.
const DOM0_PORTS: u32 = 6;

/// A domain with memory and vcpus, not introduced to xenstored. Dropping it destroys it.
#[derive(Debug)]
pub struct BuiltDomain<'a> {
    domain: Undo<'a>,
    guest: Guest<'a>,
    ports: Ports,
    rings: Rings,
}

impl<'a> BuiltDomain<'a> {
    /// Its domain number.
    #[must_use]
    pub fn domid(&self) -> DomId {
        self.domain.domid
    }

    /// Writes its nodes and introduces it to xenstored. [`attach`] adds devices.
    ///
    /// # Errors
    /// [`BuildError::Store`]; the domain is then destroyed.
    pub fn introduce(self) -> Result<PausedDomain<'a>, BuildError> {
        let Self { domain, guest, ports, rings } = self;
        let introduce = || -> Result<(), BuildError> {
            nodes::write(domain.store, domain.domid, &guest, ports, rings)?;
            let introduced = domain.store.introduce(domain.domid, rings.store, ports.store);
            introduced.map_err(|error| match error.refusal() {
                Some(refusal) => {
                    BuildError::NotIntroduced { domid: domain.domid, refusal: refusal.clone() }
                }
                None => error.into(),
            })
        };
        match introduce() {
            Ok(()) => Ok(PausedDomain(domain)),
            Err(error) => Err(domain.undo(error)),
        }
    }
}

/// A domain that has not run. Dropping it destroys it.
#[derive(Debug)]
pub struct PausedDomain<'a>(Undo<'a>);

impl PausedDomain<'_> {
    /// Its domain number.
    #[must_use]
    pub fn domid(&self) -> DomId {
        self.0.domid
    }

    /// Lets it run. The domain keeps running after this value is dropped.
    ///
    /// # Errors
    /// [`BuildError::Xen`]; the domain is then destroyed.
    pub fn unpause(self) -> Result<DomId, BuildError> {
        match self.0.xen.unpause_domain(self.0.domid) {
            Ok(()) => Ok(self.0.keep()),
            Err(error) => Err(self.0.undo(error.into())),
        }
    }
}

/// Destroys a domain when dropped.
#[derive(Debug)]
struct Undo<'a> {
    xen: &'a Hypervisor,
    store: &'a Store,
    domid: DomId,
    uuid: [u8; 16],
    armed: bool,
}

impl Undo<'_> {
    fn keep(mut self) -> DomId {
        self.armed = false;
        self.domid
    }

    /// Destroys the domain now, so that the caller sees errors.
    fn undo(mut self, error: BuildError) -> BuildError {
        self.armed = false;
        match destroy(self.xen, self.store, self.domid, &self.uuid) {
            Ok(()) => error,
            Err(undo) => BuildError::NotUndone { error: Box::new(error), undo: Box::new(undo) },
        }
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.armed {
            // A drop cannot report errors; the UUID identifies a domain that could not be destroyed.
            let _ = destroy(self.xen, self.store, self.domid, &self.uuid);
        }
    }
}

/// Builds a domain, without its nodes in xenstore.
///
/// # Errors
/// [`BuildError`]. Everything created is undone; if that fails too, [`BuildError::NotUndone`].
pub fn build<'a>(
    xen: &'a Hypervisor,
    store: &'a Store,
    guest: &Guest<'a>,
) -> Result<BuiltDomain<'a>, BuildError> {
    check(guest)?;
    check_event_channels()?;
    let hap = check_host(xen, guest.kind)?;
    let new = NewDomain {
        uuid: guest.uuid,
        hvm: guest.kind == Kind::Pvh,
        hap,
        max_vcpus: guest.vcpus,
        max_grant_version: MAX_GRANT_VERSION,
    };
    let explained = |error| out_of_memory(xen, guest, error);
    let domid = xen.create_domain(new).map_err(BuildError::from).map_err(explained)?;
    let domain = Undo { xen, store, domid, uuid: guest.uuid, armed: true };
    match fill(xen, domid, guest) {
        Ok((ports, rings)) => Ok(BuiltDomain { domain, guest: *guest, ports, rings }),
        Err(error) => Err(domain.undo(explained(error))),
    }
}

/// Checks, before a domain is created, whether dom0 has enough event channels for it. If xenstored in OCaml cannot
/// serve a domain, it keeps a page of the domain mapped, and so the domain cannot be destroyed completely.
///
/// # Errors
/// [`BuildError::NoEventChannels`].
pub fn check_event_channels() -> Result<(), BuildError> {
    // If the device is missing, the first caller that needs it reports that.
    let Ok(channels) = EventChannels::open() else { return Ok(()) };
    for _ in 0..DOM0_PORTS {
        if channels.allocate(DomId::DOM0).is_err_and(|error| error.is_used_up()) {
            return Err(BuildError::NoEventChannels);
        }
    }
    Ok(())
}

/// If any step ran out of memory, turns its error into one with figures.
fn out_of_memory(xen: &Hypervisor, guest: &Guest<'_>, error: BuildError) -> BuildError {
    let BuildError::Xen(refused) = &error else { return error };
    if refused.cause() != Some(Cause::NoMemory) {
        return error;
    }
    let wanted_mib = u64::from(guest.memory_mib)
        + match guest.kind {
            Kind::Pvh => pvh::paging_bytes(guest).div_ceil(1 << 20),
            Kind::Pv => 0,
        };
    match xen.host().map(|host| host.free_pages / 256) {
        Ok(free_mib) if free_mib < wanted_mib => BuildError::OutOfMemory { wanted_mib, free_mib },
        _ => error,
    }
}

fn fill(xen: &Hypervisor, domid: DomId, guest: &Guest<'_>) -> Result<(Ports, Rings), BuildError> {
    xen.set_max_vcpus(domid, guest.vcpus)?;
    xen.set_max_memory(domid, u64::from(guest.memory_mib) * 1024 + SLACK_KIB)?;
    let ports = Ports {
        store: xen.allocate_port(domid, DomId::DOM0)?,
        console: xen.allocate_port(domid, DomId::DOM0)?,
    };
    let rings = match guest.kind {
        Kind::Pvh => pvh::build(xen, domid, guest, ports)?,
        Kind::Pv => pv::build(xen, domid, guest, ports)?,
    };
    Ok((ports, rings))
}

/// Adds devices and nodes to an introduced domain, whether it already runs or not.
///
/// # Errors
/// [`BuildError::Store`], [`BuildError::Invalid`]; nothing has changed then.
pub fn attach(store: &Store, domid: DomId, devices: &Devices<'_>) -> Result<(), BuildError> {
    nodes::attach(store, domid, devices)
}

/// Promises a further disk to a domain that already has one: the guest's driver and dom0's prepare for it, and wait for
/// [`provide`].
///
/// # Errors
/// [`BuildError::Store`], [`BuildError::Invalid`]; nothing has changed then.
pub fn promise(store: &Store, domid: DomId, disk: &PromisedDisk<'_>) -> Result<(), BuildError> {
    nodes::promise(store, domid, disk)
}

/// Gives a domain the disk that it was promised, and further nodes.
///
/// # Errors
/// Those of [`promise`].
pub fn provide(
    store: &Store,
    domid: DomId,
    disk: &Disk<'_>,
    others: Nodes<'_>,
) -> Result<(), BuildError> {
    nodes::provide(store, domid, disk, others)
}

/// Destroys a domain and removes its nodes, and so its devices, from xenstore. Returns `Ok` if the domain or its nodes
/// do not exist.
///
/// Returns when dom0's kernel has released block devices and interfaces, or after two seconds.
///
/// # Errors
/// [`BuildError::Xen`], [`BuildError::Store`].
pub fn destroy(
    xen: &Hypervisor,
    store: &Store,
    domid: DomId,
    uuid: &[u8; 16],
) -> Result<(), BuildError> {
    // If xenstored does not answer, the domain is destroyed nevertheless.
    let introduced = store.is_domain_introduced(domid);
    xen.destroy_domain(domid)?;
    if introduced? {
        nodes::let_console_come(store, domid)?;
    }
    nodes::remove(store, domid, uuid)?;
    Ok(nodes::let_backends_go(store, domid)?)
}

/// Rejects an invalid description before anything is created.
fn check(guest: &Guest<'_>) -> Result<(), BuildError> {
    let problem = if !(1..=acpi::MAX_VCPUS).contains(&guest.vcpus) {
        format!("{} is not a valid number of vcpus; use 1 to {}", guest.vcpus, acpi::MAX_VCPUS)
    } else if guest.memory_mib == 0 {
        "0 MiB is not a valid size of memory".to_owned()
    } else if guest.cmdline.contains('\0') {
        "the kernel command line contains a NUL".to_owned()
    } else if guest.name.is_empty() || guest.name.contains(['/', '\0', '\n']) {
        format!("{:?} is not a valid name for a domain", guest.name)
    } else {
        return Ok(());
    };
    Err(BuildError::Invalid(problem))
}

/// Checks that this machine can run such domains. Returns whether it has hardware page tables.
fn check_host(xen: &Hypervisor, kind: Kind) -> Result<bool, BuildError> {
    let host = xen.host()?;
    match kind {
        Kind::Pvh if !host.hvm => Err(BuildError::KindUnsupported {
            kind: "PVH",
            why: "its processor has no virtualization, or the firmware has it off; use --type pv",
        }),
        Kind::Pv if !host.pv => Err(BuildError::KindUnsupported {
            kind: "PV",
            why: "its Xen is built without PV; use --type pvh",
        }),
        _ => Ok(host.hap),
    }
}
