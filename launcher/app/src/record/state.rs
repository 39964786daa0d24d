//! `state.json`: how far an app has come.

use crate::record::outcome::Outcome;
use crate::record::timing::Moment;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

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
    #[serde(default, rename = "pause_ms")]
    pub backoff_ms: u64,
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
