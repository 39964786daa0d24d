//! The small files of an app's state folder, as types.

use crate::launch::WritableChoice;
use crate::restart::RestartPolicy;
use crate::schedule::Schedule;
use crate::spec::{Machine, Uuid};
use crate::timing::Moment;
use contract::{Host, Process, Tmpfs, Untrusted};
use net::{InterfaceName, Publish};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `app.json`: what was asked for and resolved. Written once, when the app is created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Lower-case hex, the state folder's name.
    pub id: String,
    /// Unique on this machine.
    pub name: String,
    /// Milliseconds since 1970.
    pub created_unix_ms: u64,
    /// What the user called the image.
    pub image: String,
    /// The image's manifest digest.
    pub image_digest: String,
    /// The image's and the user's labels.
    pub labels: BTreeMap<Untrusted, Untrusted>,
    /// Xen's handle, the same at each start.
    pub uuid: Uuid,
    /// Its domain, but for devices.
    #[serde(flatten)]
    pub machine: Machine,
    /// The app's process.
    pub process: Process,
    /// The guest's host name.
    pub hostname: String,
    /// What takes the writes to `/`.
    pub writable: WritableChoice,
    /// Size of the writable layer in MiB, where it is a disk.
    pub storage_mib: u64,
    /// Memory file systems.
    pub tmpfs: Vec<Tmpfs>,
    /// The network it is on.
    pub network: Network,
    /// Published ports.
    pub publish: Vec<Publish>,
    /// Name servers; empty for the settings'.
    pub dns: Vec<IpAddr>,
    /// Further lines for `/etc/hosts`.
    pub hosts: Vec<Host>,
    /// Whether the app goes as soon as it ends.
    pub remove_on_exit: bool,
    /// When it is started again after it ended.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Its share of the processors.
    #[serde(default)]
    pub schedule: Schedule,
    /// The link address of its interface; made from its address where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<contract::Mac>,
    /// Search domains; empty for the settings'.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// Whether nobody but the image's makers decides what runs: see [`crate::Launch::is_image_alone`].
    #[serde(default)]
    pub is_image_alone: bool,
}

/// The network an app is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// `launch`'s own bridge.
    Launch {
        /// The address wanted, if any.
        ip: Option<IpAddr>,
    },
    /// An admin's bridge.
    Bridge {
        /// The bridge.
        bridge: InterfaceName,
        /// `ADDRESS/PREFIX`.
        ip: Option<String>,
        /// Default gateway.
        gateway: Option<IpAddr>,
    },
    /// No interface but `lo`.
    None,
}

/// `state.json`: how far the app has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Where in its life the app is.
    pub phase: Phase,
    /// The domain, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domid: Option<u16>,
    /// The guest's address, while it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// When it was last started; milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_unix_ms: Option<u64>,
    /// When it last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_unix_ms: Option<u64>,
    /// How it last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// How often it was started again since a user started it.
    #[serde(default)]
    pub restarts: u32,
    /// How long it waits, or waited last, before it is started again.
    #[serde(default)]
    pub pause_ms: u64,
    /// When the guest did each step of the last start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Moment>,
}

/// Where in its life an app is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Made, never started.
    #[default]
    Created,
    /// Its domain is being built.
    Starting,
    /// Its domain is there.
    Running,
    /// It ended, its domain is gone, and it waits to be started again.
    Restarting,
    /// It ended, and its domain is gone.
    Exited,
}

/// How an app ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The exit code as Docker reports it.
    pub code: u8,
    /// Why there is no exit code of the app's own: often in the guest's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Untrusted>,
}
