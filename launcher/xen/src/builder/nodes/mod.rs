//! The nodes of a new domain in xenstore: those that its kernel, backends, xenconsoled and `xl` read, at libxl's
//! paths.
//!
//! Writing nodes takes most of the time to build a domain, so only nodes that something reads are written. A node of a
//! backend or frontend costs three times as much: the kernel that watches it gets an event for each and then looks
//! whether it exists. A new node gets its parent's permissions, so permissions are set only where they differ.

mod backends;
mod console;
mod device;
mod disk;
mod domain;
mod node;
mod vif;

pub(super) use backends::let_backends_go;
pub(super) use console::let_console_come;
pub use disk::disk_number;

use super::error::BuildError;
use super::guest::{Devices, Disk, Guest, Nodes, Ports, PromisedDisk, Rings};
use crate::DomId;
use crate::paths::{BACKENDS, Home, backends, libxl, vm};
use crate::store::{Batch, Store, StoreError};
use console::console;
use device::device;
use disk::{backing, params, vbd};
use domain::home_and_vm;
use node::{Node, below_home, plain, write_in};
use vif::vif;

/// Writes the first nodes of a domain. They are read once the domain is introduced.
///
/// Not in a transaction: creating or removing `/local/domain/<domid>` changes its parent too, so concurrent
/// launches would make each other's transactions fail (16 at once: 14 retries each).
pub(super) fn write(
    store: &Store,
    domid: DomId,
    guest: &Guest<'_>,
    ports: Ports,
    rings: Rings,
) -> Result<(), BuildError> {
    let mut batch = store.batch();
    remove_in(&mut batch, domid, &guest.uuid)?;
    write_in(&mut batch, &own(domid, guest, ports, rings))?;
    Ok(batch.send()?)
}

/// Writes the nodes of new devices in one transaction, because a backend reads its nodes as soon as the first exists.
pub(super) fn attach(store: &Store, domid: DomId, devices: &Devices<'_>) -> Result<(), BuildError> {
    let mut nodes = vec![];
    attached(&mut nodes, domid, devices)?;
    // First and without a transaction, so that the transaction changes only the domain's own nodes, and few of them:
    // xenstored keeps all requests of a transaction until its end.
    let mut first = store.batch();
    for (kind, count) in [("vbd", devices.disks.len()), ("vif", devices.interfaces.len())] {
        if count > 0 {
            first.write(&backends(domid, kind), "")?;
        }
    }
    write_in(&mut first, &below_home(domid, devices.nodes.before))?;
    first.send()?;
    in_transaction(store, &nodes)
}

/// Writes the nodes of a disk, except those that name its device in dom0. While that device is not known, the guest's
/// driver and dom0's negotiate everything else.
pub(super) fn promise(
    store: &Store,
    domid: DomId,
    disk: &PromisedDisk<'_>,
) -> Result<(), BuildError> {
    let mut nodes = vec![];
    device(&mut nodes, domid, vbd(disk, None, None)?);
    in_transaction(store, &nodes)
}

/// Writes the nodes that name dom0's device of a promised disk, and further nodes of the domain, in one transaction.
pub(super) fn provide(
    store: &Store,
    domid: DomId,
    disk: &Disk<'_>,
    others: Nodes<'_>,
) -> Result<(), BuildError> {
    let nodes = provided(domid, disk, others.together)?;
    let mut first = store.batch();
    write_in(&mut first, &below_home(domid, others.before))?;
    first.send()?;
    in_transaction(store, &nodes)
}

fn in_transaction(store: &Store, nodes: &[Node]) -> Result<(), BuildError> {
    store.transaction(|transaction| {
        let mut batch = transaction.batch();
        write_in(&mut batch, nodes)?;
        Ok(batch.send()?)
    })
}

/// Removes all nodes of a domain, and so its devices.
pub(super) fn remove(store: &Store, domid: DomId, uuid: &[u8; 16]) -> Result<(), StoreError> {
    let mut batch = store.batch();
    remove_in(&mut batch, domid, uuid)?;
    batch.send()
}

fn remove_in(batch: &mut Batch<'_>, domid: DomId, uuid: &[u8; 16]) -> Result<(), StoreError> {
    // Frontends first: a backend whose frontend has gone closes cleanly.
    batch.remove(&Home(domid).to_string())?;
    for kind in BACKENDS {
        batch.remove(&backends(domid, kind))?;
    }
    batch.remove(&libxl(domid))?;
    batch.remove(&vm(uuid))
}

/// The first nodes of a domain.
fn own(domid: DomId, guest: &Guest<'_>, ports: Ports, rings: Rings) -> Vec<Node> {
    let mut nodes = vec![];
    home_and_vm(&mut nodes, domid, guest, ports, rings);
    console(&mut nodes, domid, ports, rings);
    nodes
}

fn attached(nodes: &mut Vec<Node>, domid: DomId, devices: &Devices<'_>) -> Result<(), BuildError> {
    for disk in devices.disks {
        device(nodes, domid, vbd(&disk.promised(), Some(backing(disk)), Some(params(disk)))?);
    }
    for (index, interface) in (0..).zip(devices.interfaces) {
        device(nodes, domid, vif(index, interface));
    }
    nodes.extend(below_home(domid, devices.nodes.together));
    Ok(())
}

