//! `app.json`: the resolved request.

use crate::record::restart_policy::RestartPolicy;
use crate::record::writable_choice::WritableChoice;
use contract::{Host, Process, Sysctl, Tmpfs, Untrusted};
use net::{InterfaceName, Publish};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use toolstack::{Schedule, Shape, Uuid};

/// `app.json`: the resolved request. Written once, when the app is created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Lower-case hex, the state folder's name.
    pub id: String,
    /// Unique among the apps of this machine.
    pub name: String,
    /// Milliseconds since 1970.
    pub created_unix_ms: u64,
    /// What the user called the image.
    pub image: String,
    /// The image's manifest digest.
    pub image_digest: String,
    /// The image's and the user's labels.
    pub labels: BTreeMap<Untrusted, Untrusted>,
    /// The domain's UUID, the same at each start.
    pub uuid: Uuid,
    /// The shape of the app's domain.
    #[serde(flatten)]
    pub shape: Shape,
    /// The app's process.
    pub process: Process,
    /// The guest's host name.
    pub hostname: String,
    /// Where writes to `/` are stored.
    pub writable: WritableChoice,
    /// Size of the writable layer in MiB, if the layer is a disk.
    pub storage_mib: u64,
    /// Memory file systems.
    pub tmpfs: Vec<Tmpfs>,
    /// Settings of the guest's kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<Sysctl>,
    /// The network that the app is on.
    pub network: Network,
    /// Published ports.
    pub publish: Vec<Publish>,
    /// Name servers; if empty, those of the settings.
    pub dns: Vec<IpAddr>,
    /// Further lines for `/etc/hosts`.
    pub hosts: Vec<Host>,
    /// Whether the app is removed as soon as it ends.
    pub remove_on_exit: bool,
    /// When the app is started again after it ended.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// The app's share of the processors.
    #[serde(default)]
    pub schedule: Schedule,
    /// The link address of the interface; if absent, it is made from the IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<contract::Mac>,
    /// Search domains; if empty, those of the settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// Whether only the image decides what runs: see [`crate::RunRequest::is_image_alone`].
    #[serde(default)]
    pub is_image_alone: bool,
}

/// The network an app is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// `launch`'s own bridge.
    Launch {
        /// The requested address, if any.
        ip: Option<IpAddr>,
    },
    /// An admin's bridge.
    Bridge {
        /// The bridge.
        bridge: InterfaceName,
        /// The guest's `ADDRESS/PREFIX`.
        ip: Option<String>,
        /// Default gateway.
        gateway: Option<IpAddr>,
    },
    /// No interface except `lo`.
    None,
}
