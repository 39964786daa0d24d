//! The nodes of a new domain in xenstore: what its kernel, backends, xenconsoled and `xl` look
//! for, where libxl has it.
//!
//! Nodes are what building a domain waits for longest, so there is none that nobody reads. One of a
//! backend or frontend costs thrice: the kernel on its side is told of each, and asks whether it is there.
//! A new node gets its parent's permissions, so they are set where they change only.

use super::{BuildError, Devices, Disk, Guest, Interface, Nodes, Ports, PromisedDisk, Rings};
use crate::DomId;
use crate::store::{Access, Batch, Permission, Store, StoreError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nodes below the domain's own that the guest may write, and all below them. libxl makes those in
/// `control` itself, one by one, and some that only the drivers of other systems than Linux write.
const GUEST_WRITES: [&str; 3] = ["control", "data", "error"];
/// How much of its console's output xenconsoled keeps in memory, in bytes; libxl's own figure.
const CONSOLE_LIMIT_BYTES: &str = "1048576";
/// A backend's or frontend's state before anything happened (`XenbusStateInitialising`).
const INITIALISING: &str = "1";
/// Xen's number of a guest's first disk, `xvda`: major 202; each disk has 16 minors.
const FIRST_DISK: u32 = 202 << 8;
/// The longest that xenconsoled is waited for; on a busy machine half a second was not enough.
const CONSOLE_TIME: Duration = Duration::from_secs(3);
const KINDS: [&str; 2] = ["vbd", "vif"];

/// A node to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    path: String,
    value: String,
    permissions: Option<Vec<Permission>>,
}

