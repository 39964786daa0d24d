//! `[domain]` in `/etc/launch/config.toml`.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use toolstack::{Kind, ToolstackKind};

/// What an admin can set for domains; every field has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The guest kernel, an uncompressed `vmlinux`.
    pub kernel: PathBuf,
    /// The initramfs that holds `init`.
    pub ramdisk: PathBuf,
    /// The program that libxl runs for each disk and interface.
    pub hotplug: PathBuf,
    /// The program that stays with each app.
    pub monitor: PathBuf,
    /// Where an admin puts edited copies of the xl templates.
    pub templates: PathBuf,
    /// Type of a domain, if the user gives none. Without this setting: PVH if this machine's processor runs PVH guests
    /// natively, else PV.
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// The toolstack that builds domains. Without this setting: `native` if `launch` knows the interface of this Xen,
    /// else `xl`.
    pub toolstack: Option<ToolstackKind>,
    /// Memory of a domain in MiB, if neither the image nor the user gives another value.
    pub memory_mib: u32,
    /// The most memory in MiB that an image's label can ask for; a user can ask for more.
    pub max_image_memory_mib: u32,
    /// Number of vCPUs of a domain.
    pub vcpus: u32,
    /// Size of the writable layer in MiB. The file is sparse: unwritten blocks take no space.
    pub storage_mib: u64,
    /// How long an app has from its stop signal to its end, in seconds.
    pub stop_timeout_s: u64,
    /// The longest stop time that an image can ask for; a user can ask for more.
    pub max_image_stop_timeout_s: u64,
    /// The log consists of two files of at most this many MiB each.
    pub log_mib: u64,
    /// How much of an app's output is written to its log, in KiB a second on average; twice `log_mib` may come at
    /// once. An app that writes more is slowed down.
    pub log_rate_kib: u64,
    /// How much of one processor's time the log of an app may take on average, in percent; ten seconds may be used
    /// at once. An app whose output takes more is slowed down.
    pub log_cpu_percent: u32,
    /// The user id of the monitor's reader, the process that parses the guest's data.
    pub monitor_uid: u32,
    /// Starts the monitor's reader even if the kernel has no seccomp, which would contain a fault in the reader.
    pub allow_unfenced_monitor: bool,
}

impl Settings {
    /// The part of these settings that toolstacks need.
    #[must_use]
    pub fn toolstack_settings(&self) -> toolstack::Settings {
        toolstack::Settings { hotplug: self.hotplug.clone(), templates: self.templates.clone() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kernel: "/usr/lib/launch/vmlinux".into(),
            ramdisk: "/usr/lib/launch/initrd".into(),
            hotplug: "/usr/lib/launch/hotplug".into(),
            monitor: "/usr/lib/launch/monitor".into(),
            templates: "/etc/launch/xl-templates".into(),
            kind: None,
            toolstack: None,
            memory_mib: 64,
            max_image_memory_mib: 1024,
            vcpus: 1,
            storage_mib: 8192,
            stop_timeout_s: 10,
            max_image_stop_timeout_s: 60,
            log_mib: 16,
            log_rate_kib: 4096,
            log_cpu_percent: 10,
            monitor_uid: 64322,
            allow_unfenced_monitor: false,
        }
    }
}
