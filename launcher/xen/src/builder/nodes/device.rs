//! The nodes of every device.

use super::node::{Node, plain, readable};
use crate::DomId;
use crate::paths::{Home, backends, libxl};
use crate::store::{Access, Permission};

/// The first state of a backend or frontend (`XenbusStateInitialising`).
pub(super) const INITIALISING: &str = "1";

/// A device, with the nodes that not every device has.
pub(super) struct Device<'a> {
    pub(super) kind: &'a str,
    pub(super) number: u32,
    pub(super) frontend: Vec<(&'a str, String)>,
    /// In the order of writing: the kernel looks at a backend once it has a state.
    pub(super) backend: Vec<(&'a str, String)>,
    /// The nodes for libxl, which trusts neither frontend nor backend.
    pub(super) libxl: Vec<(&'a str, String)>,
}

pub(super) fn device(nodes: &mut Vec<Node>, domid: DomId, device: Device<'_>) {
    let Device { kind, number, .. } = device;
    let frontend = Home(domid).join(&format!("device/{kind}/{number}"));
    let backend = format!("{}/{number}", backends(domid, kind));
    let libxl = format!("{}/device/{kind}/{number}", libxl(domid));

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
