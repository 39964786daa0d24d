//! The nodes of a network interface.

use super::super::guest::Interface;
use super::device::{Device, INITIALISING};

pub(super) fn vif<'a>(index: u32, interface: &Interface<'a>) -> Device<'a> {
    let mac = interface.mac.to_string();
    let mtu = interface.mtu.to_string();
    Device {
        kind: "vif",
        number: index,
        frontend: vec![("state", INITIALISING.to_owned()), ("mac", mac.clone())],
        backend: vec![
            ("mac", mac.clone()),
            ("handle", index.to_string()),
            // For libxl, when it detaches the interface.
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
