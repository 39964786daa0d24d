//! The native toolstack: builds domains itself, without `xl` or scripts, and without waiting for devices.

use crate::disk::attached::{self, AttachedDisk};
use crate::error::ToolstackError;
use crate::guest_nodes::GuestNodes;
use crate::settings::Settings;
use crate::spec::{Disk, DomainSpec, Kind, Shape, Uuid, Vif};
use crate::toolstack::{Booted, Devices};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::info_span;
use xen::builder::{self, Guest, Interface, Nodes, Payload, PromisedDisk};
use xen::store::Store;
use xen::{DomId, Hypervisor};

/// How long dom0's kernel may take to create its end of a vif.
const VIF_TIME: Duration = Duration::from_secs(180);
/// The MTU of all interfaces, in bytes.
const MTU: u32 = 1500;

/// Builds domains by hypercalls, on a Xen whose interface `launch` knows.
#[derive(Debug)]
pub(crate) struct Native {
    /// The program that libxl runs when `xl destroy` removes a domain of this toolstack.
    hotplug: PathBuf,
}

impl Native {
    /// The toolstack with these settings.
    #[must_use]
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { hotplug: settings.hotplug.clone() }
    }

    /// Builds a domain without devices and boots it. Its guest waits until [`Native::complete`] gives it devices and
    /// orders. Returns while the guest's kernel starts.
    ///
    /// # Errors
    /// The domain cannot be built. Nothing of it is left then.
    pub(crate) fn boot(
        &self,
        name: &str,
        uuid: Uuid,
        shape: &Shape,
    ) -> Result<Booted, ToolstackError> {
        let _span = info_span!("boot").entered();
        let kernel = open("guest kernel", &shape.kernel)?;
        let ramdisk = open("initramfs", &shape.ramdisk)?;
        let hypervisor = Hypervisor::open()?;
        let store = Store::connect()?;
        let guest = Guest {
            name,
            uuid: uuid.bytes(),
            kind: match shape.kind {
                Kind::Pv => builder::Kind::Pv,
                Kind::Pvh => builder::Kind::Pvh,
            },
            kernel: payload("guest kernel", &kernel, &shape.kernel)?,
            initrd: Some(payload("initramfs", &ramdisk, &shape.ramdisk)?),
            cmdline: &shape.cmdline,
            memory_mib: shape.memory_mib,
            vcpus: shape.vcpus,
        };
        let built = info_span!("build").in_scope(|| builder::build(&hypervisor, &store, &guest))?;
        let _span = info_span!("introduce").entered();
        let domid = built.introduce()?.unpause()?;
        Ok(Booted::Domain { domid, devices: Devices::Nothing })
    }

    /// Adds devices before the app is known: those of `spec`, and the promise of the disk `promised`.
    ///
    /// # Errors
    /// As [`Native::complete`].
    pub(crate) fn furnish(
        &self,
        domid: DomId,
        spec: &DomainSpec,
        nodes: &GuestNodes,
        promised: Option<&Disk>,
    ) -> Result<Booted, ToolstackError> {
        self.attach(domid, &spec.name, (&spec.disks, spec.vif.as_ref()), nodes)?;
        let Some(disk) = promised else {
            return Ok(Booted::Domain { domid, devices: Devices::Everything });
        };
        let _span = info_span!("promise").entered();
        let script = self.hotplug.to_string_lossy();
        let disk = PromisedDisk { device: &disk.vdev, read_only: !disk.writable, script: &script };
        builder::promise(&Store::connect()?, domid, &disk)?;
        Ok(Booted::Domain { domid, devices: Devices::DiskPromised })
    }

    /// Makes a booted domain, which has `devices`, the one that `spec` describes, and gives its guest `nodes`.
    ///
    /// # Errors
    /// A disk, node or interface cannot be made. The domain is then unusable, and the caller destroys it.
    pub(crate) fn complete(
        &self,
        domid: DomId,
        devices: Devices,
        spec: &DomainSpec,
        nodes: &GuestNodes,
    ) -> Result<(), ToolstackError> {
        let root = spec.disks.iter().find(|disk| !disk.writable);
        match (devices, root) {
            (Devices::Nothing, _) => {
                return self.attach(domid, &spec.name, (&spec.disks, spec.vif.as_ref()), nodes);
            }
            (Devices::DiskPromised, Some(root)) => self.provide(domid, &spec.name, root, nodes)?,
            (Devices::DiskPromised, None) | (Devices::Everything, _) => {
                self.attach(domid, &spec.name, (&[], None), nodes)?;
            }
        }
        // Connects the interface again, because the bridge may have been made anew since the domain was built.
        spec.vif.as_ref().map_or(Ok(()), |vif| join_bridge(vif, domid))
    }

    /// Gives a booted domain its name, these disks, an interface, and its guest's nodes.
    fn attach(
        &self,
        domid: DomId,
        name: &str,
        (disks, vif): (&[Disk], Option<&Vif>),
        nodes: &GuestNodes,
    ) -> Result<(), ToolstackError> {
        let _span = info_span!("attach").entered();
        let attached: Vec<AttachedDisk> =
            disks.iter().map(|disk| attach_disk(disk, domid)).collect::<Result<_, _>>()?;
        let script = self.hotplug.to_string_lossy();
        let params: Vec<_> = disks.iter().map(|disk| disk.file.to_string_lossy()).collect();
        let disks: Vec<builder::Disk<'_>> = (disks.iter().zip(&attached).zip(&params))
            .map(|((disk, attached), params)| described(disk, attached, params, &script))
            .collect();
        let interfaces: Vec<Interface<'_>> = (vif.iter())
            .map(|vif| Interface { mac: vif.mac, mtu: MTU, bridge: &vif.bridge, script: &script })
            .collect();
        let (chunks, texts) = own_nodes(name, nodes);
        let nodes = Nodes { before: &chunks, together: &texts };
        let devices = builder::Devices { disks: &disks, interfaces: &interfaces, nodes };
        builder::attach(&Store::connect()?, domid, &devices)?;
        attached.into_iter().for_each(AttachedDisk::keep);
        vif.map_or(Ok(()), |vif| join_bridge(vif, domid))
    }

    /// Gives a booted domain the disk that it was promised, its name, and its guest's nodes.
    fn provide(
        &self,
        domid: DomId,
        name: &str,
        disk: &Disk,
        nodes: &GuestNodes,
    ) -> Result<(), ToolstackError> {
        let _span = info_span!("provide").entered();
        let attached = attach_disk(disk, domid)?;
        let script = self.hotplug.to_string_lossy();
        let params = disk.file.to_string_lossy();
        let provided = described(disk, &attached, &params, &script);
        let (chunks, texts) = own_nodes(name, nodes);
        let nodes = Nodes { before: &chunks, together: &texts };
        builder::provide(&Store::connect()?, domid, &provided, nodes)?;
        attached.keep();
        Ok(())
    }

    /// Destroys the domain with all its devices. It is no error if the domain is already gone. A domain with another
    /// UUID is left alone.
    ///
    /// # Errors
    /// The domain still exists.
    pub(crate) fn destroy(&self, domid: DomId, uuid: Uuid) -> Result<(), ToolstackError> {
        let hypervisor = Hypervisor::open()?;
        let store = Store::connect()?;
        match hypervisor.domain_info(domid)? {
            Some(info) if info.uuid == uuid.bytes() => {
                builder::destroy(&hypervisor, &store, domid, &uuid.bytes())?;
            }
            // The number, the nodes and the disks now belong to another domain.
            Some(_) => return Ok(()),
            None => {
                let vm = store.read_optional(&format!("/local/domain/{domid}/vm"))?;
                if vm == Some(format!("/vm/{uuid}")) {
                    builder::destroy(&hypervisor, &store, domid, &uuid.bytes())?;
                }
            }
        }
        Ok(attached::detach(domid)?)
    }
}

