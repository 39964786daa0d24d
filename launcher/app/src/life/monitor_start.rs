//! What a monitor is told by the launcher that starts it.

use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a monitor is told by the launcher that starts it, as JSON in its one argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MonitorStart {
    /// The app.
    pub id: String,
    /// Where images and apps are kept.
    pub state_dir: PathBuf,
    /// About domains.
    pub settings: Settings,
    /// About the network.
    pub network: net::Settings,
    /// The launcher, to fill pools with.
    pub launcher: PathBuf,
    /// How long it lets the app's start have dom0's processor before it does anything, in milliseconds.
    pub delay_ms: u64,
}