fn provided(
    domid: DomId,
    disk: &Disk<'_>,
    others: &[(&str, &str)],
) -> Result<Vec<Node>, BuildError> {
    let number = disk_number(disk.device)?;
    let backend = format!("{}/{number}", backends(domid, "vbd"));
    let (name, value) = params(disk);
    let mut nodes = vec![plain(format!("{}/device/vbd/{number}/{name}", libxl(domid)), value)];
    nodes.extend(below_home(domid, others));
    let (name, value) = backing(disk);
    nodes.push(plain(format!("{backend}/{name}"), value));
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::super::guest::{Interface, Kind};
    use super::super::payload::{Payload, file_of};
    use super::domain::GUEST_WRITES;
    use super::*;
    use std::collections::HashSet;

    fn nodes() -> Vec<Node> {
        let [mut own, attached] = own_and_attached();
        own.extend(attached);
        own
    }

    fn disk() -> Disk<'static> {
        Disk {
            device: "xvdb",
            physical_device: (7, 12),
            read_only: true,
            params: "/var/lib/launch/disk",
            script: "/usr/lib/launch/hotplug",
        }
    }

    fn own_and_attached() -> [Vec<Node>; 2] {
        let disk = disk();
        let interface = Interface {
            mac: contract::Mac([0, 0x16, 0x3e, 1, 2, 0xff]),
            mtu: 1500,
            bridge: "launch0",
            script: "/usr/lib/launch/hotplug",
        };
        let file = file_of(&[]);
        let guest = Guest {
            name: "web",
            uuid: *b"0123456789abcdef",
            kind: Kind::Pvh,
            kernel: Payload::new(&file).unwrap(),
            initrd: None,
            cmdline: "",
            memory_mib: 64,
            vcpus: 2,
        };
        let devices = Devices {
            disks: &[disk],
            interfaces: &[interface],
            nodes: Nodes { before: &[], together: &[("vm-data/launch/orders", "1")] },
        };
        let ports = Ports { store: 1, console: 2 };
        let mut nodes = vec![];
        attached(&mut nodes, DomId(7), &devices).unwrap();
        [own(DomId(7), &guest, ports, Rings { store: 3, console: 4 }), nodes]
    }

    fn value(nodes: &[Node], path: &str) -> String {
        let node = nodes.iter().find(|node| node.path == path);
        node.unwrap_or_else(|| panic!("no node {path}")).value.clone()
    }

    #[test]
    fn a_disk_names_dom0s_device_in_hexadecimal() {
        let nodes = nodes();
        let backend = "/local/domain/0/backend/vbd/7/51728";
        assert_eq!(value(&nodes, &format!("{backend}/physical-device")), "7:c");
        assert_eq!(value(&nodes, &format!("{backend}/mode")), "r");
        assert_eq!(value(&nodes, &format!("{backend}/discard-enable")), "0");
        assert_eq!(value(&nodes, "/local/domain/7/device/vbd/51728/backend"), backend);
        assert_eq!(value(&nodes, "/libxl/7/device/vbd/51728/backend"), backend);
        for device in ["xvdq", "sda"] {
            let error = disk_number(device).unwrap_err().to_string();
            assert!(error.contains("use xvda to xvdp"), "{error}");
        }
    }

    #[test]
    fn the_guest_owns_its_data_and_frontends_and_nothing_else() {
        let nodes = nodes();
        let owned: HashSet<&str> = nodes
            .iter()
            .filter(|node| node.permissions.as_ref().is_some_and(|list| list[0].domid == DomId(7)))
            .map(|node| node.path.strip_prefix("/local/domain/7/").unwrap())
            .collect();
        let mut expected: HashSet<&str> = GUEST_WRITES.into_iter().collect();
        expected.extend(["device/vbd/51728", "device/vif/0"]);
        assert_eq!(owned, expected);
        // The domain's own node comes before all nodes below it, which inherit its permissions.
        assert_eq!(nodes[0].path, "/local/domain/7");
        assert!(nodes.iter().skip(2).all(|node| !node.path.is_empty()));
    }

    #[test]
    fn devices_are_made_below_nodes_of_their_own_domain_that_are_there_already() {
        let [own, attached] = own_and_attached();
        let is_there = |path: &str| own.iter().any(|node| node.path.starts_with(path));
        let mut parents = vec!["/local/domain/7/".to_owned(), "/libxl/7/".to_owned()];
        assert!(parents.iter().all(|path| is_there(path)));
        parents.extend(["vbd", "vif"].map(|kind| backends(DomId(7), kind) + "/"));
        for node in attached {
            assert!(parents.iter().any(|path| node.path.starts_with(path)), "{}", node.path);
        }
    }

    #[test]
    fn a_disk_that_is_promised_and_then_provided_has_all_nodes_of_one_that_is_attached() {
        let disk = disk();
        let mut promised = vec![];
        device(&mut promised, DomId(7), vbd(&disk.promised(), None, None).unwrap());
        let device_node = |node: &Node| node.path.ends_with("/physical-device");
        assert!(!promised.iter().any(device_node));
        let provided = provided(DomId(7), &disk, &[]).unwrap();
        assert!(provided.last().is_some_and(device_node));
        let paths = |nodes: Vec<Node>| -> HashSet<(String, String)> {
            nodes.into_iter().map(|node| (node.path, node.value)).collect()
        };
        promised.extend(provided);
        let mut attached = vec![];
        let devices = Devices { disks: &[disk], ..Devices::default() };
        super::attached(&mut attached, DomId(7), &devices).unwrap();
        assert_eq!(paths(promised), paths(attached));
    }

    #[test]
    fn no_node_is_made_twice() {
        let mut seen = HashSet::new();
        for node in nodes() {
            assert!(seen.insert(node.path.clone()), "{} twice", node.path);
        }
    }
}