/// The nodes of a device, beside those that all devices have.
struct Device<'a> {
    kind: &'a str,
    number: u32,
    frontend: Vec<(&'a str, String)>,
    /// In the order they are written: the kernel looks at a backend once it has a state.
    backend: Vec<(&'a str, String)>,
    /// What libxl knows of it: it trusts neither frontend nor backend.
    libxl: Vec<(&'a str, String)>,
}

/// Makes the nodes that a domain has from the start; nobody looks at them before it is introduced.
///
/// In no transaction, nor is their removal: one that makes or removes `/local/domain/<domid>` and the
/// like changes their parents too, and so fails all those of other launches that do the same.
/// Sixteen launches at once repeated theirs fourteen times each.
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

/// Makes the nodes of devices that are new to a domain, in one transaction: a backend looks at them as
/// soon as there is one.
pub(super) fn attach(store: &Store, domid: DomId, devices: &Devices<'_>) -> Result<(), BuildError> {
    let mut nodes = vec![];
    attached(&mut nodes, domid, devices)?;
    // First and by themselves, so that the transaction changes nothing but the domain's own nodes,
    // and few of these: xenstored keeps all requests of a transaction until its end.
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

/// Makes the nodes of a disk of which dom0's device is not known yet, but for those that name it: the
/// guest's driver and dom0's agree on all else.
pub(super) fn promise(
    store: &Store,
    domid: DomId,
    disk: &PromisedDisk<'_>,
) -> Result<(), BuildError> {
    let mut nodes = vec![];
    device(&mut nodes, domid, vbd(disk, None, None)?);
    in_transaction(store, &nodes)
}

/// Makes the nodes of a promised disk that name dom0's device, and others of the domain, in one transaction.
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

fn write_in(batch: &mut Batch<'_>, nodes: &[Node]) -> Result<(), StoreError> {
    for node in nodes {
        batch.write(&node.path, &node.value)?;
        if let Some(permissions) = &node.permissions {
            batch.set_permissions(&node.path, permissions)?;
        }
    }
    Ok(())
}

/// Gives xenconsoled, which has just heard of a domain, time to write the domain's terminal: it does so
/// also when the domain has gone by then, and would make its home again.
pub(super) fn let_console_come(store: &Store, domid: DomId) -> Result<(), StoreError> {
    let tty = format!("{}/console/tty", home(domid));
    let until = Instant::now() + CONSOLE_TIME;
    while store.read_optional(&tty)?.is_some_and(|tty| tty.is_empty()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Removes all nodes of a domain, and so its devices.
pub(super) fn remove(store: &Store, domid: DomId, uuid: &[u8; 16]) -> Result<(), StoreError> {
    let mut batch = store.batch();
    remove_in(&mut batch, domid, uuid)?;
    batch.send()
}

fn remove_in(batch: &mut Batch<'_>, domid: DomId, uuid: &[u8; 16]) -> Result<(), StoreError> {
    // Frontends first: a backend that sees its frontend gone closes in good order.
    batch.remove(&home(domid))?;
    for kind in KINDS {
        batch.remove(&backends(domid, kind))?;
    }
    batch.remove(&format!("/libxl/{domid}"))?;
    batch.remove(&format!("/vm/{}", render_uuid(uuid)))
}

fn home(domid: DomId) -> String {
    format!("/local/domain/{domid}")
}

/// Where a domain's backends of a kind are, in dom0.
fn backends(domid: DomId, kind: &str) -> String {
    format!("{}/backend/{kind}/{domid}", home(DomId::DOM0))
}

/// As in `xl list -v`: five groups of lower-case hexadecimal digits.
pub(super) fn render_uuid(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// The nodes that a domain has from the start.
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

fn below_home(domid: DomId, nodes: &[(&str, &str)]) -> Vec<Node> {
    let home = home(domid);
    nodes.iter().map(|(name, value)| plain(format!("{home}/{name}"), *value)).collect()
}

fn provided(
    domid: DomId,
    disk: &Disk<'_>,
    others: &[(&str, &str)],
) -> Result<Vec<Node>, BuildError> {
    let number = disk_number(disk.device)?;
    let backend = format!("{}/{number}", backends(domid, "vbd"));
    let (name, value) = params(disk);
    let mut nodes = vec![plain(format!("/libxl/{domid}/device/vbd/{number}/{name}"), value)];
    nodes.extend(below_home(domid, others));
    let (name, value) = backing(disk);
    nodes.push(plain(format!("{backend}/{name}"), value));
    Ok(nodes)
}

fn plain(path: String, value: impl Into<String>) -> Node {
    Node { path, value: value.into(), permissions: None }
}

/// Owned by dom0, the guest may read.
fn readable(domid: DomId) -> Option<Vec<Permission>> {
    Some(vec![Permission::new(DomId::DOM0, Access::None), Permission::new(domid, Access::Read)])
}

/// The domain's nodes but for its devices.
fn home_and_vm(nodes: &mut Vec<Node>, domid: DomId, guest: &Guest<'_>, ports: Ports, rings: Rings) {
    let home = home(domid);
    let vm = format!("/vm/{}", render_uuid(&guest.uuid));
    nodes.push(Node { path: home.clone(), value: String::new(), permissions: readable(domid) });
    nodes.push(Node { path: vm.clone(), value: String::new(), permissions: readable(domid) });

    let memory_kib = (u64::from(guest.memory_mib) * 1024).to_string();
    let own = [
        ("vm", vm.clone()),
        ("name", guest.name.to_owned()),
        ("domid", domid.to_string()),
        ("memory/static-max", memory_kib.clone()),
        ("memory/target", memory_kib),
        ("store/port", ports.store.to_string()),
        ("store/ring-ref", rings.store.to_string()),
    ];
    nodes.extend(own.map(|(name, value)| plain(format!("{home}/{name}"), value)));
    for vcpu in 0..guest.vcpus {
        nodes.push(plain(format!("{home}/cpu/{vcpu}/availability"), "online"));
    }
    for name in GUEST_WRITES {
        let permissions = Some(vec![Permission::new(domid, Access::None)]);
        nodes.push(Node { path: format!("{home}/{name}"), value: String::new(), permissions });
    }

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start_time = format!("{}.{:02}", now.as_secs(), now.subsec_millis() / 10);
    nodes.push(plain(format!("{vm}/uuid"), render_uuid(&guest.uuid)));
    nodes.push(plain(format!("{vm}/name"), guest.name));
    nodes.push(plain(format!("{vm}/start_time"), start_time));
    nodes.push(plain(format!("/libxl/{domid}/type"), guest.kind.name()));
}

fn device(nodes: &mut Vec<Node>, domid: DomId, device: Device<'_>) {
    let Device { kind, number, .. } = device;
    let frontend = format!("{}/device/{kind}/{number}", home(domid));
    let backend = format!("{}/{number}", backends(domid, kind));
    let libxl = format!("/libxl/{domid}/device/{kind}/{number}");

    let permissions = Some(vec![
        Permission::new(domid, Access::None),
        Permission::new(DomId::DOM0, Access::Read),
    ]);
    nodes.push(Node { path: frontend.clone(), value: String::new(), permissions });
    nodes.push(plain(format!("{frontend}/backend"), backend.clone()));
    nodes.push(plain(format!("{frontend}/backend-id"), "0"));
    for (name, value) in device.frontend {
        nodes.push(plain(format!("{frontend}/{name}"), value));
    }

    let permissions = readable(domid);
    nodes.push(Node { path: backend.clone(), value: String::new(), permissions });
    let common = [
        ("frontend", frontend.clone()),
        ("frontend-id", domid.to_string()),
        ("online", "1".to_owned()),
    ];
    for (name, value) in common.into_iter().chain(device.backend) {
        nodes.push(plain(format!("{backend}/{name}"), value));
    }
    nodes.push(plain(format!("{libxl}/frontend"), frontend));
    nodes.push(plain(format!("{libxl}/backend"), backend));
    for (name, value) in device.libxl {
        nodes.push(plain(format!("{libxl}/{name}"), value));
    }
}

/// What xenconsoled reads, once it hears of the domain; the guest must not change where its console goes
/// to. The first console is older than devices: nobody looks for a backend of it.
fn console(nodes: &mut Vec<Node>, domid: DomId, ports: Ports, rings: Rings) {
    let console = format!("{}/console", home(domid));
    let details = [
        ("limit", CONSOLE_LIMIT_BYTES.to_owned()),
        ("type", "xenconsoled".to_owned()),
        ("output", "pty".to_owned()),
        ("tty", String::new()),
        ("port", ports.console.to_string()),
        ("ring-ref", rings.console.to_string()),
    ];
    nodes.extend(details.map(|(name, value)| plain(format!("{console}/{name}"), value)));
}

/// Where a disk comes from; dom0's kernel opens the device as soon as it is named.
fn backing(disk: &Disk<'_>) -> (&'static str, String) {
    let (major, minor) = disk.physical_device;
    ("physical-device", format!("{major:x}:{minor:x}"))
}

fn params<'a>(disk: &Disk<'a>) -> (&'a str, String) {
    ("params", disk.params.to_owned())
}

/// `backing` is a node of the backend and `params` one for libxl, where it is known what they are.
fn vbd<'a>(
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
        // Else dom0's kernel offers to discard blocks of it, in eleven requests to xenstored.
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

/// The number of a disk in xenstore, of those whose 16 minors a number has: `xvda` to `xvdp`.
///
/// # Errors
/// [`BuildError::Invalid`] for any other device.
///
/// Source: `docs/man/xen-vbd-interface.7.pandoc` in Xen's tree.
pub fn disk_number(device: &str) -> Result<u32, BuildError> {
    match device.strip_prefix("xvd").map(str::as_bytes) {
        Some([letter @ b'a'..=b'p']) => Ok(FIRST_DISK + u32::from(letter - b'a') * 16),
        _ => {
            let problem = format!("{device:?} is no disk of a guest, xvda to xvdp are");
            Err(BuildError::Invalid(problem))
        }
    }
}

fn vif<'a>(index: u32, interface: &Interface<'a>) -> Device<'a> {
    let mac: Vec<String> = interface.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    let mac = mac.join(":");
    let mtu = interface.mtu.to_string();
    Device {
        kind: "vif",
        number: index,
        frontend: vec![("state", INITIALISING.to_owned()), ("mac", mac.clone())],
        backend: vec![
            ("mac", mac.clone()),
            ("handle", index.to_string()),
            // For libxl, when it takes the interface away.
            ("type", "vif".to_owned()),
            ("script", interface.script.to_owned()),
            ("hotplug-status", "connected".to_owned()),
            ("state", INITIALISING.to_owned()),
        ],
        libxl: vec![
            ("mac", mac),
            ("mtu", mtu),
            ("handle", index.to_string()),
            ("type", "vif".to_owned()),
            ("bridge", interface.bridge.to_owned()),
            ("script", interface.script.to_owned()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::payload::{Payload, file_of};
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
            mac: [0, 0x16, 0x3e, 1, 2, 0xff],
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
        assert!(disk_number("xvdq").is_err() && disk_number("sda").is_err());
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
        // The domain's own node comes before all below it, which get its permissions.
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

    #[test]
    fn a_uuid_is_rendered_as_xl_does() {
        assert_eq!(render_uuid(b"0123456789abcdef"), "30313233-3435-3637-3839-616263646566");
    }
}
