//! The native toolstack: builds domains itself. No `xl`, no scripts, no waiting for devices.

use crate::disks::{self, Served};
use crate::folder::Folder;
use crate::handover::{self, Told};
use crate::settings::Settings;
use crate::spec::{DomainSpec, Kind, Machine, Uuid, Vif};
use crate::toolstack::Toolstack;
use crate::toolstack_error::ToolstackError;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::info_span;
use xen::builder::{self, Devices, Disk, Guest, Interface, Nodes, Payload, PromisedDisk};
use xen::store::Store;
use xen::{DomId, Hypervisor};

/// How long dom0's kernel may take to make its end of a vif.
const VIF_TIME: Duration = Duration::from_secs(180);
/// What all interfaces have, in bytes.
const MTU: u32 = 1500;

/// Domains by hypercalls, for a Xen whose interface is known.
#[derive(Debug)]
pub struct Native {
    /// Run by libxl when `xl destroy` takes a domain of ours away.
    hotplug: PathBuf,
}

impl Native {
    /// The toolstack with these settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { hotplug: settings.hotplug.clone() }
    }

    /// Builds a domain without devices and lets it boot: it waits for what [`Native::attach`]
    /// gives it. Returns while its kernel starts.
    ///
    /// # Errors
    /// The domain could not be built; nothing of it is left then.
    pub fn boot(&self, name: &str, uuid: Uuid, machine: &Machine) -> Result<DomId, ToolstackError> {
        let _span = info_span!("boot").entered();
        let kernel = open("guest kernel", &machine.kernel)?;
        let ramdisk = open("initramfs", &machine.ramdisk)?;
        let hypervisor = Hypervisor::open()?;
        let store = Store::connect()?;
        let guest = Guest {
            name,
            uuid: uuid.0,
            kind: match machine.kind {
                Kind::Pv => builder::Kind::Pv,
                Kind::Pvh => builder::Kind::Pvh,
            },
            kernel: payload("guest kernel", &kernel, &machine.kernel)?,
            initrd: Some(payload("initramfs", &ramdisk, &machine.ramdisk)?),
            cmdline: &machine.cmdline,
            memory_mib: machine.memory_mib,
            vcpus: machine.vcpus,
        };
        let built = info_span!("build").in_scope(|| builder::build(&hypervisor, &store, &guest))?;
        let _span = info_span!("introduce").entered();
        Ok(built.introduce()?.unpause()?)
    }

    /// Gives a domain that waits the name, disks and interface of `spec`, which are new to it, and
    /// the orders in `folder`, if there are any.
    ///
    /// # Errors
    /// A disk, node or interface cannot be made. The domain is no use any more then: destroy it.
    pub fn attach(
        &self,
        spec: &DomainSpec,
        folder: &Path,
        domid: DomId,
    ) -> Result<(), ToolstackError> {
        let _span = info_span!("attach").entered();
        let served = serve_disks(&spec.disks, domid)?;
        let told = handover::nodes(&Folder::new(folder.to_owned()))?;
        let script = self.hotplug.to_string_lossy();
        let params: Vec<_> = spec.disks.iter().map(|disk| disk.file.to_string_lossy()).collect();
        let disks: Vec<Disk<'_>> = (spec.disks.iter().zip(&served).zip(&params))
            .map(|((disk, served), params)| described(disk, served, params, &script))
            .collect();
        let interfaces: Vec<Interface<'_>> = (spec.vif.iter())
            .map(|vif| Interface { mac: vif.mac, mtu: MTU, bridge: &vif.bridge, script: &script })
            .collect();
        let (chunks, nodes) = own_nodes(spec, &told);
        let nodes = Nodes { before: &chunks, together: &nodes };
        let devices = Devices { disks: &disks, interfaces: &interfaces, nodes };
        builder::attach(&Store::connect()?, domid, &devices)?;
        served.into_iter().for_each(Served::keep);
        spec.vif.as_ref().map_or(Ok(()), |vif| join_bridge(vif, domid))
    }

    /// Promises a disk to a domain that waits: all is made ready for [`Native::provide`].
    ///
    /// # Errors
    /// The nodes cannot be made.
    pub(crate) fn promise(&self, domid: DomId, disk: &crate::Disk) -> Result<(), ToolstackError> {
        let _span = info_span!("promise").entered();
        let script = self.hotplug.to_string_lossy();
        let disk = PromisedDisk { device: &disk.vdev, read_only: !disk.writable, script: &script };
        Ok(builder::promise(&Store::connect()?, domid, &disk)?)
    }

    /// Gives a domain that waits the disk that it was promised, the name of `spec`, and the orders in
    /// `folder`.
    ///
    /// # Errors
    /// As [`Native::attach`].
    pub(crate) fn provide(
        &self,
        disk: &crate::Disk,
        spec: &DomainSpec,
        folder: &Path,
        domid: DomId,
    ) -> Result<(), ToolstackError> {
        let _span = info_span!("provide").entered();
        let served = serve(disk, domid)?;
        let told = handover::nodes(&Folder::new(folder.to_owned()))?;
        let script = self.hotplug.to_string_lossy();
        let params = disk.file.to_string_lossy();
        let provided = described(disk, &served, &params, &script);
        let (chunks, nodes) = own_nodes(spec, &told);
        let nodes = Nodes { before: &chunks, together: &nodes };
        builder::provide(&Store::connect()?, domid, &provided, nodes)?;
        served.keep();
        Ok(())
    }
}

