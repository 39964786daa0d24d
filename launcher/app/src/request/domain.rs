//! Describes the domain of an app completely.

use crate::record::app::Record;
use crate::record::writable_choice::WritableChoice;
use crate::store::folder;
use contract::devices;
use std::path::Path;
use toolstack::{Disk, DomainSpec, Vif};

/// The network connection of an app for one start.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Dom0's bridge.
    pub bridge: String,
    /// The guest's addresses.
    pub lease: net::Lease,
    /// The gateway's link address, if known: only on `launch`'s own bridge.
    pub gateway_mac: Option<contract::Mac>,
}

impl Link {
    /// The interface for this connection.
    #[must_use]
    pub(crate) fn vif(&self) -> Vif {
        let address = self.gateway_mac.and(Some(self.lease.address));
        Vif { bridge: self.bridge.clone(), mac: self.lease.mac, address }
    }
}

/// The disks of an app whose files are in the given folder.
#[must_use]
pub(crate) fn disks(in_folder: &Path, writable: WritableChoice) -> Vec<Disk> {
    let disk = |vdev: &str, file: &str, writable| Disk {
        vdev: vdev.to_owned(),
        file: in_folder.join(file),
        writable,
    };
    let mut disks = vec![disk(devices::ROOT_DISK, folder::ROOT_DISK, false)];
    if writable == WritableChoice::Disk {
        disks.push(disk(devices::WRITABLE_DISK, folder::WRITABLE_DISK, true));
    }
    disks
}

/// The domain for one start of an app whose files are in the given folder.
#[must_use]
pub(crate) fn domain_spec(record: &Record, in_folder: &Path, link: Option<&Link>) -> DomainSpec {
    DomainSpec {
        id: record.id.clone(),
        name: record.name.clone(),
        uuid: record.uuid,
        shape: record.shape.clone(),
        disks: disks(in_folder, record.writable),
        vif: link.map(Link::vif),
        folder: in_folder.to_owned(),
    }
}
