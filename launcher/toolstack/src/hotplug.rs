//! The program that libxl runs for each disk and interface, in place of Xen's shell scripts.
//!
//! libxl (4.17 to 4.20, `tools/libs/light/libxl_linux.c`) runs `SCRIPT add|remove` for a disk and
//! `SCRIPT online|offline type_if=vif` for an interface, with `XENBUS_TYPE`, `XENBUS_PATH`
//! (relative to dom0's home) and, for interfaces, `vif` in the environment. The guest is paused
//! until all these programs have ended. An exit code other than 0 fails the domain; libxl then shows the node
//! `hotplug-error`.

use crate::disk::attached::{self, AttachedDisk};
use crate::disk::loopdev::LoopError;
use crate::guest_nodes::GuestNodes;
use contract::store::FOLDER;
use contract::{devices, one_line};
use files::FileError;
use std::path::{Path, PathBuf};
use xen::DomId;
use xen::store::{Access, Permission, Store, StoreError};

/// libxl's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `add`, `remove`, `online` or `offline`.
    pub command: String,
    /// `XENBUS_TYPE`: `vbd` or `vif`.
    pub device_type: String,
    /// `XENBUS_PATH`: the backend's node.
    pub backend: String,
    /// `vif`: the interface's name.
    pub interface: Option<String>,
}

