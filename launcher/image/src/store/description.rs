//! What the store notes about an image beside its disk.

use crate::config::Config;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The file with it, in the image's folder.
pub(super) const DESCRIPTION: &str = "image.json";

/// `image.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) disk_bytes: u64,
    pub(super) created_unix: u64,
    pub(super) config: Config,
    /// The repositories, files and folders that gave this very disk; see [`crate::Source::origin`].
    #[serde(default)]
    pub(super) origins: BTreeSet<String>,
}
