//! The nodes of a disk.

use super::super::error::BuildError;
use super::super::guest::{Disk, PromisedDisk};
use super::device::{Device, INITIALISING};

/// Xen's number of a guest's first disk, `xvda`: major 202. Each disk has 16 minors.
const FIRST_DISK: u32 = 202 << 8;

/// The node that names a disk's source; dom0's kernel opens the device as soon as the node exists.
pub(super) fn backing(disk: &Disk<'_>) -> (&'static str, String) {
    let (major, minor) = disk.physical_device;
    ("physical-device", format!("{major:x}:{minor:x}"))
}

pub(super) fn params<'a>(disk: &Disk<'a>) -> (&'a str, String) {
    ("params", disk.params.to_owned())
}

/// `backing` is a node of the backend and `params` a node for libxl, if the source is known.
pub(super) fn vbd<'a>(
    disk: &PromisedDisk<'a>,
    backing: Option<(&'a str, String)>,
    params: Option<(&'a str, String)>,
) -> Result<Device<'a>, BuildError> {
    let number = disk_number(disk.device)?;
    let mode = if disk.read_only { "r" } else { "w" }.to_owned();
    let common = [("mode", mode), ("dev", disk.device.to_owned())];
    let mut backend = vec![("script", disk.script.to_owned())];
    backend.extend(common.iter().cloned().chain(backing));
    if disk.read_only {
        // Otherwise dom0's kernel offers discard for it, in eleven requests to xenstored.
        backend.push(("discard-enable", "0".to_owned()));
    }
    backend.push(("state", INITIALISING.to_owned()));
    let mut libxl: Vec<_> = common.into_iter().chain(params).collect();
    let same = [("type", "phy"), ("device-type", "disk"), ("removable", "0")];
    libxl.extend(same.map(|(name, value)| (name, value.to_owned())));
    Ok(Device {
        kind: "vbd",
        number,
        frontend: vec![
            ("state", INITIALISING.to_owned()),
            ("virtual-device", number.to_string()),
            ("device-type", "disk".to_owned()),
        ],
        backend,
        libxl,
    })
}

/// The number of a disk in xenstore, for disks whose number includes 16 minors: `xvda` to `xvdp`.
///
/// # Errors
/// [`BuildError::Invalid`] for any other device.
///
/// Source: `docs/man/xen-vbd-interface.7.pandoc` in Xen's tree.
pub fn disk_number(device: &str) -> Result<u32, BuildError> {
    match device.strip_prefix("xvd").map(str::as_bytes) {
        Some([letter @ b'a'..=b'p']) => Ok(FIRST_DISK + u32::from(letter - b'a') * 16),
        _ => {
            let problem = format!("{device:?} is not a valid disk of a guest; use xvda to xvdp");
            Err(BuildError::Invalid(problem))
        }
    }
}
