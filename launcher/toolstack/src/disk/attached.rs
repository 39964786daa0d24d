//! The loop devices of domains, known by their labels: `launch vbd 12/51712`.

use crate::disk::loopdev::{self, Attached, BlockDevice, LoopError};
use std::path::Path;
use xen::DomId;

/// Labels of loop devices that were made here begin with this.
pub(crate) const LABEL: &str = "launch vbd ";

/// The label of the loop device for the disk `number` (51712 is `xvda`) of a domain.
#[must_use]
pub(crate) fn label(domid: &str, number: &str) -> String {
    format!("{LABEL}{domid}/{number}")
}

/// A disk's block device in dom0; detached when dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct AttachedDisk {
    attached: Attached,
    label: String,
    armed: bool,
}

impl AttachedDisk {
    /// Attaches a disk.
    ///
    /// # Errors
    /// As [`loopdev::attach`].
    pub(crate) fn attach(file: &Path, writable: bool, label: String) -> Result<Self, LoopError> {
        let attached = loopdev::attach(file, writable, &label)?;
        Ok(Self { attached, label, armed: true })
    }

    /// The block device.
    #[must_use]
    pub(crate) fn device(&self) -> &BlockDevice {
        match &self.attached {
            Attached::Loop(device) | Attached::Direct(device) => device,
        }
    }

    /// Leaves it attached.
    pub(crate) fn keep(mut self) {
        self.armed = false;
    }
}

impl Drop for AttachedDisk {
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
pub(crate) fn detach_one(label: &str) -> Result<(), LoopError> {
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
pub(crate) fn detach(domid: DomId) -> Result<(), LoopError> {
    let mut done = Ok(());
    for device in loopdev::list(&label(&domid.to_string(), ""))? {
        done = done.and(loopdev::detach(&device.path, &device.label));
    }
    done
}