fn open(what: &'static str, path: &Path) -> Result<File, ToolstackError> {
    File::open(path).map_err(|source| ToolstackError::File { what, path: path.into(), source })
}

fn payload<'a>(
    what: &'static str,
    file: &'a File,
    path: &Path,
) -> Result<Payload<'a>, ToolstackError> {
    Payload::new(file).map_err(|source| ToolstackError::File { what, path: path.into(), source })
}

fn attach_disk(disk: &Disk, domid: DomId) -> Result<AttachedDisk, ToolstackError> {
    let number = builder::disk_number(&disk.vdev)?.to_string();
    let label = attached::label(&domid.to_string(), &number);
    Ok(AttachedDisk::attach(&disk.file, disk.writable, label)?)
}

fn described<'a>(
    disk: &'a Disk,
    attached: &AttachedDisk,
    params: &'a str,
    script: &'a str,
) -> builder::Disk<'a> {
    builder::Disk {
        device: &disk.vdev,
        physical_device: (attached.device().major, attached.device().minor),
        read_only: !disk.writable,
        params,
        script,
    }
}

/// Pairs of path and value.
type NodeList<'a> = Vec<(&'a str, &'a str)>;

/// The chunks of the guest's nodes; and the domain's name with the texts of the guest's nodes.
fn own_nodes<'a>(name: &'a str, nodes: &'a GuestNodes) -> (NodeList<'a>, NodeList<'a>) {
    fn list(nodes: &[(String, String)]) -> NodeList<'_> {
        nodes.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect()
    }
    let mut texts = list(&nodes.texts);
    texts.insert(0, ("name", name));
    (list(&nodes.chunks), texts)
}

/// Waits until dom0's kernel has created its end of the vif, and joins it to its bridge.
///
/// # Errors
/// The kernel does not create it in time, or the bridge does not exist.
fn join_bridge(vif: &Vif, domid: DomId) -> Result<(), ToolstackError> {
    let _span = info_span!("bridge").entered();
    let name = format!("vif{domid}.0");
    net::wait_for_interface(&name, VIF_TIME)?;
    Ok(net::attach_to_bridge(&name, &vif.bridge, vif.address.and(Some(vif.mac)))?)
}
