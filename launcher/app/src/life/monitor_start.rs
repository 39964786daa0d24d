//! What the launcher tells the monitor that it starts.

use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the launcher tells the monitor that it starts, as JSON in the monitor's only argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MonitorStart {
    /// The app's id.
    pub id: String,
    /// The folder of images and apps.
    pub state_dir: PathBuf,
    /// The settings of domains.
    pub settings: Settings,
    /// The settings of the network.
    pub network: net::Settings,
    /// The launcher program, which fills pools.
    pub launcher: PathBuf,
    /// How many milliseconds the monitor waits first, to leave dom0's processor to the app's start.
    pub delay_ms: u64,
}
