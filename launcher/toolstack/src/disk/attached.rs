//! The loop devices of domains, identified by their labels: `launch vbd 12/51712`.

use crate::disk::loopdev::{self, Attached, BlockDevice, LoopError};
use std::path::Path;
use xen::DomId;

/// The prefix of the labels of loop devices that `launch` makes.
pub(crate) const LABEL: &str = "launch vbd ";

/// The label of the loop device for the disk `number` (51712 is `xvda`) of a domain.
#[must_use]
pub(crate) fn label(domid: &str, number: &str) -> String {
    format!("{LABEL}{domid}/{number}")
}

/// A disk's block device in dom0. Detached when dropped, unless [`AttachedDisk::keep`] was called.
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

    /// Keeps the disk attached.
    pub(crate) fn keep(mut self) {
        self.armed = false;
    }
}

impl Drop for AttachedDisk {
    fn drop(&mut self) {
        if let (true, Attached::Loop(device)) = (self.armed, &self.attached) {
            // Ignores a failure: the first error matters more, and the next command detaches what is left.
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

/// Detaches all disks of a domain. The kernel detaches a disk that its backend still has open on the last close.
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
