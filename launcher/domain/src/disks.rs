//! The loop devices of domains, known by their labels: `launch vbd 12/51712`.

use crate::domains::Domains;
use crate::loopdev::{self, Attached, BlockDevice, LoopError};
use crate::toolstack_error::ToolstackError;
use contract::one_line;
use std::path::Path;
use xen::DomId;
use xen::store::Store;

/// Labels of loop devices that were made here begin with this.
const LABEL: &str = "launch vbd ";

/// The label of the loop device for the disk `number` (51712 is `xvda`) of a domain.
#[must_use]
pub fn label(domid: &str, number: &str) -> String {
    format!("{LABEL}{domid}/{number}")
}

/// A disk's block device in dom0; detached when dropped, unless it is kept.
#[derive(Debug)]
pub struct Served {
    attached: Attached,
    label: String,
    armed: bool,
}

impl Served {
    /// Attaches a disk.
    ///
    /// # Errors
    /// As [`loopdev::attach`].
    pub fn attach(file: &Path, writable: bool, label: String) -> Result<Self, LoopError> {
        let attached = loopdev::attach(file, writable, &label)?;
        Ok(Self { attached, label, armed: true })
    }

    /// The block device.
    #[must_use]
    pub fn device(&self) -> &BlockDevice {
        match &self.attached {
            Attached::Loop(device) | Attached::Direct(device) => device,
        }
    }

    /// Leaves it attached.
    pub fn keep(mut self) {
        self.armed = false;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let (true, Attached::Loop(device)) = (self.armed, &self.attached) {
            // The error that led here says more; the next command detaches what is left.
            let _ = loopdev::detach(&device.path, &self.label);
        }
    }
}

/// Detaches the disk that has this label, if there is one.
///
/// # Errors
/// The loop driver refuses.
pub fn detach_one(label: &str) -> Result<(), LoopError> {
    let devices = loopdev::list(label)?;
    match devices.iter().find(|device| device.label == label) {
        Some(device) => loopdev::detach(&device.path, label),
        None => Ok(()),
    }
}

/// Detaches all disks of a domain. One that the backend has still open goes with its last user.
///
/// # Errors
/// The loop driver refuses.
pub fn detach(domid: DomId) -> Result<(), ToolstackError> {
    let mut done = Ok(());
    for device in loopdev::list(&label(&domid.to_string(), ""))? {
        done = done.and(loopdev::detach(&device.path, &device.label));
    }
    Ok(done?)
}

/// Detaches the disks of domains that are gone; says which.
///
/// # Errors
/// Xen or the loop driver cannot be asked.
pub fn detach_orphans(domains: &Domains) -> Result<Vec<String>, ToolstackError> {
    let devices = loopdev::list(LABEL)?;
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let alive = domains.alive()?;
    let mut store = None;
    let mut repaired = Vec::new();
    for device in devices {
        let path = &device.path;
        let whose = device.label.trim_start_matches(LABEL);
        let domid = whose.split_once('/').and_then(|(domid, _)| domid.parse().ok());
        // What a domain has and does not use goes with it.
        if domid.is_some_and(|domid| alive.contains(&domid)) {
            continue;
        }
        let store = match &store {
            Some(store) => store,
            None => store.insert(Store::connect()?),
        };
        if has_backend(store, whose)? {
            continue;
        }
        match loopdev::detach(path, &device.label) {
            Ok(()) => {
                let path = path.display();
                repaired.push(format!("detached {path}, which no domain uses any more"));
            }
            Err(error) => repaired.push(one_line(&error)),
        }
    }
    Ok(repaired)
}

/// Whether a domain that is gone still has this disk in xenstore: whoever takes it down is not done.
fn has_backend(store: &Store, whose: &str) -> Result<bool, ToolstackError> {
    let node = format!("/local/domain/0/backend/vbd/{whose}/physical-device");
    Ok(store.read_optional(&node)?.is_some())
}
