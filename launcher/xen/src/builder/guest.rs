//! Describes the domain to build, and its devices.

use super::payload::Payload;
use contract::Mac;

/// A domain to build.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// Its name, as `xl list` shows it. The caller ensures that it is unique.
    pub name: &'a str,
    /// Its UUID. A caller that records it before building can find the domain again with [`crate::Hypervisor::domains`]
    /// if it is killed, and [`super::destroy`] it.
    pub uuid: [u8; 16],
    /// PVH or PV.
    pub kind: Kind,
    /// The kernel, a whole ELF file (`vmlinux`).
    pub kernel: Payload<'a>,
    /// The initrd.
    pub initrd: Option<Payload<'a>>,
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// Its memory.
    pub memory_mib: u32,
    /// Its vcpus, 1 to 128.
    pub vcpus: u32,
}

/// The devices and xenstore nodes of a domain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Devices<'a> {
    /// Its disks.
    pub disks: &'a [Disk<'a>],
    /// Its network interfaces; the first is the guest's `eth0`.
    pub interfaces: &'a [Interface<'a>],
    /// Further xenstore nodes.
    pub nodes: Nodes<'a>,
}

/// Xenstore nodes below `/local/domain/<domid>` that the guest may read, each as path and value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nodes<'a> {
    /// Written first, without a transaction: the guest reads them only after those of `together` exist.
    pub before: &'a [(&'a str, &'a str)],
    /// Written with the devices in one transaction, in this order; they become visible all at once.
    pub together: &'a [(&'a str, &'a str)],
}

/// The kind of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hardware virtualization without emulated devices.
    Pvh,
    /// Paravirtualization only; needs no hardware support.
    Pv,
}

impl Kind {
    /// The name that libxl uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pvh => "pvh",
            Self::Pv => "pv",
        }
    }
}

/// A disk, served by dom0's kernel from a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk<'a> {
    /// Its name in the guest: `xvda` to `xvdp`.
    pub device: &'a str,
    /// Dom0's block device, as major and minor number.
    pub physical_device: (u32, u32),
    /// Whether the guest may only read it.
    pub read_only: bool,
    /// The file or device behind the disk, as `xl block-list` shows it.
    pub params: &'a str,
    /// The program that libxl runs with `remove` when `xl destroy` detaches the disk.
    pub script: &'a str,
}

/// A disk whose source is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromisedDisk<'a> {
    /// Its name in the guest: `xvda` to `xvdp`.
    pub device: &'a str,
    /// Whether the guest may only read it.
    pub read_only: bool,
    /// The program that libxl runs with `remove` when `xl destroy` detaches the disk.
    pub script: &'a str,
}

impl<'a> Disk<'a> {
    /// The same disk without its source.
    pub(super) fn promised(&self) -> PromisedDisk<'a> {
        let Self { device, read_only, script, .. } = *self;
        PromisedDisk { device, read_only, script }
    }
}

/// A network interface, served by dom0's kernel as `vif<domid>.<index>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface<'a> {
    /// Its MAC address.
    pub mac: Mac,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// The bridge to which the caller attaches it.
    pub bridge: &'a str,
    /// The program that libxl runs with `offline` when `xl destroy` detaches the interface.
    pub script: &'a str,
}

/// The domain's event channel ports for its xenstore and console rings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) store: u32,
    pub(super) console: u32,
}

/// The frames of the domain's xenstore and console rings, as dom0 maps them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rings {
    pub(super) store: u64,
    pub(super) console: u64,
}
