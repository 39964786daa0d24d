//! Where an app's writes are stored.

use serde::{Deserialize, Serialize};

/// Where writes to `/` are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WritableChoice {
    /// A disk for this app, kept until the app is removed.
    #[default]
    Disk,
    /// The guest's memory.
    Memory,
    /// Nothing: `/` is read-only.
    Nothing,
}
