//! The lab's own files on dom0's root disk.

use crate::dom0::Extra;

/// A file that belongs to root.
#[derive(Debug)]
pub struct OwnFile {
    /// Its path in dom0.
    pub path: &'static str,
    /// Its type and mode, in octal digits.
    pub mode: &'static str,
    /// Its contents.
    pub text: &'static str,
}

/// The files that start dom0: the lab's own first process, or additions to systemd.
#[must_use]
pub fn of(extra: Option<Extra>) -> &'static [OwnFile] {
    match extra {
        Some(Extra::Systemd) => SYSTEMD,
        Some(Extra::Containers) | None => SMALL,
    }
}

const SMALL: &[OwnFile] =
    &[OwnFile { path: INIT, mode: "0100755", text: include_str!("../dom0/init") }, FSTAB_LOADED];

/// The mounts after a lab's snapshot was loaded.
const FSTAB_LOADED: OwnFile = plain("/etc/fstab.loaded", include_str!("../dom0/fstab.loaded"));

/// The first process, if it is the lab's own.
pub const INIT: &str = "/usr/sbin/lab-init";

const SYSTEMD: &[OwnFile] = &[
    plain("/etc/fstab", include_str!("../dom0/systemd/fstab")),
    FSTAB_LOADED,
    plain("/etc/default/xen", include_str!("../dom0/systemd/xen")),
    plain("/etc/systemd/network/eth0.network", include_str!("../dom0/systemd/eth0.network")),
    plain(
        "/etc/systemd/system/lab-agent.service",
        include_str!("../dom0/systemd/lab-agent.service"),
    ),
    plain(
        "/etc/systemd/system/multi-user.target.d/lab.conf",
        "[Unit]\nWants=systemd-networkd.service lab-agent.service\n",
    ),
];

const fn plain(path: &'static str, text: &'static str) -> OwnFile {
    OwnFile { path, mode: "0100644", text }
}
