//! A user's request, before it is resolved.

use crate::record::restart_policy::RestartPolicy;
use crate::record::writable_choice::WritableChoice;
use contract::{Host, Limit, Sysctl, Tmpfs};
use image::Image;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use toolstack::{Kind, Schedule, ToolstackKind};

/// One `launch run`: an image and the differences from its defaults.
///
/// `None` and empty mean the image's value, or else that of the settings.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The image, already on this machine.
    pub image: Image,
    /// What the user called the image, for `ps`; e.g. `nginx` or `docker-archive:x.tar`.
    pub image_name: String,
    /// The app's name; if absent, it is made from the image's name.
    pub name: Option<String>,
    /// Replaces the image's entrypoint and drops its command; `[]` or `[""]` means no entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub args: Vec<String>,
    /// `NAME=value` each; replaces or adds to the image's environment.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// User, as `docker run -u` takes it.
    pub user: Option<String>,
    /// The guest's host name; if absent, the app's id, as in Docker.
    pub hostname: Option<String>,
    /// Detached: no command follows the output, so the monitor may start after the app.
    pub detached: bool,
    /// Whether the app can get input.
    pub stdin: bool,
    /// Whether the app runs on a terminal.
    pub terminal: bool,
    /// Whether a small init stands before the app as PID 1.
    pub init: bool,
    /// Labels of the app, besides the image's.
    pub labels: BTreeMap<String, String>,
    /// The requested shape of the domain.
    pub shape: ShapeRequest,
    /// The network that the app is on.
    pub network: net::NetworkRequest,
    /// A requested address: one of `launch`'s own subnet, or `ADDRESS/PREFIX` on an admin's bridge.
    pub ip: Option<String>,
    /// Default gateway on an admin's bridge.
    pub gateway: Option<IpAddr>,
    /// Published ports.
    pub publish: Vec<net::Publish>,
    /// Name servers instead of those of the settings.
    pub dns: Vec<IpAddr>,
    /// Further lines for `/etc/hosts`.
    pub hosts: Vec<Host>,
    /// Where writes to `/` are stored.
    pub writable: WritableChoice,
    /// Size of the writable layer in MiB.
    pub storage_mib: Option<u64>,
    /// Memory file systems.
    pub tmpfs: Vec<Tmpfs>,
    /// Settings of the guest's kernel.
    pub sysctls: Vec<Sysctl>,
    /// Whether the app is removed as soon as it ends.
    pub remove_on_exit: bool,
    /// When the app is started again after it ended.
    pub restart: RestartPolicy,
    /// The app's share of the processors.
    pub schedule: Schedule,
    /// The link address of the app's interface.
    pub mac: Option<contract::Mac>,
    /// Search domains instead of those of the settings.
    pub dns_search: Vec<String>,
    /// Limits of the app's processes.
    pub limits: Vec<Limit>,
    /// Name or number of the signal that asks the app to stop.
    pub stop_signal: Option<String>,
    /// Seconds from that signal to the forced end.
    pub stop_timeout_s: Option<u64>,
}

impl RunRequest {
    /// A launch of `image` with all defaults.
    #[must_use]
    pub fn new(image: Image, image_name: impl Into<String>) -> Self {
        Self {
            image,
            image_name: image_name.into(),
            name: None,
            entrypoint: None,
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            user: None,
            hostname: None,
            detached: false,
            stdin: false,
            terminal: false,
            init: false,
            labels: BTreeMap::new(),
            shape: ShapeRequest::default(),
            network: net::NetworkRequest::default(),
            ip: None,
            gateway: None,
            publish: Vec::new(),
            dns: Vec::new(),
            hosts: Vec::new(),
            writable: WritableChoice::default(),
            storage_mib: None,
            tmpfs: Vec::new(),
            sysctls: Vec::new(),
            remove_on_exit: false,
            restart: RestartPolicy::No,
            schedule: Schedule::default(),
            mac: None,
            dns_search: Vec::new(),
            limits: Vec::new(),
            stop_signal: None,
            stop_timeout_s: None,
        }
    }

    /// Whether only the image decides what runs and what it does at its start: the user gave no command, environment,
    /// input, files or kernel.
    #[must_use]
    pub fn is_image_alone(&self) -> bool {
        self.entrypoint.is_none()
            && self.args.is_empty()
            && self.env.is_empty()
            && self.cwd.is_none()
            && self.user.is_none()
            && !self.stdin
            && !self.terminal
            && self.hostname.is_none()
            && self.hosts.is_empty()
            && self.tmpfs.is_empty()
            && self.shape.kernel.is_none()
            && self.shape.extra.is_none()
    }
}

/// A request for a domain's shape. `None` means the image's value, or else that of the settings.
#[derive(Clone, Debug, Default)]
pub struct ShapeRequest {
    /// Memory in MiB.
    pub memory_mib: Option<u32>,
    /// Number of vCPUs.
    pub vcpus: Option<u32>,
    /// PV or PVH.
    pub kind: Option<Kind>,
    /// The toolstack that builds the domain.
    pub toolstack: Option<ToolstackKind>,
    /// A guest kernel instead of the installed one.
    pub kernel: Option<PathBuf>,
    /// Words to append to the kernel's command line.
    pub extra: Option<String>,
    /// Whether the guest kernel writes its messages to the log.
    pub verbose_kernel: bool,
}
