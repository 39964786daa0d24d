//! The nodes of a domain, except those of its devices.

use super::super::guest::{Guest, Ports, Rings};
use super::node::{Node, plain, readable};
use crate::DomId;
use crate::paths::{Home, libxl, render_uuid, vm};
use crate::store::{Access, Permission};
use std::time::{SystemTime, UNIX_EPOCH};

/// Nodes below the domain's own that the guest may write, with everything below them. libxl creates the nodes in
/// `control` itself, one by one, and also some that only drivers of systems other than Linux write.
pub(super) const GUEST_WRITES: [&str; 3] = ["control", "data", "error"];

/// The domain's nodes, except those of its devices.
pub(super) fn home_and_vm(
    nodes: &mut Vec<Node>,
    domid: DomId,
    guest: &Guest<'_>,
    ports: Ports,
    rings: Rings,
) {
    let home = Home(domid);
    let vm = vm(&guest.uuid);
    nodes.push(Node { path: home.to_string(), value: String::new(), permissions: readable(domid) });
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
    nodes.extend(own.map(|(name, value)| plain(home.join(name), value)));
    for vcpu in 0..guest.vcpus {
        nodes.push(plain(home.join(&format!("cpu/{vcpu}/availability")), "online"));
    }
    for name in GUEST_WRITES {
        let permissions = Some(vec![Permission::new(domid, Access::None)]);
        nodes.push(Node { path: home.join(name), value: String::new(), permissions });
    }

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start_time = format!("{}.{:02}", now.as_secs(), now.subsec_millis() / 10);
    nodes.push(plain(format!("{vm}/uuid"), render_uuid(&guest.uuid)));
    nodes.push(plain(format!("{vm}/name"), guest.name));
    nodes.push(plain(format!("{vm}/start_time"), start_time));
    nodes.push(plain(format!("{}/type", libxl(domid)), guest.kind.name()));
}