impl Toolstack for Native {
    fn create(
        &self,
        spec: &DomainSpec,
        folder: &Path,
        _lock: File,
    ) -> Result<DomId, ToolstackError> {
        let domid = self.boot(&spec.name, spec.uuid, &spec.machine)?;
        match self.attach(spec, folder, domid) {
            Ok(()) => Ok(domid),
            Err(error) => Err(match self.destroy(domid, spec.uuid) {
                Ok(()) => error,
                Err(second) => ToolstackError::Both(Box::new(error), Box::new(second)),
            }),
        }
    }

    fn destroy(&self, domid: DomId, uuid: Uuid) -> Result<(), ToolstackError> {
        let hypervisor = Hypervisor::open()?;
        let store = Store::connect()?;
        match hypervisor.domain_info(domid)? {
            Some(info) if info.uuid == uuid.0 => {
                builder::destroy(&hypervisor, &store, domid, &uuid.0)?;
            }
            // The number may be another domain's by now, and so the nodes and disks.
            Some(_) => return Ok(()),
            None => {
                let vm = store.read_optional(&format!("/local/domain/{domid}/vm"))?;
                if vm == Some(format!("/vm/{uuid}")) {
                    builder::destroy(&hypervisor, &store, domid, &uuid.0)?;
                }
            }
        }
        disks::detach(domid)
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

fn serve_disks(disks: &[crate::Disk], domid: DomId) -> Result<Vec<Served>, ToolstackError> {
    disks.iter().map(|disk| serve(disk, domid)).collect()
}

fn serve(disk: &crate::Disk, domid: DomId) -> Result<Served, ToolstackError> {
    let number = builder::disk_number(&disk.vdev)?.to_string();
    Ok(Served::attach(&disk.file, disk.writable, disks::label(&domid.to_string(), &number))?)
}

fn described<'a>(
    disk: &'a crate::Disk,
    served: &Served,
    params: &'a str,
    script: &'a str,
) -> Disk<'a> {
    Disk {
        device: &disk.vdev,
        physical_device: (served.device().major, served.device().minor),
        read_only: !disk.writable,
        params,
        script,
    }
}

/// Path and value each.
type NodeList<'a> = Vec<(&'a str, &'a str)>;

/// The chunks of what a domain is told; and its name, and the texts that it is told.
fn own_nodes<'a>(spec: &'a DomainSpec, told: &'a Told) -> (NodeList<'a>, NodeList<'a>) {
    fn list(nodes: &[(String, String)]) -> NodeList<'_> {
        nodes.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect()
    }
    let mut texts = list(&told.texts);
    texts.insert(0, ("name", &spec.name));
    (list(&told.chunks), texts)
}

/// Joins dom0's end of the vif to its bridge; dom0's kernel makes it when it sees the nodes.
///
/// # Errors
/// It does not come, or there is no such bridge.
pub(crate) fn join_bridge(vif: &Vif, domid: DomId) -> Result<(), ToolstackError> {
    let _span = info_span!("bridge").entered();
    let name = format!("vif{domid}.0");
    net::wait_for_interface(&name, VIF_TIME)?;
    Ok(net::attach_to_bridge(&name, &vif.bridge, vif.address.and(Some(vif.mac)))?)
}