/// Why a device could not be connected.
#[derive(Debug, thiserror::Error)]
pub enum HotplugError {
    /// The program was not started by libxl.
    #[error("{0} is missing; this program is run by Xen's xl, not by hand")]
    Missing(&'static str),
    /// The command or the type of device is unknown.
    #[error("{command} of a {device_type} is not known")]
    Unknown {
        /// The command.
        command: String,
        /// The type of device.
        device_type: String,
    },
    /// Xenstore failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backend's node for the domain number holds something else.
    #[error("backend {backend} has no valid frontend-id")]
    Frontend {
        /// The backend's node.
        backend: String,
    },
    /// The disk cannot be attached.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// The guest's nodes cannot be read.
    #[error(transparent)]
    Nodes(#[from] FileError),
    /// The backend's node for the link address holds something else.
    #[error("backend {backend} has no valid mac")]
    Mac {
        /// The backend's node.
        backend: String,
    },
    /// An edited template has a setting that is not supported.
    #[error("vifname is not supported; remove it from the template")]
    VifName,
    /// The interface cannot join its bridge.
    #[error(transparent)]
    Link(#[from] net::LinkError),
}

impl Call {
    /// Reads libxl's request from the program's first argument and its environment.
    ///
    /// # Errors
    /// A part of the request is missing.
    pub fn parse(
        command: Option<String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, HotplugError> {
        let command = command.ok_or(HotplugError::Missing("the command"))?;
        let path = variable("XENBUS_PATH").filter(|path| !path.is_empty());
        let path = path.ok_or(HotplugError::Missing("XENBUS_PATH"))?;
        // A relative path starts at the home of the domain in which this program runs, which is dom0.
        let backend = if path.starts_with('/') { path } else { format!("/local/domain/0/{path}") };
        let device_type = variable("XENBUS_TYPE").ok_or(HotplugError::Missing("XENBUS_TYPE"))?;
        Ok(Self { command, device_type, backend, interface: variable("vif") })
    }

    /// The label of this disk's loop device, which names the domain and the disk: `launch vbd 12/51712`.
    #[must_use]
    pub fn label(&self) -> String {
        let mut parts = self.backend.rsplit('/');
        let device = parts.next().unwrap_or_default();
        let domid = parts.next().unwrap_or_default();
        attached::label(domid, device)
    }
}

/// Carries out libxl's request.
///
/// # Errors
/// The device cannot be connected; the cause is also in the backend's `hotplug-error`.
pub fn run(call: &Call) -> Result<(), HotplugError> {
    let store = Store::connect()?;
    let done = match (call.device_type.as_str(), call.command.as_str()) {
        ("vbd", "add") => add_disk(&store, call),
        ("vbd", "remove") => Ok(attached::detach_one(&call.label())?),
        ("vif", "online") => bring_up_interface(&store, call),
        // The kernel removes the interface from the bridge when the interface ends. `add` and `remove` are for
        // emulated interfaces, which the domains of `launch` do not have.
        ("vif", "offline" | "add" | "remove") => Ok(()),
        (device_type, command) => Err(HotplugError::Unknown {
            command: command.to_owned(),
            device_type: device_type.to_owned(),
        }),
    };
    if let Err(error) = &done {
        // The first error matters. If xenstore fails too, libxl still sees the exit code.
        let _ = store.write(&format!("{}/hotplug-error", call.backend), &one_line(error));
        let _ = store.write(&format!("{}/hotplug-status", call.backend), "error");
    }
    done
}

fn add_disk(store: &Store, call: &Call) -> Result<(), HotplugError> {
    let node = |name: &str| format!("{}/{name}", call.backend);
    if store.read_optional(&node("physical-device"))?.is_some() {
        return Ok(());
    }
    let file = PathBuf::from(store.read(&node("params"))?);
    let writable = store.read(&node("mode"))?.contains('w');
    let domid: DomId = store
        .read(&node("frontend-id"))?
        .parse()
        .map_err(|_| HotplugError::Frontend { backend: call.backend.clone() })?;
    if store.read_optional(&node("dev"))?.as_deref() == Some(devices::ROOT_DISK) {
        tell_guest(store, domid, &file)?;
    }
    let attached = AttachedDisk::attach(&file, writable, call.label())?;
    let device = attached.device();
    store.write(&node("physical-device-path"), &device.path.to_string_lossy())?;
    store.write(&node("physical-device"), &format!("{:x}:{:x}", device.major, device.minor))?;
    store.write(&node("hotplug-status"), "connected")?;
    attached.keep();
    Ok(())
}

/// Writes the guest's nodes, which are in a file beside its root disk.
fn tell_guest(store: &Store, domid: DomId, disk: &Path) -> Result<(), HotplugError> {
    let nodes = GuestNodes::read(disk.parent().unwrap_or(Path::new("/")))?;
    Ok(write_nodes(store, domid, &nodes)?)
}

/// Writes the guest's nodes, and the texts among them in one transaction. The guest may only read them.
fn write_nodes(store: &Store, domid: DomId, nodes: &GuestNodes) -> Result<(), StoreError> {
    let home = format!("/local/domain/{domid}");
    let readable =
        [Permission::new(DomId::DOM0, Access::None), Permission::new(domid, Access::Read)];
    let path = |node: &str| format!("{home}/{node}");
    if !nodes.chunks.is_empty() {
        // Nodes inherit a folder's permissions, so these are set while the folder is empty.
        let mut batch = store.batch();
        let folder = path(FOLDER);
        batch.write(&folder, "")?;
        batch.set_permissions(&folder, &readable)?;
        for (node, value) in &nodes.chunks {
            batch.write(&path(node), value)?;
        }
        batch.send()?;
    }
    store.transaction(|transaction| {
        let mut batch = transaction.batch();
        for (node, value) in &nodes.texts {
            batch.write(&path(node), value)?;
            batch.set_permissions(&path(node), &readable)?;
        }
        batch.send()
    })
}

fn bring_up_interface(store: &Store, call: &Call) -> Result<(), HotplugError> {
    let interface = call.interface.as_deref().filter(|name| !name.is_empty());
    let interface = interface.ok_or(HotplugError::Missing("vif"))?;
    if store.read_optional(&format!("{}/vifname", call.backend))?.is_some() {
        return Err(HotplugError::VifName);
    }
    let node = |name: &str| format!("{}/{name}", call.backend);
    let bridge = store.read(&node("bridge"))?;
    // Only an interface on `launch`'s own bridge has an address here.
    let guest = match store.read_optional(&node("ip"))? {
        Some(_) => Some(read_mac(store, call)?),
        None => None,
    };
    net::attach_to_bridge(interface, &bridge, guest)?;
    Ok(store.write(&format!("{}/hotplug-status", call.backend), "connected")?)
}

fn read_mac(store: &Store, call: &Call) -> Result<contract::Mac, HotplugError> {
    let mac = store.read(&format!("{}/mac", call.backend))?;
    mac.parse().map_err(|_| HotplugError::Mac { backend: call.backend.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str) -> Option<String> {
        match name {
            "XENBUS_TYPE" => Some("vbd".into()),
            "XENBUS_PATH" => Some("backend/vbd/12/51712".into()),
            _ => None,
        }
    }

    #[test]
    fn a_call_of_libxls_is_understood() {
        let call = Call::parse(Some("add".into()), disk).unwrap();
        assert_eq!(call.backend, "/local/domain/0/backend/vbd/12/51712");
        assert_eq!(call.label(), "launch vbd 12/51712");
    }

    #[test]
    fn a_call_by_hand_says_what_is_missing() {
        let error = Call::parse(Some("add".into()), |_| None).unwrap_err().to_string();
        assert!(error.contains("XENBUS_PATH") && error.contains("not by hand"), "{error}");
    }
}
